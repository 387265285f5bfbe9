"""Progress of long work: a bar on a terminal, a plain line now and then in a log, or nothing.

Library functions take a `Track` and are silent by default; the command line passes `shown`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Told how many more are done."""

LOG_EVERY_S = 10.0


class Track(Protocol):
    """Opens the display of one piece of work."""

    def __call__(
        self, what: str, total: int, *, done: int = 0
    ) -> AbstractContextManager[Advance]:
        """Show `what` with `total` steps, of which `done` were done earlier."""


@contextmanager
def silent(what: str, total: int, *, done: int = 0) -> Iterator[Advance]:
    """Show nothing."""
    yield lambda _: None


@contextmanager
def shown(what: str, total: int, *, done: int = 0) -> Iterator[Advance]:
    """Show a bar on standard error where that is a terminal, and plain lines where it is not."""
    display = _bar if sys.stderr.isatty() else _lines
    with display(what, total, done) as advance:
        yield advance


@contextmanager
def _bar(what: str, total: int, done: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total, completed=done, rate="")
        began, new = time.monotonic(), 0

        def advance(count: int) -> None:
            nonlocal new
            new += count
            rate = f"{new / max(time.monotonic() - began, 1e-9):.3g}/s"
            progress.update(task, advance=count, rate=rate)

        yield advance


@contextmanager
def _lines(what: str, total: int, done: int) -> Iterator[Advance]:
    began = said = time.monotonic()
    new = 0

    def say(now: float) -> None:
        rate = new / max(now - began, 1e-9)
        left_s = (total - done - new) / rate if rate else float("inf")
        end = f"{left_s:.0f} s left" if done + new < total else f"{now - began:.1f} s"
        print(  # noqa: T201  this is the display
            f"{what}: {done + new}/{total}, {rate:.3g}/s, {end}", file=sys.stderr, flush=True
        )

    def advance(count: int) -> None:
        nonlocal new, said
        new += count
        now = time.monotonic()
        if now - said >= LOG_EVERY_S and done + new < total:
            said = now
            say(now)

    yield advance
    say(time.monotonic())
