"""Jobs on a real Ray cluster of several nodes on this machine, one of which is killed."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from executor_contract import ExecutorContract, python
from lowres.errors import LowresError
from lowres.study.study import Study
from lowres.work import ray as ray_runs
from lowres.work.ray import RayCluster
from ray_work import MEMORY, cluster_of
from waiting import DEADLINE_S, wait_until

ray = pytest.importorskip("ray", reason="ray is not installed")

pytestmark = [
    pytest.mark.slow,
    # Ray's own: sockets and files that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    with cluster_of(nodes=2) as made:
        yield made


class TestRayCluster(ExecutorContract):
    @pytest.fixture
    def executor(self, cluster):
        return RayCluster(cluster.address)


def test_jobs_of_a_lost_node_run_again_elsewhere(cluster, tmp_path):
    doomed = cluster.add_node(num_cpus=1, **MEMORY)
    (raylet,) = doomed.all_processes["raylet"]
    lost = tmp_path / "lost"  # the jobs wait for this file
    code = (
        "import os, time, pathlib; print(os.getpid(), flush=True)\n"
        f"while not pathlib.Path({str(lost)!r}).exists(): time.sleep(0.02)"
    )
    jobs = [python(tmp_path, f"p{n}", code) for n in range(3)]

    def doomed_jobs() -> list[int]:
        started = [
            int(pid) for job in jobs if job.log.exists() for pid in job.log.read_text().split()
        ]
        return [one for one in started if raylet.process.pid in ancestors(one)]

    def kill() -> None:
        try:
            wait_until(doomed_jobs)
            for one in (raylet.process.pid, ancestors(doomed_jobs()[0])[0]):
                os.kill(one, signal.SIGKILL)
            cluster.remove_node(doomed, allow_graceful=False)
        finally:
            lost.touch()

    killer = threading.Thread(target=kill)
    killer.start()
    statuses = [result.exit_status for result in RayCluster(cluster.address).finish(jobs)]
    killer.join()
    assert statuses == [0, 0, 0]
    assert sorted(len(job.log.read_text().split()) for job in jobs) == [1, 1, 2]


def ancestors(process: int) -> list[int]:
    found = []
    while process > 1:
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            break
        process = int(stat.rpartition(")")[2].split()[1])
        found.append(process)
    return found


def test_an_interrupted_study_leaves_nothing_training(cluster, store_path, tmp_path):
    command = [
        *(sys.executable, "-m", "lowres", "study", store_path, "--seeds", "1", "--epochs", "10000"),
        *("--variant", "8-box", "--width", "0.5", "--blocks", "1", "--batch-size", "8"),
        *("--executor", "ray", "--address", cluster.address),
    ]
    driver = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    study = tmp_path / "study"
    wait_until(lambda: list(study.glob("runs/*/checkpoint.pt")))
    driver.send_signal(signal.SIGTERM)
    _, errors = driver.communicate(timeout=DEADLINE_S)
    assert driver.returncode == 130, errors
    assert "interrupted" in errors
    wait_until(lambda: not any(run.busy for run in Study.open(study).runs))
    assert {run.state for run in Study.open(study).runs} == {"started"}


DRIVER = """
import sys
from pathlib import Path
from lowres.work.executor import Job
from lowres.work.ray import RayCluster

code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
jobs = [Job(name, (sys.executable, "-c", code), Path(name).resolve()) for name in ("a", "b")]
list(RayCluster(sys.argv[1]).finish(jobs))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_driver_leaves_nothing_running(cluster, tmp_path, number):
    """Even if it is killed and cannot stop its jobs."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, cluster.address], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    logs = [tmp_path / "a", tmp_path / "b"]
    wait_until(lambda: all(log.exists() and log.read_text() for log in logs))
    driver.send_signal(number)
    driver.wait(timeout=DEADLINE_S)
    processes = [Path("/proc") / log.read_text().strip() for log in logs]
    wait_until(lambda: not any(process.exists() for process in processes))


def test_a_job_that_is_lost_every_time(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_runs, "RETRIES", 1)
    code = "import os; os.kill(os.getppid(), 9)"  # of the actor
    words = "the Ray cluster lost fatal 2 times, at last because its machine or its actor ended"
    with pytest.raises(LowresError, match=words):
        list(RayCluster(cluster.address).finish([python(tmp_path, "fatal", code)]))


def test_a_job_without_room_anywhere(cluster, tmp_path):
    job = python(tmp_path, "wide", "")
    with pytest.raises(LowresError, match="no machine of the Ray cluster has 64 cores"):
        list(RayCluster(cluster.address, threads=64).finish([job]))
    with pytest.raises(LowresError, match="no machine of the Ray cluster has 1 cores and a GPU"):
        list(RayCluster(cluster.address, gpus=True).finish([job]))


def test_threads_and_jobs(cluster, tmp_path):
    code = (
        "import os, time; print(os.environ['OMP_NUM_THREADS'], time.time()); time.sleep(0.3);"
        "print(time.time())"
    )
    jobs = [python(tmp_path, f"p{n}", code) for n in range(2)]
    assert len(list(RayCluster(cluster.address, jobs=1).finish(jobs))) == 2
    (first, second) = [job.log.read_text().split() for job in jobs]
    assert first[0] == second[0] == "1"
    assert float(second[1]) > float(first[2]), "one at a time, in order"


def test_no_cluster(tmp_path):
    with pytest.raises(LowresError, match="no Ray cluster answers at --address"):
        list(RayCluster("127.0.0.1:1").finish([python(tmp_path, "a", "")]))


def test_a_job_that_ray_ends_for_memory(tmp_path, monkeypatch):
    """Ray's monitor ends jobs of a machine whose memory is used to a share, here of almost 0."""
    monkeypatch.setattr(ray_runs, "RETRIES", 1)
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    words = "lost hungry 2 times, .* when the memory of its machine ran out: use machines with more"
    job = python(tmp_path, "hungry", "import time; time.sleep(600)")
    with cluster_of(nodes=1) as small, pytest.raises(LowresError, match=words):
        list(RayCluster(small.address).finish([job]))
