"""How a run is carried out: several processes, compiled, streamed, logged, published."""

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

import lowres
from hooks import hooked, interrupted_after
from lowres.cli import main
from lowres.errors import MissingExtraError, RunError
from lowres.recipe import Recipe
from lowres.training import compiling, loop
from lowres.training.device import local_device
from lowres.training.distributed import Team
from lowres.training.execution import Execution
from lowres.training.run import WEIGHTS_FILE, Run
from lowres.training.session import open_session
from waiting import DEADLINE_S, wait_until

CPU = Execution(device="cpu")
TINY = Recipe(variant="8-box", width=0.5, blocks=1, epochs=3, batch_size=8, precision="float32")
ARGUMENTS = [
    "--variant", "8-box", "--width", "0.5", "--blocks", "1", "--batch-size", "8",
    "--precision", "float32", "--device", "cpu",
]  # fmt: skip


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return [*command, *map(str, arguments)]


AVERAGES = ("inverse-deviation", "variance")
PAIR = """
import sys
import time
import warnings
from pathlib import Path
from lowres.training.distributed import joined
from lowres.training.loop import finish
from lowres.training.execution import Execution
from lowres.training.run import Run

warnings.simplefilter("error", FutureWarning)
with joined("cpu") as team:
    for path in sys.argv[1:]:
        finish(Run.open(Path(path)), execution=Execution(device="cpu"), team=team)
# A thread of the group that is still alive here can abort the process while Python ends.
for thread in Path("/proc/self/task").glob("*/comm"):
    assert "gloo" not in thread.read_text()
"""


@pytest.mark.full
def test_two_processes_train_as_one_does(store, tmp_path):
    recipes = {name: dataclasses.replace(TINY, epochs=2, norm_average=name) for name in AVERAGES}
    runs = [Run.plan(tmp_path / f"two-{name}", recipe, store) for name, recipe in recipes.items()]
    (tmp_path / "pair.py").write_text(PAIR)
    command = torchrun(tmp_path / "pair.py", *(run.path for run in runs))
    subprocess.run(command, check=True, timeout=DEADLINE_S)
    for run, recipe in zip(runs, recipes.values(), strict=True):
        one_path = run.path.with_name(run.path.name.replace("two", "one"))
        one, two = lowres.train(store, recipe, one_path, execution=CPU), run.result()
        assert two["processes"] == 2
        assert two["weights_sha256"] != one["weights_sha256"], "sums in another order"
        for name in ("train_loss", "eval_loss", "top1_error", "top5_error"):
            assert two[name] == pytest.approx(one[name], rel=2e-4, abs=1e-6), name
        network = lowres.load_network(run.path)
        found = network.logits(store.images("val", "8-box")).argmax(1).numpy()
        assert (Run.outcomes_in(run.path) == (found != store.labels("val"))).all(), (
            "each process has its rows"
        )
        theirs = network.module.state_dict()
        for name, mine in lowres.load_network(one_path).module.state_dict().items():
            assert torch.allclose(mine, theirs[name], rtol=1e-3, atol=1e-4), name


@pytest.mark.slow
@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)])
def test_stopped_processes_leave_a_run_that_one_resumes(store_path, tmp_path, signals):
    """An impatient user sends two signals. torchrun kills what has not ended after 30 s."""
    out = tmp_path / "run"
    train = ("-m", "lowres", "train", store_path, "--epochs", "10000", "--out", out)
    command = torchrun(*train, *ARGUMENTS)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: (out / "checkpoint.pt").exists() or process.poll() is not None)
    assert process.poll() is None
    for number in signals:
        process.send_signal(number)
        time.sleep(0.1)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert "forcefully" not in said
    [line] = [line for line in said.splitlines() if line.startswith("lowres: ")]
    assert line.endswith(f"to resume, run: torchrun --nproc-per-node 2 -m lowres train {out}")
    run = Run.open(out)
    assert run.state == "started"
    done = len(run.metrics())
    assert 0 < done < 10_000
    # A run of few epochs from there, by one process.
    record = json.loads((out / "recipe.json").read_text())
    record["recipe"]["epochs"] = done + 1
    (out / "recipe.json").write_text(json.dumps(record))
    assert loop.finish(Run.open(out))["epochs"] == done + 1


@pytest.mark.parametrize("words", [("--epoch", "3"), ("--epochs", "three"), ("--variant", "9-box")])
def test_of_several_processes_one_speaks(store_path, tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    said = []
    for rank in ("1", "0"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(SystemExit) as ended:
            main(["train", str(store_path), *words])
        assert ended.value.code
        said.append(capsys.readouterr().err)
    assert not said[0]
    assert said[1].startswith("lowres: ")


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in (("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert local_device("auto") == "cuda:1"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    for rank in "0123":  # all of them, so that the first one says it
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(RunError, match=r"torchrun started 4 processes here, .* 2 CUDA GPUs"):
            local_device("auto")


def test_a_session_opens_finished(store, tmp_path):
    run, before = Run.plan(tmp_path / "run", TINY, store), torch.get_num_threads()
    with open_session(run, store, Execution(device="cpu", threads=before + 1)) as session:
        assert torch.get_num_threads() == session.numerics.threads == before + 1
        assert (session.numerics.compiled, session.forward.compile_s) == (False, 0.0)
        assert session.steps == TINY.steps(store.splits["train"]) == 18
        with pytest.raises(dataclasses.FrozenInstanceError):
            session.forward = None
    assert torch.get_num_threads() == before


def test_batches_that_processes_cannot_share(store, tmp_path):
    run = Run.plan(tmp_path / "run", dataclasses.replace(TINY, batch_size=7), store)
    words = "--batch-size must be a multiple of the 2 processes"
    with pytest.raises(RunError, match=words), open_session(run, store, CPU, Team(0, 2)):
        pass


@pytest.mark.parametrize("loading", ["resident", "streamed"])
def test_where_images_are_is_a_choice_for_a_gpu(store, tmp_path, loading):
    words = f"--loading {loading} is for a GPU: leave it out on the CPU"
    execution = Execution(device="cpu", loading=loading)
    with pytest.raises(RunError, match=words):
        lowres.train(store, TINY, tmp_path / loading, execution=execution)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of torch, in its own compiler
def test_a_compiled_run_learns_the_same_and_resumes_compiled(store, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    on, off = (Execution(device="cpu", compile=word) for word in ("on", "off"))
    usual = lowres.train(store, TINY, tmp_path / "usual", execution=off)
    whole = lowres.train(store, TINY, tmp_path / "whole", execution=on)
    assert (usual["compiled"], whole["compiled"]) == (False, True)
    assert usual["compile_s"] == 0 < whole["compile_s"]
    assert whole["train_loss"] == pytest.approx(usual["train_loss"], rel=1e-3)
    assert whole["train_s"] < whole["compile_s"], "compiling is not counted as training"
    with pytest.raises(KeyboardInterrupt):
        lowres.train(store, TINY, tmp_path / "run", execution=on, track=interrupted_after(1))
    again = lowres.train(store, TINY, tmp_path / "run", execution=off)
    assert again["compiled"], "as it began"
    assert again["weights_sha256"] == whole["weights_sha256"]


def failing_compile(*_, **__):
    def forward(_images):
        raise NotImplementedError("first line\nsecond line")

    return forward


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("compile", "NotImplementedError: first line"),
        ("which", "no C\\+\\+ compiler: install g\\+\\+, or set CXX"),
    ],
)
def test_a_run_that_cannot_be_compiled(store, tmp_path, monkeypatch, name, reason):
    """With auto it trains without, and says so once; with on it fails."""
    monkeypatch.setitem(compiling.PAYS_FROM_MACS, "cpu", 0.0)
    monkeypatch.setitem(compiling.SMALLEST_STEP_MACS, "cpu", 0.0)
    usual = lowres.train(
        store, TINY, tmp_path / "off", execution=Execution(device="cpu", compile="off")
    )
    monkeypatch.setattr(compiling.shutil, "which", lambda _: "found" if name == "compile" else None)
    monkeypatch.setattr(torch, "compile", failing_compile)
    said = []
    result = lowres.train(
        store, TINY, tmp_path / "auto", execution=CPU, track=hooked(say=said.append)
    )
    assert not result["compiled"]
    assert result["compile_s"] == 0
    assert result["weights_sha256"] == usual["weights_sha256"], "the attempt leaves no trace"
    assert re.fullmatch(f"training without torch.compile, which failed: {reason}", said[0])
    assert len(said) == 1 + TINY.epochs
    with pytest.raises(RunError, match=f"cannot compile this network .{reason}.: use --compile of"):
        lowres.train(store, TINY, tmp_path / "on", execution=Execution(device="cpu", compile="on"))


def test_compiling_where_it_pays():
    def pays(steps=10_000, macs=1e10, processes=1, device="cpu"):
        device = torch.device(device)
        return compiling.compile_pays(steps, macs, device, threads=2, processes=processes)

    assert pays()
    assert not pays(steps=1000)
    assert not pays(steps=10**6, macs=1e8), "the step is too small"
    assert not pays(processes=2)
    assert not pays(device="cuda")
    assert pays(macs=1e12, device="cuda")
    assert pays(steps=200_000, macs=1e8, device="cuda"), "launches"


def test_programs_that_compiling_on_a_gpu_needs(monkeypatch):
    cuda, modules, programs = torch.device("cuda"), {"triton"}, {"clang"}
    monkeypatch.setattr(compiling.importlib.util, "find_spec", lambda n: n in modules or None)
    monkeypatch.setattr(compiling.shutil, "which", lambda n: n if n in programs else None)
    monkeypatch.delenv("CC", raising=False)
    assert compiling.missing_tools(cuda) == ""
    monkeypatch.setenv("CC", "mycc")
    assert compiling.missing_tools(cuda) == "no C compiler: install gcc, or set CC"
    modules.clear()
    assert compiling.missing_tools(cuda) == "no Triton: pip install triton"


def test_the_warm_up_leaves_no_trace_and_no_gradient_between_passes():
    """A CUDA graph reuses its memory, so gradients of the pass before must be gone."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))
    before, passes = {n: t.clone() for n, t in model.state_dict().items()}, []
    batch = torch.rand(8, 3, 8, 8)

    def forward(images):
        passes.append([p.grad for p in model.parameters()])
        return model(images)

    state = torch.random.get_rng_state()
    compiling.warm_up(forward, model, batch, torch.float32, passes=3)
    assert passes == [[None] * 6] * 3
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


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


def test_published_weights_are_the_runs_and_say_how_to_use_them(store, tmp_path):
    result = lowres.train(store, TINY, tmp_path / "run", execution=CPU)
    with safe_open(tmp_path / "run" / WEIGHTS_FILE, framework="np") as opened:
        record = json.loads(opened.metadata()["lowres"])
        mean = opened.get_tensor("input.mean")
    assert record["recipe"] == TINY.to_record()
    assert record["classes"] == list(store.classes)
    assert record["store"] == store.manifest.digest
    assert np.allclose(mean, store.images("train", "8-box").mean(axis=0), atol=1e-4)
    network = lowres.load_network(tmp_path / "run" / WEIGHTS_FILE)
    wrong = network.logits(store.images("val", "8-box")).argmax(1).numpy() != store.labels("val")
    assert wrong.mean() == pytest.approx(result["top1_error"])
    with pytest.raises(ValueError, match=r"images must be \(B, 8, 8, 3\) uint8, were"):
        network.logits(store.images("val", "16-box"))


def test_missing_and_damaged_weights(store, tmp_path):
    with pytest.raises(RunError, match="does not exist: weights are written at the end of a run"):
        lowres.load_network(tmp_path)
    lowres.train(store, TINY, tmp_path / "run")
    path = tmp_path / "run" / WEIGHTS_FILE
    whole = path.read_bytes()
    for damaged in (whole[:-100], b"{}", b"", whole[:8] + b"x" + whole[9:]):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match="is damaged or of another network"):
            lowres.load_network(path)


def test_progress_shows_loss_and_errors(store, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "NOTE_EVERY_S", 0.0)
    notes, counts = [], []
    track = hooked(note=notes.append, advance=counts.append)
    lowres.train(store, TINY, tmp_path / "run", track=track)
    assert notes[0].startswith("epoch 1/3, loss ")
    assert ", top-1 error " in notes[-1]
    assert sum(counts) == 3 * 6 * 8, "counted in images"
