"""Pieces of work as processes on this machine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence

from lowres.work.executor import Job, Result

POLL_S = 0.05
STOP_S = 10.0
"""How long a process may take to stop when asked, before it is killed."""

GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def available_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cores(count: int, jobs: int | None = None, threads: int | None = None) -> tuple[int, int]:
    """Share the cores out: how many processes at a time, and threads for each.

    One thread each as long as there are enough jobs, because small networks gain little from
    more threads.

    Args:
        count: how many jobs there are.
        jobs: processes at a time, if the user has decided.
        threads: threads of each, likewise.
    """
    cores = available_cores()
    jobs = jobs or max(1, min(cores // (threads or 1), count))
    return jobs, threads or max(1, cores // jobs)


def gpu_names(count: int) -> tuple[str, ...]:
    """Name the GPUs to be shared out, as `CUDA_VISIBLE_DEVICES` does.

    Args:
        count: how many this process sees.
    """
    visible = [name for name in os.environ.get(GPU_VARIABLE, "").split(",") if name.strip()]
    return tuple(visible[:count]) if visible else tuple(map(str, range(count)))


def thread_environment(threads: int) -> dict[str, str]:
    """Give the variables that tell libraries how many threads to use."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


class LocalProcesses:
    """Runs several processes at a time.

    Args:
        jobs: how many.
        threads: threads that each is told to use.
        gpus: names of GPUs to share out; each process then sees one of them, that with the fewest
            processes. Without any, processes see what this one sees.
    """

    def __init__(self, jobs: int, threads: int, gpus: Sequence[str] = ()) -> None:
        self.jobs, self.threads = jobs, threads
        self.gpus = gpus
        self.environment = {**os.environ, **thread_environment(threads)}

    def finish(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Run every job; see `Executor.finish`."""
        waiting = list(reversed(jobs))
        running: dict[Job, subprocess.Popen[bytes]] = {}
        taken: dict[Job, str] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    job = waiting.pop()
                    in_use = list(taken.values())
                    if self.gpus:
                        taken[job] = min(self.gpus, key=in_use.count)
                    running[job] = self._start(job, taken.get(job))
                for job, process in list(running.items()):
                    if process.poll() is not None:
                        del running[job]
                        taken.pop(job, None)
                        yield Result(job, process.returncode)
                time.sleep(POLL_S)
        finally:
            end_processes(list(running.values()))

    def _start(self, job: Job, gpu: str | None) -> subprocess.Popen[bytes]:
        seen = {} if gpu is None else {GPU_VARIABLE: gpu}
        with job.log.open("ab") as log:
            return subprocess.Popen(
                job.command,
                env=self.environment | seen,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def end_processes(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask processes to end, and kill those that do not."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
