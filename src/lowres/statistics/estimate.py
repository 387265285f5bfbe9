"""An estimate: a value, its interval, and the reason if one of them is missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Places = NDArray[np.intp]

CONFIDENCE = 0.95
"""Level of every interval of this package."""

TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval, in the unit of its figure."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate.

    Attributes:
        value: the estimate; None if there is none.
        interval: its 95 % interval; None if there is none.
        reason: why value or interval is missing; empty if neither is.
    """

    value: float | None
    interval: Interval | None
    reason: str = ""


def quantile_interval(draws: Array) -> Interval:
    """Return the middle 95 % of some draws; nan is ignored."""
    low, high = np.nanquantile(draws, TAILS)
    return Interval(float(low), float(high))
