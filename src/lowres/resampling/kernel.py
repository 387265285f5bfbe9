"""The two passes, compiled: one inner loop over 64 pixels at a time for every filter and rule.

A pass is a weighted sum of neighbours. Both passes run the same loop on data in **folded** order:
one 32-bit word holds four neighbours that are weighed together, and 64 lanes of words lie side by
side.

- Across, the lanes are 64 rows. `_fold` turns a strip of 64 rows of (H, W, 3) into (W / 4, 3, 64)
  words by byte shuffles and 16 x 16 transpositions. The strip stays in the cache for all variants.
- Down, the lanes are the 3 N bytes of a row. The pass across writes its bytes in that order:
  (H / 4, 3 N) words of four rows each.

With AVX-512 VNNI, one instruction multiplies 64 bytes by one-byte weights and adds them up in
fours. A 23-bit weight is therefore cut into three signed digits to the base 256. Other processors
multiply the four bytes of a word one by one; the sums are the same integers.

All functions here work on addresses (`..._at`), because numba takes seconds to compile slices of
arrays, and on memory that the caller keeps alive.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from lowres.jit import compiled
from lowres.resampling.filters import PRECISION_BITS
from lowres.resampling.packing import TAPS, VNNI, Packed

LANES = 64
"""Sums that are formed together: one 512-bit register of bytes."""

VECTOR = 16
"""Words in a 512-bit register; LLVM splits it on narrower machines."""

WORD_BYTES = 4
STRIP_BYTES = WORD_BYTES * 3 * LANES
"""Of a strip: one word of each of the three channels in every lane."""

TILE_BYTES = 3 * VECTOR
"""Of 16 pixels in a row."""

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
WORDS, BYTES = ir.VectorType(I32, VECTOR), ir.VectorType(I8, LANES)


def _emitted(emit: Callable[..., None]) -> Callable[..., None]:
    """Make a function for compiled code of one that emits LLVM code for integer arguments."""

    @wraps(emit)  # numba reads the number of arguments from its signature
    def function(_typing: object, *arguments: object) -> tuple[object, object]:
        return types.void(*[types.int64] * len(arguments)), generate

    def generate(
        _context: object, builder: ir.IRBuilder, _signature: object, arguments: list[ir.Value]
    ) -> None:
        emit(builder, *arguments)

    called: Callable[..., None] = intrinsic(function)
    return called


def _same(value: int) -> ir.Constant:
    return ir.Constant(WORDS, [value] * VECTOR)


def _pointer(builder: ir.IRBuilder, address: ir.Value, offset: int, of: ir.Type) -> ir.Value:
    return builder.inttoptr(builder.add(address, ir.Constant(I64, offset)), of.as_pointer())


def _load(builder: ir.IRBuilder, address: ir.Value, offset: int, of: ir.Type) -> ir.Value:
    loaded = builder.load(_pointer(builder, address, offset, of))
    loaded.align = 1
    return loaded


def _store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value, offset: int) -> None:
    builder.store(value, _pointer(builder, address, offset, value.type)).align = 1


def _load_spread(builder: ir.IRBuilder, address: ir.Value, offset: int) -> ir.Value:
    """Load a word and copy it into all places of a vector."""
    undefined = ir.Constant(WORDS, ir.Undefined)
    word = _load(builder, address, offset, I32)
    first = builder.insert_element(undefined, word, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, _same(0))


class _Products:
    """Takes the four bytes of a word apart and multiplies each by its weight."""

    sums = 1

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def add(
        self, sums: list[ir.Value], pixels: ir.Value, weights: list[ir.Value]
    ) -> list[ir.Value]:
        total = sums[0]
        for tap, weight in enumerate(weights):
            level = self.builder.lshr(pixels, _same(8 * tap))
            if tap < TAPS - 1:
                level = self.builder.and_(level, _same(255))
            total = self.builder.add(total, self.builder.mul(level, weight))
        return [total]

    def total(self, sums: list[ir.Value], table_at: ir.Value) -> ir.Value:
        return sums[0]


class _Digits(_Products):
    """Multiplies by three digits of a weight at once, each with a sum of its own."""

    sums = 3

    def add(
        self, sums: list[ir.Value], pixels: ir.Value, weights: list[ir.Value]
    ) -> list[ir.Value]:
        kind = ir.FunctionType(WORDS, [WORDS] * 3)
        name = "llvm.x86.avx512.vpdpbusd.512"
        multiply = cgutils.get_or_insert_function(self.builder.module, kind, name)
        pairs = zip(sums, weights, strict=False)
        return [self.builder.call(multiply, [total, pixels, w]) for total, w in pairs]

    def total(self, sums: list[ir.Value], table_at: ir.Value) -> ir.Value:
        middle = self.builder.shl(sums[1], _same(8))
        high = self.builder.shl(sums[2], _same(16))
        return self.builder.add(sums[0], self.builder.add(middle, high))


class _Evenly(_Digits):
    """Adds up the pixels that a byte of 1 marks, and multiplies the sum by their common weight."""

    sums = 1

    def total(self, sums: list[ir.Value], table_at: ir.Value) -> ir.Value:
        return self.builder.mul(sums[0], _load_spread(self.builder, table_at, WORD_BYTES))


def _weighing(arithmetic_of: type[_Products]) -> Callable[..., None]:
    """Make a function that writes 64 bytes: the weighted sums of some words of 64 lanes.

    Its arguments: address of the result; address of the first words; bytes from one group of words
    to the next; number of groups; address of the weights, four words for each group.
    """

    @_emitted
    def weigh(
        builder: ir.IRBuilder,
        out: ir.Value,
        pixels: ir.Value,
        stride: ir.Value,
        groups: ir.Value,
        table: ir.Value,
    ) -> None:
        arithmetic = arithmetic_of(builder)
        blocks = range(0, LANES * TAPS, VECTOR * TAPS)
        cells = [
            [cgutils.alloca_once_value(builder, _same(0)) for _ in range(arithmetic.sums)]
            for _ in blocks
        ]
        with cgutils.for_range(builder, groups, intp=I64) as loop:
            words_at = builder.add(pixels, builder.mul(loop.index, stride))
            row_at = builder.add(
                table, builder.mul(loop.index, ir.Constant(I64, WORD_BYTES * TAPS))
            )
            weights = [_load_spread(builder, row_at, WORD_BYTES * tap) for tap in range(TAPS)]
            for block, sums in zip(blocks, cells, strict=True):
                words = _load(builder, words_at, block, WORDS)
                added = arithmetic.add([builder.load(cell) for cell in sums], words, weights)
                for cell, value in zip(sums, added, strict=True):
                    builder.store(value, cell)
        for number, sums in enumerate(cells):
            total = arithmetic.total([builder.load(cell) for cell in sums], table)
            # Round half up to 0 fractional bits and clip to bytes.
            total = builder.add(total, _same(1 << (PRECISION_BITS - 1)))
            total = builder.ashr(total, _same(PRECISION_BITS))
            for limit, sign in ((0, ">"), (255, "<")):
                within = builder.icmp_signed(sign, total, _same(limit))
                total = builder.select(within, total, _same(limit))
            _store(builder, builder.trunc(total, ir.VectorType(I8, VECTOR)), out, VECTOR * number)

    return weigh


_weigh = _weighing(_Digits if VNNI else _Products)
_weigh_evenly = _weighing(_Evenly if VNNI else _Products)
"""For target pixels whose weights are all equal: a third of the multiplications."""


def _transposed(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
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


@_emitted
def _turn(builder: ir.IRBuilder, source: ir.Value, target: ir.Value, stride: ir.Value) -> None:
    """Transpose 16 x 16 words, from adjacent rows of 64 bytes at `source`."""
    rows = [_load(builder, source, LANES * row, WORDS) for row in range(VECTOR)]
    for number, column in enumerate(_transposed(builder, rows)):
        row_at = builder.add(target, builder.mul(stride, ir.Constant(I64, number)))
        _store(builder, column, row_at, 0)


@_emitted
def _fold_tile(
    builder: ir.IRBuilder, source: ir.Value, row_bytes: ir.Value, words: ir.Value
) -> None:
    """Fold 16 rows of 16 pixels; 64 bytes of each row are read, 48 count.

    `source` is the address of the first pixel; `words` that of the first of 12 x 16 words, of which
    each 16 lie 4 x 64 bytes behind the last.
    """
    grouped = [12 * group + channel + 3 * tap
               for group in range(4) for channel in range(3) for tap in range(TAPS)]  # fmt: skip
    order = ir.Constant(ir.VectorType(I32, LANES), [*grouped, *range(48, LANES)])
    rows = []
    for row in range(VECTOR):
        row_at = builder.add(source, builder.mul(row_bytes, ir.Constant(I64, row)))
        pixels = _load(builder, row_at, 0, BYTES)
        shuffled = builder.shuffle_vector(pixels, ir.Constant(BYTES, ir.Undefined), order)
        rows.append(builder.bitcast(shuffled, WORDS))
    for number, column in enumerate(_transposed(builder, rows)[:12]):
        _store(builder, column, words, WORD_BYTES * LANES * number)


@_emitted
def _copy_bytes(builder: ir.IRBuilder, target: ir.Value, source: ir.Value, count: ir.Value) -> None:
    """Copy `count` bytes between addresses."""
    pointers = (builder.inttoptr(at, I8.as_pointer()) for at in (target, source))
    cgutils.raw_memcpy(builder, *pointers, count, 1)


@compiled
def _fold(
    image_at: int,
    row_bytes: int,
    view: tuple[int, int, int, int],
    strip: int,
    edge_at: int,
    words_at: int,
) -> None:
    """Fold 64 rows, or as many as there are, into (W / 4, 3, 64) words; see the module's text.

    Words beyond the image's edges hold any value, since their weights are zero. The shuffles read
    up to 16 bytes too many; rows that they would leave the image by are copied to `edge_at` first.
    """
    top, left, height, width = view
    bottom, blocks = top + height, (width + VECTOR - 1) // VECTOR
    for tile in range(LANES // VECTOR):
        y = top + strip * LANES + tile * VECTOR
        if y >= bottom:
            break
        stride, source_at = row_bytes, image_at + y * row_bytes + 3 * left
        read_bytes = (VECTOR - 1) * stride + TILE_BYTES * (blocks - 1) + LANES
        if source_at + read_bytes > image_at + bottom * row_bytes:
            stride = TILE_BYTES * blocks + LANES
            for row in range(min(VECTOR, bottom - y)):
                _copy_bytes(edge_at + row * stride, source_at + row * row_bytes, 3 * width)
            source_at = edge_at
        for block in range(blocks):
            target_at = words_at + WORD_BYTES * (12 * LANES * block + VECTOR * tile)
            _fold_tile(source_at + TILE_BYTES * block, stride, target_at)


@compiled
def _across(
    words_at: int,
    packed: Packed,
    v: int,
    start: int,
    size: int,
    columns_at: int,
    narrow_at: int,
    lanes: int,
) -> None:
    """Weigh columns: fill 16 rows of (H / 4, 3 N) words from a strip.

    `columns_at` is space for `lanes` columns of 64 bytes; `start` is the variant's first target.
    """
    first, groups, place, weights, evenness = packed
    tables_at, out_at, even = np.int64(weights.ctypes.data), columns_at, evenness[v]
    for target in range(start, start + size):
        table_at = tables_at + WORD_BYTES * TAPS * place[target]
        pixels_at = words_at + first[target] * STRIP_BYTES
        for _ in range(3):
            if even:
                _weigh_evenly(out_at, pixels_at, STRIP_BYTES, groups[target], table_at)
            else:
                _weigh(out_at, pixels_at, STRIP_BYTES, groups[target], table_at)
            pixels_at += WORD_BYTES * LANES
            out_at += LANES
    for lane in range(0, 3 * size, VECTOR):
        _turn(columns_at + LANES * lane, narrow_at + WORD_BYTES * lane, WORD_BYTES * lanes)


@compiled
def _down(
    narrow_at: int,
    packed: Packed,
    v: int,
    start: int,
    size: int,
    aside_at: int,
    out_at: int,
    lanes: int,
) -> None:
    """Weigh rows: (H / 4, 3 N) words to N rows of 3 N bytes. `aside_at` is space for 64 bytes."""
    first, groups, place, weights, evenness = packed
    tables_at, even = np.int64(weights.ctypes.data), evenness[v]
    stride, row_bytes = WORD_BYTES * lanes, 3 * size
    for lane in range(0, row_bytes, LANES):
        fits = lane + LANES <= row_bytes
        for number in range(size):
            target = start + number
            table_at = tables_at + WORD_BYTES * TAPS * place[target]
            pixels_at = narrow_at + first[target] * stride + WORD_BYTES * lane
            place_at = out_at + number * row_bytes + lane
            to = place_at if fits else aside_at
            if even:
                _weigh_evenly(to, pixels_at, stride, groups[target], table_at)
            else:
                _weigh(to, pixels_at, stride, groups[target], table_at)
            if not fits:
                _copy_bytes(place_at, aside_at, row_bytes - lane)


def space_bytes(sizes: NDArray[np.int64], height: int, width: int) -> int:
    """Return how many bytes of memory `resample_view` works in, for a part of H x W pixels."""
    strips, blocks = -(-height // LANES), -(-width // VECTOR)
    lanes = -(-3 * sizes // LANES) * LANES
    edge = VECTOR * (TILE_BYTES * blocks + LANES)
    narrow = int(lanes.sum()) * strips * VECTOR * WORD_BYTES
    return LANES + TILE_BYTES * LANES * blocks + edge + narrow + int(lanes.max(initial=0)) * LANES


@compiled
def resample_view(
    image: NDArray[np.uint8],
    view: tuple[int, int, int, int],
    sizes: NDArray[np.int64],
    across: Packed,
    down: Packed,
    space: NDArray[np.uint8],
    out: NDArray[np.uint8],
    positions: NDArray[np.int64],
) -> None:
    """Resample a part of an image to several variants.

    Args:
        image: (H, W, 3) uint8, C order.
        view: top, left, height and width of the part.
        sizes: (V,) int64, side of each variant.
        across: weights of the columns for all variants.
        down: weights of the rows.
        space: (`space_bytes`,) uint8, memory to work in.
        out: uint8, written at `positions`.
        positions: (V,) int64.
    """
    _, _, height, width = view
    strips, blocks = (height + LANES - 1) // LANES, (width + VECTOR - 1) // VECTOR
    image_at, out_at = np.int64(image.ctypes.data), np.int64(out.ctypes.data)
    # On a line of the cache, folding is a third faster.
    words_at = (np.int64(space.ctypes.data) + LANES - 1) // LANES * LANES
    edge_at = words_at + TILE_BYTES * LANES * blocks
    narrow_at = edge_at + VECTOR * (TILE_BYTES * blocks + LANES)
    columns_at = narrow_at
    for v in range(len(sizes)):
        columns_at += (3 * sizes[v] + LANES - 1) // LANES * LANES * strips * VECTOR * WORD_BYTES
    for strip in range(strips):
        _fold(image_at, 3 * image.shape[1], view, strip, edge_at, words_at)
        start, begin_at = np.int64(0), narrow_at
        for v in range(len(sizes)):
            lanes = (3 * sizes[v] + LANES - 1) // LANES * LANES
            rows_at = begin_at + WORD_BYTES * strip * VECTOR * lanes
            _across(words_at, across, v, start, sizes[v], columns_at, rows_at, lanes)
            start, begin_at = start + sizes[v], begin_at + WORD_BYTES * strips * VECTOR * lanes
    start, begin_at = np.int64(0), narrow_at
    for v in range(len(sizes)):
        lanes = (3 * sizes[v] + LANES - 1) // LANES * LANES
        _down(begin_at, down, v, start, sizes[v], columns_at, out_at + positions[v], lanes)
        start, begin_at = start + sizes[v], begin_at + WORD_BYTES * strips * VECTOR * lanes


@compiled
def copy_pixels(
    image: NDArray[np.uint8],
    view: tuple[int, int, int, int],
    sizes: NDArray[np.int64],
    columns: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[np.uint8],
    positions: NDArray[np.int64],
) -> None:
    """Copy the pixels of the filter nearest; arguments as in `resample_view`, but indices."""
    top, left, _, _ = view
    start = 0
    for v in range(len(sizes)):
        to = positions[v]
        for y in range(start, start + sizes[v]):
            for x in range(start, start + sizes[v]):
                for channel in range(3):
                    out[to + channel] = image[top + rows[y], left + columns[x], channel]
                to += 3
        start += sizes[v]
