"""Flips and shifts: drawn from (seed, epoch, row) alone, and applied while a batch is gathered.

No generator carries state from one picture to the next, so order, batch size, worker count or a
restart never change which picture meets which augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Increment and, below, multipliers of SplitMix64 (Steele, Lea, Flood 2014)."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Augmentation of some pictures.

    Attributes:
        mirror: (B,) bool, which are mirrored.
        down: (B,) int64, shift in pixels, positive is down.
        right: (B,) int64, shift in pixels, positive is right.
    """

    mirror: NDArray[np.bool_]
    down: NDArray[np.int64]
    right: NDArray[np.int64]


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit states (SplitMix64's output function)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def draw(rows: NDArray[np.int64], *, seed: int, epoch: int, flip: bool, shift_px: int) -> Draw:
    """Draw the augmentation of some rows in one epoch.

    Args:
        rows: (B,) int64 row numbers.
        seed: seed of the run.
        epoch: number of the epoch, from 0.
        flip: mirror each with probability one half.
        shift_px: shift each way uniformly by -shift_px to shift_px pixels.
    """
    if not flip and not shift_px:
        zeros = np.zeros(len(rows), np.int64)
        return Draw(zeros.astype(bool), zeros, zeros)
    seeds, epochs = np.array([seed], np.uint64), np.array([epoch], np.uint64)
    stream = _mix(_mix(seeds + GOLDEN) + epochs * GOLDEN)
    bits = _mix(stream + (rows.astype(np.uint64) + np.uint64(1)) * GOLDEN)
    choices = np.uint64(2 * shift_px + 1)

    def uniform(from_bit: int) -> NDArray[np.int64]:
        """Take 24 bits as one of the shifts; off uniform by less than 1 in 100,000 draws."""
        part = (bits >> np.uint64(from_bit)) & np.uint64(0xFFFFFF)
        return ((part * choices) >> np.uint64(24)).astype(np.int64) - shift_px

    mirror = (bits >> np.uint64(63)).astype(bool) & flip
    return Draw(mirror, uniform(0), uniform(24))


@numba.njit(cache=True, nogil=True)
def _gather(images, rows, mirror, down, right, scale, offset, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    size = images.shape[1]
    for b in range(len(rows)):
        picture = images[rows[b]]
        for y in range(size):
            source_y = y - down[b]
            for x in range(size):
                source_x = x - right[b]
                if not (0 <= source_y < size and 0 <= source_x < size):
                    for c in range(3):
                        out[b, y, x, c] = 0.0
                    continue
                if mirror[b]:
                    source_x = size - 1 - source_x
                for c in range(3):
                    out[b, y, x, c] = picture[source_y, source_x, c] * scale[c] + offset[c]


def gather(
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    drawn: Draw,
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Pick rows, mirror, shift and normalise them in one go.

    What a shift uncovers is 0, which after normalisation is the mean colour.

    Args:
        images: (N, H, W, 3) uint8.
        rows: (B,) int64.
        drawn: their augmentation: mirrored first, then shifted.
        mean: (3,) in levels, subtracted.
        std: (3,) in levels, divided by.

    Returns:
        (B, H, W, 3) float32.
    """
    out = np.empty((len(rows), *images.shape[1:]), np.float32)
    scale = (1.0 / std).astype(np.float32)
    offset = (-mean / std).astype(np.float32)
    plain = images.view(np.ndarray)  # numba knows no memory maps
    _gather(plain, rows, drawn.mirror, drawn.down, drawn.right, scale, offset, out)
    return out
