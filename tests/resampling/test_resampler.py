"""The resampler against Pillow itself, which is the definition."""

import runpy
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowres.errors import ImageError
from lowres.resampling.decode import decode
from lowres.resampling.filters import Axis, coefficients, nearest_indices
from lowres.resampling.resampler import resample, warm_up
from lowres.store.options import PRESETS
from lowres.variant import FILTERS, FITS, Variant

GOLDEN = runpy.run_path(str(Path(__file__).with_name("golden.py")))


def pillow_resized(image: Image.Image, width: int, height: int, filter_name: str) -> Image.Image:
    """Pillow's answer; in two calls, because one call of Pillow 13 may go down first."""
    method = Image.Resampling[filter_name.upper()]
    if filter_name == "nearest":
        return image.resize((width, height), method)
    return image.resize((width, image.height), method).resize((width, height), method)


def pillow(image: Image.Image, variant: Variant) -> np.ndarray:
    return np.asarray(pillow_resized(image, variant.size, variant.size, variant.filter))


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


def test_one_call_of_pillow_agrees_where_it_goes_across_first():
    array = np.random.default_rng(0).integers(0, 256, (375, 500, 3)).astype(np.uint8)
    image = Image.fromarray(array)
    for name in FILTERS:
        once = np.asarray(image.resize((32, 32), Image.Resampling[name.upper()]))
        np.testing.assert_array_equal(resample(array, [Variant(32, name)])[0], once)


def test_not_contiguous_images_are_taken():
    array = np.random.default_rng(1).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    flipped = array[:, ::-1]
    variant = Variant(8, "bicubic")
    np.testing.assert_array_equal(
        resample(flipped, [variant])[0], resample(flipped.copy(), [variant])[0]
    )


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((20, 20, 3), float),
        ((20, 20, 3), np.int8),
        ((20, 20, 4), np.uint8),
        ((20, 20, 1), np.uint8),
        ((20, 20), np.uint8),
        ((1, 20, 20, 3), np.uint8),
        ((0, 20, 3), np.uint8),
        ((20, 0, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(shape, kind):
    """The compiled code would read beyond their memory."""
    with pytest.raises(ImageError, match=r"must be \(H, W, 3\) uint8"):
        resample(np.ones(shape, kind), [Variant(8, "box")])


def test_release_2017_equals_the_pillow_of_that_time():
    answers = np.load(GOLDEN["FILE"])
    differ_today = 0
    for name, array, size, filter_name in GOLDEN["cases"]():
        variant = Variant(size, filter_name, rule="release-2017")
        ours, today = resample(array, [variant, Variant(size, filter_name)])
        np.testing.assert_array_equal(ours, answers[name], err_msg=name)
        differ_today += bool((today != ours).any())
    assert differ_today > 40, "the two rules differ, so this test can fail"


def test_release_2017_where_pixels_tie():
    """By hand: 3 pixels to 2. The box of Pillow 4.1 adds the tied middle one to the later half."""
    row = np.array([[[10] * 3, [20] * 3, [40] * 3]], np.uint8).repeat(2, axis=0)
    then = resample(row, [Variant(2, "box", rule="release-2017")])[0]
    today = resample(row, [Variant(2, "box")])[0]
    assert then[0, :, 0].tolist() == [10, 30]
    assert today[0, :, 0].tolist() == [15, 40]


@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize(
    ("height", "width"), [(375, 500), (500, 333), (9, 5), (32, 32), (1, 70), (41, 40)]
)
def test_fits_equal_edm_and_torchvision(filter_name, height, width):
    array = np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)
    side = min(height, width)
    for size in (8, 32, 33):
        crop, resize_crop = resample(
            array,
            [Variant(size, filter_name, "crop"), Variant(size, filter_name, "resize-crop")],
        )
        # EDM's data tool: cut the centre square out of the array, then resize.
        square = array[
            (height - side) // 2 : (height + side) // 2, (width - side) // 2 : (width + side) // 2
        ]
        expected = pillow_resized(Image.fromarray(square), size, size, filter_name)
        np.testing.assert_array_equal(crop, np.asarray(expected))
        # torchvision's Resize(size) and CenterCrop(size): the longer side is cut to an integer.
        tall, wide = (int(size * length / side) for length in (height, width))
        whole = pillow_resized(Image.fromarray(array), wide, tall, filter_name)
        left, top = int(round((wide - size) / 2.0)), int(round((tall - size) / 2.0))  # noqa: RUF046
        expected = whole.crop((left, top, left + size, top + size))
        np.testing.assert_array_equal(resize_crop, np.asarray(expected))


def center_crop_arr(image: Image.Image, size: int) -> np.ndarray:
    """ADM's function of this name, in the calls of Pillow that it makes."""
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    target = (round(image.width * scale), round(image.height * scale))
    array = np.asarray(image.resize(target, Image.Resampling.BICUBIC))
    top, left = (array.shape[0] - size) // 2, (array.shape[1] - size) // 2
    return array[top : top + size, left : left + size]


@pytest.mark.parametrize(
    ("height", "width"),
    [(375, 500), (333, 500), (500, 501), (127, 129), (128, 128), (64, 65), (31, 40), (257, 1025)],
)
def test_the_preset_adm_is_the_crop_of_adm(height, width):
    """Of sides from which one call of Pillow goes across first, as all did in ADM's time."""
    array = np.random.default_rng(width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    variants = [Variant(size, *PRESETS["adm"]) for size in (64, 8, 16, 32)]
    for variant, ours in zip(variants, resample(array, variants), strict=True):
        expected = center_crop_arr(Image.fromarray(array), variant.size)
        np.testing.assert_array_equal(ours, expected, err_msg=f"{variant}")


def test_variants_do_not_depend_on_their_company():
    array = np.random.default_rng(5).integers(0, 256, (60, 47, 3)).astype(np.uint8)
    variants = [
        Variant(8, name, fit, rule)
        for name in FILTERS
        for fit in FITS
        for rule in ("release-2017", "pillow")
    ]
    for variant, together in zip(variants, resample(array, variants), strict=True):
        np.testing.assert_array_equal(together, resample(array, [variant])[0], err_msg=f"{variant}")


def test_weights_sum_to_one_within_rounding():
    for name in ("box", "bilinear", "hamming", "bicubic", "lanczos"):
        table = coefficients(Axis(500, 32, 0, 32), name, "pillow")
        assert abs(table.weights.sum(axis=1) - 2**22).max() <= table.weights.shape[1]
        assert (table.first >= 0).all()
        assert (table.first + table.count <= 500).all()


def test_nearest_takes_the_pixel_at_the_centre():
    assert nearest_indices(Axis(10, 5, 0, 5)).tolist() == [1, 3, 5, 7, 9]
    assert nearest_indices(Axis(2, 4, 0, 4)).tolist() == [0, 0, 1, 1]


def test_real_photographs_equal_pillow(shared: Path):
    variants = [Variant(size, name) for size in (8, 16, 32, 64) for name in FILTERS]
    with tarfile.open(shared / "imagenet-1-per-class.tar") as archive:
        members = [member for member in archive if member.isfile()][::50]
        for member in members:
            file = archive.extractfile(member)
            assert file is not None
            assert_as_pillow(decode(file.read()), variants)
    assert len(members) == 20


def test_warm_up_compiles_once():
    assert warm_up() == warm_up() >= 0
