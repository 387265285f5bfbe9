"""Waits of tests: for a condition, never for a time."""

import time
from collections.abc import Callable

DEADLINE_S = 300.0
"""Long, because a busy machine is slow at times; a test that passes does not wait for it."""


def wait_until(true: Callable[[], object]) -> None:
    """Wait until a condition holds; fail if it does not within `DEADLINE_S`."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, f"waited {DEADLINE_S:.0f} s in vain"
        time.sleep(0.02)
