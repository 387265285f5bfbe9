"""The protocol of executors: jobs of work are commands, and an executor runs them to their end.

A command and not a function, because then a process on this machine, a task on a cluster and a
line in a queue's script are the same work, and a job that crashes takes nothing with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

BUSY_STATUS = 75
"""Exit status of a job that another process is at already (EX_TEMPFAIL of sysexits.h)."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job of work.

    Attributes:
        name: tells it apart from the others.
        command: program and arguments; doing it twice must be harmless.
        log: file that gets what the command prints, after what is there.
    """

    name: str
    command: tuple[str, ...]
    log: Path


@dataclass(frozen=True, slots=True)
class Result:
    """How a job ended: its exit status, negative for the signal that killed it."""

    job: Job
    exit_status: int


class Executor(Protocol):
    """Runs jobs, several at a time."""

    def finish(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Run every job, starting in the order given, and give each result as it comes.

        A job that fails is an result like another and stops nothing. Where the caller stops
        early (an interrupt, or closing the iterator), no job of it is left running.
        """
