"""The filter that made a set, guessed from its pixels."""

import tarfile

import numpy as np
import pytest

import lowres
from lowres.comparing.spectrum import band_ratios, guess_filter
from lowres.variant import FILTERS, Variant


@pytest.fixture(scope="module")
def photographs(shared, tmp_path_factory):
    """Variants of the 500 photographs that the reference table is not made of."""
    folder = tmp_path_factory.mktemp("photographs")
    with tarfile.open(shared / "imagenet-1-per-class.tar") as archive:
        members = sorted((m for m in archive if m.isfile()), key=lambda member: member.name)
        archive.extractall(folder / "set", members[1::2], filter="data")
    options = lowres.BuildOptions(size=(8, 32), filter=FILTERS, fit=("squash", "resize-crop"))
    lowres.build(folder / "set", folder / "store", options)
    return lowres.open_store(folder / "store")


@pytest.mark.parametrize("filter_name", FILTERS)
def test_real_photographs(photographs, filter_name):
    for size in (8, 32):
        for fit in ("squash", "resize-crop"):
            images = photographs.images("train", Variant(size, filter_name, fit))
            guess = guess_filter(images)
            assert guess is not None
            assert guess.filter == filter_name
            assert guess.distance < guess.others


def test_no_guess_without_photographs():
    random = np.random.default_rng(0)
    flat = np.broadcast_to(random.integers(0, 256, (500, 1, 1, 3)), (500, 16, 16, 3))
    assert guess_filter(flat.astype(np.uint8)) is None
    noise = random.integers(0, 256, (500, 16, 16, 3)).astype(np.uint8)
    assert guess_filter(noise) is None
    assert guess_filter(noise[:399]) is None
    assert guess_filter(noise[:, :7, :7]) is None


def test_ratios_of_white_noise():
    """Differences of white noise have power 4 sin^2(pi f / 2) at frequency f."""
    noise = np.random.default_rng(0).integers(0, 256, (4000, 32, 32, 3)).astype(np.uint8)
    f = np.linspace(0, 1, 10001)
    power = np.sin(np.pi * f / 2) ** 2
    bands = [power[(f > a) & (f <= b)].mean() for a, b in ((0.3, 0.5), (0.6, 0.8), (0.9, 1.0))]
    expected = np.log(bands[1] / bands[0]), np.log(bands[2] / bands[1])
    np.testing.assert_allclose(band_ratios(noise), expected, atol=0.02)
