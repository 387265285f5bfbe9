"""The two integer passes that turn a decoded picture into its variants.

Across first, then down, rounded to bytes after each, in 32-bit integers: the same bytes as
Pillow's `Image.resize((N, N), filter)` wherever Pillow goes across first. (Pillow 13 goes down
first on tall pictures; see docs/resampling.md.)

Both passes are one kernel: it weighs whole lines against each other, so its inner loop runs over
adjacent bytes. The picture is turned on its side before the pass across, and back before the
pass down; the first turn serves all variants.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from lowres.resample.filters import PRECISION_BITS, Axis, coefficients, nearest_indices
from lowres.variant import Filter, Fit, Rule, Variant

HALF = np.int32(1 << (PRECISION_BITS - 1))
BITS = np.int32(PRECISION_BITS)
BLOCK_PX = 32
"""Side of the squares in which a picture is turned, so that both sides stay in the cache."""


@numba.njit(cache=True, nogil=True)
def _turn(picture):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  compiled
    """Swap the first two axes: (H, W, 3) uint8 to (W, H, 3) uint8."""
    height, width, _ = picture.shape
    out = np.empty((width, height, 3), np.uint8)
    for left in range(0, width, BLOCK_PX):
        for top in range(0, height, BLOCK_PX):
            for x in range(left, min(width, left + BLOCK_PX)):
                for y in range(top, min(height, top + BLOCK_PX)):
                    out[x, y, 0] = picture[y, x, 0]
                    out[x, y, 1] = picture[y, x, 1]
                    out[x, y, 2] = picture[y, x, 2]
    return out


@numba.njit(cache=True, nogil=True)
def _weigh(lines, first, count, weights):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Weigh lines together: (L, M) uint8 to (N, M) uint8, by the tables of `Coefficients`."""
    length = lines.shape[1]
    out = np.empty((len(first), length), np.uint8)
    totals = np.empty(length, np.int32)
    for target in range(len(first)):
        totals[:] = HALF
        for k in range(count[target]):
            weight = weights[target, k]
            line = lines[first[target] + k]
            for i in range(length):
                totals[i] += weight * np.int32(line[i])
        for i in range(length):
            out[target, i] = np.uint8(min(max(totals[i] >> BITS, np.int32(0)), np.int32(255)))
    return out


def _pass(
    lines: NDArray[np.uint8],
    axis: Axis,
    filter: Filter,  # noqa: A002
    rule: Rule,
) -> NDArray[np.uint8]:
    """Resample the first axis of (L, M, 3) to (axis.length, M, 3)."""
    length, across, channels = lines.shape
    if axis.target_px == length:  # Pillow skips this pass too
        return lines[axis.start : axis.start + axis.length]
    table = coefficients(axis, filter, rule)
    flat = lines.reshape(length, across * channels)
    weighed: NDArray[np.uint8] = _weigh(flat, table.first, table.count, table.weights)
    return weighed.reshape(axis.length, across, channels)


def _axes(height: int, width: int, size: int, fit: Fit) -> tuple[Axis, Axis]:
    """Say what happens down and across; for the fit `crop` the picture is cut already."""
    if fit != "resize-crop":
        return Axis(height, size, 0, size), Axis(width, size, 0, size)
    shorter = min(height, width)
    # Rounding as torchvision's Resize and CenterCrop do it.
    targets = (size * height // shorter, size * width // shorter)
    starts = [round((target - size) / 2) for target in targets]
    return Axis(height, targets[0], starts[0], size), Axis(width, targets[1], starts[1], size)


def _centre_square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width, _ = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]


def resample(picture: NDArray[np.uint8], variants: Sequence[Variant]) -> list[NDArray[np.uint8]]:
    """Turn one picture into every variant.

    Args:
        picture: (H, W, 3) uint8 RGB, any height and width from 1.
        variants: the sizes, filters, fits and rules wanted.

    Returns:
        One (N, N, 3) uint8 array for each variant, in the order given.
    """
    cuts: dict[bool, NDArray[np.uint8]] = {}
    on_their_side: dict[bool, NDArray[np.uint8]] = {}
    results = []
    for variant in variants:
        if picture.shape == (variant.size, variant.size, 3):  # whatever the filter, fit and rule
            results.append(picture)
            continue
        cut = variant.fit == "crop"
        if cut not in cuts:
            cuts[cut] = np.ascontiguousarray(_centre_square(picture) if cut else picture)
        height, width, _ = cuts[cut].shape
        down, across = _axes(height, width, variant.size, variant.fit)
        if variant.filter == "nearest":
            rows, columns = nearest_indices(down), nearest_indices(across)
            results.append(cuts[cut][rows[:, None], columns])
            continue
        if cut not in on_their_side:
            on_their_side[cut] = _turn(cuts[cut])
        narrow = _turn(_pass(on_their_side[cut], across, variant.filter, variant.rule))
        results.append(_pass(narrow, down, variant.filter, variant.rule))
    return results
