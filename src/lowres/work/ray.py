"""Pieces of work as processes on the machines of a Ray cluster, which share a file system.

Each job has an actor, which starts its process and can be told to end it. A task that is
cancelled would be simpler, but brings down the process that cancels where it is just done
(ray-project/ray, #54798).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from lowres.errors import LowresError, require
from lowres.work import die_with_parent as tied
from lowres.work.executor import Job, Result
from lowres.work.processes import end_processes, thread_environment
from lowres.work.ray_connection import CANNOT_IMPORT, NOT_IMPORTED, connected

RETRIES = 5
"""How often a job is begun again whose machine or actor was lost."""

POLL_S = 1.0
"""How long to wait for results before the cluster is counted again."""

STOP_S = 15.0
"""How long jobs may take to end when told to; then their actors are killed."""


class Worker:
    """Runs one job on some machine of the cluster."""

    def __init__(self) -> None:
        self.stopping = threading.Event()

    def run(self, command: Sequence[str], log: str, threads: int, home: str) -> int:
        """Run a command to its end and give its exit status.

        Args:
            command: program and arguments; where the program is `home`, this machine's own Python
                takes its place.
            log: file that gets what it prints.
            threads: threads that it is told to use.
            home: the Python of the process that hands out the jobs.
        """
        program = sys.executable if command[0] == home else command[0]
        tie = (sys.executable, "-I", tied.__file__, str(os.getpid()))
        with Path(log).open("ab") as file:
            process = subprocess.Popen(
                (*tie, program, *command[1:]),
                env={**os.environ, **thread_environment(threads)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        while process.poll() is None:
            if self.stopping.wait(0.05):
                end_processes([process])
        return process.returncode

    def stop(self) -> None:
        """End what runs, and what would still be started."""
        self.stopping.set()


class RayCluster:
    """Runs jobs on a Ray cluster, as many at a time as it has room for.

    Machines may join and leave; what ran on a lost one is begun again elsewhere, so `Job.log`
    and what a job writes must be on a file system that all share.

    Args:
        address: of the cluster, as `ray.init` takes it; auto for the one this machine belongs to.
        threads: cores that each job is given, and threads that it is told to use.
        gpus: give each job a GPU; if not said, where the cluster has any.
        jobs: jobs at a time, at most.
    """

    def __init__(
        self, address: str, *, threads: int = 1, gpus: bool | None = None, jobs: int | None = None
    ) -> None:
        self.address = address
        self.threads = threads
        self.gpus = gpus
        self.jobs = jobs

    def finish(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Run every job; see `Executor.finish`.

        Raises:
            MissingExtraError: ray is not installed.
            LowresError: no cluster is there, it cannot import lowres or has no room for a job,
                or a job was lost too often.
        """
        ray = require("ray", "ray")
        if not jobs:
            return
        with connected(ray, self.address):
            self._check_room(ray)
            running: dict[Any, tuple[Job, Any]] = {}
            try:
                yield from self._finish(ray, jobs, running)
            finally:
                _stop(ray, running)

    def _finish(
        self,
        ray: Any,  # noqa: ANN401  the module
        jobs: Sequence[Job],
        running: dict[Any, tuple[Job, Any]],
    ) -> Iterator[Result]:
        waiting, lost = list(reversed(jobs)), dict.fromkeys(jobs, 0)
        while waiting or running:
            room = self._room(ray) - len(running)
            for job in islice(iter(waiting.pop, None), min(max(room, 0), len(waiting))):
                actor, reference = self._start(ray, job)
                running[reference] = job, actor
            done, _ = ray.wait(list(running), timeout=POLL_S)
            for reference in done:
                job, actor = running.pop(reference)
                status = _status(ray, reference)
                ray.kill(actor)
                if status is not None:
                    yield Result(job, status)
                    continue
                lost[job] += 1
                if lost[job] > RETRIES:
                    raise LowresError(f"the Ray cluster lost {job.name} {RETRIES + 1} times")
                waiting.append(job)

    def _check_room(self, ray: Any) -> None:  # noqa: ANN401  the module
        gpu = self._with_gpus(ray.cluster_resources())
        for node in ray.nodes():
            has = node["Resources"] if node["Alive"] else {}
            if has.get("CPU", 0) >= self.threads and has.get("GPU", 0) >= gpu:
                return
        raise LowresError(
            f"no machine of the Ray cluster has {self.threads} cores{' and a GPU' * gpu} for a "
            "run: choose fewer --threads or another --device, or wait until it has machines"
        )

    def _with_gpus(self, total: dict[str, float]) -> bool:
        return total.get("GPU", 0) > 0 if self.gpus is None else self.gpus

    def _room(self, ray: Any) -> int:  # noqa: ANN401  the module
        """Count the jobs that the cluster has room for at a time."""
        total = ray.cluster_resources()
        room = int(total.get("CPU", 0)) // self.threads
        if self._with_gpus(total):
            room = min(room, int(total.get("GPU", 0)))
        # Where it has none now, machines may be on their way: let one wait, so that Ray knows.
        return max(1, min(room, self.jobs or room))

    def _start(self, ray: Any, job: Job) -> tuple[Any, Any]:  # noqa: ANN401
        gpus = int(self._with_gpus(ray.cluster_resources()))
        # A restart or retry by Ray itself would hide that a machine was lost.
        actor = (
            ray.remote(Worker)
            .options(
                num_cpus=self.threads,
                num_gpus=gpus,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=2,  # `stop` while `run` runs
            )
            .remote()
        )
        log, command = str(job.log.resolve()), list(job.command)
        return actor, actor.run.remote(command, log, self.threads, sys.executable)


def _status(ray: Any, reference: Any) -> int | None:  # noqa: ANN401
    """Give the exit status of a job, or None where its actor was lost."""
    try:
        return int(ray.get(reference))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, LowresError | OSError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        if NOT_IMPORTED in str(error) or "ModuleNotFoundError" in str(error):
            raise LowresError(CANNOT_IMPORT) from error
        return None


def _stop(ray: Any, running: dict[Any, tuple[Job, Any]]) -> None:  # noqa: ANN401
    """Leave nothing running."""
    if not running:
        return
    for _, actor in running.values():
        actor.stop.remote()
    ray.wait(list(running), num_returns=len(running), timeout=STOP_S)
    for _, actor in running.values():
        ray.kill(actor)
