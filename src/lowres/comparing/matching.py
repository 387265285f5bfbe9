"""Which rows of two tables belong together: equal rows, or rows that are each other's nearest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
"""(P,) int64 row numbers of one side of P pairs."""

THUMBNAIL_PX = 4
LIKENESS_LIMIT = 65_536
"""Largest number of images of one class in a set that are compared for likeness. The work grows
with the square; here it takes about a minute."""

TABLE_VALUES = 1 << 25
"""Distances that are in memory at once, 128 MiB of float32."""


def equal_rows(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> tuple[Rows, Rows]:
    """Pair rows that are equal, each row once, in any order.

    Args:
        one: (N, K) uint64.
        other: (M, K) uint64.

    Returns:
        The rows of each side: the k-th occurrence in `one` with the k-th occurrence in `other`.
    """
    groups = _groups(np.concatenate([one, other]))
    ours, theirs = groups[: len(one)], groups[len(one) :]
    span = len(groups) + 1
    _, rows, other_rows = np.intersect1d(
        ours * span + _occurrence(ours),
        theirs * span + _occurrence(theirs),
        assume_unique=True,
        return_indices=True,
    )
    return rows, other_rows


def _groups(table: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number the distinct rows of a table: (N,) int64, equal for equal rows."""
    order = np.lexsort(table.T)
    new = np.zeros(len(table), np.bool_)
    for column in table.T:  # one at a time, to save memory
        ordered = column[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    groups = np.empty(len(table), np.int64)
    groups[order] = np.cumsum(new)
    return groups


def _occurrence(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the earlier rows with the number of each row."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    positions = np.arange(len(groups))
    starts = np.maximum.accumulate(
        np.where(np.append(True, ordered[1:] != ordered[:-1])[: len(groups)], positions, 0)
    )
    occurrence = np.empty(len(groups), np.int64)
    occurrence[order] = positions - starts
    return occurrence


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Average (N, H, W, 3) uint8 over a grid of at most 4 x 4.

    Returns:
        (N, D) float32 in levels, D at most 48.
    """
    side = images.shape[1]
    edges = np.unique(np.arange(THUMBNAIL_PX) * side // THUMBNAIL_PX)
    sums = np.add.reduceat(images, edges, axis=1, dtype=np.float32)
    sums = np.add.reduceat(sums, edges, axis=2)
    heights = np.diff(np.append(edges, side)).astype(np.float32)
    means: NDArray[np.float32] = sums / (heights[:, None, None] * heights[None, :, None])
    return means.reshape(len(images), -1)


def alike_rows(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[Rows, Rows]:
    """Pair rows that are each other's nearest, by Euclidean distance.

    Args:
        one: (N, D) float32.
        other: (M, D) float32.

    Returns:
        The rows of each side; none if a side is empty or has more than `LIKENESS_LIMIT` rows.
    """
    if not 0 < min(len(one), len(other)) <= max(len(one), len(other)) <= LIKENESS_LIMIT:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    nearest = np.empty(len(one), np.int64)
    least_back = np.full(len(other), np.inf, np.float32)
    nearest_back = np.empty(len(other), np.int64)
    lengths = (other**2).sum(1)
    step = max(TABLE_VALUES // len(other), 1)
    for start in range(0, len(one), step):
        block = one[start : start + step]
        squares = (block**2).sum(1)[:, None] + lengths - 2 * (block @ other.T)
        nearest[start : start + step] = squares.argmin(axis=1)
        closer = squares.min(axis=0) < least_back
        nearest_back[closer] = start + squares.argmin(axis=0)[closer]
        least_back = np.minimum(least_back, squares.min(axis=0))
    rows = np.flatnonzero(nearest_back[nearest] == np.arange(len(one)))
    return rows, nearest[rows]
