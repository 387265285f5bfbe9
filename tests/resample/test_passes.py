"""The resampler against Pillow itself, which is the definition."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowres.resample.decode import decode
from lowres.resample.filters import coefficients, nearest_indices
from lowres.resample.passes import resample
from lowres.variant import FILTERS, Variant


def pillow(image: Image.Image, variant: Variant) -> np.ndarray:
    """Pillow's answer; in two calls, because one call of Pillow 13 may go down first."""
    method = Image.Resampling[variant.filter.upper()]
    size = variant.size
    if variant.filter == "nearest":
        return np.asarray(image.resize((size, size), method))
    across = image.resize((size, image.height), method)
    return np.asarray(across.resize((size, size), method))


def assert_as_pillow(array: np.ndarray, variants: list[Variant]) -> None:
    image = Image.fromarray(array)
    for variant, ours in zip(variants, resample(array, variants), strict=True):
        np.testing.assert_array_equal(ours, pillow(image, variant), err_msg=f"{variant}")


@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (1, 700), (700, 1), (375, 500), (500, 333), (9, 5), (32, 32), (32, 50), (199, 498)],
)
def test_every_filter_equals_pillow(filter_name, height, width):
    random = np.random.default_rng(height * 1000 + width)
    variants = [Variant(size, filter_name) for size in (1, 7, 8, 16, 32, 64, 100)]
    noise = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    extremes = random.choice([0, 255], (height, width, 3)).astype(np.uint8)
    assert_as_pillow(noise, variants)
    assert_as_pillow(extremes, variants)


def test_random_sizes_equal_pillow():
    random = np.random.default_rng(7)
    for _ in range(60):
        height, width = random.integers(1, 400, 2)
        size = int(random.integers(1, 130))
        array = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
        assert_as_pillow(array, [Variant(size, name) for name in FILTERS])


def test_one_call_of_pillow_agrees_where_it_goes_across_first():
    array = np.random.default_rng(0).integers(0, 256, (375, 500, 3)).astype(np.uint8)
    image = Image.fromarray(array)
    for name in FILTERS:
        once = np.asarray(image.resize((32, 32), Image.Resampling[name.upper()]))
        np.testing.assert_array_equal(resample(array, [Variant(32, name)])[0], once)


def test_not_contiguous_pictures_are_taken():
    array = np.random.default_rng(1).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    flipped = array[:, ::-1]
    variant = Variant(8, "bicubic")
    np.testing.assert_array_equal(
        resample(flipped, [variant])[0], resample(flipped.copy(), [variant])[0]
    )


def test_weights_sum_to_one_within_rounding():
    for name in ("box", "bilinear", "hamming", "bicubic", "lanczos"):
        table = coefficients(500, 32, name)
        assert abs(table.weights.sum(axis=1) - 2**22).max() <= table.weights.shape[1]
        assert (table.first >= 0).all()
        assert (table.first + table.count <= 500).all()


def test_nearest_takes_the_pixel_at_the_centre():
    assert nearest_indices(10, 5).tolist() == [1, 3, 5, 7, 9]
    assert nearest_indices(2, 4).tolist() == [0, 0, 1, 1]


def test_real_photographs_equal_pillow(shared: Path):
    variants = [Variant(size, name) for size in (8, 16, 32, 64) for name in FILTERS]
    with tarfile.open(shared / "imagenet-1-per-class.tar") as archive:
        members = [member for member in archive if member.isfile()][::50]
        for member in members:
            file = archive.extractfile(member)
            assert file is not None
            assert_as_pillow(decode(file.read()), variants)
    assert len(members) == 20
