"""Training: it learns, it is repeatable, and an interrupted run ends as an uninterrupted one.

Tests of equal bits use the CPU, since convolutions of a GPU are not deterministic.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import lowres
from hooks import hooked, interrupted_after
from images import draw_source
from lowres.errors import RecipeError, RunBusyError, RunError, StoreError
from lowres.loading.loaders import NumpyLoader, TorchLoader
from lowres.networks.make import make_network
from lowres.networks.size import training_macs
from lowres.recipe import Recipe, named_recipe
from lowres.training import loop
from lowres.training.evaluate import Evaluation, evaluate
from lowres.training.execution import Execution
from lowres.training.run import Run
from lowres.training.session import Stop

TINY = Recipe(variant="8-box", width=0.5, blocks=1, epochs=3, batch_size=8, precision="float32")
CPU = Execution(device="cpu")
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
    assert result["network"] == "WRN-8-0.5"
    assert result["eval_split"] == "val"
    assert 0 <= result["top1_error"] <= 1
    assert result["top5_error"] == 0, "there are only four classes"
    assert result["train_macs"] == training_macs(TINY, store.splits["train"], len(store.classes))
    metrics = lasting_metrics(tmp_path / "run")
    assert [line["epoch"] for line in metrics] == [1, 2, 3]
    assert metrics[-1]["top1_error"] == result["top1_error"]


def test_same_recipe_same_numbers_other_seed_others(store, tmp_path):
    first = lowres.train(store, TINY, tmp_path / "a", execution=CPU)
    assert lasting(first) == lasting(lowres.train(store, TINY, tmp_path / "b", execution=CPU))
    other = dataclasses.replace(TINY, seed=1)
    differing = lowres.train(store, other, tmp_path / "c", execution=CPU)
    assert first["weights_sha256"] != differing["weights_sha256"]


def test_training_leaves_torchs_generator_alone(store, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    lowres.train(store, TINY, tmp_path / "run")
    assert torch.rand(1) == expected


@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_run_resumes_to_the_same_result(store, tmp_path, after):
    """Also if torch would now use another number of threads."""
    two = Execution(device="cpu", threads=2)
    whole = lowres.train(store, TINY, tmp_path / "whole", execution=two)
    with pytest.raises(KeyboardInterrupt):
        lowres.train(store, TINY, tmp_path / "run", execution=two, track=interrupted_after(after))
    assert Run.open(tmp_path / "run").state == "started"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    resumed = lowres.train(store, TINY, tmp_path / "run", execution=CPU)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)
    assert lasting(resumed) == lasting(whole)
    assert lasting_metrics(tmp_path / "run") == lasting_metrics(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_stopped_in_mid_epoch_resumes_from_that_step(store, tmp_path, number):
    whole = lowres.train(store, TINY, tmp_path / "whole", execution=CPU)
    taken = []

    def advance(_images):
        taken.append(1)
        if len(taken) == 9:  # the third of the second epoch
            os.kill(os.getpid(), number)

    before, track = signal.getsignal(number), hooked(advance=advance)
    with pytest.raises(KeyboardInterrupt):
        lowres.train(store, TINY, tmp_path / "run", execution=CPU, track=track)
    assert signal.getsignal(number) == before
    assert len(lasting_metrics(tmp_path / "run")) == 1
    resumed = lowres.train(store, TINY, tmp_path / "run", execution=CPU, track=track)
    assert len(taken) == 3 * 6, "no step is taken twice"
    assert lasting(resumed) == lasting(whole)
    assert lasting_metrics(tmp_path / "run") == lasting_metrics(tmp_path / "whole")


def test_a_signal_that_is_ignored_stays_so():
    """As SIGINT of a command that a script starts in the background."""
    stop, before = Stop(), signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop.listening():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not stop.requested


@pytest.mark.full
def test_a_killed_process_resumes_to_the_same_result(store, tmp_path):
    """Killed without warning after an epoch, as if before its metrics were written."""
    whole = lowres.train(store, TINY, tmp_path / "whole", execution=CPU)
    run = Run.plan(tmp_path / "run", TINY, store)
    script = f"""
import os, signal
from pathlib import Path
import torch; torch.set_num_threads({torch.get_num_threads()})
from hooks import hooked
from lowres.training.loop import finish
from lowres.training.execution import Execution
from lowres.training.run import Run
track = hooked(say=lambda _: os.kill(os.getpid(), signal.SIGKILL))
finish(Run.open(Path({str(run.path)!r})), execution=Execution(device="cpu"), track=track)
"""
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", script], check=False, env=os.environ | paths)
    assert killed.returncode == -signal.SIGKILL
    (run.path / "metrics.jsonl").write_text("")
    resumed = loop.finish(Run.open(run.path), execution=CPU)
    assert lasting(resumed) == lasting(whole)
    assert lasting_metrics(run.path) == lasting_metrics(tmp_path / "whole")


@pytest.mark.full
def test_it_learns_a_few_images_by_heart(tmp_path):
    source = draw_source(tmp_path / "animals", train=8, val=1)
    (tmp_path / "same").mkdir()
    for split in ("train", "val"):
        (tmp_path / "same" / split).symlink_to(source / "train")
    lowres.build(tmp_path / "same", tmp_path / "store", lowres.BuildOptions(size=(16,)))
    recipe = Recipe(
        variant="16-box", width=1, blocks=1, epochs=40, batch_size=16, lr=0.05, flip="none",
        shift_px=0, weight_decay=0,
    )  # fmt: skip
    result = lowres.train(lowres.open_store(tmp_path / "store"), recipe, tmp_path / "run")
    assert result["train_loss"] < 0.05
    assert result["top1_error"] == 0


def test_a_finished_run_is_not_trained_again(store, tmp_path):
    result = lowres.train(store, TINY, tmp_path / "run")
    again = hooked(advance=lambda _: pytest.fail("trained again"))
    assert lowres.train(store, TINY, tmp_path / "run", track=again) == result


def test_divergence_is_a_result(store, tmp_path):
    recipe = Recipe.from_record(TINY.to_record() | {"lr": 1e30, "epochs": 20})
    result = lowres.train(store, recipe, tmp_path / "run")
    assert result["status"] == "diverged"
    assert result["epochs"] < 20
    assert result["top1_error"] is None
    assert 0 < result["bad_step"] < 20 * 6
    assert result["bad_lr"] == recipe.learning_rate(result["bad_step"], 20 * 6) == 1e30
    assert "NaN" not in (tmp_path / "run" / "result.json").read_text()


def test_failures_are_recorded(store, tmp_path):
    def failing(_):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        lowres.train(store, TINY, tmp_path / "run", track=hooked(advance=failing))
    run = Run.open(tmp_path / "run")
    assert run.state == "failed"
    assert run.error()["message"] == "out of memory"
    assert "Traceback" in run.error()["traceback"]
    lowres.train(store, TINY, tmp_path / "run")
    assert run.finished
    assert not (tmp_path / "run" / "error.json").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"batch_size": 100}, "train has 24 images, fewer than a batch of 100.*--batch-size"),
        (
            {"eval_split": "test"},
            "no split test to measure errors on.*are train, val.*--eval-split",
        ),
    ],
)
def test_recipes_that_do_not_fit_the_store(store, tmp_path, fields, words):
    recipe = Recipe.from_record(TINY.to_record() | fields)
    with pytest.raises(RecipeError, match=words):
        lowres.train(store, recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


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


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "mps"])
def test_unknown_devices(store, tmp_path, name):
    with pytest.raises(RunError, match="device"):
        lowres.train(store, TINY, tmp_path / "run", execution=Execution(device=name))


def test_label_smoothing_spreads_what_it_takes(store, tmp_path):
    """The loss of a network that stands still, against the formula."""
    still = TINY.to_record() | {"epochs": 1, "lr": 1e-12, "flip": "none", "shift_px": 0}
    plain = lowres.train(store, Recipe.from_record(still), tmp_path / "plain", execution=CPU)
    smooth = Recipe.from_record(still | {"label_smoothing": 0.4})
    found = lowres.train(store, smooth, tmp_path / "smooth", execution=CPU)
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


def test_the_fast_recipe_learns_and_resumes(store, tmp_path):
    fast = dataclasses.replace(
        named_recipe("fast"), variant="8-box", width=0.5, blocks=1, epochs=4, batch_size=8,
        precision="float32",
    )  # fmt: skip
    whole = lowres.train(store, fast, tmp_path / "whole", execution=CPU)
    assert whole["train_loss"] < 1.2, "log 4 is 1.39"
    with pytest.raises(KeyboardInterrupt):
        lowres.train(store, fast, tmp_path / "run", execution=CPU, track=interrupted_after(2))
    resumed = lowres.train(store, fast, tmp_path / "run", execution=CPU)
    assert lasting(resumed) == lasting(whole)


SWITCHING = """
import torch

class Switching(torch.optim.SGD):
    # As schedule-free optimizers do: it evaluates other weights than it trains.
    calls = []
    training = False

    def train(self):
        self.shift(0.5, not self.training)
        self.training = True
        self.calls.append("train")

    def eval(self):
        self.shift(-0.5, self.training)
        self.training = False
        self.calls.append("eval")

    @torch.no_grad()
    def shift(self, by, needed):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.add_(by if needed else 0.0)

    def step(self, closure=None):
        assert self.training
        return super().step(closure)
"""


@pytest.mark.full
def test_an_optimizer_of_your_own_follows_the_mode_of_the_network(store, tmp_path, monkeypatch):
    (tmp_path / "switching.py").write_text(SWITCHING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    recipe = dataclasses.replace(TINY, optimizer="switching:Switching", epochs=2)
    lowres.trust(recipe.optimizer)
    result = lowres.train(store, recipe, tmp_path / "run", execution=CPU)
    assert sys.modules["switching"].Switching.calls == ["train", "eval"] * 2
    network = lowres.load_network(tmp_path / "run")
    wrong = network.logits(store.images("val", "8-box")).argmax(1).numpy() != store.labels("val")
    assert wrong.mean() == pytest.approx(result["top1_error"]), "evaluated weights are published"


def test_a_recipe_that_cannot_be_read(store, tmp_path):
    run = Run.plan(tmp_path / "run", TINY, store)
    record = json.loads((run.path / "recipe.json").read_text())
    record["recipe"]["lr"] = -1
    (run.path / "recipe.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"recipe\.json is damaged: lr must be from 1e-30"):
        Run.open(run.path)
    assert issubclass(RecipeError, ValueError)


class Fixed(nn.Module):
    """Returns prepared logits, batch after batch."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.at = logits, 0

    def forward(self, images):
        self.at += len(images)
        return self.logits[self.at - len(images) : self.at]


def test_errors_equal_a_count_by_hand(store):
    loader = NumpyLoader(store, "8-box", "val", batch_size=5)
    logits = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    model = Fixed(torch.from_numpy(logits))
    [errors] = evaluate(
        [Evaluation(model, TorchLoader(loader), torch.device("cpu"), torch.float32)]
    )
    labels = store.labels("val")
    ranks = (-logits).argsort(axis=1)
    top1 = np.mean([label != rank[0] for label, rank in zip(labels, ranks, strict=True)])
    top5 = np.mean([label not in rank[:5] for label, rank in zip(labels, ranks, strict=True)])
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    assert errors.top1 == pytest.approx(top1)
    assert errors.top5 == pytest.approx(top5)
    assert errors.loss == pytest.approx(-log_probabilities[np.arange(12), labels].mean(), rel=1e-5)
