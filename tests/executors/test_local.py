"""Local processes against the contract of executors."""

import os
import sys
import time

import pytest

from executor_contract import ExecutorContract
from lowres.executors.base import Piece
from lowres.executors.local import LocalProcesses, share_cores


class TestLocalProcesses(ExecutorContract):
    @pytest.fixture
    def executor(self):
        return LocalProcesses(jobs=2, threads=1)


def test_processes_are_told_their_threads(tmp_path):
    code = "import os; print(os.environ['OMP_NUM_THREADS'])"
    piece = Piece("a", (sys.executable, "-c", code), tmp_path / "log")
    list(LocalProcesses(jobs=1, threads=3).finish([piece]))
    assert (tmp_path / "log").read_text() == "3\n"


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("lowres.executors.local.STOP_S", 0.5)
    code = (
        "import signal, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(tmp_path / 'up')!r}).touch(); time.sleep(60)"
    )
    quick = Piece("quick", (sys.executable, "-c", ""), tmp_path / "log")
    stubborn = Piece("stubborn", (sys.executable, "-c", code), tmp_path / "log")
    outcomes = LocalProcesses(jobs=2, threads=1).finish([quick, stubborn])
    next(outcomes)
    while not (tmp_path / "up").exists():
        time.sleep(0.01)
    began = time.monotonic()
    outcomes.close()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("cores", "pieces", "jobs", "expected"),
    [
        (2, 16, None, (2, 1)),
        (8, 3, None, (3, 2)),
        (8, 100, 4, (4, 2)),
        (2, 1, None, (1, 2)),
        (2, 0, None, (1, 2)),
        (2, 4, 8, (8, 1)),
    ],
)
def test_cores_are_shared_out(monkeypatch, cores, pieces, jobs, expected):
    monkeypatch.setattr("lowres.executors.local.available_cores", lambda: cores)
    assert share_cores(pieces, jobs) == expected
    assert os.cpu_count()
