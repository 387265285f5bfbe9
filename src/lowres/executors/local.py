"""Pieces of work as processes on this machine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence

from lowres.executors.base import Outcome, Piece

POLL_S = 0.05
STOP_S = 10.0
"""How long a process may take to stop when asked, before it is killed."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def available_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cores(pieces: int, jobs: int | None = None) -> tuple[int, int]:
    """Share the cores out: how many processes at a time, and threads for each.

    One thread each as long as there are pieces enough, because small networks gain little from
    more threads.

    Args:
        pieces: how many pieces of work there are.
        jobs: processes at a time, if the user has decided.
    """
    cores = available_cores()
    jobs = jobs or max(1, min(cores, pieces))
    return jobs, max(1, cores // jobs)


class LocalProcesses:
    """Runs up to `jobs` processes at a time, each told to use `threads` threads."""

    def __init__(self, jobs: int, threads: int) -> None:
        self.jobs = jobs
        self.environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}

    def finish(self, pieces: Sequence[Piece]) -> Iterator[Outcome]:
        """Run every piece; see `Executor.finish`."""
        waiting = list(reversed(pieces))
        running: dict[Piece, subprocess.Popen[bytes]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    piece = waiting.pop()
                    running[piece] = self._start(piece)
                for piece, process in list(running.items()):
                    if process.poll() is not None:
                        del running[piece]
                        yield Outcome(piece, process.returncode)
                time.sleep(POLL_S)
        finally:
            _stop(list(running.values()))

    def _start(self, piece: Piece) -> subprocess.Popen[bytes]:
        with piece.log.open("ab") as log:
            return subprocess.Popen(
                piece.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
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
