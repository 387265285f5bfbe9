"""Loops that numba compiles, or plain Python runs if numba is not installed."""

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
