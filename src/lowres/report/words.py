"""Numbers as text, the same on the page and in Markdown."""

from __future__ import annotations

import math

from lowres.statistics import Figure, Interval

MISSING = "–"  # noqa: RUF001  an en dash is meant


def number(value: float | None, digits: int) -> str:
    """Write a number; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{round(value, digits) + 0.0:,.{digits}f}"  # -0.0 is written as 0


def percent(share: float | None, digits: int = 2) -> str:
    """Write a share as a percentage, without the sign."""
    return number(None if share is None else 100 * share, digits)


def short(value: float | None) -> str:
    """Write a number by three digits."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:.3g}"
    return f"{float(text):,.0f}" if "e+" in text else text


def interval(found: Interval | None, factor: float, digits: int) -> str:
    """Write an interval in brackets, or nothing."""
    if found is None:
        return ""
    return f"[{number(factor * found.low, digits)}, {number(factor * found.high, digits)}]"


def figure(found: Figure | None, factor: float = 1.0, digits: int = 2) -> str:
    """Write an estimate with its interval."""
    if found is None or found.value is None:
        return MISSING
    return (
        f"{number(factor * found.value, digits)} {interval(found.interval, factor, digits)}".strip()
    )


def teraflops(flops: float | None) -> float | None:
    """Count operations in TFLOP, 10^12 of them."""
    return None if flops is None else flops / 1e12


def shortened(text: str, most: int = 400) -> str:
    """Cut a long text."""
    return text if len(text) <= most else f"{text[:most]}…"
