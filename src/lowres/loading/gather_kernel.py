"""The compiled loop behind `augment.gather`: it picks, mirrors, shifts and normalises rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from lowres.jit import compiled

I8, I32 = ir.IntType(8), ir.IntType(32)
MIRRORED_PX = 8
"""Number of pixels that one shuffle of bytes mirrors."""


def _reversed_copy(_typing: object, source: object, target: object) -> tuple[object, object]:
    """Copy 8 RGB pixels from one address to another in reverse order."""
    signature = types.void(types.uint64, types.uint64)
    pixels = ir.VectorType(I8, 3 * MIRRORED_PX)
    reverse = [3 * x + c for x in range(MIRRORED_PX - 1, -1, -1) for c in range(3)]
    order = ir.Constant(ir.VectorType(I32, 3 * MIRRORED_PX), reverse)

    def generate(
        _context: object, builder: ir.IRBuilder, _signature: object, arguments: Iterable[ir.Value]
    ) -> None:
        source, target = (builder.inttoptr(a, pixels.as_pointer()) for a in arguments)
        loaded = builder.load(source)
        loaded.align = 1
        mirrored = builder.shuffle_vector(loaded, ir.Constant(pixels, ir.Undefined), order)
        builder.store(mirrored, target).align = 1

    return signature, generate


_mirror_pixels = intrinsic(_reversed_copy)


@compiled
def _mirror_row(images: NDArray[np.uint8], row: int, y: int, mirrored: NDArray[np.uint8]) -> None:
    """Copy a row of RGB bytes with its pixels in reverse order."""
    _, height, length = images.shape
    step = 3 * MIRRORED_PX
    source = np.uint64(images.ctypes.data) + np.uint64((row * height + y) * length)
    target = np.uint64(mirrored.ctypes.data)
    whole = length // step * step
    for start in range(0, whole, step):
        _mirror_pixels(source + np.uint64(start), target + np.uint64(length - step - start))
    for start in range(whole, length, 3):
        for channel in range(3):
            mirrored[length - 3 - start + channel] = images[row, y, start + channel]


@compiled
def gather_rows(
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    mirror: NDArray[np.bool_],
    down: NDArray[np.int64],
    right: NDArray[np.int64],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Fill a batch; see `augment.gather`.

    The loops make no array views: counting references to a view takes twice as long as a row.

    Args:
        images: (N, H, 3 W), C order.
        rows: (B,).
        mirror: (B,).
        down: (B,), shift in pixels, positive is down.
        right: (B,), shift in pixels, positive is right.
        scale: (3 W,), factor.
        offset: (2, H, 3 W), summand; [0] for plain images and [1] for mirrored ones.
        out: (B, H, 3 W), the result.
    """
    _, height, length = images.shape
    mirrored = np.empty(length, np.uint8)
    for b in range(len(rows)):
        row, flipped, shift = rows[b], int(mirror[b]), 3 * right[b]
        begin, end = min(max(shift, 0), length), max(min(length + shift, length), 0)
        for y in range(height):
            source_y = y - down[b]
            if begin >= end or source_y < 0 or source_y >= height:
                for i in range(length):
                    out[b, y, i] = np.float32(0)
                continue
            for i in range(begin):
                out[b, y, i] = np.float32(0)
            first, count = np.uint64(begin - shift), np.uint64(end - begin)
            to = np.uint64(begin)
            if flipped:
                _mirror_row(images, row, source_y, mirrored)
                for i in range(count):
                    level = np.float32(mirrored[first + i])
                    normalised = level * scale[first + i] + offset[1, source_y, first + i]
                    out[b, y, to + i] = normalised
            else:
                for i in range(count):
                    level = np.float32(images[row, source_y, first + i])
                    normalised = level * scale[first + i] + offset[0, source_y, first + i]
                    out[b, y, to + i] = normalised
            for i in range(end, length):
                out[b, y, i] = np.float32(0)
