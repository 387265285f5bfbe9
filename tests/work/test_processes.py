"""Local processes against the contract of executors."""

import sys
import time

import pytest

from executor_contract import ExecutorContract
from lowres.work.executor import Job
from lowres.work.processes import LocalProcesses, gpu_names, share_cores
from waiting import wait_until


class TestLocalProcesses(ExecutorContract):
    @pytest.fixture
    def executor(self):
        return LocalProcesses(jobs=2, threads=1)


def test_processes_get_their_threads(tmp_path):
    code = "import os; print(os.environ['OMP_NUM_THREADS'])"
    job = Job("a", (sys.executable, "-c", code), tmp_path / "log")
    list(LocalProcesses(jobs=1, threads=3).finish([job]))
    assert (tmp_path / "log").read_text() == "3\n"


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("lowres.work.processes.STOP_S", 0.5)
    code = (
        "import signal, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(tmp_path / 'up')!r}).touch(); time.sleep(600)"
    )
    quick = Job("quick", (sys.executable, "-c", ""), tmp_path / "log")
    stubborn = Job("stubborn", (sys.executable, "-c", code), tmp_path / "log")
    results = LocalProcesses(jobs=2, threads=1).finish([quick, stubborn])
    next(results)
    wait_until((tmp_path / "up").exists)
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < 300


@pytest.mark.parametrize(
    ("cores", "count", "jobs", "expected"),
    [
        (2, 16, None, (2, 1)),
        (8, 3, None, (3, 2)),
        (8, 100, 4, (4, 2)),
        (2, 1, None, (1, 2)),
        (2, 0, None, (1, 2)),
        (2, 4, 8, (8, 1)),
    ],
)
def test_cores_are_shared(monkeypatch, cores, count, jobs, expected):
    monkeypatch.setattr("lowres.work.processes.available_cores", lambda: cores)
    assert share_cores(count, jobs) == expected


def test_cores_are_shared_by_threads(monkeypatch):
    monkeypatch.setattr("lowres.work.processes.available_cores", lambda: 8)
    assert share_cores(16, threads=3) == (2, 3)
    assert share_cores(16, threads=99) == (1, 99)
    assert share_cores(16, jobs=4, threads=1) == (4, 1)


@pytest.mark.parametrize(
    ("visible", "count", "names"),
    [
        (None, 3, ("0", "1", "2")),
        ("", 0, ()),
        ("2,5", 2, ("2", "5")),
        ("GPU-1a,GPU-2b", 2, ("GPU-1a", "GPU-2b")),
    ],
)
def test_names_of_gpus(monkeypatch, visible, count, names):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_names(count) == names


def test_gpus_are_shared(tmp_path):
    """Each process sees one; no GPU has two processes while another has none."""
    code = (
        "import os, pathlib, sys, time; folder = pathlib.Path(sys.argv[1]);"
        "mine = folder / os.environ['CUDA_VISIBLE_DEVICES']; mine.touch(exist_ok=False);"
        "time.sleep(0.3); mine.unlink(); print(mine.name)"
    )
    (tmp_path / "gpus").mkdir()
    command = (sys.executable, "-c", code, str(tmp_path / "gpus"))
    jobs = [Job(f"p{n}", command, tmp_path / f"p{n}") for n in range(6)]
    executor = LocalProcesses(jobs=3, threads=1, gpus=("4", "GPU-a", "7"))
    assert [result.exit_status for result in executor.finish(jobs)] == [0] * 6
    seen = [job.log.read_text().strip() for job in jobs]
    assert sorted(seen[:3]) == ["4", "7", "GPU-a"]
    assert set(seen) == {"4", "GPU-a", "7"}


def test_processes_of_one_gpu_see_what_this_one_sees(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    job = Job("a", (sys.executable, "-c", code), tmp_path / "log")
    list(LocalProcesses(jobs=1, threads=1).finish([job]))
    assert (tmp_path / "log").read_text() == "3\n"
