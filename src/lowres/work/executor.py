"""The protocol of executors: pieces of work are commands, and an executor runs them to their end.

A command and not a function, because then a process on this machine, a task on a cluster and a
line in a queue's script are the same work, and a piece that crashes takes nothing with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

BUSY_STATUS = 75
"""Exit status of a piece that another process is at already (EX_TEMPFAIL of sysexits.h)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of work.

    Attributes:
        name: tells it apart from the others.
        command: program and arguments; doing it twice must be harmless.
        log: file that gets what the command prints, after what is there.
    """

    name: str
    command: tuple[str, ...]
    log: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a piece ended: its exit status, negative for the signal that killed it."""

    piece: Piece
    exit_status: int


class Executor(Protocol):
    """Runs pieces, several at a time."""

    def finish(self, pieces: Sequence[Piece]) -> Iterator[Outcome]:
        """Run every piece, starting in the order given, and give each outcome as it comes.

        A piece that fails is an outcome like another and stops nothing. Where the caller stops
        early (an interrupt, or closing the iterator), no piece of it is left running.
        """
