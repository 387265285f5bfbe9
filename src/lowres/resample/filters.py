"""Coefficient tables: how much each source pixel weighs in each target pixel.

The arithmetic is Pillow's (`src/libImaging/Resample.c`, alike from 7.0.0 to 13.0.0), followed in
float64 step by step, because its details are visible in the bytes: which side a tied pixel falls
on, constants in single precision, and weights rounded to 22-bit fixed point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from lowres.variant import Filter

PRECISION_BITS = 22
"""Fractional bits of a weight: Pillow's 32 - 8 - 2, so that a sum of weighted bytes fits int32."""

HAMMING_BASE, HAMMING_SWING = float(np.float32(0.54)), float(np.float32(0.46))
"""The Hamming window's constants, which Pillow writes in single precision."""

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


@numba.njit(cache=True, nogil=True)
def _sinc(x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  compiled: numba infers types
    if x == 0.0:
        return 1.0
    x *= math.pi
    return math.sin(x) / x


@numba.njit(cache=True, nogil=True)
def _cubic(x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Keys' cubic convolution with a = -0.5, for x >= 0."""
    if x < 1.0:
        return ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1
    if x < 2.0:
        return (((x - 5) * x + 8) * x - 4) * -0.5
    return 0.0


@numba.njit(cache=True, nogil=True)
def _weight(filter_code, x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Weigh a source pixel at `x` target pixels from the centre."""
    if filter_code == BOX:
        return 1.0 if -0.5 < x <= 0.5 else 0.0
    if filter_code == LANCZOS:
        return _sinc(x) * _sinc(x / 3) if -3.0 <= x < 3.0 else 0.0
    x = abs(x)
    if filter_code == BICUBIC:
        return _cubic(x)
    if x >= 1.0:
        return 0.0
    if filter_code == BILINEAR:
        return 1.0 - x
    return _sinc(x) * (HAMMING_BASE + HAMMING_SWING * math.cos(x * math.pi))


@numba.njit(cache=True, nogil=True)
def _fill(source_px, filter_code, support, first, count, weights):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Fill a table in place; `weights` must be wide enough and zero."""
    target_px = len(first)
    scale = source_px / target_px
    stretch = max(scale, 1.0)
    row = np.empty(weights.shape[1])
    for target in range(target_px):
        centre = (target + 0.5) * scale
        low = max(int(centre - support * stretch + 0.5), 0)
        high = min(int(centre + support * stretch + 0.5), source_px)
        total = 0.0
        for k in range(high - low):
            row[k] = _weight(filter_code, (k + low - centre + 0.5) * (1.0 / stretch))
            total += row[k]
        for k in range(high - low):
            weight = row[k] / total if total != 0.0 else row[k]
            half = -0.5 if weight < 0.0 else 0.5
            weights[target, k] = np.int32(half + weight * (1 << PRECISION_BITS))
        first[target] = low
        count[target] = high - low


@lru_cache(maxsize=16384)
def coefficients(source_px: int, target_px: int, filter: Filter) -> Coefficients:  # noqa: A002
    """Compute the weights that take an axis of `source_px` pixels to `target_px`.

    Args:
        source_px: length of the axis now, at least 1.
        target_px: length wanted, at least 1.
        filter: a convolution filter, so any but nearest.
    """
    support = SUPPORT[filter]
    widest = math.ceil(support * max(source_px / target_px, 1.0)) * 2 + 1
    first, count = np.empty(target_px, np.int64), np.empty(target_px, np.int64)
    weights = np.zeros((target_px, widest), np.int32)
    _fill(source_px, list(SUPPORT).index(filter), support, first, count, weights)
    return Coefficients(first, count, weights)


@lru_cache(maxsize=4096)
def nearest_indices(source_px: int, target_px: int) -> NDArray[np.int64]:
    """Compute which source pixel each target pixel copies under the filter nearest.

    Positions are summed up one step at a time in float64, as Pillow's affine scaling does
    (`src/libImaging/Geometry.c`); multiplying instead would differ in rare cases.

    Returns:
        (N,) int64 indices.
    """
    steps = np.full(target_px, source_px / target_px)
    steps[0] *= 0.5
    return np.minimum(np.add.accumulate(steps).astype(np.int64), source_px - 1)
