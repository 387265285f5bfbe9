"""What a dry run shows, and that it writes nothing."""

import sys
from pathlib import Path

import pytest

import lowres
from lowres.errors import RecipeError, RunError, StudyError
from lowres.networks.shape import Shape
from lowres.networks.size import NetworkSize
from lowres.recipe import Recipe
from lowres.study.axes import Axis
from lowres.study.forecast import (
    Forecast,
    ProbedNetwork,
    forecast,
    lines,
    probe,
    speed_group,
    swept,
)
from lowres.study.study import Study
from lowres.training.execution import Execution
from lowres.training.run import Run, RunSummary
from lowres.work.processes import LocalProcesses

BASE = Recipe(variant="8-box", width=0.5, blocks=1, epochs=4, batch_size=8)
AXES = [Axis("size", (8, 16)), Axis("lr", (0.01, 0.05))]


class Pretended(LocalProcesses):
    """Pretends to train: seconds by multiply-adds."""

    s_per_mac = 1e-9

    def __init__(self, jobs):
        super().__init__(jobs, 1)
        self.probed = []

    def finish(self, jobs):
        for job in jobs:
            paths = [Path(word) for word in job.command if Path(word, "recipe.json").exists()]
            for path in paths:
                run = Run.open(path)
                recipe, store = run.recipe, run.open_store()
                steps = 2 * store.splits["train"] // recipe.batch_size
                macs = Shape(recipe.size, recipe.width, 4, recipe.blocks).macs() * recipe.batch_size
                seconds = {"train_s": steps * macs * self.s_per_mac, "eval_s": 0.25}
                run.write_metrics([{"epoch": n, **seconds} for n in (1, 2)])
                run.finish({"status": "trained", "top1_error": 0.5, "train_s": 1.0})
            self.probed.append((recipe.size, recipe.width, steps, len(paths)))
            yield from super().finish([])
            yield type("Result", (), {"job": job, "exit_status": 0})()


def drafts_of(store, tmp_path, axes=AXES, base=BASE):
    return Study.draft(tmp_path / "study", store, base, axes)


def test_seconds_are_those_of_steps_and_evaluation(store, tmp_path, monkeypatch):
    """24 images of train, each twice an epoch, are 6 steps; 12 of val take a quarter second."""
    monkeypatch.setattr("time.monotonic", lambda: 0.0)  # no time passes to start a run
    executor = Pretended(jobs=2)
    found = forecast(store, drafts_of(store, tmp_path), executor, Execution(together=1))
    macs = {size: Shape(size, 0.5, 4, 1).macs() for size in (8, 16)}
    for draft, seconds, flops in zip(found.drafts, found.seconds, found.flops, strict=True):
        epoch_s = 6 * 8 * macs[draft.recipe.size] * 1e-9 + 0.25
        assert seconds == pytest.approx(4 * epoch_s)
        assert flops == 6 * macs[draft.recipe.size] * 48 * 4
    assert found.total_s == pytest.approx(sum(found.seconds) / 2)
    assert not (tmp_path / "study").exists()
    # First the cheapest one alone, then both of them side by side: each in its turn.
    assert [probed[:2] for probed in executor.probed] == [(8, 0.5), (8, 0.5), (16, 0.5)]


def test_a_probe_trains_as_many_runs_side_by_side_as_the_study(store, tmp_path, monkeypatch):
    """A pack of four records shares; 40 seeds take their shares, and the process starts once."""
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    drafts = drafts_of(store, tmp_path, [Axis("seed", tuple(range(40)))])
    executor = Pretended(jobs=1)
    found = forecast(store, drafts, executor, Execution(device="cpu", together=4))
    assert [runs for *_, runs in executor.probed] == [4, 4]
    epoch_s = 6 * 8 * Shape(8, 0.5, 4, 1).macs() * 1e-9 + 0.25
    assert found.total_s == pytest.approx(40 * 4 * epoch_s)
    assert "1 process with 1 thread each, which train up to 4 runs" in "\n".join(lines(found))
    executor = Pretended(jobs=1)
    forecast(store, drafts[:3], executor, Execution(device="cpu", together=4))
    assert [runs for *_, runs in executor.probed] == [3, 3], "no more than the study has"


def test_networks_that_take_too_long_are_estimated_by_their_flops(store, monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    shapes = [Shape(8, width, 4, 1) for width in (0.5, 1.0, 64.0)]
    networks = [
        ProbedNetwork(Recipe(variant="8-box", blocks=1, batch_size=8, width=s.width), s.macs() * 8)
        for s in shapes
    ]
    executor = Pretended(jobs=1)
    executor.s_per_mac = 1e-6
    found = probe(store, networks, executor, budget_s=60)
    assert [speed.steps > 0 for speed in found] == [True, True, False]
    for speed, network in zip(found, networks, strict=True):
        assert speed.step_s == pytest.approx(network.work * 1e-6)
    assert {width for _, width, *_ in executor.probed} == {0.5, 1.0}


def test_a_budget_buys_steps(store, monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    macs = Shape(8, 0.5, 4, 1).macs() * 8
    executor = Pretended(jobs=1)
    executor.s_per_mac = 1 / macs  # a second a step
    # Evaluation takes 2 x 0.25 s; the rest of 8.6 s pays for 4 steps in each of 2 epochs.
    (speed,) = probe(store, [ProbedNetwork(BASE, macs)], executor, budget_s=8.6)
    assert speed.step_s == pytest.approx(1)
    assert [steps for *_, steps, _ in executor.probed] == [2, 4]


@pytest.mark.full
def test_a_real_probe(store, tmp_path):
    """A real network in real processes."""
    drafts = drafts_of(store, tmp_path, AXES[1:])
    found = forecast(store, drafts, LocalProcesses(jobs=1, threads=1), Execution(device="cpu"))
    (speed,) = found.speeds.values()
    assert speed.step_s > 0
    assert speed.steps == 6
    assert found.total_s > sum(found.seconds) + 0.5, "the start of a process counts once"
    text = "\n".join(lines(found))
    assert "probed: 1 of 1 network, 6 timed steps each" in text
    assert "2 runs, 0 finished" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_a_probe_that_fails_says_why(store, tmp_path, monkeypatch):
    drafts = drafts_of(store, tmp_path)
    with pytest.raises(RunError, match="device must be auto, cpu"):
        forecast(store, drafts, LocalProcesses(1, 1), Execution(device="nowhere"))
    drafts = drafts_of(store, tmp_path, AXES[1:])
    broken = Pretended(jobs=1)
    monkeypatch.setattr(Run, "finished", False)
    with pytest.raises(StudyError, match="ended with status 0: it left no error"):
        forecast(store, drafts, broken, Execution(device="cpu"))
    assert list(tmp_path.iterdir()) == []


def test_runs_that_cannot_be_trained_are_refused(store, tmp_path):
    with pytest.raises(RecipeError, match="24 images, fewer than a batch of 999"):
        drafts_of(store, tmp_path, [Axis("batch_size", (999,))])


def test_what_is_finished_takes_no_time(store, tmp_path):
    study = Study.plan(tmp_path / "study", store, BASE, AXES)
    for run in study.runs:
        run.finish({"status": "trained", "top1_error": 0.5, "train_s": 1.0})
    before = sorted(path.stat().st_mtime_ns for path in study.path.rglob("*"))
    drafts = drafts_of(store, tmp_path, [*AXES, Axis("seed", (0, 1))])
    assert sum(draft.finished for draft in drafts) == 4
    assert len(drafts) == 8
    found = forecast(store, study.summaries(), LocalProcesses(1, 1))
    assert found.total_s == 0
    assert "4 runs, 4 finished" in "\n".join(lines(found))
    assert before == sorted(path.stat().st_mtime_ns for path in study.path.rglob("*"))


def test_the_table(store):
    recipes = [Recipe(variant=v, seed=s) for v in ("8-box", "16-box-crop") for s in (0, 1)]
    assert swept(recipes) == ["size", "fit"]
    sizes = [NetworkSize.of(recipe, 4) for recipe in recipes]
    drafts = [RunSummary(str(n), recipe) for n, recipe in enumerate(recipes)]
    found = Forecast(drafts, sizes, [1e15] * 4, [50.0, 60.0, 7200.0, 7200.0], 2, 1, {})
    rows = [line.split() for line in lines(found)]
    assert rows[1] == ["8", "squash", "2", "WRN-20-2", f"{sizes[0].parameters:,}", "1e+15",
                       "60", "s"]  # fmt: skip
    assert rows[2][:4] == ["16", "crop", "2", "WRN-20-2"]
    assert rows[2][-2:] == ["2.0", "h"]


def test_fields_that_do_not_change_the_speed():
    assert speed_group(Recipe(lr=1, seed=3, epochs=1, variant="32-lanczos")) == speed_group(
        Recipe()
    )
    for other in (Recipe(width=1), Recipe(variant="16-box"), Recipe(batch_size=64)):
        assert speed_group(other) != speed_group(Recipe())


@pytest.mark.full
def test_networks_without_a_formula_are_made(tmp_path, monkeypatch):
    code = """from torch import nn


def net(classes, size):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, classes))
"""
    (tmp_path / "forecast_network.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    lowres.trust("forecast_network:net")
    size = NetworkSize.of(Recipe(variant="8-box", model="forecast_network:net"), 4)
    assert (size.name, size.parameters, size.macs) == ("forecast_network:net", 772, 768)
