"""Random resizes against the installed Pillow: every size, filter and fit, sides of all kinds.

`bench/pillow_versions.py` does the same with other versions of Pillow, and with many more.
"""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from lowres.resampling.resampler import resample
from lowres.variant import FILTERS, FITS, Variant

SIZES = (1, 7, 8, 16, 63, 64, 65, 129, 300, 1024)
ALL = [Variant(*parts) for parts in itertools.product(SIZES, FILTERS, FITS)]
MOST_PX = 2_000_000
"""Largest image that Pillow makes before it crops: 1024-resize-crop of a strip would be huge."""

SIDES = {
    "one pixel": [(1, 1), (1, 2), (3, 1), (1, 640), (977, 1), (1, 2999), (3000, 1)],
    "tall strips": [(200, 1), (400, 2), (1400, 7), (2600, 13), (3000, 15), (1001, 10)],
    "wide strips": [(1, 200), (2, 401), (5, 1000), (9, 1800), (15, 3000), (11, 1234)],
    "enlarged": [(2, 2), (3, 5), (7, 4), (13, 29), (31, 17), (50, 61)],
    "thousands": [(1024, 1500), (2100, 1300), (1100, 2500)],
    "a side that stays": [(64, 200), (333, 65), (129, 7), (8, 300), (300, 16), (1024, 63)],
}


def in_two_calls(image: Image.Image, size: tuple[int, int], method: int) -> Image.Image:
    """Go across and then down; a single call may go down first."""
    return image.resize((size[0], image.height), method).resize(size, method)


def by_pillow(array: np.ndarray, variant: Variant) -> np.ndarray:
    """Crop and resize with Pillow."""
    image = Image.fromarray(array)
    width, height = image.size
    shorter, size = min(image.size), variant.size
    if variant.fit == "crop":
        left, top = (width - shorter) // 2, (height - shorter) // 2
        image = image.crop((left, top, left + shorter, top + shorter))
    target = (size, size)
    if variant.fit == "resize-crop":
        target = (size * width // shorter, size * height // shorter)
    if variant.fit == "adm":  # center_crop_arr of guided diffusion
        while min(image.size) >= 2 * size:
            halves = tuple(length // 2 for length in image.size)
            image = in_two_calls(image, halves, Image.Resampling.BOX)
        scale = size / min(image.size)
        target = tuple(round(length * scale) for length in image.size)
    whole = in_two_calls(image, target, Image.Resampling[variant.filter.upper()])
    left, top = (round((length - size) / 2) for length in target)
    if variant.fit == "adm":
        left, top = ((length - size) // 2 for length in target)
    return np.asarray(whole.crop((left, top, left + size, top + size)))


def affordable(variant: Variant, height: int, width: int) -> bool:
    longer, shorter = max(height, width), min(height, width)
    return variant.fit in ("squash", "crop") or variant.size**2 * longer / shorter <= MOST_PX


def random_image(seed: int, height: int, width: int) -> np.ndarray:
    """Draw noise; every other seed draws only 0 and 255, so that weighted sums leave that range."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return (noise >> 7) * np.uint8(255) if seed % 2 else noise


def assert_as_pillow(array: np.ndarray, variants: list[Variant]) -> None:
    for variant, ours in zip(variants, resample(array, variants), strict=True):
        same = np.array_equal(ours, by_pillow(array, variant))
        assert same, f"{variant} of an image of {array.shape}"


@pytest.mark.parametrize("kind", SIDES)
def test_sides_of_this_kind(kind):
    random_order = random.Random(kind)
    for seed, (height, width) in enumerate(SIDES[kind]):
        possible = [variant for variant in ALL if affordable(variant, height, width)]
        staying = [variant for variant in possible if variant.size in (height, width)]
        variants = random_order.sample(possible, 10)
        variants += random_order.sample(staying, min(6, len(staying)))
        assert_as_pillow(random_image(seed, height, width), variants)


SIDE = st.integers(1, 12) | st.integers(1, 100) | st.integers(1, 900)
VARIANTS = st.builds(Variant, st.integers(1, 130), st.sampled_from(FILTERS), st.sampled_from(FITS))


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), SIDE, SIDE, st.lists(VARIANTS, max_size=6))
def test_any_image_and_variants(seed, height, width, variants):
    affordable_ones = [v for v in variants if affordable(v, height, width)]
    assert_as_pillow(random_image(seed, height, width), affordable_ones)
