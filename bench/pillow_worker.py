"""Random resizes, and what the Pillow of this environment makes of them.

    python bench/pillow_worker.py RESIZES

`bench/pillow_versions.py` starts this file in an environment with another Pillow, where there is
no lowres, and imports it for the same images: they follow from their number alone, so only
checksums pass between the two. Prints Pillow's and NumPy's version, then a line for each resize:
the SHA-256 of the result, and in how many calls Pillow made it.
"""

from __future__ import annotations

import hashlib
import math
import random
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
KINDS = ("noise", "extremes", "bars", "ramp")
MAX_SIDE_PX = 3000
USUAL_SIZE_PX, MAX_SIZE_PX = 300, 1024
LARGE_SHARE = 0.04
"""How many of the sizes may be up to 1024 px: they hold most of the bytes all the same."""


class Case(NamedTuple):
    """An image by its recipe, and what to resize it to."""

    number: int
    kind: str
    height: int
    width: int
    variants: list[tuple[int, str]]


def cases(resizes: int) -> Iterator[Case]:
    """Draw images, each with one size a filter, until there are `resizes` in all."""
    for number, done in enumerate(range(0, resizes, len(FILTERS))):
        draw = random.Random(number)
        sizes = [_draw_size(draw) for _ in range(1 + int(draw.random() * 3))]
        height, width = _draw_side(draw, sizes[0]), _draw_side(draw, sizes[0])
        names = sorted(FILTERS, key=lambda _, draw=draw: draw.random())
        variants = [(sizes[int(draw.random() * len(sizes))], name) for name in names]
        kind = KINDS[int(draw.random() * len(KINDS))]
        yield Case(number, kind, height, width, variants[: resizes - done])


def _log_uniform(draw: random.Random, most: int) -> int:
    return min(int(math.exp(draw.random() * math.log(most + 1))), most)


def _draw_size(draw: random.Random) -> int:
    if draw.random() < LARGE_SHARE:
        return 1 + int(draw.random() * MAX_SIZE_PX)
    if draw.random() < 0.5:
        return 1 + int(draw.random() * USUAL_SIZE_PX)
    return _log_uniform(draw, USUAL_SIZE_PX)


def _draw_side(draw: random.Random, size: int) -> int:
    """Draw a side, a third of them where something could be odd: ties, no pass, one pixel."""
    if draw.random() < 0.67:
        return _log_uniform(draw, MAX_SIDE_PX)
    multiple = size * (2 + int(draw.random() * 7))
    halves = size * (3 + 2 * int(draw.random() * 4)) // 2
    special = (1, 2, 3, size - 1, size, size + 1, multiple, halves, 333, 375, 500, MAX_SIDE_PX)
    return min(max(special[int(draw.random() * len(special))], 1), MAX_SIDE_PX)


def drawn(case: Case) -> np.ndarray:
    """Draw the image of a case: (H, W, 3) uint8.

    Integers only, and of NumPy's random numbers only the raw stream, which no version changes.
    """
    height, width = case.height, case.width
    raw = np.random.PCG64(case.number).random_raw(-(-height * width * 3 // 8) + 9)
    noise = raw[9:].view(np.uint8)[: height * width * 3].reshape(height, width, 3)
    if case.kind == "noise":
        return noise
    if case.kind == "extremes":
        return (noise >> 7) * np.uint8(255)
    y, x = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
    by_row, by_column, offset = (raw[:9].reshape(3, 3) % np.uint64(511)).astype(np.int64) - 255
    if case.kind == "bars":  # hard edges, so filters with negative weights leave 0..255
        periods = np.abs(by_row) // 8 + 1, np.abs(by_column) // 8 + 1
        return ((y // periods[0] + x // periods[1]) % 2 * 255).astype(np.uint8)
    ramp = y * by_row // height + x * by_column // width + offset
    return np.clip(ramp, 0, 255).astype(np.uint8)


def goes_down_first(version: str, height: int, width: int, size: int) -> bool:
    """Say whether a single call of this Pillow makes the pass down before the pass across.

    The conditions were found in Pillow's sources and by trying single calls against both orders.
    Up to 12.1 Pillow never does.
    """
    release = tuple(int(part) for part in version.split(".")[:2])
    if release >= (13, 0):
        return height - size > max(0, 2 * (width - size))
    return release >= (12, 2) and height > 100 * width and height > size


def main(resizes: int) -> None:
    """Resize with Pillow, in a single call unless that goes down first."""
    from PIL import Image, __version__

    print(__version__, np.__version__)
    for case in cases(resizes):
        image = Image.fromarray(drawn(case))
        for size, name in case.variants:
            method = Image.Resampling[name.upper()]
            down_first = goes_down_first(__version__, case.height, case.width, size)
            twice = down_first and name != "nearest"  # which only copies: any order is the same
            across = image.resize((size, case.height), method) if twice else image
            small = across.resize((size, size), method)
            print(hashlib.sha256(small.tobytes()).hexdigest(), 1 + twice)


if __name__ == "__main__":
    main(int(sys.argv[1]))
