"""The protocol of executors: a job is a command, and an executor runs jobs to their end.

A job is a command and not a function. So a process on this machine, a task on a cluster and a line
in the script of a queue do the same, and a job that crashes ends nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

BUSY_STATUS = 75
"""Exit status of a job that another process does already (EX_TEMPFAIL of sysexits.h)."""


@dataclass(frozen=True, slots=True)
class Job:
    """A command to run.

    Attributes:
        name: unique among the jobs of a call.
        command: program and arguments; running it twice must be harmless.
        log: file to which the output of the command is appended.
    """

    name: str
    command: tuple[str, ...]
    log: Path


@dataclass(frozen=True, slots=True)
class Result:
    """How a job ended: its exit status, or the negative number of the signal that killed it."""

    job: Job
    exit_status: int


class Executor(Protocol):
    """Runs jobs, several at a time."""

    def finish(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Run every job, starting in the given order, and yield each result when it comes.

        A job that fails is a result like another and stops nothing. If the caller stops early (an
        interrupt, or closing the iterator), no job keeps running.
        """
