"""Training: it learns, it is repeatable, and an interrupted run ends like one that was not."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

import lowres
from images import draw_source
from lowres.errors import RecipeError, RunBusyError, RunError, StoreError
from lowres.loading.loaders import NumpyLoader
from lowres.networks.make import make_network
from lowres.recipe import Recipe, named_recipe
from lowres.training import checkpoint, loop
from lowres.training.run import Execution, Run
from lowres.training.schedule import learning_rate

TINY = Recipe(variant="8-box", width=0.5, blocks=1, epochs=3, batch_size=8, precision="float32")
TIMES = {"train_s", "eval_s", "images_per_s", "compile_s"}


def lasting(result):
    """What must not differ between two trainings of one recipe."""
    return {name: value for name, value in result.items() if name not in TIMES}


def lasting_metrics(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def test_result_of_a_run(store, tmp_path):
    result = lowres.train(store, TINY, tmp_path / "run")
    assert result == json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "trained"
    assert result["network"] == "WRN-6-0.5"
    assert result["eval_split"] == "val"
    assert 0 <= result["top1_error"] <= 1
    assert result["top5_error"] == 0, "there are only four classes"
    metrics = lasting_metrics(tmp_path / "run")
    assert [line["epoch"] for line in metrics] == [1, 2, 3]
    assert metrics[-1]["top1_error"] == result["top1_error"]


def test_same_recipe_same_numbers_other_seed_others(store, tmp_path):
    first = lowres.train(store, TINY, tmp_path / "a")
    assert lasting(first) == lasting(lowres.train(store, TINY, tmp_path / "b"))
    other = Recipe.from_record(TINY.to_record() | {"seed": 1})
    assert first["weights_sha256"] != lowres.train(store, other, tmp_path / "c")["weights_sha256"]


def test_training_leaves_torchs_generator_alone(store, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    lowres.train(store, TINY, tmp_path / "run")
    assert torch.rand(1) == expected


@pytest.mark.parametrize("after", [1, 2])
def test_interrupted_run_goes_on_to_the_same_result(store, tmp_path, monkeypatch, after):
    """Also where torch would now use another number of threads."""
    whole = lowres.train(store, TINY, tmp_path / "whole", execution=Execution(threads=2))
    train_epoch = loop._train_epoch

    def interrupted(session, epoch, display):
        if epoch == after:
            raise KeyboardInterrupt
        return train_epoch(session, epoch, display)

    monkeypatch.setattr(loop, "_train_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lowres.train(store, TINY, tmp_path / "run", execution=Execution(threads=2))
    assert Run.open(tmp_path / "run").state == "started"
    monkeypatch.undo()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    resumed = lowres.train(store, TINY, tmp_path / "run")
    torch.set_num_threads(before)
    assert lasting(resumed) == lasting(whole)
    assert lasting_metrics(tmp_path / "run") == lasting_metrics(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_told_to_end_in_mid_epoch_goes_on_from_that_step(
    store, tmp_path, monkeypatch, number
):
    whole = lowres.train(store, TINY, tmp_path / "whole")
    step, taken = loop.take_step, []

    def ending(*arguments):
        taken.append(1)
        if len(taken) == 9:  # the third of the second epoch
            os.kill(os.getpid(), number)
        return step(*arguments)

    before = signal.getsignal(number)
    monkeypatch.setattr(loop, "take_step", ending)
    with pytest.raises(KeyboardInterrupt):
        lowres.train(store, TINY, tmp_path / "run")
    assert signal.getsignal(number) == before
    assert len(lasting_metrics(tmp_path / "run")) == 1
    resumed = lowres.train(store, TINY, tmp_path / "run")
    assert len(taken) == 3 * 6, "no step is taken twice"
    assert lasting(resumed) == lasting(whole)
    assert lasting_metrics(tmp_path / "run") == lasting_metrics(tmp_path / "whole")


def test_killed_process_goes_on_to_the_same_result(store, store_path, tmp_path):
    """Killed without warning after the checkpoint of epoch 1, before its metrics."""
    whole = lowres.train(store, TINY, tmp_path / "whole")
    Run.plan(tmp_path / "run", TINY, store)
    script = f"""
import os, signal
from pathlib import Path
import torch; torch.set_num_threads({torch.get_num_threads()})
from lowres.training.run import Run
from lowres.training import checkpoint, loop
from lowres.training.run import Execution
save = checkpoint.save
def dying(*arguments):
    save(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save = dying
loop.finish(Run.open(Path({str(tmp_path / "run")!r})))
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -signal.SIGKILL
    resumed = loop.finish(Run.open(tmp_path / "run"))
    assert lasting(resumed) == lasting(whole)


def test_it_learns_a_few_images_by_heart(tmp_path):
    source = draw_source(tmp_path / "animals", train=8, val=1)
    for split in ("train",):
        (tmp_path / "same" / "val").parent.mkdir(exist_ok=True)
        (tmp_path / "same" / split).symlink_to(source / split)
    (tmp_path / "same" / "val").symlink_to(source / "train")
    lowres.build(tmp_path / "same", tmp_path / "store", lowres.BuildOptions(size=(16,)))
    recipe = Recipe(
        variant="16-box", width=1, blocks=1, epochs=40, batch_size=16, lr=0.05, flip="none",
        shift_px=0, weight_decay=0,
    )  # fmt: skip
    result = lowres.train(lowres.open_store(tmp_path / "store"), recipe, tmp_path / "run")
    assert result["train_loss"] < 0.05
    assert result["top1_error"] == 0


def test_a_finished_run_is_not_trained_again(store, tmp_path, monkeypatch):
    result = lowres.train(store, TINY, tmp_path / "run")
    monkeypatch.setattr(loop, "_train_epoch", lambda *_: pytest.fail("trained again"))
    assert lowres.train(store, TINY, tmp_path / "run") == result


def test_divergence_is_a_result(store, tmp_path):
    recipe = Recipe.from_record(TINY.to_record() | {"lr": 1e30, "epochs": 20})
    result = lowres.train(store, recipe, tmp_path / "run")
    assert result["status"] == "diverged"
    assert result["epochs"] < 20
    assert result["top1_error"] is None
    assert 0 < result["bad_step"] < 20 * 6
    assert result["bad_lr"] == learning_rate(recipe, result["bad_step"], 20 * 6) == 1e30
    assert "NaN" not in (tmp_path / "run" / "result.json").read_text()


def test_failures_are_recorded(store, tmp_path, monkeypatch):
    def failing(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(loop, "_train_epoch", failing)
    with pytest.raises(RuntimeError):
        lowres.train(store, TINY, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert run.state == "failed"
    assert run.error()["message"] == "out of memory"
    assert "Traceback" in run.error()["traceback"]
    monkeypatch.undo()
    lowres.train(store, TINY, tmp_path / "run")
    assert run.finished
    assert not (tmp_path / "run" / "error.json").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"batch_size": 100}, "train has 24 images, fewer than a batch of 100.*--batch-size"),
        ({"eval_split": "test"}, "no split test to measure errors on.*--val-fraction"),
    ],
)
def test_recipes_that_do_not_fit_the_store(store, tmp_path, fields, words):
    recipe = Recipe.from_record(TINY.to_record() | fields)
    with pytest.raises(RunError, match=words):
        lowres.train(store, recipe, tmp_path / "run")


def test_directories_that_do_not_fit(store, tmp_path):
    lowres.train(store, TINY, tmp_path / "run")
    other = Recipe.from_record(TINY.to_record() | {"lr": 0.5})
    with pytest.raises(RunError, match=r"recipe lr was .* is now 0\.5.*finish the run"):
        lowres.train(store, other, tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("")
    with pytest.raises(RunError, match="is neither empty nor a run"):
        lowres.train(store, TINY, tmp_path / "mine")
    with pytest.raises(StoreError, match="has no variant 32-box"):
        lowres.train(store, Recipe(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_another_store_is_refused(store, tmp_path):
    source = draw_source(tmp_path / "animals", train=7)
    lowres.build(source, tmp_path / "other", lowres.BuildOptions(size=(8,)))
    run = Run.plan(tmp_path / "run", TINY, store)
    with pytest.raises(RunError, match="is not the store of"):
        loop.finish(run, store=tmp_path / "other")


def test_a_run_is_trained_by_one_process_at_a_time(store, tmp_path):
    run = Run.plan(tmp_path / "run", TINY, store)
    with run.locked(), pytest.raises(RunBusyError, match="being trained by another process"):
        loop.finish(run)
    assert run.state == "planned"


def test_a_damaged_checkpoint_is_an_error_not_code(store, tmp_path):
    run = Run.plan(tmp_path / "run", TINY, store)

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    torch.save({"model": Evil()}, tmp_path / "run" / checkpoint.FILE_NAME)
    with pytest.raises(RunError, match="damaged or of another network"):
        loop.finish(run)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "mps"])
def test_unknown_devices(store, tmp_path, name):
    with pytest.raises(RunError, match="device"):
        lowres.train(store, TINY, tmp_path / "run", execution=Execution(device=name))


def test_schedule_is_the_papers():
    recipe = Recipe()
    steps = 40 * 100
    by_epoch = [learning_rate(recipe, epoch * 100, steps) for epoch in range(40)]
    assert by_epoch[:10] == [0.01] * 10
    assert by_epoch[10:20] == pytest.approx([0.002] * 10)
    assert by_epoch[20:30] == pytest.approx([0.0004] * 10)
    assert by_epoch[30:] == pytest.approx([0.00008] * 10)
    assert learning_rate(recipe, 999, steps) == 0.01


def test_warm_up_and_cool_down_are_lines():
    recipe = Recipe(lr=1.0, lr_drop_at=(), warmup=0.2, cooldown=0.5)
    rates = [learning_rate(recipe, step, 10) for step in range(10)]
    assert rates == pytest.approx([0.25, 0.75, 1, 1, 1, 0.9, 0.7, 0.5, 0.3, 0.1])


def test_label_smoothing_spreads_what_it_takes(store, tmp_path):
    """The loss of a network that stands still, against the formula."""
    still = TINY.to_record() | {"epochs": 1, "lr": 1e-12, "flip": "none", "shift_px": 0}
    plain = lowres.train(store, Recipe.from_record(still), tmp_path / "plain")
    smooth = Recipe.from_record(still | {"label_smoothing": 0.4})
    found = lowres.train(store, smooth, tmp_path / "smooth")
    assert found["train_loss"] != pytest.approx(plain["train_loss"], rel=1e-6)
    assert found["eval_loss"] == pytest.approx(plain["eval_loss"], rel=1e-6), "of plain labels"
    batches = NumpyLoader(
        store, "8-box", batch_size=8, shuffle=True, subtract="mean-image", divide_by="range"
    )
    model = make_network(Recipe.from_record(still), len(store.classes)).module.train()
    losses = []
    for images, labels in batches.batches(0):
        with torch.no_grad():
            log = model(torch.from_numpy(images).permute(0, 3, 1, 2)).log_softmax(1).numpy()
        right = log[np.arange(len(labels)), labels]
        losses.append(-(0.6 * right + 0.4 * log.mean(axis=1)).mean())
    assert found["train_loss"] == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_fast_recipe_learns_and_goes_on(store, tmp_path, monkeypatch):
    fast = dataclasses.replace(
        named_recipe("fast"), variant="8-box", width=0.5, blocks=1, epochs=4, batch_size=8,
        precision="float32",
    )  # fmt: skip
    whole = lowres.train(store, fast, tmp_path / "whole")
    assert whole["train_loss"] < 1.2, "log 4 is 1.39"

    def stop(run, session, keep=loop._save):
        keep(run, session)
        if len(session.progress.history) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_save", stop)
    with pytest.raises(KeyboardInterrupt):
        lowres.train(store, fast, tmp_path / "run")
    monkeypatch.undo()
    assert lasting(lowres.train(store, fast, tmp_path / "run")) == lasting(whole)


def test_a_recipe_that_cannot_be_read(store, tmp_path):
    run = Run.plan(tmp_path / "run", TINY, store)
    record = json.loads((run.path / "recipe.json").read_text())
    record["recipe"]["lr"] = -1
    (run.path / "recipe.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"recipe\.json is damaged: lr must be above 0"):
        Run.open(run.path)
    assert issubclass(RecipeError, ValueError)
