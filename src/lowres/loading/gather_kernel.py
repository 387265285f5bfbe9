"""The compiled loop behind `augment.gather`: it picks, mirrors, shifts and normalises rows."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from lowres.jit import compiled

I8, I32 = ir.IntType(8), ir.IntType(32)
MIRRORED_PX = 8
"""Number of pixels that one shuffle of bytes mirrors."""


@intrinsic
def _mirror_pixels(_typing, source, target):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Copy 8 RGB pixels from one address to another in reverse order."""
    signature = types.void(types.uint64, types.uint64)
    pixels = ir.VectorType(I8, 3 * MIRRORED_PX)
    reverse = [3 * x + c for x in range(MIRRORED_PX - 1, -1, -1) for c in range(3)]
    order = ir.Constant(ir.VectorType(I32, 3 * MIRRORED_PX), reverse)

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        source, target = (builder.inttoptr(a, pixels.as_pointer()) for a in arguments)
        loaded = builder.load(source)
        loaded.align = 1
        mirrored = builder.shuffle_vector(loaded, ir.Constant(pixels, ir.Undefined), order)
        builder.store(mirrored, target).align = 1

    return signature, generate


@compiled
def _mirror_row(images, row, y, mirrored):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
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
def gather_rows(images, rows, mirror, down, right, scale, offset, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Fill a batch; see `augment.gather`.

    The loops make no array views: counting references to a view takes twice as long as a row.

    Args:
        images: (N, H, 3 W) uint8, C order.
        rows: (B,) int64.
        mirror: (B,) bool.
        down: (B,) int64, shift in pixels, positive is down.
        right: (B,) int64, shift in pixels, positive is right.
        scale: (3 W,) float32, factor.
        offset: (2, H, 3 W) float32, summand; [0] for plain images and [1] for mirrored ones.
        out: (B, H, 3 W) float32, the result.
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
