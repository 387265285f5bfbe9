"""Several processes on one study: each run is trained once, and the plan stays whole.

A toy takes the place of `lowres train`, so that no process has to import torch: it locks a run,
writes an epoch every fifth of a second, and resumes.
"""

import json
import os
import signal
import subprocess
import sys

import pytest

from lowres.errors import StudyError
from lowres.recipe import Recipe
from lowres.study.axes import Axis
from lowres.study.study import Study
from lowres.work.files import held
from waiting import DEADLINE_S, wait_until

BASE = Recipe(variant="8-box", epochs=3, batch_size=8)

PLAN = """
import sys
from pathlib import Path
from lowres import open_store
from lowres.recipe import Recipe
from lowres.study.axes import Axis
from lowres.study.study import Study

store, number = open_store(sys.argv[1]), int(sys.argv[2])
axes = [Axis("lr", (0.01, 1.0 + number)), Axis("seed", tuple(range(4)))]
Study.plan(Path("study"), store, Recipe(variant="8-box", batch_size=8), axes)
"""

TRAIN = """
import os, sys, time
from pathlib import Path
from lowres.errors import RunBusyError
from lowres.training.run import Run

run = Run.open(Path(sys.argv[1]))
try:
    with run.locked():
        (run.path / "checkpoint.pt").touch()
        (run.path / "process").write_text(str(os.getpid()))
        history = run.metrics()
        while not run.finished and len(history) < run.recipe.epochs:
            time.sleep(0.2)
            history.append({"epoch": len(history) + 1, "train_s": 1.0, "eval_s": 0.1})
            run.write_metrics(history)
            print(f"epoch {len(history)}", flush=True)
            while Path("hold").exists():
                time.sleep(0.05)
        run.finish({"status": "trained", "top1_error": 0.5, "train_s": 1.0})
except RunBusyError:
    sys.exit(75)
"""

FINISH = """
import sys
from dataclasses import replace
from pathlib import Path
from lowres.progress import shown
from lowres.study.study import Study
from lowres.work.processes import LocalProcesses

class Toy(LocalProcesses):
    def finish(self, jobs):
        toy = sys.executable, "-c", sys.argv[1]
        return super().finish([replace(one, command=(*toy, str(one.log.parent))) for one in jobs])

print(Study.open(Path("study")).finish(Toy(1, 1), track=shown))
"""


def test_a_plan_that_several_processes_grow(store_path, tmp_path):
    """Nothing that one of them adds is lost."""
    command = [sys.executable, "-c", PLAN, str(store_path.resolve())]
    planners = [
        subprocess.Popen([*command, str(number)], cwd=tmp_path, stderr=subprocess.PIPE)
        for number in range(3)
    ]
    ended = [planner.communicate(timeout=DEADLINE_S)[1].decode() for planner in planners]
    assert [planner.returncode for planner in planners] == [0] * 3, ended
    record = json.loads((tmp_path / "study" / "study.json").read_text())
    assert sorted(record["axes"]["lr"]) == [0.01, 1.0, 2.0, 3.0]
    assert len(Study.open(tmp_path / "study").runs) == 16
    assert len(list((tmp_path / "study" / "runs").iterdir())) == 16


def test_a_planner_that_does_not_end(store, tmp_path, monkeypatch):
    monkeypatch.setattr("lowres.study.study.PLANNING_S", 0.2)
    (tmp_path / "study").mkdir()
    with (
        held(tmp_path / "study"),
        pytest.raises(StudyError, match="is being planned by another process"),
    ):
        Study.plan(tmp_path / "study", store, BASE, [])


@pytest.fixture
def hold(tmp_path):
    """A file: while it exists, toys wait after an epoch."""
    path = tmp_path / "hold"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


def start(folder):
    command = [sys.executable, "-c", FINISH, TRAIN]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, text=True, **pipes)


@pytest.mark.full
def test_two_processes_finish_one_study(store, tmp_path):
    """Both end when all runs are finished, and no epoch was trained twice."""
    study = Study.plan(tmp_path / "study", store, BASE, [Axis("seed", (0, 1, 2))])
    both = [start(tmp_path) for _ in range(2)]
    for out, errors in [process.communicate(timeout=DEADLINE_S) for process in both]:
        assert "finished=3, failed={}" in out, errors
        assert errors.count("top-1 error") == 3, "each shows how every run ended"
    for run in study.runs:
        log = (run.path / "train.log").read_text()
        assert log.splitlines() == ["epoch 1", "epoch 2", "epoch 3"]


@pytest.mark.full
def test_the_second_takes_over_what_the_first_leaves(store, tmp_path, hold):
    (run,) = Study.plan(tmp_path / "study", store, BASE, []).runs
    first = start(tmp_path)
    wait_until(lambda: (run.path / "train.log").exists() and (run.path / "train.log").read_text())
    second = start(tmp_path)
    assert "another process is training it; waiting" in second.stderr.readline()
    for process in (first.pid, int((run.path / "process").read_text())):
        os.kill(process, signal.SIGKILL)
    first.communicate()
    hold.unlink()
    assert len(run.metrics()) == 1, "it was training"
    out, errors = second.communicate(timeout=DEADLINE_S)
    assert "finished=1, failed={}" in out, errors
    assert (run.path / "train.log").read_text().splitlines() == ["epoch 1", "epoch 2", "epoch 3"]
