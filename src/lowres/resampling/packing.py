"""Coefficient tables in the order in which `kernel.py` reads them."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numba.core.codegen import get_host_cpu_features
from numpy.typing import NDArray

from lowres.jit import compiled
from lowres.resampling.filters import Coefficients

TAPS = 4
"""Neighbours in a word, and words of weights for each of them."""


def has_vnni() -> bool:
    """Return whether numba compiles for AVX-512 VNNI, which its settings may forbid."""
    chosen = numba.config.CPU_FEATURES
    return "+avx512vnni" in (get_host_cpu_features() if chosen is None else chosen)


VNNI = has_vnni()


class Packed(NamedTuple):
    """The weights of one axis for several variants, one target pixel after the other.

    Attributes:
        first: (T,) int64, the first word of each target pixel.
        groups: (T,) int64, how many words from there take part.
        place: (T,) int64, where their weights begin in `weights`.
        weights: (sum of groups + 1, 4) int32: a weight for each pixel of a word; or, for VNNI, its
            three digits to the base 256, the lowest first, each a word of four signed bytes; or,
            if all weights of a target pixel are equal, bytes of 1, and the weight.
        even: (V,) bool, the variants of which the last is true.
    """

    first: NDArray[np.int64]
    groups: NDArray[np.int64]
    place: NDArray[np.int64]
    weights: NDArray[np.int32]
    even: NDArray[np.bool_]

    @classmethod
    def of(cls, tables: list[Coefficients]) -> Packed:
        """Pack the tables of several variants."""
        first = np.concatenate([table.first for table in tables])
        groups = (first % TAPS + np.concatenate([table.count for table in tables]) - 1) // TAPS + 1
        place = np.cumsum(groups) - groups
        weights = np.zeros((int(groups.sum()) + 1, TAPS), np.int32)
        even = np.array([VNNI and _is_even(table.count, table.weights) for table in tables])
        start = 0
        for table, is_even in zip(tables, even, strict=True):
            stop = start + len(table.first)
            places = place[start:stop]
            _pack(table.first, table.count, table.weights, places, VNNI, is_even, weights)
            start = stop
        return cls(first // TAPS, groups, place, weights, even)


@compiled
def _is_even(count: NDArray[np.int64], table: NDArray[np.int32]) -> bool:
    for target in range(len(count)):
        for k in range(1, count[target]):
            if table[target, k] != table[target, 0]:
                return False
    return True


@compiled
def _pack(
    first: NDArray[np.int64],
    count: NDArray[np.int64],
    table: NDArray[np.int32],
    places: NDArray[np.int64],
    in_digits: bool,
    is_even: bool,
    weights: NDArray[np.int32],
) -> None:
    for target in range(len(first)):
        for k in range(count[target]):
            tap = first[target] % TAPS + k
            word, tap = places[target] + tap // TAPS, tap % TAPS
            left = table[target, k]
            if not in_digits:
                weights[word, tap] = left
                continue
            if is_even:
                weights[word, 0] |= np.int32(1 << (8 * tap))
                weights[places[target], 1] = left
                continue
            for digit in range(3):
                low = ((left + 128) & 255) - 128
                weights[word, digit] |= np.int32((low & 255) << (8 * tap))
                left = (left - low) >> 8
