"""Jobs as processes on this machine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowres.work.executor import Job, Result
from lowres.work.threads import available_cores

POLL_S = 0.05
STOP_S = 10.0
"""How long a process may take to end when asked, before it is killed."""

GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def share_cores(count: int, jobs: int | None = None, threads: int | None = None) -> tuple[int, int]:
    """Share the cores among `count` jobs: return processes at a time and threads of each.

    Each process gets one thread if there are enough jobs: small networks gain little from more.
    `jobs` (processes at a time) and `threads` are what the user has decided.
    """
    cores = available_cores()
    jobs = jobs or max(1, min(cores // (threads or 1), count))
    return jobs, threads or max(1, cores // jobs)


def gpu_names(count: int) -> tuple[str, ...]:
    """Return the names, in `CUDA_VISIBLE_DEVICES`, of the `count` GPUs that this process sees."""
    visible = [name for name in os.environ.get(GPU_VARIABLE, "").split(",") if name.strip()]
    return tuple(visible[:count]) if visible else tuple(map(str, range(count)))


@dataclass
class LocalProcesses:
    """Runs several processes at a time.

    Attributes:
        jobs: processes at a time.
        threads: threads of the libraries of each.
        gpus: names of GPUs to share; each process sees the one with the fewest processes. Without
            names, processes see what this one sees.
    """

    jobs: int
    threads: int
    gpus: Sequence[str] = ()

    def finish(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Run every job; see `Executor.finish`."""
        waiting = list(reversed(jobs))
        running: dict[Job, subprocess.Popen[bytes]] = {}
        taken: dict[Job, str] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    job = waiting.pop()
                    if self.gpus:
                        taken[job] = min(self.gpus, key=list(taken.values()).count)
                    gpu = taken.get(job)
                    running[job] = start_process(job.command, job.log, self.threads, gpu)
                for job, process in list(running.items()):
                    if process.poll() is not None:
                        del running[job]
                        taken.pop(job, None)
                        yield Result(job, process.returncode)
                time.sleep(POLL_S)
        finally:
            end_processes(list(running.values()))


def start_process(
    command: Sequence[str], log: Path, threads: int, gpu: str | None = None
) -> subprocess.Popen[bytes]:
    """Start a command without input, whose libraries use some threads; `log` gets its output."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    if gpu is not None:
        environment[GPU_VARIABLE] = gpu
    none, same = subprocess.DEVNULL, subprocess.STDOUT
    with log.open("ab") as file:
        return subprocess.Popen(command, env=environment, stdin=none, stdout=file, stderr=same)


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
