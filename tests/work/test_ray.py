"""Jobs on a real Ray cluster of several nodes on this machine, one of which is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from executor_contract import ExecutorContract, python
from lowres.errors import LowresError
from lowres.recipe import Recipe
from lowres.study.axes import Axis
from lowres.study.study import Study
from lowres.work import ray as ray_runs
from lowres.work.ray import RayCluster
from ray_work import MEMORY, cluster_of

ray = pytest.importorskip("ray", reason="ray is not installed")

pytestmark = [
    pytest.mark.slow,
    # Ray's own: sockets and files that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

BASE = Recipe(variant="8-box", width=0.5, blocks=1, epochs=2, batch_size=8)


@pytest.fixture(scope="module")
def cluster():
    with cluster_of(nodes=2) as made:
        yield made


class TestRayCluster(ExecutorContract):
    @pytest.fixture
    def executor(self, cluster):
        return RayCluster(cluster.address)


def test_a_node_is_killed_while_it_trains(cluster, store, tmp_path):
    """The study is complete, and each run was finished once."""
    study = Study.plan(tmp_path / "study", store, BASE, [Axis("seed", tuple(range(3)))])
    doomed = cluster.add_node(num_cpus=1, **MEMORY)
    (raylet,) = doomed.all_processes["raylet"]
    lost = []

    def kill() -> None:
        of_node: set[int] = set()
        while not of_node:
            time.sleep(0.02)
            runs = training(study.path)
            of_node = {one for one in runs if raylet.process.pid in ancestors(one)}
            # Not one that has just been started: it must hold its run.
            of_node = {one for one in of_node if runs[one].busy}
        (train,) = of_node
        lost.append(training(study.path)[train].path.name)
        worker = ancestors(train)[0]
        for process in (raylet.process.pid, worker):
            os.kill(process, signal.SIGKILL)
        cluster.remove_node(doomed, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    summary = study.finish(RayCluster(cluster.address))
    killer.join()
    assert lost
    assert (summary.finished, summary.failed) == (3, {})
    for run in study.runs:
        assert (run.path / "train.log").read_text().count("result.json") == 1, run.path.name
        assert [record["epoch"] for record in run.metrics()] == [1, 2]
    assert not training(study.path)


def training(folder: Path) -> dict:
    """Find the processes that train a run below a folder."""
    from lowres.training.run import Run

    found = {}
    for listed in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = listed.read_bytes().decode().split("\0")
        except OSError:
            continue
        below = [word for word in words if word.startswith(f"{folder}/runs/")]
        if "train" in words and below:
            found[int(listed.parent.name)] = Run.open(Path(below[0]))
    return found


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
        *(sys.executable, "-m", "lowres", "study", store_path, "--seeds", "1", "--epochs", "500"),
        *("--variant", "8-box", "--width", "0.5", "--blocks", "1", "--batch-size", "8"),
        *("--executor", "ray", "--address", cluster.address),
    ]
    driver = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    study = tmp_path / "study"
    wait_until(lambda: list(study.glob("runs/*/checkpoint.pt")))
    driver.send_signal(signal.SIGTERM)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130, errors
    assert "interrupted" in errors
    assert not training(study)
    assert {run.state for run in Study.open(study).runs} == {"started"}


DRIVER = """
import sys
from pathlib import Path
from lowres.work.executor import Job
from lowres.work.ray import RayCluster

code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
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
    driver.wait(timeout=60)
    processes = [Path("/proc") / log.read_text().strip() for log in logs]
    wait_until(lambda: not any(process.exists() for process in processes), 30)


def test_a_job_that_is_lost_every_time(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_runs, "RETRIES", 1)
    code = "import os; os.kill(os.getppid(), 9)"  # of the actor
    with pytest.raises(LowresError, match="the Ray cluster lost fatal 2 times"):
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


def wait_until(true, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
