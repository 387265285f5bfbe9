"""Several processes on one study: each run is trained once, and the plan stays whole."""

import json
import os
import signal
import subprocess
import sys
import time

from lowres.recipe import Recipe
from lowres.study.study import Study

TINY = ("--variant", "8-box", "--width", "0.5", "--blocks", "1", "--batch-size", "8", "-j", "1")

PLAN = """
import sys
from pathlib import Path
from lowres import open_store
from lowres.recipe import Recipe
from lowres.study.axes import Axis
from lowres.study.study import Study

store, number = open_store(sys.argv[1]), int(sys.argv[2])
axes = [Axis("lr", (0.01, 1.0 + number)), Axis("seed", tuple(range(10)))]
Study.plan(Path("study"), store, Recipe(variant="8-box"), axes)
"""


def test_a_plan_that_grows_from_many_sides_at_once(store_path, tmp_path):
    """Nothing that one of them adds is lost, whoever writes last."""
    command = [sys.executable, "-c", PLAN, str(store_path.resolve())]
    planners = [
        subprocess.Popen([*command, str(number)], cwd=tmp_path, stderr=subprocess.PIPE)
        for number in range(6)
    ]
    ended = [planner.communicate(timeout=60)[1].decode() for planner in planners]
    assert [planner.returncode for planner in planners] == [0] * 6, ended
    record = json.loads((tmp_path / "study" / "study.json").read_text())
    assert sorted(record["axes"]["lr"]) == [0.01, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert len(Study.open(tmp_path / "study").runs) == 70
    assert len(list((tmp_path / "study" / "runs").iterdir())) == 70


def start(store_path, folder, *arguments):
    command = [sys.executable, "-m", "lowres", "study", str(store_path.resolve()), *arguments]
    return subprocess.Popen(
        [*command, *TINY], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_studies_of_one_directory(store_path, tmp_path):
    """Both end when all is done, with the same words, and no epoch was trained twice."""
    both = [start(store_path, tmp_path, "--seeds", "3", "--epochs", "2") for _ in range(2)]
    for out, errors in [process.communicate(timeout=120) for process in both]:
        assert "study: 3 of 3 runs finished, 0 failed" in out, errors
        assert errors.count("top-1 error") == 3, "each tells how every run ended"
    for run in Study.open(tmp_path / "study").runs:
        log = (run.path / "train.log").read_text()
        assert log.count("epoch 1/2: ") == log.count("epoch 2/2: ") == 1


def test_the_second_takes_over_what_the_first_leaves(store_path, tmp_path):
    first = start(store_path, tmp_path, "--epochs", "6")
    wait_until(lambda: list(tmp_path.glob("study/runs/*/checkpoint.pt")))
    (child,) = children(first.pid)
    os.kill(child, signal.SIGSTOP)  # it holds its run, and gets no further
    (run,) = Study.open(tmp_path / "study").runs
    second = start(store_path, tmp_path, "--epochs", "6")
    assert "another process is training it; waiting" in second.stderr.readline()
    for process in (first.pid, child):
        os.kill(process, signal.SIGKILL)
    first.communicate()
    done = len(run.metrics())
    out, errors = second.communicate(timeout=120)
    assert second.returncode == 0, errors
    assert "study: 1 of 1 runs finished, 0 failed" in out
    assert 0 < done < 6, "it was at its work"
    assert run.result()["epochs"] == 6
    assert (run.path / "train.log").read_text().count("epoch 1/6: ") == 1, "it went on"


def children(process: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "--ppid", str(process), "-o", "pid="], capture_output=True, text=True, check=True
    )
    return [int(word) for word in listed.stdout.split()]


def wait_until(true, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_planner_that_does_not_end(store, tmp_path, monkeypatch):
    import pytest

    from lowres.errors import StudyError
    from lowres.work.files import held

    monkeypatch.setattr("lowres.study.study.PLANNING_S", 0.2)
    (tmp_path / "study").mkdir()
    with (
        held(tmp_path / "study"),
        pytest.raises(StudyError, match="is being planned by another process"),
    ):
        Study.plan(tmp_path / "study", store, Recipe(variant="8-box"), [])
