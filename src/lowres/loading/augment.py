"""Flips and shifts: drawn from (seed, epoch, row) alone, and applied while a batch is gathered.

No generator carries state from one image to the next, so order, batch size, worker count or a
restart never change which image meets which augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowres.recipe import Flip

try:
    from lowres.loading import kernel
except ImportError:  # without numba
    kernel = None  # type: ignore[assignment]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Increment and, below, multipliers of SplitMix64 (Steele, Lea, Flood 2014)."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Augmentation of some images.

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


def draw(
    rows: NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    flip: Flip,
    shift_px: int,
    second: NDArray[np.bool_] | None = None,
) -> Draw:
    """Draw the augmentation of some rows in one epoch.

    Args:
        rows: (B,) int64 row numbers.
        seed: seed of the run.
        epoch: number of the epoch, from 0.
        flip: `random`: mirror each with probability one half. `alternating`: the same in the
            first epoch, and from then on the other way round each time. `both`: mirror those
            that come for the second time. `none`.
        shift_px: shift each way uniformly by -shift_px to shift_px pixels.
        second: (B,) bool, for `both`: which are shown the second time in this epoch.
    """
    if flip == "none" and not shift_px:
        zeros = np.zeros(len(rows), np.int64)
        return Draw(zeros.astype(bool), zeros, zeros)
    again = np.zeros(len(rows), bool) if second is None else second
    bits = _bits(rows, seed, 2 * epoch + again.astype(np.uint64))
    choices = np.uint64(2 * shift_px + 1)

    def uniform(from_bit: int) -> NDArray[np.int64]:
        """Take 24 bits as one of the shifts; off uniform by less than 1 in 100,000 draws."""
        part = (bits >> np.uint64(from_bit)) & np.uint64(0xFFFFFF)
        return ((part * choices) >> np.uint64(24)).astype(np.int64) - shift_px

    if flip == "random":
        mirror = (bits >> np.uint64(63)).astype(bool)
    elif flip == "alternating":
        first = _bits(rows, seed, np.zeros(1, np.uint64)) >> np.uint64(63)
        mirror = first.astype(bool) ^ bool(epoch % 2)
    else:
        mirror = again if flip == "both" else np.zeros(len(rows), bool)
    return Draw(mirror, uniform(0), uniform(24))


def _bits(rows: NDArray[np.int64], seed: int, turns: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Give 64 random bits for each row, (B,); turns: (B,) or (1,), what time it is shown."""
    stream = _mix(_mix(np.array([seed], np.uint64) + GOLDEN) + turns * GOLDEN)
    return _mix(stream + (rows.astype(np.uint64) + np.uint64(1)) * GOLDEN)


def gather(
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    drawn: Draw,
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Pick rows, normalise, mirror and shift them in one go.

    What a shift uncovers is 0, which after normalisation is the mean.

    Args:
        images: (N, H, W, 3) uint8.
        rows: (B,) int64.
        drawn: their augmentation: mirrored first, then shifted.
        mean: in levels, subtracted: a colour, (3,), or an image, (H, W, 3).
        std: (3,) in levels, divided by.
        out: (B, H, W, 3) float32, C order, filled in place of a new array.

    Returns:
        (B, H, W, 3) float32.
    """
    _, height, width, _ = images.shape
    if out is None:
        out = np.empty((len(rows), height, width, 3), np.float32)
    flat = images.view(np.ndarray).reshape(-1, height, 3 * width)  # numba knows no memory maps
    scale = np.tile(1.0 / std, width).astype(np.float32)
    offset = np.broadcast_to(-mean / std, (height, width, 3))
    offsets = np.stack([offset, offset[:, ::-1]]).reshape(2, height, 3 * width).astype(np.float32)
    batch = out.reshape(len(rows), height, 3 * width)
    fill = _fill if kernel is None else kernel.gather_rows
    fill(flat, rows, drawn.mirror, drawn.down, drawn.right, scale, offsets, batch)
    return out


def _fill(
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    mirror: NDArray[np.bool_],
    down: NDArray[np.int64],
    right: NDArray[np.int64],
    scale: NDArray[np.float32],
    offsets: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Do what `kernel.gather_rows` does, in NumPy, where numba is not installed."""
    _, height, length = images.shape
    out[...] = 0.0
    for b, row in enumerate(rows.tolist()):
        image = images[row]
        if mirror[b]:
            image = image.reshape(height, -1, 3)[:, ::-1].reshape(height, length)
        normalised = image.astype(np.float32) * scale + offsets[int(mirror[b])]
        y, x = int(down[b]), 3 * int(right[b])
        if abs(y) < height and abs(x) < length:
            inside = normalised[max(-y, 0) : height - max(y, 0), max(-x, 0) : length - max(x, 0)]
            out[b, max(y, 0) : height + min(y, 0), max(x, 0) : length + min(x, 0)] = inside
