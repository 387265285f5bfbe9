"""Images to variants: what is weighed how, and one compiled call that does it.

Across first, then down, rounded to bytes after each, in 32-bit integers: the same bytes as
Pillow's `Image.resize((N, N), filter)` wherever Pillow goes across first. (Pillow 13 goes down
first on tall images; see docs/resampling.md.)

The passes themselves are in `kernel.py`, and in `plain.py` where numba is not installed.
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
from lowres.resampling import plain
from lowres.resampling.filters import Axis, coefficients, nearest_indices
from lowres.variant import Filter, Fit, Rule, Variant

try:
    from lowres.resampling import kernel, packing
except ImportError:  # without numba
    kernel = None  # type: ignore[assignment]

KEPT_PLANS = 512
"""For so many different heights and widths a resampler keeps its tables: some 0.2 MB for 24
variants of one side, so 100 MB at most on images of ImageNet's sizes."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class View:
    """What is made of one part of an image.

    Attributes:
        box: top, left, height and width of the part.
        weighed: positions of the variants with a convolution filter.
        sizes: (weighed,) int64, the side of each.
        across, down: the weights of each axis for all of them, as the passes take them.
        copied: positions of the variants with the filter nearest.
        copied_sizes: (copied,) int64.
        columns, rows: source columns and rows of all of them, one after the other.
    """

    box: tuple[int, int, int, int]
    weighed: Indices
    sizes: Indices
    across: Any
    down: Any
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
        parts = np.split(out, ends[:-1])
        return [p.reshape(v.size, v.size, 3) for p, v in zip(parts, self.variants, strict=True)]

    def into(self, image: NDArray[np.uint8], out: NDArray[np.uint8], positions: Indices) -> None:
        """Turn one image into every variant, written into one array.

        Args:
            image: (H, W, 3) uint8 RGB, any height and width from 1.
            out: one-dimensional uint8.
            positions: (V,) int64, where in `out` the N x N x 3 bytes of each variant begin.
        """
        image = np.ascontiguousarray(image)
        if image.flags.writeable:  # one type of array, so that numba compiles for one
            image = image.view()
            image.flags.writeable = False
        if image.shape[0] == image.shape[1] == self._only_size:
            for position in positions:  # whatever the filter, fit and rule
                out[position : position + image.size] = image.reshape(-1)
            return
        for view in self._views(image.shape[0], image.shape[1]):
            if len(view.weighed):
                _weigh(image, view, out, positions[view.weighed])
            if len(view.copied):
                _copy(image, view, out, positions[view.copied])

    def _planned(self, height: int, width: int) -> list[View]:
        views = []
        for cut in (False, True):
            chosen = [i for i, v in enumerate(self.variants) if (v.fit == "crop") == cut]
            if chosen:
                box = _centre_square(height, width) if cut else (0, 0, height, width)
                views.append(self._view(box, chosen))
        return views

    def _view(self, box: tuple[int, int, int, int], chosen: list[int]) -> View:
        copied = [i for i in chosen if self.variants[i].filter == "nearest"]
        weighed = [i for i in chosen if self.variants[i].filter != "nearest"]
        axes = {i: _axes(*box[2:], self.variants[i].size, self.variants[i].fit) for i in chosen}
        across, down = (self._tables([(axes[i][axis], i) for i in weighed]) for axis in (1, 0))
        nothing = [np.empty(0, np.int64)]
        columns, rows = (
            np.concatenate(nothing + [nearest_indices(axes[i][axis]) for i in copied])
            for axis in (1, 0)
        )
        return View(
            box=box,
            weighed=np.array(weighed, np.int64),
            sizes=self._sides(weighed),
            across=across,
            down=down,
            copied=np.array(copied, np.int64),
            copied_sizes=self._sides(copied),
            columns=columns,
            rows=rows,
        )

    def _tables(self, axes: list[tuple[Axis, int]]) -> Any:  # noqa: ANN401  as passes take them
        variants = self.variants
        return self._packed(tuple((a, variants[i].filter, variants[i].rule) for a, i in axes))

    def _sides(self, chosen: list[int]) -> Indices:
        return np.array([self.variants[i].size for i in chosen], np.int64)


def resample(image: NDArray[np.uint8], variants: Sequence[Variant]) -> list[NDArray[np.uint8]]:
    """Turn one image into every variant.

    Args:
        image: (H, W, 3) uint8 RGB, any height and width from 1.
        variants: the sizes, filters, fits and rules wanted.

    Returns:
        One (N, N, 3) uint8 array for each variant, in the order given.

    Raises:
        ImageError: it is no such image.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.shape[2:] != (3,) or not image.size:
        raise ImageError(
            f"an image must be (H, W, 3) uint8, H and W at least 1, was {image.shape} {image.dtype}"
        )
    return resampler(tuple(variants))(image)


@cache
def warm_up() -> float:
    """Compile the resampler, or load it from numba's cache; later calls return at once.

    Returns:
        Seconds that the first call took.
    """
    started = time.perf_counter()
    variants = (Variant(1, "box"), Variant(1, "nearest"))
    resample(np.zeros((2, 2, 3), np.uint8), variants)
    return time.perf_counter() - started


@lru_cache(maxsize=16)
def resampler(variants: tuple[Variant, ...]) -> Resampler:
    """Give the resampler of some variants, with the tables it has made so far."""
    return Resampler(variants)


def _packed(axes: tuple[tuple[Axis, Filter, Rule], ...]) -> Any:  # noqa: ANN401  as passes take them
    tables = [coefficients(*axis) for axis in axes]
    if kernel is None or not tables:
        return tables
    packed = packing.Packed.of(tables)
    return packed.first, packed.groups, packed.place, packed.weights, packed.even


def _weigh(
    image: NDArray[np.uint8], view: View, out: NDArray[np.uint8], positions: Indices
) -> None:
    if kernel is not None:
        sizes, across, down = view.sizes, view.across, view.down
        kernel.resample_view(image, view.box, sizes, across, down, out, positions)
        return
    top, left, height, width = view.box
    part = image[top : top + height, left : left + width]
    for across, down, position in zip(view.across, view.down, positions, strict=True):
        small = plain.two_passes(part, across, down)
        out[position : position + small.size] = small.reshape(-1)


def _copy(image: NDArray[np.uint8], view: View, out: NDArray[np.uint8], positions: Indices) -> None:
    sizes, columns, rows = view.copied_sizes, view.columns, view.rows
    if kernel is not None:
        kernel.copy_pixels(image, view.box, sizes, columns, rows, out, positions)
        return
    top, left, _, _ = view.box
    for size, position in zip(sizes, positions, strict=True):
        small = image[top + rows[:size, None], left + columns[:size]]
        out[position : position + small.size] = small.reshape(-1)
        columns, rows = columns[size:], rows[size:]


def _axes(height: int, width: int, size: int, fit: Fit) -> tuple[Axis, Axis]:
    """Say what happens down and across; for the fit `crop` the image is cut already."""
    if fit != "resize-crop":
        return Axis(height, size, 0, size), Axis(width, size, 0, size)
    shorter = min(height, width)
    # Rounding as torchvision's Resize and CenterCrop do it.
    targets = (size * height // shorter, size * width // shorter)
    starts = [round((target - size) / 2) for target in targets]
    return Axis(height, targets[0], starts[0], size), Axis(width, targets[1], starts[1], size)


def _centre_square(height: int, width: int) -> tuple[int, int, int, int]:
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side
