"""Loops that numba compiles where it is installed, and that run as plain Python where it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from numba import njit
except ImportError:
    njit = None

HAS_NUMBA = njit is not None


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of numbers and arrays; it releases the interpreter's lock.

    The machine code is kept beside the source, or where numba keeps it, for the next process; where
    no such folder can be written, every process compiles anew.
    """
    if njit is None:
        return function
    result: Callable[..., Any]
    try:
        result = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        result = njit(nogil=True)(function)
    return result
