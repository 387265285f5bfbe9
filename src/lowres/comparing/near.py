"""Near-duplicates: images that differ only by brightness, compression or a slight crop.

Two images are compared by their detail: their cosine transform, without the mean, gradients and
curvature, which unrelated photographs of sky and sea share, and weighted by frequency, because
photographs have less of the high ones. The similarity is the correlation of what is left, so
brightness and contrast do not matter.

A million images have too many pairs to compare them all. So each detail gets a signature of 128
bits: on which side of 128 random planes it lies. In each of several rounds, images are sorted by
some of the bits, and neighbours with the same first bits are compared by their signatures. Pairs of
similar signatures are then compared exactly.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowres.jit import HAS_NUMBA, compiled
from lowres.progress import Track, silent
from lowres.work.threads import available_cores, in_threads

LOWEST, HIGHEST = 3, 10
"""Range of the sums of both frequencies, in half waves across the image, that are detail."""

FLAT_LEVELS = 1.0
"""Root mean square of the detail below which an image has none."""

BITS = 128
WORDS = BITS // 64
ROUNDS = 32
ROOM = 256
"""Images that share the first bits in a round, if the signatures were evenly spread."""

REACH = 1024
"""The most neighbours with which an image is compared in a round."""

MARGIN_SD = 3.0
"""A pair as similar as asked for has a signature that fails with the probability of this many
standard deviations, 0.1 %."""

BLOCK_ROWS = 1 << 15
MOST_PAIRS = 4_000_000
"""Pairs after which the search ends: the set is full of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """Pairs of similar images.

    Attributes:
        rows: (P, 2) int64, the rows of each pair, the lower one first.
        similarity: (P,) float32 correlation of their details, from the threshold to 1.
        complete: False if the search ended at `MOST_PAIRS`.
    """

    rows: NDArray[np.int64]
    similarity: NDArray[np.float32]
    complete: bool


def details(images: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Return the detail of each image.

    Args:
        images: (N, S, S, 3) uint8, S at least 4.

    Returns:
        (N, D) float16 of length 1, or 0 for an image without detail; D at most 180.
    """
    side = images.shape[1]
    waves = min(side, HIGHEST + 1)
    u = np.arange(waves)
    basis = np.cos(np.pi * u[:, None] * (2 * np.arange(side) + 1) / (2 * side)).astype(np.float32)
    basis *= np.where(u == 0, 1.0, 2.0**0.5).astype(np.float32)[:, None] / side
    levels = images.reshape(len(images) * side, side, 3).astype(np.float32)
    across = np.matmul(basis, levels).reshape(len(images), side, waves * 3)
    both = np.matmul(basis, across).reshape(len(images), waves, waves, 3)
    order = u[:, None] + u
    chosen = (order >= LOWEST) & (order <= HIGHEST)
    found = both[:, chosen]
    flat = np.linalg.norm(found, axis=(1, 2)) < FLAT_LEVELS
    found = (found * order[chosen, None].astype(np.float32)).reshape(len(images), -1)
    lengths = np.where(flat, np.inf, np.linalg.norm(found, axis=1))
    unit: NDArray[np.float16] = (found / lengths[:, None]).astype(np.float16)
    return unit


def near_pairs(detail: NDArray[np.float16], least: float, *, track: Track = silent) -> Near:
    """Find the pairs of rows whose details correlate.

    Args:
        detail: (N, D) from `details`.
        least: the lowest similarity of a pair, 0.5 to 1.
        track: shows progress.

    Returns:
        Each pair once, the most similar first. Some may be missed, the more the lower `least` is;
        docs/checking.md has measured shares.
    """
    rows = np.flatnonzero(detail.any(axis=1))
    if len(rows) < 2:
        return Near(np.empty((0, 2), np.int64), np.empty(0, np.float32), complete=True)
    random = np.random.default_rng(0)
    sides = _sides(detail, rows, random.standard_normal((detail.shape[1], BITS), np.float32))
    orders = [random.permutation(BITS) for _ in range(ROUNDS)]
    shared_bits = max(round(np.log2(len(rows) / ROOM)), 0)
    flips = np.arccos(least) / np.pi
    most = int(BITS * flips + MARGIN_SD * (BITS * flips * (1 - flips)) ** 0.5)
    codes, complete = np.empty(0, np.int64), True
    rounds = orders if shared_bits else orders[:1]

    def search(order: NDArray[np.int64]) -> NDArray[np.int64]:
        return _neighbours(sides, order, shared_bits, most)

    with track("compare", len(rounds)) as display:
        for _, found in in_threads(search, rounds, available_cores(), threading.Event()):
            codes = np.concatenate([codes, found])
            codes.sort(kind="stable")  # np.unique takes minutes for such numbers
            codes = codes[np.flatnonzero(np.append(True, codes[1:] != codes[:-1])[: len(codes)])]
            display.advance()
            if len(codes) > MOST_PAIRS:
                complete = False
                break
    pairs = np.stack([codes // len(rows), codes % len(rows)], axis=1)
    pairs = rows[pairs]
    similarity = np.concatenate(
        [
            np.einsum("nd,nd->n", *(detail[block[:, side]].astype(np.float32) for side in (0, 1)))
            for block in np.array_split(pairs, len(pairs) // BLOCK_ROWS + 1)
        ]
    )
    order = np.argsort(-similarity, kind="stable")
    order = order[: np.searchsorted(-similarity[order], -least, side="right")]
    return Near(pairs[order], np.minimum(similarity[order], 1.0), complete)


def _sides(
    detail: NDArray[np.float16], rows: NDArray[np.int64], planes: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Return on which side of each plane some details lie: (len(rows), BITS) uint8, 0 or 1."""
    sides = np.empty((len(rows), BITS), np.uint8)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = detail[rows[start : start + BLOCK_ROWS]].astype(np.float32)
        sides[start : start + BLOCK_ROWS] = block @ planes > 0
    return sides


def _neighbours(
    sides: NDArray[np.uint8], bits: NDArray[np.int64], shared_bits: int, most: int
) -> NDArray[np.int64]:
    """Sort signatures by their bits in some order, and compare neighbours.

    Returns:
        Sorted int64: for each pair whose first `shared_bits` are equal, which lies within `REACH`,
        and of which at most `most` bits differ, the lower row times N plus the higher.
    """
    count = len(sides)
    packed = np.empty((count, WORDS), np.uint64)
    for start in range(0, count, BLOCK_ROWS):
        block = sides[start : start + BLOCK_ROWS, bits]
        octets = np.ascontiguousarray(np.packbits(block, axis=1))
        packed[start : start + BLOCK_ROWS] = octets.view(">u8")
    order = np.argsort(packed[:, 0])
    packed = packed[order]
    shared = packed[:, 0] >> np.uint64(64 - shared_bits) if shared_bits else np.zeros(count)
    ends = np.searchsorted(shared, shared, side="right")
    if shared_bits:
        ends = np.minimum(ends, np.arange(count) + 1 + REACH)
    compare = _compare if HAS_NUMBA else _compare_plainly
    found = np.empty((MOST_PAIRS, 2), np.int32)
    one, other = order[found[: compare(packed, ends, most, found)]].T
    codes: NDArray[np.int64] = np.minimum(one, other) * count + np.maximum(one, other)
    codes.sort()
    return codes


PAIRS_OF_BITS, FOURS, EIGHTS = (np.uint64(k) for k in (2**64 // 3, 2**64 // 5, 2**64 // 17))
ONES = np.uint64(2**64 // 255)
N1, N2, N4, N56 = (np.uint64(n) for n in (1, 2, 4, 56))


@compiled
def _compare(
    packed: NDArray[np.uint64], ends: NDArray[np.int64], most: int, found: NDArray[np.int32]
) -> int:
    """Write the pairs of places with few differing bits to `found`; return their number."""
    number = 0
    for one in range(len(packed)):
        for other in range(one + 1, ends[one]):
            differing = np.uint64(0)
            for word in range(WORDS):  # a form that LLVM turns into one instruction
                x = packed[one, word] ^ packed[other, word]
                x = x - ((x >> N1) & PAIRS_OF_BITS)
                x = (x & FOURS) + ((x >> N2) & FOURS)
                x = (x + (x >> N4)) & EIGHTS
                differing += (x * ONES) >> N56
            if differing <= most and number < len(found):
                found[number, 0] = one
                found[number, 1] = other
                number += 1
    return number


def _compare_plainly(
    packed: NDArray[np.uint64], ends: NDArray[np.int64], most: int, found: NDArray[np.int32]
) -> int:
    """Do the same without numba, at a tenth of the speed or less."""
    number = 0
    for one, end in enumerate(ends.tolist()):
        differing = np.bitwise_count(packed[one] ^ packed[one + 1 : end]).sum(axis=1)
        hits = np.flatnonzero(differing <= most)[: len(found) - number]
        found[number : number + len(hits), 0] = one
        found[number : number + len(hits), 1] = one + 1 + hits
        number += len(hits)
    return number
