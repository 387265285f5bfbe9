"""Loops that numba compiles, or plain Python runs if numba is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

try:
    from numba import njit
    from numba.core import event
except ImportError:
    njit = None

HAS_NUMBA = njit is not None


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of numbers and arrays; it releases the interpreter's lock.

    numba keeps the machine code beside the source or in its cache for the next process. If it can
    write neither folder, every process compiles anew.
    """
    if njit is None:
        return function
    result: Callable[..., Any]
    try:
        result = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        result = njit(nogil=True)(function)
    return result


@contextmanager
def before_compiling(act: Callable[[], object]) -> Iterator[None]:
    """Call `act` before the first function that numba compiles in this block.

    Functions whose machine code numba loads from its cache are not compiled.
    """
    if njit is None:
        yield
        return

    class First(event.Listener):  # type: ignore[misc]  # numba has no types
        heard = False

        def on_start(self, _event: object) -> None:
            if not self.heard:
                self.heard = True
                act()

        def on_end(self, _event: object) -> None:
            pass

    with event.install_listener("numba:compile", First()):
        yield
