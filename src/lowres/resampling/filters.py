"""Coefficient tables: how much each source pixel weighs in each target pixel.

The arithmetic is that of Pillow (`src/libImaging/Resample.c`) in float64, step by step. Its details
show in the bytes: the side that a tied pixel falls on, constants in single precision, weights
rounded to 22-bit fixed point. The rule `pillow` is that of Pillow 7.0.0 to 13.0.0; `release-2017`
is that of 3.4.2 to 4.1.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowres.jit import compiled
from lowres.variant import Filter, Rule

PRECISION_BITS = 22
"""Fractional bits of a weight: Pillow's 32 - 8 - 2, so that a sum of weighted bytes fits int32."""

HAMMING_BASE, HAMMING_SWING = float(np.float32(0.54)), float(np.float32(0.46))
"""Constants of the Hamming window, which Pillow writes in single precision."""

SUPPORT: dict[Filter, float] = {
    "box": 0.5,
    "bilinear": 1.0,
    "hamming": 1.0,
    "bicubic": 2.0,
    "lanczos": 3.0,
}
"""Half width of each convolution filter, in target pixels."""

BOX, BILINEAR, HAMMING, BICUBIC, LANCZOS = range(5)  # positions in SUPPORT, for the compiled code


@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
    """Weights of one axis.

    Attributes:
        first: (N,) int64, the first source pixel of each target pixel.
        count: (N,) int64, how many source pixels from there take part.
        weights: (N, K) int32, fixed point with 22 fractional bits, 0 beyond `count`.
    """

    first: NDArray[np.int64]
    count: NDArray[np.int64]
    weights: NDArray[np.int32]


@compiled
def _sinc(x: float) -> float:
    if x == 0.0:
        return 1.0
    x *= math.pi
    return math.sin(x) / x


@compiled
def _weight(code: int, x: float, of_release: bool) -> float:
    """Weigh a source pixel at `x` target pixels from the centre."""
    if code == BOX:
        inside = -0.5 <= x < 0.5 if of_release else -0.5 < x <= 0.5
        return 1.0 if inside else 0.0
    if code == LANCZOS:
        return float(_sinc(x) * _sinc(x / 3)) if -3.0 <= x < 3.0 else 0.0
    x = abs(x)
    if code == BICUBIC:  # Keys' cubic convolution with a = -0.5
        if x < 1.0:
            return ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1
        return (((x - 5) * x + 8) * x - 4) * -0.5 if x < 2.0 else 0.0
    if x >= 1.0 and not (of_release and code == HAMMING):
        return 0.0
    if code == BILINEAR:
        return 1.0 - x
    return float(_sinc(x) * (HAMMING_BASE + HAMMING_SWING * math.cos(x * math.pi)))


@compiled
def _fill(
    scale: float,
    source_px: int,
    start: int,
    code: int,
    support: float,
    of_release: bool,
    first: NDArray[np.int64],
    count: NDArray[np.int64],
    weights: NDArray[np.int32],
) -> None:
    """Fill a table in place; `weights` must be wide enough and zero."""
    stretch = max(scale, 1.0)
    reach = support * stretch
    row = np.empty(weights.shape[1])
    for target in range(len(first)):
        centre = (target + start + 0.5) * scale
        # The source pixels that may weigh in: the first, and the one after the last.
        if of_release:
            low, high = math.floor(centre - reach), math.ceil(centre + reach)
        else:
            low, high = int(centre - reach + 0.5), int(centre + reach + 0.5)
        low, high = max(low, 0), min(high, source_px)
        total = 0.0
        for k in range(high - low):
            row[k] = _weight(code, (k + low - centre + 0.5) * (1.0 / stretch), of_release)
            total += row[k]
        for k in range(high - low):
            weight = row[k] / total if total != 0.0 else row[k]
            half = -0.5 if weight < 0.0 else 0.5
            weights[target, k] = np.int32(half + weight * (1 << PRECISION_BITS))
        first[target] = low
        count[target] = high - low


@dataclass(frozen=True, slots=True)
class Axis:
    """What happens to one axis of an image.

    Attributes:
        source_px: its length now, at least 1.
        target_px: the length it is resized to, at least 1.
        start: the first target pixel that is kept.
        length: how many are kept.
    """

    source_px: int
    target_px: int
    start: int
    length: int


def coefficients(axis: Axis, filter: Filter, rule: Rule) -> Coefficients:  # noqa: A002
    """Compute the weights of the target pixels that are kept, for all filters but nearest."""
    if axis.source_px == axis.target_px:  # Pillow does not resample such an axis
        one = np.full((axis.length, 1), 1 << PRECISION_BITS, np.int32)
        kept = np.arange(axis.start, axis.start + axis.length)
        return Coefficients(kept, np.ones(axis.length, np.int64), one)
    support = SUPPORT[filter]
    scale = axis.source_px / axis.target_px
    widest = math.ceil(support * max(scale, 1.0)) * 2 + 1
    first, count = np.empty(axis.length, np.int64), np.empty(axis.length, np.int64)
    weights = np.zeros((axis.length, widest), np.int32)
    code, of_release = list(SUPPORT).index(filter), rule == "release-2017"
    _fill(scale, axis.source_px, axis.start, code, support, of_release, first, count, weights)
    return Coefficients(first, count, weights)


def nearest_indices(axis: Axis) -> NDArray[np.int64]:
    """Compute the source pixel that each target pixel copies under the filter nearest.

    Positions are summed up one step at a time in float64, as in Pillow's affine scaling
    (`src/libImaging/Geometry.c`); a multiplication would differ in rare cases.

    Returns:
        (length,) int64 indices, of the target pixels that are kept.
    """
    steps = np.full(axis.start + axis.length, axis.source_px / axis.target_px)
    steps[0] *= 0.5
    positions = np.add.accumulate(steps).astype(np.int64)
    return np.minimum(positions[axis.start :], axis.source_px - 1)
