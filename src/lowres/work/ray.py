"""Jobs as processes on the machines of a Ray cluster, which share a file system.

Each job has an actor, which starts the process and can be asked to end it. Cancelling a task would
be simpler, but crashes the process that cancels if the task has just ended (ray-project/ray,
#54798).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from lowres.errors import LowresError, require
from lowres.work import die_with_parent
from lowres.work.executor import Job, Result
from lowres.work.processes import end_processes, start_process

Ray: TypeAlias = Any
"""The module, and what it returns: it has no types of its own."""

RETRIES = 5
"""How often a job is started again after its machine or its actor was lost."""

POLL_S = 1.0
"""How long to wait for results before the cluster is counted again."""

STOP_S = 15.0
"""How long jobs may take to end when asked; then their actors are killed."""

CONNECT_S = 5.0
"""How long a cluster may take to answer."""

ACTOR = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": 2}
"""A restart or retry by Ray itself would hide that a machine was lost. `Worker.stop` is called
while `Worker.run` runs."""

NOT_IMPORTED = "failed to import on the worker"
"""Part of Ray's RuntimeError if a machine lacks the module of a function."""

CANNOT_IMPORT = (
    "a machine of the Ray cluster cannot import lowres: install the same lowres, with the same "
    "Pillow and NumPy, on every machine"
)


LOW = "running low on memory"
"""Part of the error of an actor that Ray's memory monitor has ended."""

OUT_OF_MEMORY = (
    "Ray ended it when the memory of its machine ran out: use machines with more memory, or start "
    "Ray on them with fewer cores (ray start --num-cpus), so that fewer jobs share one"
)


class Worker:
    """Runs one job on a machine of the cluster."""

    def __init__(self) -> None:
        self.stopping = threading.Event()

    def run(self, command: Sequence[str], log: str, threads: int, home: str) -> int:
        """Run a command to its end and return its exit status.

        If its program is `home`, the Python of the process that starts the jobs, this machine's
        own Python takes its place.
        """
        program = sys.executable if command[0] == home else command[0]
        tied = (sys.executable, "-I", die_with_parent.__file__, str(os.getpid()))
        process = start_process((*tied, program, *command[1:]), Path(log), threads)
        while process.poll() is None:
            if self.stopping.wait(0.05):
                end_processes([process])
        return process.returncode

    def stop(self) -> None:
        """End the process, or the one that would be started."""
        self.stopping.set()


@dataclass
class RayCluster:
    """Runs jobs on a Ray cluster, as many at a time as it has room for.

    Machines may join and leave. If a machine is lost, its jobs are started again elsewhere, so
    `Job.log` and the files that a job writes must be on a file system that all machines share.

    Attributes:
        address: of the cluster, as `ray.init` takes it; auto for the one of this machine.
        threads: cores for each job, and threads of its libraries.
        gpus: whether each job gets a GPU. Default: if the cluster has any.
        jobs: jobs at a time, at most.
    """

    address: str
    _: KW_ONLY
    threads: int = 1
    gpus: bool | None = None
    jobs: int | None = None

    def finish(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Run every job; see `Executor.finish`.

        Raises:
            MissingExtraError: ray is not installed.
            LowresError: no cluster answers, it cannot import lowres or has no room for a job, or a
                job was lost too often.
        """
        ray = require("ray", "ray")
        if not jobs:
            return
        waiting, lost = list(reversed(jobs)), dict.fromkeys(jobs, 0)
        running: dict[Ray, tuple[Job, Ray]] = {}
        with connected(ray, self.address):
            self._check_room(ray)
            try:
                while waiting or running:
                    while waiting and len(running) < self._room(ray):
                        job = waiting.pop()
                        gpu = int(self._with_gpus(ray.cluster_resources()))
                        needs = {"num_cpus": self.threads, "num_gpus": gpu, **ACTOR}
                        actor = ray.remote(Worker).options(**needs).remote()
                        log, command = str(job.log.resolve()), list(job.command)
                        reference = actor.run.remote(command, log, self.threads, sys.executable)
                        running[reference] = job, actor
                    for reference in ray.wait(list(running), timeout=POLL_S)[0]:
                        job, actor = running.pop(reference)
                        status = _exit_status(ray, reference)
                        ray.kill(actor)
                        if isinstance(status, int):
                            yield Result(job, status)
                            continue
                        lost[job] += 1
                        if lost[job] > RETRIES:
                            raise LowresError(
                                f"the Ray cluster lost {job.name} {RETRIES + 1} times, at last "
                                f"because {status}; the log of the job is {job.log}"
                            )
                        waiting.append(job)
            finally:
                _stop(ray, running)

    def _check_room(self, ray: Ray) -> None:
        gpu = self._with_gpus(ray.cluster_resources())
        for node in ray.nodes():
            has = node["Resources"] if node["Alive"] else {}
            if has.get("CPU", 0) >= self.threads and has.get("GPU", 0) >= gpu:
                return
        raise LowresError(
            f"no machine of the Ray cluster has {self.threads} cores{' and a GPU' * gpu} for a "
            "job: choose fewer --threads or another --device, or wait until it has machines"
        )

    def _with_gpus(self, total: Mapping[str, float]) -> bool:
        return total.get("GPU", 0) > 0 if self.gpus is None else self.gpus

    def _room(self, ray: Ray) -> int:
        """Return how many jobs the cluster has room for at a time."""
        total = ray.cluster_resources()
        room = int(total.get("CPU", 0)) // self.threads
        if self._with_gpus(total):
            room = min(room, int(total.get("GPU", 0)))
        # If it has no room, a machine may be on its way: one job waits, so that Ray knows.
        return max(1, min(room, self.jobs or room))


def _exit_status(ray: Ray, reference: Ray) -> int | str:
    """Return the exit status of a job, or why its actor was lost."""
    try:
        return int(ray.get(reference))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, LowresError | OSError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        if NOT_IMPORTED in str(error) or "ModuleNotFoundError" in str(error):
            raise LowresError(CANNOT_IMPORT) from error
        by_monitor = isinstance(error, ray.exceptions.OutOfMemoryError) or LOW in str(error)
        return OUT_OF_MEMORY if by_monitor else "its machine or its actor ended"


def _stop(ray: Ray, running: Mapping[Ray, tuple[Job, Ray]]) -> None:
    """End all jobs."""
    if running:
        for _, actor in running.values():
            actor.stop.remote()
        ray.wait(list(running), num_returns=len(running), timeout=STOP_S)
        for _, actor in running.values():
            ray.kill(actor)


@contextmanager
def connected(ray: Ray, address: str) -> Iterator[None]:
    """Connect this process to a cluster, unless it is connected already.

    Raises:
        LowresError: no cluster answers.
    """
    if ray.is_initialized():
        yield
        return
    answer = signal.getsignal(signal.SIGTERM)
    try:
        # Ray itself tries for minutes to find a cluster, and prints much.
        known = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
        host, _, port = known.rpartition(":")
        if "://" not in known and host and port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise LowresError(
            f"no Ray cluster answers at --address {address}: start one with 'ray start --head', "
            f"or use the address that it printed ({reason})"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, answer)  # Ray replaces it
    try:
        yield
    finally:
        ray.shutdown()
