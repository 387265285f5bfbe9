"""Images to variants: which pixels weigh what, and one compiled call that resamples.

Across first, then down, in 32-bit integers, rounded to bytes after each. These are the bytes of
Pillow's `Image.resize((N, N), filter)` wherever Pillow goes across first. (Pillow 13 goes down
first on tall images; see docs/resampling.md.)

The compiled passes are in `kernel.py`; without numba, NumPy makes the same bytes here, more slowly.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres.errors import ImageError
from lowres.resampling.filters import (
    PRECISION_BITS,
    Axis,
    Coefficients,
    coefficients,
    nearest_indices,
)
from lowres.variant import RULES, Filter, Fit, Rule, Variant

try:
    from lowres.resampling import kernel, packing
except ImportError:  # without numba
    kernel = None  # type: ignore[assignment]

KEPT_PLANS = 512
"""Sizes of images of which a resampler keeps the tables: 0.2 MB each for 24 variants of one side,
so at most 100 MB on images of ImageNet's sizes."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class View:
    """What is made of one part of an image.

    Attributes:
        halvings: how often the image is halved before.
        rule: the rule by which it is halved.
        box: top, left, height and width of the part, in the halved image.
        weighed: positions of the variants with a convolution filter.
        sizes: (weighed,) int64, the side of each.
        across, down: weights of each axis for all of them, as the passes read them.
        space_bytes: memory that the compiled passes work in.
        copied: positions of the variants with the filter nearest.
        copied_sizes: (copied,) int64.
        columns, rows: source columns and rows of all of them, one after the other.
    """

    halvings: int
    rule: Rule
    box: tuple[int, int, int, int]
    weighed: Indices
    sizes: Indices
    across: Any
    down: Any
    space_bytes: int
    copied: Indices
    copied_sizes: Indices
    columns: Indices
    rows: Indices


class Resampler:
    """Turns images into variants, and keeps the tables for sizes that come again.

    Safe to use from several threads.

    Attributes:
        variants: what each image is turned into.
        sizes_bytes: (V,) int64, bytes of one image of each variant.
    """

    def __init__(self, variants: Sequence[Variant]) -> None:
        self.variants = tuple(variants)
        self.sizes_bytes = np.array([3 * v.size**2 for v in variants], np.int64)
        sizes = {variant.size for variant in variants}
        self._only_size = sizes.pop() if len(sizes) == 1 else 0
        self._views = lru_cache(KEPT_PLANS)(self._planned)
        self._packed = lru_cache(KEPT_PLANS)(_packed)

    def __call__(self, image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """Turn one image into every variant; see `resample`."""
        out = np.empty(int(self.sizes_bytes.sum()), np.uint8)
        ends = np.cumsum(self.sizes_bytes)
        self.into(image, out, ends - self.sizes_bytes)
        return [
            out[end - 3 * variant.size**2 : end].reshape(variant.size, variant.size, 3)
            for end, variant in zip(ends, self.variants, strict=True)
        ]

    def into(self, image: NDArray[np.uint8], out: NDArray[np.uint8], positions: Indices) -> None:
        """Turn one image into every variant, written into one array.

        Args:
            image: (H, W, 3) uint8 RGB, any height and width from 1.
            out: one-dimensional uint8.
            positions: (V,) int64, where in `out` the N x N x 3 bytes of each variant begin.
        """
        image = _read_only(image)
        if image.shape[0] == image.shape[1] == self._only_size:  # for all filters, fits and rules
            for position in positions:
                out[position : position + image.size] = image.reshape(-1)
            return
        smaller: dict[Rule, tuple[NDArray[np.uint8], int]] = {}  # and how often it was halved
        for view in self._views(image.shape[0], image.shape[1]):
            part = image
            if view.halvings:
                part, done = smaller.get(view.rule, (image, 0))
                for _ in range(view.halvings - done):
                    part = _read_only(_halved(part, view.rule))
                smaller[view.rule] = part, view.halvings
            if kernel is None:
                _into_with_numpy(part, view, out, positions)
                continue
            if len(view.weighed):
                weighed, space = positions[view.weighed], np.empty(view.space_bytes, np.uint8)
                across, down = view.across, view.down
                kernel.resample_view(part, view.box, view.sizes, across, down, space, out, weighed)
            if len(view.copied):
                copied, columns, rows = positions[view.copied], view.columns, view.rows
                kernel.copy_pixels(part, view.box, view.copied_sizes, columns, rows, out, copied)

    def _planned(self, height: int, width: int) -> list[View]:
        side = min(height, width)
        whole = (0, 0, height, width)
        centre_square = ((height - side) // 2, (width - side) // 2, side, side)
        groups: dict[tuple[int, Rule, tuple[int, int, int, int]], list[int]] = {}
        for i, variant in enumerate(self.variants):
            key: tuple[int, Rule, tuple[int, int, int, int]] = (0, RULES[0], whole)
            if variant.fit == "crop":
                key = (0, RULES[0], centre_square)
            if variant.fit == "adm" and side >= 2 * variant.size:
                # Halving rounds down each time, so the shorter side after k times is side >> k.
                halvings = (side // variant.size).bit_length() - 1
                key = (halvings, variant.rule, (0, 0, height >> halvings, width >> halvings))
            groups.setdefault(key, []).append(i)
        return [self._view(*key, groups[key]) for key in sorted(groups)]

    def _view(
        self, halvings: int, rule: Rule, box: tuple[int, int, int, int], chosen: list[int]
    ) -> View:
        variants = self.variants
        axes = {i: _axes(*box[2:], variants[i].size, variants[i].fit) for i in chosen}
        copied = [i for i in chosen if variants[i].filter == "nearest"]
        weighed = [i for i in chosen if variants[i].filter != "nearest"]
        sizes = np.array([variants[i].size for i in weighed], np.int64)
        down, across = (
            self._packed(
                tuple((axes[i][axis], variants[i].filter, variants[i].rule) for i in weighed)
            )
            for axis in (0, 1)
        )
        rows, columns = (
            np.concatenate([np.empty(0, np.int64), *(nearest_indices(axes[i][k]) for i in copied)])
            for k in (0, 1)
        )
        return View(
            halvings=halvings,
            rule=rule,
            box=box,
            weighed=np.array(weighed, np.int64),
            sizes=sizes,
            across=across,
            down=down,
            space_bytes=0 if kernel is None else kernel.space_bytes(sizes, *box[2:]),
            copied=np.array(copied, np.int64),
            copied_sizes=np.array([variants[i].size for i in copied], np.int64),
            columns=columns,
            rows=rows,
        )


def resample(image: NDArray[np.uint8], variants: Sequence[Variant]) -> list[NDArray[np.uint8]]:
    """Turn one image into every variant.

    Args:
        image: (H, W, 3) uint8 RGB, any height and width from 1.
        variants: sizes, filters, fits and rules.

    Returns:
        One (N, N, 3) uint8 array for each variant, in the order of `variants`.

    Raises:
        ImageError: `image` is no such array.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.shape[2:] != (3,) or not image.size:
        raise ImageError(
            f"an image must be (H, W, 3) uint8, H and W at least 1, was {image.shape} {image.dtype}"
        )
    return resampler(tuple(variants))(image)


@lru_cache(maxsize=16)
def resampler(variants: tuple[Variant, ...]) -> Resampler:
    """Return the resampler of some variants, with the tables it has made so far."""
    return Resampler(variants)


@cache
def warm_up() -> float:
    """Compile the resampler, or load it from numba's cache; later calls return at once.

    Returns:
        Seconds that the first call took.
    """
    started = time.perf_counter()
    resample(np.zeros((2, 2, 3), np.uint8), (Variant(1, "box"), Variant(1, "nearest")))
    return time.perf_counter() - started


def _packed(axes: tuple[tuple[Axis, Filter, Rule], ...]) -> Any:  # noqa: ANN401  as passes take them
    tables = [coefficients(*axis) for axis in axes]
    if kernel is None or not tables:
        return tables
    return tuple(packing.Packed.of(tables))  # numba is slow to recognise a named tuple


def _axes(height: int, width: int, size: int, fit: Fit) -> tuple[Axis, Axis]:
    """Return what happens down and across; for the fit `crop` the image is cut already."""
    if fit in ("squash", "crop"):
        return Axis(height, size, 0, size), Axis(width, size, 0, size)
    shorter = min(height, width)
    if fit == "adm":  # rounding as its center_crop_arr does it
        scale = size / shorter
        targets = (round(height * scale), round(width * scale))
        starts = [(target - size) // 2 for target in targets]
    else:  # as torchvision's Resize and CenterCrop do it
        targets = (size * height // shorter, size * width // shorter)
        starts = [round((target - size) / 2) for target in targets]
    return Axis(height, targets[0], starts[0], size), Axis(width, targets[1], starts[1], size)


def _halved(image: NDArray[np.uint8], rule: Rule) -> NDArray[np.uint8]:
    """Halve both sides, rounded down, with the filter box: (H, W, 3) to (H // 2, W // 2, 3)."""
    for axis in (1, 0):
        length = image.shape[axis]
        if length % 2 == 0:  # two pixels weigh one half each, by either rule
            first, second = (image[(slice(None),) * axis + (slice(k, None, 2),)] for k in range(2))
            image = ((first.astype(np.uint16) + second + 1) >> 1).astype(np.uint8)
            continue
        table = coefficients(Axis(length, length // 2, 0, length // 2), "box", rule)
        weights = table.weights.reshape(-1, *[1] * (2 - axis), table.weights.shape[1])
        total: Any = 1 << (PRECISION_BITS - 1)
        for k in range(int(table.count.max())):  # weights beyond the count are 0
            taken = np.minimum(table.first + k, length - 1)
            total = total + image.take(taken, axis) * weights[..., k]
        image = (total >> PRECISION_BITS).astype(np.uint8)  # no weight of box is negative
    return image


def _read_only(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a contiguous view that cannot be written; numba compiles for one type of array."""
    flags = image.flags
    if flags.c_contiguous and not flags.writeable:  # as decoders return it
        return image
    image = np.ascontiguousarray(image).view()
    image.flags.writeable = False
    return image


def _into_with_numpy(
    image: NDArray[np.uint8], view: View, out: NDArray[np.uint8], positions: Indices
) -> None:
    top, left, height, width = view.box
    part = image[top : top + height, left : left + width]
    for across, down, position in zip(view.across, view.down, positions[view.weighed], strict=True):
        on_its_side = _weighed(part.transpose(1, 0, 2), across)
        small = _weighed(on_its_side.transpose(1, 0, 2), down)
        out[position : position + small.size] = small.reshape(-1)
    columns, rows = view.columns, view.rows
    for size, position in zip(view.copied_sizes, positions[view.copied], strict=True):
        small = part[rows[:size, None], columns[:size]]
        out[position : position + small.size] = small.reshape(-1)
        columns, rows = columns[size:], rows[size:]


def _weighed(lines: NDArray[np.uint8], table: Coefficients) -> NDArray[np.uint8]:
    """Weigh the first axis of (L, M, 3) uint8: (N, M, 3)."""
    lines = np.ascontiguousarray(lines)
    out = np.empty((len(table.first), *lines.shape[1:]), np.uint8)
    for target, (first, count) in enumerate(zip(table.first, table.count, strict=True)):
        weights = table.weights[target, :count].astype(np.int64)
        total = np.tensordot(weights, lines[first : first + count].astype(np.int64), 1)
        rounded = (total + (1 << (PRECISION_BITS - 1))) >> PRECISION_BITS
        out[target] = np.clip(rounded, 0, 255)
    return out
