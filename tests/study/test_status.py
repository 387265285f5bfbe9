"""How runs stand, by their files and locks, and the time left by the speed of other runs."""

import json
import os
import shutil
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from lowres.errors import StudyError
from lowres.recipe import Recipe
from lowres.study import status
from lowres.study.axes import Axis
from lowres.study.forecast import makespan
from lowres.study.study import Study, cost

BASE = Recipe(variant="8-box", width=1.0, blocks=1, epochs=4, batch_size=8)
SMALL, LARGE = 1.0, 2.0
RATIO = cost(replace(BASE, width=LARGE)) / cost(BASE)


def epochs(run, count, seconds, *, ended=None, together=1):
    """Write epochs of `seconds` each; the last one ended at a time, or now."""
    records = [
        {"epoch": n, "train_s": 0.75 * seconds, "eval_s": 0.25 * seconds, "together": together}
        for n in range(count)
    ]
    run.write_metrics(records)
    if ended is not None:
        os.utime(run.path / "metrics.jsonl", (ended, ended))


def finish(run, seconds, end="trained", done=4, together=1):
    epochs(run, done, seconds, together=together)
    run.finish({"status": end, "top1_error": 0.5, "train_s": 1.0, "epochs": done})


@pytest.fixture
def study(store, tmp_path):
    """Two widths and four seeds: the larger network costs `RATIO` times as much."""
    axes = [Axis("width", (SMALL, LARGE)), Axis("seed", (0, 1, 2, 3))]
    return Study.plan(tmp_path / "study", store, BASE, axes)


@pytest.fixture
def runs(study):
    return {(run.recipe.width, run.recipe.seed): run for run in study.runs}


def standing(study):
    found = status.standings(study.path)
    return {(one.recipe.width, one.recipe.seed): one for one in found}


def test_every_state(study, runs, monkeypatch):
    finish(runs[SMALL, 0], 2.0)
    finish(runs[SMALL, 1], 2.0, "diverged", done=2)
    runs[SMALL, 2].record_error("RunError", "no room")
    (runs[SMALL, 2].path / "train.log").touch()
    (runs[SMALL, 3].path / "checkpoint.pt").touch()
    epochs(runs[SMALL, 3], 1, 2.0)
    now = time.time()
    epochs(runs[LARGE, 0], 3, 8.0, ended=now - 6.0)
    monkeypatch.setattr(status.time, "time", lambda: now)
    runs[LARGE, 1].record_error("RunError", "of an earlier attempt")
    with runs[LARGE, 0].locked(), runs[LARGE, 1].locked():
        found = standing(study)
        line = status.summary(list(found.values()))
        lines = list(status.lines(list(found.values())))
    states = {key: one.state for key, one in found.items()}
    assert states == {
        (SMALL, 0): "trained", (SMALL, 1): "diverged", (SMALL, 2): "failed", (SMALL, 3): "started",
        (LARGE, 0): "running", (LARGE, 1): "running", (LARGE, 2): "planned", (LARGE, 3): "planned",
    }  # fmt: skip
    assert found[SMALL, 0].left_s == found[SMALL, 1].left_s == 0
    assert found[SMALL, 3].left_s == pytest.approx(3 * 2.0)
    assert found[LARGE, 0].left_s == pytest.approx(8.0 - 6.0)
    assert found[LARGE, 1].left_s == pytest.approx(4 * 8.0)
    assert found[LARGE, 2].left_s == pytest.approx(4 * 8.0)
    # 2 and 32 s under way, then 32, 32 and 6 s: 2 + 32 = 34, 32 + 32 = 64, 34 + 6 = 40.
    assert line == (
        "1 trained, 1 diverged, 1 failed, 2 running, 1 started, 2 planned; about 64 s left, 2 at a "
        "time"
    )
    words = " | ".join(lines)
    assert "running, epoch 3 of 4 finished, about 2 s left" in words
    assert "diverged: its loss is not finite" in words
    assert "failed: RunError: no room (see " in words
    assert "started and stopped, epoch 1 of 4 finished" in words
    assert "of an earlier attempt" not in words, "it runs again"
    assert len(lines) == 5


def test_a_network_without_a_finished_epoch_is_estimated_by_its_cost(study, runs):
    finish(runs[SMALL, 0], 2.0)
    assert standing(study)[LARGE, 0].left_s == pytest.approx(4 * 2.0 * RATIO)


def test_the_time_left_is_unknown_until_an_epoch_is_finished(study, runs):
    found = status.standings(study.path)
    assert {one.left_s for one in found} == {None}
    assert status.summary(found) == "8 planned; time left: unknown until an epoch is finished"


def test_no_time_is_left_when_all_runs_have_ended(study, runs):
    for run in runs.values():
        finish(run, 1.0)
    assert status.summary(status.standings(study.path)) == "8 trained"
    runs[SMALL, 0].path.joinpath("result.json").unlink()
    runs[SMALL, 0].record_error("RunError", "no room")
    assert status.summary(status.standings(study.path)) == "7 trained, 1 failed"


def test_a_run_and_a_folder_of_runs(study, runs, tmp_path):
    finish(runs[SMALL, 0], 2.0)
    (one,) = status.standings(runs[SMALL, 0].path)
    assert one.state == "trained"
    assert len(status.standings(tmp_path)) == 8
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "missing", study.path / "study.json"):
        with pytest.raises(StudyError, match="holds no runs"):
            status.standings(path)


def test_damaged_runs_are_listed_with_their_reasons(study, runs):
    finish(runs[SMALL, 0], 2.0)
    shutil.rmtree(runs[SMALL, 1].path)
    (runs[SMALL, 2].path / "recipe.json").write_text("{")
    finish(runs[SMALL, 3], 2.0)
    (runs[SMALL, 3].path / "result.json").write_text('{"status": 5}')
    found = status.standings(study.path)
    assert status.summary(found).startswith("1 trained, 4 planned, 3 damaged; about ")
    words = "\n".join(status.lines(found))
    assert "damaged: " in words
    assert "it has no recipe.json" in words
    assert "recipe.json is damaged: it is empty or cut short" in words
    assert "result.json is damaged: status must be text, was a whole number" in words
    damaged = [one for one in status.record(study.path, found)["runs"] if one["recipe"] is None]
    assert len(damaged) == 3
    for run in runs.values():
        (run.path / "recipe.json").unlink(missing_ok=True)
    with pytest.raises(StudyError, match=r"holds damaged runs only; the first: .*recipe\.json"):
        status.standings(study.path)


def test_many_run_at_once(study, runs):
    finish(runs[SMALL, 0], 2.0)
    with ExitStack() as stack:
        for seed in (1, 2, 3):
            stack.enter_context(runs[SMALL, seed].locked())
        found = status.standings(study.path)
        assert status.counts(found)["running"] == 3
        assert status.left_s(found) == pytest.approx(8 + 2 * 8 * RATIO)


def test_runs_of_one_process_are_not_counted_as_processes(study, runs):
    """Four runs side by side: an epoch of all takes 8 s, and each records its share, 2 s."""
    with ExitStack() as stack:
        for seed in range(4):
            epochs(runs[LARGE, seed], 3, 2.0, together=4)
            stack.enter_context(runs[LARGE, seed].locked())
        found = standing(study)
        assert found[LARGE, 0].left_s == pytest.approx(8.0, abs=1)
        seconds = 8 + 4 * 4 * 2.0 / RATIO
        assert status.left_s(list(found.values())) == pytest.approx(seconds, abs=1)
        assert status.summary(list(found.values())).endswith(" left, 4 at a time")


def test_a_pack_in_its_first_epoch_is_taken_to_be_as_large_as_the_one_before(study, runs):
    for seed in (0, 1):
        finish(runs[SMALL, seed], 2.0, together=2)
    with runs[SMALL, 2].locked(), runs[SMALL, 3].locked():
        found = standing(study)
        assert found[SMALL, 2].left_s == pytest.approx(4 * 2 * 2.0)
        seconds = 4 * 2 * 2.0 + 4 * 4 * 2.0 * RATIO
        assert status.left_s(list(found.values())) == pytest.approx(seconds)


def test_the_record_is_json(study, runs):
    finish(runs[SMALL, 0], 2.0)
    record = json.loads(json.dumps(status.record(study.path, status.standings(study.path))))
    assert record["counts"] == {
        "trained": 1, "diverged": 0, "failed": 0, "running": 0, "started": 0, "planned": 7,
        "damaged": 0,
    }  # fmt: skip
    assert record["left_s"] == pytest.approx(3 * 8 + 4 * 8 * RATIO)
    one = next(one for one in record["runs"] if one["state"] == "trained")
    assert (one["epochs_done"], one["epochs"], one["spent_s"]) == (4, 4, 8.0)
    assert one["recipe"]["width"] == 1.0


@pytest.mark.parametrize(
    ("seconds", "jobs", "running", "expected"),
    [
        ([], 2, [], 0),
        ([3, 2, 1], 1, [], 6),
        ([3, 2, 1], 2, [], 3),
        ([3, 2, 1], 9, [], 3),
        ([5], 2, [1, 4], 6),
        ([], 2, [1, 4], 4),
    ],
)
def test_makespan(seconds, jobs, running, expected):
    assert makespan(seconds, jobs, running) == expected
