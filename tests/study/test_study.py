"""Studies: how they are planned, grown, finished, and resumed after failures."""

import json
from dataclasses import replace

import pytest

import lowres
from lowres.errors import StudyError
from lowres.recipe import Recipe
from lowres.study.axes import Axis
from lowres.study.study import Study, cost
from lowres.training import loop
from lowres.training.run import Run
from lowres.work.executor import BUSY_STATUS, Result
from lowres.work.processes import LocalProcesses
from made_runs import broken_network

BASE = Recipe(variant="8-box", width=0.5, blocks=1, epochs=1, batch_size=8)
AXES = [Axis("variant", ("8-box", "16-box")), Axis("lr", (0.01, 0.05))]


class InProcess:
    """A toy executor: trains in this process and lets some runs fail."""

    def __init__(self, failing=()):
        self.failing = failing
        self.done = []

    def finish(self, jobs):
        for job in jobs:
            self.done.append(job.name)
            if any(part in job.name for part in self.failing):
                yield Result(job, -9)
                continue
            loop.finish(Run.open(job.log.parent))
            yield Result(job, 0)


def test_a_run_for_each_combination_the_costly_first(store, tmp_path):
    study = Study.plan(tmp_path / "study", store, BASE, AXES)
    assert {(r.recipe.variant, r.recipe.lr) for r in study.runs} == {
        ("8-box", 0.01), ("8-box", 0.05), ("16-box", 0.01), ("16-box", 0.05),
    }  # fmt: skip
    assert [run.recipe.variant for run in study.runs] == ["16-box"] * 2 + ["8-box"] * 2
    assert [run.path for run in Study.open(tmp_path / "study").runs] == [
        run.path for run in study.runs
    ]


NETWORKS = """
from torch import nn

def made(classes, channels):
    layers = nn.Conv2d(3, channels, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(channels, classes))

def a_small(classes, size):
    return made(classes, 2)

def z_large(classes, size):
    return made(classes, 64)
"""


def test_the_most_costly_networks_come_first(store, tmp_path, monkeypatch):
    """Networks of the user's are made and counted; equal costs would be ordered by name."""
    (tmp_path / "sized_networks.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    lowres.trust("sized_networks:a_small", "sized_networks:z_large")
    models = ("sized_networks:a_small", "wrn", "sized_networks:z_large")
    study = Study.plan(tmp_path / "study", store, BASE, [Axis("model", models)])
    order = ["wrn", "sized_networks:z_large", "sized_networks:a_small"]
    assert [run.recipe.model for run in study.runs] == order
    drafts = Study.draft(tmp_path / "draft", store, BASE, [Axis("model", models)])
    assert [draft.recipe.model for draft in drafts] == order
    assert not (tmp_path / "draft").exists()
    assert cost(replace(BASE, model="missing:network")) == cost(BASE), "it cannot be made here"


def test_finished_runs_are_skipped_and_failed_ones_tried_again(store, tmp_path):
    study = Study.plan(tmp_path / "study", store, BASE, AXES)
    summary = study.finish(InProcess(failing=["16-box-k0.5-lr0.05"]))
    assert summary.finished == 3
    ((name, reason),) = summary.failed.items()
    assert name.startswith("16-box-k0.5-lr0.05")
    assert "its process was killed by SIGKILL; was there too little memory?" in reason
    again = InProcess()
    assert Study.open(study.path).finish(again).finished == 4
    assert again.done == [name]
    assert not Study.open(study.path).finish(InProcess()).failed


class Elsewhere(InProcess):
    """A toy executor that first finds that another process trains one of the runs."""

    def __init__(self, run, end):
        super().__init__()
        self.run, self.end = run, end

    def finish(self, jobs):
        for job in jobs:
            if job.name == self.run.path.name and self.end:
                with self.run.locked():
                    yield Result(job, BUSY_STATUS)
                self.end(self.run)
                self.end = None
            else:
                yield from super().finish([job])


RESULT = {"status": "trained", "top1_error": 0.5, "train_s": 1.0}


@pytest.mark.parametrize(
    ("end", "finished", "failed", "trained"),
    [
        (lambda run: run.finish(RESULT), 4, 0, 3),
        (lambda run: run.record_error("RunError", "of the other"), 3, 1, 3),
        (lambda run: (run.path / "checkpoint.pt").exists(), 4, 0, 4),
    ],
    ids=["finished", "failed", "killed"],
)
def test_a_run_that_another_process_trains_is_awaited(
    store, tmp_path, monkeypatch, end, finished, failed, trained
):
    """If that process leaves it unfinished, the study trains it."""
    monkeypatch.setattr("lowres.study.study.OTHERS_POLL_S", 0.01)
    study = Study.plan(tmp_path / "study", store, BASE, AXES)
    executor = Elsewhere(study.runs[1], end)
    summary = study.finish(executor)
    assert (summary.finished, len(summary.failed)) == (finished, failed)
    assert len(executor.done) == trained


def test_a_lost_process_is_no_failure_while_another_trains_the_run(store, tmp_path, monkeypatch):
    """Its run is not marked as failed meanwhile."""
    monkeypatch.setattr("lowres.study.study.OTHERS_POLL_S", 0.01)
    study = Study.plan(tmp_path / "study", store, BASE, [])

    class Lost(Elsewhere):
        def finish(self, jobs):
            yield from (Result(o.job, o.exit_status and -9) for o in super().finish(jobs))

    assert study.finish(Lost(study.runs[0], lambda run: run.finish(RESULT))).failed == {}
    assert not (study.runs[0].path / "error.json").exists()


@pytest.mark.full
def test_local_processes_train_as_this_process_does(store, tmp_path, monkeypatch):
    """And one run fails for a real reason without stopping the other."""
    axes = [Axis("model", ("wrn", broken_network(tmp_path, monkeypatch)))]
    study = Study.plan(tmp_path / "study", store, BASE, axes)
    summary = study.finish(LocalProcesses(jobs=2, threads=1))
    assert summary.finished == 1
    (reason,) = summary.failed.values()
    assert "cannot be made for 4 classes at 8 px: broken" in reason
    run = next(run for run in study.runs if run.finished)
    again = lowres.train(
        store, run.recipe, tmp_path / "again", execution=lowres.Execution(threads=1)
    )
    assert again["weights_sha256"] == run.result()["weights_sha256"]


def test_a_study_grows_by_values_and_axes(store, tmp_path):
    Study.plan(tmp_path / "study", store, BASE, AXES).finish(InProcess())
    grown = Study.plan(
        tmp_path / "study", store, BASE, [Axis("lr", (0.05, 0.1)), Axis("width", (0.5, 1.0))]
    )
    assert len(grown.runs) == 4 + 3
    record = json.loads((tmp_path / "study" / "study.json").read_text())
    assert record["axes"] == {
        "variant": ["8-box", "16-box"], "lr": [0.01, 0.05, 0.1], "width": [0.5, 1.0],
    }  # fmt: skip
    again = InProcess()
    grown.finish(again)
    assert len(again.done) == 3


def test_a_study_is_not_mixed_with_another(store, tmp_path):
    Study.plan(tmp_path / "study", store, BASE, AXES)
    longer = Recipe.from_record(BASE.to_record() | {"epochs": 2})
    with pytest.raises(StudyError, match="was planned differently: epochs was 1 and is now 2"):
        Study.plan(tmp_path / "study", store, longer, AXES)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("")
    with pytest.raises(StudyError, match="neither empty nor a study"):
        Study.plan(tmp_path / "mine", store, BASE, AXES)
    with pytest.raises(StudyError, match=r"is not a study: it has no study\.json"):
        Study.open(tmp_path / "mine")
    (tmp_path / "study" / "study.json").write_text("[]")
    with pytest.raises(StudyError, match=r"study\.json is damaged"):
        Study.open(tmp_path / "study")


def test_nothing_is_planned_where_a_variant_is_missing(store, tmp_path):
    axes = [Axis("variant", ("8-box", "64-box"))]
    with pytest.raises(lowres.LowresError, match="has no variant 64-box"):
        Study.plan(tmp_path / "study", store, BASE, axes)
    assert not (tmp_path / "study").exists()
