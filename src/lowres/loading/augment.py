"""Order of the images in an epoch, and their flips and shifts.

Flips and shifts depend only on (seed, epoch, row). No generator carries state from one image to the
next, so the augmentation of an image does not depend on order, batch size, processes or restarts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowres.recipe import Flip

try:
    from lowres.loading.gather_kernel import gather_rows
except ImportError:  # numba is not installed
    gather_rows = None  # type: ignore[assignment]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Increment of SplitMix64; its multipliers are in `_mix` (Steele, Lea, Flood 2014)."""


def shuffled(count: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Permute the rows 0 to count - 1 for one epoch, (count,) int64.

    It uses `RandomState` and not `Generator`, because NumPy promises never to change its streams.
    """
    state = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, epoch])))
    return state.permutation(count).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Draw:
    """Augmentation of some images.

    Attributes:
        mirror: (B,) bool, which images are mirrored.
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
        flip: `random`: mirror each image with probability one half. `alternating`: the same in the
            first epoch, then the opposite choice in each next epoch. `both`: mirror the images in
            `second`. `none`: mirror no image.
        shift_px: largest shift in each direction; shifts are uniform.
        second: (B,) bool, for `both`: which images this epoch shows for the second time.
    """
    if flip == "none" and not shift_px:
        zeros = np.zeros(len(rows), np.int64)
        return Draw(zeros.astype(bool), zeros, zeros)
    again = np.zeros(len(rows), bool) if second is None else second
    bits = _bits(rows, seed, 2 * epoch + again.astype(np.uint64))
    choices = np.uint64(2 * shift_px + 1)

    def uniform(from_bit: int) -> NDArray[np.int64]:
        """Turn 24 bits into a shift; probabilities are uniform to within 1 in 100,000."""
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
    """Return 64 random bits for each row, (B,).

    Args:
        rows: (B,) int64.
        seed: seed of the run.
        turns: (B,) or (1,), number of the showing: 2 x epoch, + 1 for the second one.
    """
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
    """Pick rows, normalise, mirror and shift them in one pass.

    Pixels that a shift uncovers are 0, which is the mean after normalisation.

    Args:
        images: (N, H, W, 3) uint8.
        rows: (B,) int64.
        drawn: augmentation of the rows: mirror first, then shift.
        mean: subtracted, in levels: a colour, (3,), or an image, (H, W, 3).
        std: divisor in levels, (3,).
        out: (B, H, W, 3) float32, C order; filled and returned instead of a new array.

    Returns:
        (B, H, W, 3) float32.
    """
    _, height, width, _ = images.shape
    if out is None:
        out = np.empty((len(rows), height, width, 3), np.float32)
    flat = images.view(np.ndarray).reshape(-1, height, 3 * width)  # numba takes no memory maps
    scale = np.tile(1.0 / std, width).astype(np.float32)
    offset = np.broadcast_to(-mean / std, (height, width, 3))
    offsets = np.stack([offset, offset[:, ::-1]]).reshape(2, height, 3 * width).astype(np.float32)
    batch = out.reshape(len(rows), height, 3 * width)
    fill = _gather_rows_in_numpy if gather_rows is None else gather_rows
    fill(flat, rows, drawn.mirror, drawn.down, drawn.right, scale, offsets, batch)
    return out


def _gather_rows_in_numpy(
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    mirror: NDArray[np.bool_],
    down: NDArray[np.int64],
    right: NDArray[np.int64],
    scale: NDArray[np.float32],
    offsets: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Fill a batch as `gather_kernel.gather_rows` does, without numba."""
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
