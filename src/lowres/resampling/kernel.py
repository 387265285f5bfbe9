"""The two passes, compiled: one inner loop over 64 pixels at a time for every filter and rule.

A pass is a weighted sum of neighbours, and both passes are the same loop over data in **folded**
order: four neighbours that are weighed together lie in one 32-bit word, and words of one place
lie side by side for 64 lanes.

- Across, the lanes are 64 rows. `_fold` brings a strip of 64 rows from (H, W, 3) to (W / 4, 3, 64)
  words by byte shuffles and 16 x 16 transpositions; the strip stays in the cache for all variants.
- Down, the lanes are the 3 N bytes of a row. The pass across writes its bytes in that order:
  (H / 4, 3 N) words of four rows each.

On processors with AVX-512 VNNI one instruction multiplies 64 bytes by weights of one byte and adds
them up in fours, so a 23-bit weight is cut into three signed digits to the base 256. Elsewhere the
four bytes of a word are multiplied one by one; the sums are the same integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from lowres.jit import compiled
from lowres.resampling.filters import PRECISION_BITS
from lowres.resampling.packing import TAPS, VNNI

LANES = 64
"""Sums that are formed together: one 512-bit register of bytes."""

VECTOR = 16
"""Words in a 512-bit register; narrower machines split it."""


I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
WORDS, BYTES = ir.VectorType(I32, VECTOR), ir.VectorType(I8, LANES)


def _same(value: int) -> ir.Constant:
    return ir.Constant(WORDS, [value] * VECTOR)


def _at(builder: Any, address: Any, offset: int, of: ir.Type) -> Any:  # noqa: ANN401  llvmlite
    """Point to `offset` bytes behind an address."""
    return builder.inttoptr(builder.add(address, ir.Constant(I64, offset)), of.as_pointer())


def _load(builder: Any, address: Any, offset: int, of: ir.Type) -> Any:  # noqa: ANN401
    loaded = builder.load(_at(builder, address, offset, of))
    loaded.align = 1
    return loaded


def _spread(builder: Any, word: Any) -> Any:  # noqa: ANN401
    """Copy a word into all places of a vector."""
    nothing = ir.Constant(WORDS, ir.Undefined)
    first = builder.insert_element(nothing, word, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, nothing, _same(0))


class _Digits:
    """Multiplies by three digits of a weight at once, each with a sum of its own."""

    sums = 3

    def __init__(self, builder: Any) -> None:  # noqa: ANN401
        self.builder = builder
        kind = ir.FunctionType(WORDS, [WORDS] * 3)
        name = "llvm.x86.avx512.vpdpbusd.512"
        self.multiply = cgutils.get_or_insert_function(builder.module, kind, name)

    def add(self, sums: list[Any], pixels: Any, weights: list[Any]) -> list[Any]:  # noqa: ANN401
        pairs = zip(sums, weights[:3], strict=True)
        return [self.builder.call(self.multiply, [total, pixels, w]) for total, w in pairs]

    def total(self, sums: list[Any]) -> Any:  # noqa: ANN401
        middle = self.builder.shl(sums[1], _same(8))
        high = self.builder.shl(sums[2], _same(16))
        return self.builder.add(sums[0], self.builder.add(middle, high))


class _Evenly:
    """Adds up pixels that all weigh the same, each told by a byte of 1, and multiplies the sum."""

    sums = 1

    def __init__(self, builder: Any) -> None:  # noqa: ANN401
        self.digits = _Digits(builder)

    def add(self, sums: list[Any], pixels: Any, weights: list[Any]) -> list[Any]:  # noqa: ANN401
        return [self.digits.builder.call(self.digits.multiply, [sums[0], pixels, weights[0]])]

    def total(self, sums: list[Any]) -> Any:  # noqa: ANN401
        return sums[0]


class _Products:
    """Takes the four bytes of a word apart and multiplies each by its weight."""

    sums = 1

    def __init__(self, builder: Any) -> None:  # noqa: ANN401
        self.builder = builder

    def add(self, sums: list[Any], pixels: Any, weights: list[Any]) -> list[Any]:  # noqa: ANN401
        total = sums[0]
        for tap, weight in enumerate(weights):
            level = self.builder.lshr(pixels, _same(8 * tap))
            if tap < TAPS - 1:
                level = self.builder.and_(level, _same(255))
            total = self.builder.add(total, self.builder.mul(level, weight))
        return [total]

    def total(self, sums: list[Any]) -> Any:  # noqa: ANN401
        return sums[0]


def _rounded(builder: Any, total: Any) -> Any:  # noqa: ANN401
    """Round half up to 0 fractional bits and clip to bytes."""
    total = builder.add(total, _same(1 << (PRECISION_BITS - 1)))
    total = builder.ashr(total, _same(PRECISION_BITS))
    for limit, sign in ((0, ">"), (255, "<")):
        within = builder.icmp_signed(sign, total, _same(limit))
        total = builder.select(within, total, _same(limit))
    return builder.trunc(total, ir.VectorType(I8, VECTOR))


def _generate_weighing(builder: Any, arguments: Any, arithmetic: Any) -> None:  # noqa: ANN401
    """Emit code that writes 64 bytes: the weighted sums of some words of 64 lanes.

    Args:
        builder: of the code.
        arguments: addresses and numbers of bytes: where to write; the first words; from one
            group of words to the next; how many groups; four words of weights for each group.
        arithmetic: one of the classes above.
    """
    out, pixels, stride, groups, weights = arguments
    blocks = range(0, LANES * TAPS, VECTOR * TAPS)
    cells = [
        [cgutils.alloca_once_value(builder, _same(0)) for _ in range(arithmetic.sums)]
        for _ in blocks
    ]
    with cgutils.for_range(builder, groups, intp=I64) as loop:
        here = builder.add(pixels, builder.mul(loop.index, stride))
        row = builder.add(weights, builder.mul(loop.index, ir.Constant(I64, 4 * TAPS)))
        spread = [_spread(builder, _load(builder, row, 4 * k, I32)) for k in range(TAPS)]
        for block, sums in zip(blocks, cells, strict=True):
            words = _load(builder, here, block, WORDS)
            added = arithmetic.add([builder.load(cell) for cell in sums], words, spread)
            for cell, value in zip(sums, added, strict=True):
                builder.store(value, cell)
    for number, sums in enumerate(cells):
        total = arithmetic.total([builder.load(cell) for cell in sums])
        if isinstance(arithmetic, _Evenly):
            total = builder.mul(total, _spread(builder, _load(builder, weights, 4, I32)))
        place = _at(builder, out, VECTOR * number, ir.VectorType(I8, VECTOR))
        builder.store(_rounded(builder, total), place).align = 1


WEIGHING = types.void(types.uint64, types.uint64, types.int64, types.int64, types.uint64)


def _weighing(with_vnni: type) -> Any:  # noqa: ANN401  numba's
    """Make the loop over words with the arithmetic for VNNI, or with what does without."""

    def weigh(_typing, out, pixels, stride, groups, weights):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            _generate_weighing(builder, arguments, (with_vnni if VNNI else _Products)(builder))

        return WEIGHING, generate

    return intrinsic(weigh)


_weigh = _weighing(_Digits)
_weigh_evenly = _weighing(_Evenly)
"""For target pixels whose weights are all equal: a third of the multiplications."""


@intrinsic
def _turn(_typing, source, target, target_stride):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Transpose 16 x 16 words, from adjacent rows of 64 bytes at `source`."""
    signature = types.void(types.uint64, types.uint64, types.int64)

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        source, target, stride = arguments
        rows = [_load(builder, source, 4 * VECTOR * row, WORDS) for row in range(VECTOR)]
        for number, column in enumerate(_transposed(builder, rows)):
            row = builder.add(target, builder.mul(stride, ir.Constant(I64, number)))
            builder.store(column, _at(builder, row, 0, WORDS)).align = 1

    return signature, generate


@intrinsic
def _fold_tile(_typing, source, row_bytes, words):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Fold 16 rows of 16 pixels; 64 bytes of each row are read, 48 count.

    Args: source: address of the first pixel. row_bytes: from one row to the next. words: address
    of the first of 12 x 16 words; each 16 are 4 x 64 bytes further.
    """
    signature = types.void(types.uint64, types.int64, types.uint64)
    grouped = [12 * group + channel + 3 * tap
               for group in range(4) for channel in range(3) for tap in range(TAPS)]  # fmt: skip
    order = ir.Constant(ir.VectorType(I32, LANES), [*grouped, *range(48, LANES)])

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        source, row_bytes, words = arguments
        rows = []
        for row in range(VECTOR):
            here = builder.add(source, builder.mul(row_bytes, ir.Constant(I64, row)))
            pixels = _load(builder, here, 0, BYTES)
            shuffled = builder.shuffle_vector(pixels, ir.Constant(BYTES, ir.Undefined), order)
            rows.append(builder.bitcast(shuffled, WORDS))
        for number, column in enumerate(_transposed(builder, rows)[:12]):
            place = _at(builder, words, 4 * LANES * number, WORDS)
            builder.store(column, place).align = 1

    return signature, generate


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:  # noqa: ANN401
    """Transpose 16 vectors of 16 words by swapping halves, quarters, eighths, sixteenths."""
    masks = ir.VectorType(I32, VECTOR)
    for step in (8, 4, 2, 1):
        low = [j + (VECTOR - step) * bool(j & step) for j in range(VECTOR)]
        high = [j + (VECTOR if j & step else step) for j in range(VECTOR)]
        for i in (i for i in range(VECTOR) if not i & step):
            one, other = rows[i], rows[i + step]
            rows[i] = builder.shuffle_vector(one, other, ir.Constant(masks, low))
            rows[i + step] = builder.shuffle_vector(one, other, ir.Constant(masks, high))
    return rows


@compiled
def _fold(image, top, left, width, strip, edge, words):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Fold 64 rows, or as many as there are, into (W / 4, 3, 64) words; see the module's text.

    What lies beyond the image's edges gets any value: its weights are zero. `edge` is space for
    16 rows, which are copied where the shuffles would read beyond the end of the image.
    """
    rows, columns, _ = image.shape
    row_bytes = columns * 3
    here = np.uint64(image.ctypes.data) + np.uint64(3 * left)
    to = np.uint64(words.ctypes.data)
    blocks = (width + VECTOR - 1) // VECTOR
    for tile in range(LANES // VECTOR):
        y = top + strip * LANES + tile * VECTOR
        if y >= rows:
            break
        stride, start = row_bytes, here + np.uint64(y * row_bytes)
        end = (y + VECTOR - 1) * row_bytes + 3 * left + 48 * (blocks - 1) + LANES
        if end > rows * row_bytes:
            stride, start = edge.shape[1], np.uint64(edge.ctypes.data)
            for row in range(y, min(y + VECTOR, rows)):
                edge[row - y, : 3 * width] = image[row, left : left + width].reshape(-1)
        for block in range(blocks):
            target = to + np.uint64(4 * (12 * LANES * block + VECTOR * tile))
            _fold_tile(start + np.uint64(48 * block), stride, target)


@compiled
def _across(words, first, groups, place, weights, even, columns, narrow, lanes):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Weigh columns: fill 16 rows of (H / 4, 3 N) words from a strip.

    `columns` is space for `lanes` columns of 64 bytes.
    """
    pixels, out = np.uint64(words.ctypes.data), np.uint64(columns.ctypes.data)
    tables, to = np.uint64(weights.ctypes.data), np.uint64(narrow.ctypes.data)
    stride = 4 * 3 * LANES
    for target in range(len(first)):
        table = tables + np.uint64(4 * TAPS * place[target])
        start = pixels + np.uint64(first[target] * stride)
        for _ in range(3):
            if even:
                _weigh_evenly(out, start, stride, groups[target], table)
            else:
                _weigh(out, start, stride, groups[target], table)
            start += np.uint64(4 * LANES)
            out += np.uint64(LANES)
    source = np.uint64(columns.ctypes.data)
    for lane in range(0, 3 * len(first), VECTOR):
        _turn(source + np.uint64(LANES * lane), to + np.uint64(4 * lane), 4 * lanes)


@compiled
def _down(narrow, first, groups, place, weights, even, lanes, aside, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Weigh rows: (H / 4, 3 N) words to N rows of 3 N bytes. `aside` is space for 64 bytes."""
    pixels, tables = np.uint64(narrow.ctypes.data), np.uint64(weights.ctypes.data)
    stride, length = 4 * lanes, 3 * len(first)
    for lane in range(0, length, LANES):
        fits = lane + LANES <= length
        for target in range(len(first)):
            table = tables + np.uint64(4 * TAPS * place[target])
            start = pixels + np.uint64(first[target] * stride + 4 * lane)
            place_in_row = target * length + lane
            to = np.uint64(out.ctypes.data) + np.uint64(place_in_row)
            if not fits:
                to = np.uint64(aside.ctypes.data)
            if even:
                _weigh_evenly(to, start, stride, groups[target], table)
            else:
                _weigh(to, start, stride, groups[target], table)
            if not fits:
                out[place_in_row : (target + 1) * length] = aside[: length - lane]


@compiled
def _aligned(count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Make an array of words that begins on a line of the cache: a third faster to fold into."""
    space = np.empty(4 * count + LANES, np.uint8)
    before = np.int64(np.uint64(space.ctypes.data) % np.uint64(LANES))
    return space[LANES - before : LANES - before + 4 * count].view(np.uint32)


@compiled
def resample_view(image, view, sizes, across, down, out, positions):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Resample a part of an image to several variants.

    Args:
        image: (H, W, 3) uint8, C order.
        view: top, left, height and width of the part.
        sizes: (V,) int64, side of each variant.
        across: the fields of a `Packed` for all variants.
        down: the same for the other axis.
        out: uint8, written at `positions`.
        positions: (V,) int64.
    """
    top, left, height, width = view
    strips = (height + LANES - 1) // LANES
    lanes = (3 * sizes + LANES - 1) // LANES * LANES
    blocks = (width + VECTOR - 1) // VECTOR
    words = _aligned(blocks * VECTOR // TAPS * 3 * LANES)
    edge = np.empty((VECTOR, blocks * 48 + LANES), np.uint8)
    columns = _aligned(lanes.max() * LANES // 4).view(np.uint8)
    narrow = _aligned(lanes.sum() * strips * VECTOR)
    for strip in range(strips):
        _fold(image[: top + height], top, left, width, strip, edge, words)
        start, begin = 0, 0
        for v in range(len(sizes)):
            stop, end = start + sizes[v], begin + lanes[v] * strips * VECTOR
            first, groups, place = _targets(across, start, stop)
            rows = narrow[begin + strip * VECTOR * lanes[v] : end]
            even = across[4][v]
            _across(words, first, groups, place, across[3], even, columns, rows, lanes[v])
            start, begin = stop, end
    start, begin = 0, 0
    for v in range(len(sizes)):
        stop, end = start + sizes[v], begin + lanes[v] * strips * VECTOR
        first, groups, place = _targets(down, start, stop)
        small = out[positions[v] : positions[v] + 3 * sizes[v] ** 2]
        rows, even = narrow[begin:end], down[4][v]
        _down(rows, first, groups, place, down[3], even, lanes[v], columns, small)
        start, begin = stop, end


@compiled
def _targets(packed, start, stop):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return packed[0][start:stop], packed[1][start:stop], packed[2][start:stop]


@compiled
def copy_pixels(image, view, sizes, columns, rows, out, positions):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Copy the pixels of the filter nearest; arguments as in `resample_view`, but indices."""
    top, left, _, _ = view
    start = 0
    for v in range(len(sizes)):
        to = positions[v]
        for y in rows[start : start + sizes[v]]:
            for x in columns[start : start + sizes[v]]:
                for channel in range(3):
                    out[to + channel] = image[top + y, left + x, channel]
                to += 3
        start += sizes[v]
