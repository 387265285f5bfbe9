"""The two passes in NumPy, for machines without numba: slower, and the same bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowres.resampling.filters import PRECISION_BITS, Coefficients


def two_passes(
    image: NDArray[np.uint8], across: Coefficients, down: Coefficients
) -> NDArray[np.uint8]:
    """Resample (H, W, 3) uint8, across and then down, rounded to bytes after each."""
    on_its_side = _weighed(np.ascontiguousarray(image.transpose(1, 0, 2)), across)
    return _weighed(np.ascontiguousarray(on_its_side.transpose(1, 0, 2)), down)


def _weighed(lines: NDArray[np.uint8], table: Coefficients) -> NDArray[np.uint8]:
    """Weigh the first axis of (L, M, 3) uint8: (N, M, 3)."""
    out = np.empty((len(table.first), *lines.shape[1:]), np.uint8)
    for target, (first, count) in enumerate(zip(table.first, table.count, strict=True)):
        weights = table.weights[target, :count].astype(np.int64)
        total = np.tensordot(weights, lines[first : first + count].astype(np.int64), 1)
        rounded = (total + (1 << (PRECISION_BITS - 1))) >> PRECISION_BITS
        out[target] = np.clip(rounded, 0, 255)
    return out
