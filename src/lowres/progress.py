"""Progress of long work: a bar on a terminal, a plain line now and then in a log, or nothing.

Library functions take a `Track` and are silent by default; the command line passes `shown`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

LOG_EVERY_S = 10.0


class Display:
    """Shows one piece of work; this one shows nothing."""

    def advance(self, count: int = 1) -> None:
        """Count steps as done."""

    def say(self, text: str) -> None:
        """Print a line without disturbing the rest."""

    def note(self, text: str) -> None:
        """Show some words beside the count, until there are others."""


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
    """Show a bar on standard error where that is a terminal, and plain lines where it is not."""
    if sys.stderr.isatty():
        with _bar(what, total, done) as display:
            yield display
    else:
        lines = _Lines(what, total, done)
        yield lines
        lines.end()


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}/s" if per_s >= 100 else f"{per_s:.3g}/s"


class _Lines(Display):
    """A line every ten seconds, and one at the end."""

    def __init__(self, what: str, total: int, done: int) -> None:
        self.what, self.total, self.earlier = what, total, done
        self.new = 0
        self.noted = ""
        self.began = self.said = time.monotonic()

    def advance(self, count: int = 1) -> None:
        self.new += count
        now = time.monotonic()
        done = self.earlier + self.new
        if now - self.said >= LOG_EVERY_S and done < self.total:
            self.said = now
            rate = self.new / (now - self.began)
            noted = f"{self.noted}, " if self.noted else ""
            self.say(
                f"{self.what}: {noted}{done}/{self.total}, {_rate(rate)}, "
                f"{(self.total - done) / rate:.0f} s left"
            )

    def note(self, text: str) -> None:
        self.noted = text

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201  this is the display

    def end(self) -> None:
        took_s = time.monotonic() - self.began
        self.say(f"{self.what}: {self.earlier + self.new}/{self.total}, {took_s:.1f} s")


@contextmanager
def _bar(what: str, total: int, done: int) -> Iterator[Display]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[noted]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True, emoji=False)) as progress:
        task = progress.add_task(what, total=total, completed=done, rate="", noted="")
        began = time.monotonic()

        class Bar(Display):
            new = 0

            def advance(self, count: int = 1) -> None:
                self.new += count
                rate = self.new / max(time.monotonic() - began, 1e-9)
                progress.update(task, advance=count, rate=_rate(rate))

            def note(self, text: str) -> None:
                progress.update(task, noted=text)

            def say(self, text: str) -> None:
                progress.console.print(text, markup=False, highlight=False)

        yield Bar()
