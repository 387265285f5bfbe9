"""Progress of long work: a bar on a terminal, a line every ten seconds in a log, or nothing.

Library functions take a `Track` and are silent by default; the command line passes `shown`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from lowres.text import visible

if TYPE_CHECKING:
    from rich.progress import Progress

LOG_EVERY_S = 10.0


class Display:
    """Progress of one piece of work; this one shows nothing."""

    def advance(self, count: int = 1) -> None:
        """Count steps as done."""

    def restart(self) -> None:
        """Start the estimate here: what came before, such as compiling, was preparation."""

    def say(self, text: str) -> None:
        """Print a line above the bar."""

    def note(self, text: str) -> None:
        """Show some words beside the count, in place of the last ones."""


class Track(Protocol):
    """Opens the display of one piece of work."""

    def __call__(self, what: str, total: int, *, done: int = 0) -> AbstractContextManager[Display]:
        """Show `what` with `total` steps, of which `done` were done earlier."""


@contextmanager
def silent(what: str, total: int, *, done: int = 0) -> Iterator[Display]:
    """Show nothing."""
    yield Display()


@contextmanager
def shown(what: str, total: int, *, done: int = 0) -> Iterator[Display]:
    """Show a bar on standard error if that is a terminal, else lines; at the end, one line."""
    if sys.stderr.isatty():
        with _columns() as progress:
            display: _Lines = _Bar(what, total, done, progress)
            yield display
    else:
        display = _Lines(what, total, done)
        yield display
    took_s = time.monotonic() - display.began
    print(f"{what}: {display.done}/{total}, {took_s:.1f} s", file=sys.stderr, flush=True)  # noqa: T201


class _Lines(Display):
    """Prints a line every ten seconds."""

    def __init__(self, what: str, total: int, done: int) -> None:
        self.what, self.total, self.done = what, total, done
        self.noted = ""
        self.began = time.monotonic()
        self.restart()

    def restart(self) -> None:
        self.counted_from = self.last_line = time.monotonic()
        self.done_before = self.done

    def advance(self, count: int = 1) -> None:
        self.done += count
        elapsed_s = max(time.monotonic() - self.counted_from, 1e-9)
        self.show(max(self.done - self.done_before, 1e-9) / elapsed_s)

    def show(self, per_s: float) -> None:
        """Show the count, if it is time to."""
        now = time.monotonic()
        if now - self.last_line >= LOG_EVERY_S and self.done < self.total:
            self.last_line = now
            noted = f"{self.noted}, " if self.noted else ""
            left_s = (self.total - self.done) / per_s
            self.say(
                f"{self.what}: {noted}{self.done}/{self.total}, {_rate(per_s)}, {left_s:.0f} s left"
            )

    def note(self, text: str) -> None:
        self.noted = visible(text)

    def say(self, text: str) -> None:
        print(visible(text), file=sys.stderr, flush=True)  # noqa: T201


class _Bar(_Lines):
    """Draws a bar."""

    def __init__(self, what: str, total: int, done: int, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task(what, total=total, completed=done, rate="", noted="")
        super().__init__(what, total, done)

    def show(self, per_s: float) -> None:
        self.progress.update(self.task, completed=self.done, rate=_rate(per_s))

    def note(self, text: str) -> None:
        self.progress.update(self.task, noted=visible(text))

    def say(self, text: str) -> None:
        self.progress.console.print(visible(text), markup=False, highlight=False)


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}/s" if per_s >= 100 else f"{per_s:.3g}/s"


def _columns() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[noted]}", markup=False),
        console=Console(stderr=True, emoji=False),
        transient=True,  # or the `^C` of a terminal leaves a second bar
    )
