"""How a run is carried out: several processes, compiled, streamed, logged, published."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open

import lowres
from lowres.errors import MissingExtraError, RunError
from lowres.recipe import Recipe
from lowres.training import compiling, loop
from lowres.training.run import Execution
from lowres.training.weights import FILE_NAME

TINY = Recipe(variant="8-box", width=0.5, blocks=1, epochs=3, batch_size=8, precision="float32")
ARGUMENTS = [
    "--variant", "8-box", "--width", "0.5", "--blocks", "1", "--batch-size", "8",
    "--precision", "float32", "--device", "cpu",
]  # fmt: skip


def torchrun(processes, *arguments):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
        str(processes), "-m", "lowres", "train", *map(str, arguments),
    ]  # fmt: skip
    return [*command, *ARGUMENTS]


@pytest.mark.parametrize("average", ["inverse-deviation", "variance"])
def test_two_processes_train_as_one_does(store, store_path, tmp_path, average):
    fields = ("--epochs", "2", "--norm-average", average)
    out = tmp_path / "two"
    subprocess.run(torchrun(2, store_path, *fields, "--out", out), check=True, timeout=120)
    recipe = Recipe.from_record(TINY.to_record() | {"epochs": 2, "norm_average": average})
    one = lowres.train(store, recipe, tmp_path / "one", execution=Execution(device="cpu"))
    two = json.loads((out / "result.json").read_text())
    assert two["processes"] == 2
    assert two["weights_sha256"] != one["weights_sha256"], "sums in another order"
    for name in ("train_loss", "eval_loss", "top1_error", "top5_error"):
        assert two[name] == pytest.approx(one[name], rel=2e-4, abs=1e-6), name
    own, other = (lowres.load_network(tmp_path / name).module for name in ("one", "two"))
    for (name, mine), theirs in zip(
        own.state_dict().items(), other.state_dict().values(), strict=True
    ):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-4), name


def test_processes_end_when_asked_and_go_on(store_path, tmp_path):
    out = tmp_path / "run"
    command = torchrun(2, store_path, "--epochs", "400", "--out", out)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (out / "checkpoint.pt").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert "go on with: lowres train" in told
    run = lowres.training.run.Run.open(out)
    assert run.state == "started"
    done = len(run.metrics())
    assert 0 < done < 400
    # A run of few epochs from there, by one process.
    record = json.loads((out / "recipe.json").read_text())
    record["recipe"]["epochs"] = done + 1
    (out / "recipe.json").write_text(json.dumps(record))
    assert loop.finish(lowres.training.run.Run.open(out))["epochs"] == done + 1


def test_batches_that_processes_cannot_share(store_path, tmp_path):
    command = torchrun(2, store_path, "--epochs", "2", "--out", tmp_path / "run")
    command[command.index("--batch-size") + 1] = "7"
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode
    assert "--batch-size must be a multiple of the 2 processes" in ended.stderr


def test_streamed_images_give_the_same_run(store, tmp_path):
    usual = lowres.train(store, TINY, tmp_path / "usual")
    for loading in ("resident", "streamed"):
        found = lowres.train(store, TINY, tmp_path / loading, execution=Execution(loading=loading))
        assert found["train_loss"] == pytest.approx(usual["train_loss"], rel=1e-4)
        assert found["top1_error"] == usual["top1_error"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of torch, in its own compiler
def test_a_compiled_run_learns_the_same_and_goes_on_as_it_began(store, tmp_path, monkeypatch):
    if compiling.shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("there is no C++ compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    usual = lowres.train(store, TINY, tmp_path / "usual", execution=Execution(compile="off"))
    whole = lowres.train(store, TINY, tmp_path / "whole", execution=Execution(compile="on"))
    assert (usual["compiled"], whole["compiled"]) == (False, True)
    assert usual["compile_s"] == 0 < whole["compile_s"]
    assert whole["train_loss"] == pytest.approx(usual["train_loss"], rel=1e-3)
    assert whole["train_s"] < whole["compile_s"], "compiling is not counted as training"

    def stop(run, session, keep=loop._save):
        keep(run, session)
        if len(session.progress.history) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_save", stop)
    with pytest.raises(KeyboardInterrupt):
        lowres.train(store, TINY, tmp_path / "run", execution=Execution(compile="on"))
    monkeypatch.undo()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    again = lowres.train(store, TINY, tmp_path / "run", execution=Execution(compile="off"))
    assert again["compiled"], "as it began"
    assert again["weights_sha256"] == whole["weights_sha256"]


def test_compiling_where_it_pays(monkeypatch):
    def settle(wanted="auto", macs=1e14, processes=1):
        return compiling.settle(
            wanted, train_macs=macs, device=torch.device("cpu"), threads=2, processes=processes
        )

    monkeypatch.setattr(compiling.shutil, "which", lambda _: "/usr/bin/g++")
    assert settle()
    assert not settle(macs=1e13)
    assert not settle(processes=2)
    assert not settle("off")
    assert settle("on", macs=1.0)
    monkeypatch.setattr(compiling.shutil, "which", lambda _: None)
    assert not settle()
    with pytest.raises(RunError, match="--compile on needs a C\\+\\+ compiler"):
        settle("on")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"compile": "yes"}, "compile must be one of auto, on, off, was 'yes'"),
        ({"loading": "ram"}, "loading must be one of auto, resident, streamed"),
        ({"log": "wandb"}, "log must be one of jsonl, tensorboard"),
        ({"threads": 0}, "threads must be at least 1, was 0"),
    ],
)
def test_executions_that_do_not_exist(fields, words):
    with pytest.raises(RunError, match=words):
        Execution(**fields)


def test_tensorboard_reads_the_metrics(store, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = lowres.train(store, TINY, tmp_path / "run", execution=Execution(log="tensorboard"))
    read = events.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    read.Reload()
    errors = read.Scalars("eval/top1_error")
    assert [event.step for event in errors] == [1, 2, 3]
    assert errors[-1].value == pytest.approx(result["top1_error"])
    assert {"train/train_loss", "train/lr", "eval/eval_loss"} <= set(read.Tags()["scalars"])


def test_without_tensorboard(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[tensorboard\]"):
        lowres.train(store, TINY, tmp_path / "run", execution=Execution(log="tensorboard"))


def test_published_weights_are_the_runs_and_tell_how_to_use_them(store, tmp_path):
    result = lowres.train(store, TINY, tmp_path / "run")
    with safe_open(tmp_path / "run" / FILE_NAME, framework="np") as opened:
        record = json.loads(opened.metadata()["lowres"])
        mean = opened.get_tensor("input.mean")
    assert record["recipe"] == TINY.to_record()
    assert record["classes"] == list(store.classes)
    assert record["store"] == store.manifest.digest
    assert np.allclose(mean, store.images("train", "8-box").mean(axis=0), atol=1e-4)
    network = lowres.load_network(tmp_path / "run" / FILE_NAME)
    wrong = network.logits(store.images("val", "8-box")).argmax(1).numpy() != store.labels("val")
    assert wrong.mean() == pytest.approx(result["top1_error"])
    with pytest.raises(ValueError, match=r"images must be \(B, 8, 8, 3\) uint8, were"):
        network.logits(store.images("val", "16-box"))


def test_weights_that_are_not_there_or_damaged(store, tmp_path):
    with pytest.raises(RunError, match="is not there: weights are written when a run is over"):
        lowres.load_network(tmp_path)
    lowres.train(store, TINY, tmp_path / "run")
    path = tmp_path / "run" / FILE_NAME
    whole = path.read_bytes()
    for damaged in (whole[:-100], b"{}", b"", whole[:8] + b"x" + whole[9:]):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match="is damaged or of another network"):
            lowres.load_network(path)


def test_progress_tells_loss_and_errors(store, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "TELL_EVERY_S", 0.0)
    notes, counts = [], []

    class Display(lowres.progress.Display):
        def note(self, text):
            notes.append(text)

        def advance(self, count=1):
            counts.append(count)

    from contextlib import contextmanager

    @contextmanager
    def track(what, total, *, done=0):
        counts.append(-total)
        yield Display()

    lowres.train(store, TINY, tmp_path / "run", track=track)
    assert notes[0].startswith("epoch 1/3, loss ")
    assert ", top-1 error " in notes[-1]
    assert sum(counts) == 0, "counted in images"
