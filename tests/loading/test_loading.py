"""Order, augmentation and loaders."""

import numpy as np
import pytest
import torch

import lowres
from lowres.loading import augment
from lowres.loading.augment import Draw, draw, gather, shuffled
from lowres.loading.loaders import NumpyLoader
from lowres.recipe import Recipe


def test_orders_are_permutations_that_never_change():
    order = shuffled(10, seed=0, epoch=0)
    assert sorted(order) == list(range(10))
    # Fixed once, so that a run can be repeated with any later NumPy.
    assert order.tolist() == [6, 1, 0, 5, 3, 8, 7, 9, 2, 4]
    assert (order != shuffled(10, seed=0, epoch=1)).any()
    assert (order != shuffled(10, seed=1, epoch=0)).any()


def test_ten_files_are_shuffled_one_after_the_other_and_each_skips_its_rest(store, monkeypatch):
    """The store has 24 images: nine files of 2 and one of 6; each image is shown twice."""
    monkeypatch.setattr(type(store), "keys", lambda *_: ["train_data_batch_01/0000000"] * 24)
    loader = NumpyLoader(store, "8-box", batch_size=4, shuffle=True, files=True, flip="both")
    batches = list(loader.positions(0))
    assert (
        len(loader) == len(batches) == Recipe(batch_size=4, shuffle="ten-files").steps_per_epoch(24)
    )
    for number, batch in enumerate(batches[:9]):
        rows = [2 * number, 2 * number + 1]
        assert sorted(batch.tolist()) == [*rows, rows[0] + 24, rows[1] + 24]
    last = np.concatenate(batches[9:])
    assert sorted(last.tolist()) == [*range(18, 24), *range(42, 48)]
    assert [b.tolist() for b in batches] == [b.tolist() for b in loader.positions(0)]
    assert (last != np.concatenate(list(loader.positions(1))[9:])).any()
    assert [b.tolist() for b in loader.positions(0, 7)] == [b.tolist() for b in batches[7:]]
    loader = NumpyLoader(store, "8-box", batch_size=3, shuffle=True, files=True)
    assert len(loader) == 2, "files of 2 images fill no batch of 3"
    assert np.concatenate(list(loader.positions(0))).min() == 18


def test_other_sets_are_cut_into_ten_at_random_once_for_all_seeds(store):
    """Rows are sorted by class, and files of few classes each would train badly."""
    first, second = (
        NumpyLoader(store, "8-box", batch_size=2, shuffle=True, files=True, seed=seed)
        for seed in (0, 1)
    )
    parts = [set(batch.tolist()) for batch in first.positions(0)][:9]
    assert parts == [set(batch.tolist()) for batch in second.positions(5)][:9]
    assert parts != [{2 * n, 2 * n + 1} for n in range(9)]
    assert sorted(np.concatenate(list(first.positions(0))).tolist()) == list(range(24))


def test_the_numbers_of_nas_bench_201(store):
    load = NumpyLoader(store, "8-box", batch_size=24, subtract="imagenet16", divide_by="imagenet16")
    (images, _), *_ = load
    levels = np.array(store.images("train", "8-box"))
    expected = (levels - np.array([122.68, 116.66, 104.01])) / np.array([63.22, 61.26, 65.09])
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_draws_depend_on_seed_epoch_and_row_alone():
    rows = np.arange(1000)
    whole = draw(rows, seed=3, epoch=5, flip="random", shift_px=4)
    some = draw(rows[::-7], seed=3, epoch=5, flip="random", shift_px=4)
    for name in ("mirror", "down", "right"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[::-7])
        for other in ({"seed": 4, "epoch": 5}, {"seed": 3, "epoch": 6}):
            differing = getattr(draw(rows, **other, flip="random", shift_px=4), name)
            assert (differing != getattr(whole, name)).mean() > 0.3


def test_draws_are_uniform_and_independent():
    drawn = draw(np.arange(200_000), seed=0, epoch=0, flip="random", shift_px=2)
    cells = (drawn.down + 2) * 10 + (drawn.right + 2) * 2 + drawn.mirror
    counts = np.bincount(cells, minlength=50)
    expected = 200_000 / 50
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert 23 < chi_square < 86, "49 degrees of freedom, 0.1 % on each side"


def test_no_augmentation_when_none_is_asked_for():
    drawn = draw(np.arange(50), seed=0, epoch=0, flip="none", shift_px=0)
    assert not drawn.mirror.any()
    assert not drawn.down.any()
    assert not draw(np.arange(50), seed=0, epoch=0, flip="none", shift_px=3).mirror.any()
    assert not draw(np.arange(50), seed=0, epoch=0, flip="random", shift_px=0).right.any()


def test_alternating_mirrors_the_other_half_in_the_next_epoch():
    rows = np.arange(4000)
    first, second, third = (
        draw(rows, seed=1, epoch=epoch, flip="alternating", shift_px=2) for epoch in range(3)
    )
    assert 0.45 < first.mirror.mean() < 0.55
    assert (first.mirror != second.mirror).all()
    assert (first.mirror == third.mirror).all()
    assert (first.down != third.down).any(), "shifts are drawn anew"


def test_both_shows_every_image_plain_and_mirrored(store):
    loader = NumpyLoader(store, "8-box", batch_size=8, shuffle=True, flip="both", shift_px=3)
    assert len(loader) == 2 * 24 // 8
    places = np.concatenate(list(loader.positions(0)))
    assert sorted(places) == list(range(48))
    rows, again = places % 24, places >= 24
    drawn = draw(rows, seed=0, epoch=0, flip="both", shift_px=3, second=again)
    assert (drawn.mirror == again).all()
    order = np.lexsort((again, rows))
    plain, mirrored = drawn.right[order][::2], drawn.right[order][1::2]
    assert (plain != mirrored).any(), "each showing has a shift of its own"
    unshifted = NumpyLoader(store, "8-box", batch_size=48, shuffle=True, flip="both")
    ((images, labels),) = list(unshifted)
    plain, mirrored = (
        images[~again][np.argsort(rows[~again])],
        images[again][np.argsort(rows[again])],
    )
    np.testing.assert_array_equal(plain[:, :, ::-1], mirrored)
    assert (labels == store.labels("train")[rows]).all()


def test_the_papers_input_is_the_image_minus_the_mean_image_over_255(store):
    images = np.array(store.images("train", "8-box"), np.float64)
    mean = images.mean(axis=0)
    np.testing.assert_allclose(store.mean_image("8-box"), mean, rtol=1e-12)
    figures = {"subtract": "mean-image", "divide_by": "range"}
    for split in ("train", "val"):
        ours = np.concatenate([b[0] for b in NumpyLoader(store, "8-box", split, **figures)])
        expected = (np.array(store.images(split, "8-box"), np.float64) - mean) / 255
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def reference(images, rows, drawn, mean, std):
    """Normalise, mirror, pad with zeros, crop: the textbook way."""
    out = []
    for b, row in enumerate(rows):
        image = (images[row].astype(np.float64) - mean) / std
        if drawn.mirror[b]:
            image = image[:, ::-1]
        size, pad = len(image), 5
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        top, left = pad - drawn.down[b], pad - drawn.right[b]
        out.append(padded[top : top + size, left : left + size])
    return np.array(out)


@pytest.fixture(params=["compiled", "NumPy"])
def either_way(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(augment, "gather_rows", None)
    return request.param


@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 33])
@pytest.mark.parametrize("of_image", [False, True])
def test_gather_equals_the_textbook(either_way, size, of_image):
    random = np.random.default_rng(size)
    images = random.integers(0, 256, (20, size, size, 3)).astype(np.uint8)
    rows = random.integers(0, 20, 64)
    drawn = Draw(random.random(64) < 0.5, *random.integers(-5, 6, (2, 64)))
    mean, std = np.array([100.0, 120.0, 90.0]), np.array([50.0, 60.0, 70.0])
    if of_image:
        mean = mean + random.normal(0, 20, (size, size, 3))
    space = np.full((64, size, size, 3), np.nan, np.float32)
    ours = gather(images, rows, drawn, mean, std, out=space)
    assert ours is space
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, reference(images, rows, drawn, mean, std), atol=1e-5)


def test_both_ways_make_equal_bits(monkeypatch):
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (40, 32, 32, 3)).astype(np.uint8)
    drawn = Draw(random.random(40) < 0.5, *random.integers(-40, 41, (2, 40)))
    arguments = images, np.arange(40), drawn, random.random((32, 32, 3)) * 255, np.full(3, 61.7)
    compiled = gather(*arguments)
    monkeypatch.setattr(augment, "gather_rows", None)
    np.testing.assert_array_equal(compiled, gather(*arguments))


def test_loader_passes(store):
    loader = NumpyLoader(store, "8-box", batch_size=10, shuffle=True, flip="random", seed=1)
    assert len(loader) == 2
    first = list(loader)
    second = list(loader)
    assert [images.shape for images, _ in first] == [(10, 8, 8, 3)] * 2
    assert any((a[1] != b[1]).any() for a, b in zip(first, second, strict=True))
    loader.epoch = 0
    again = list(loader)
    for (images, labels), (images2, labels2) in zip(first, again, strict=True):
        np.testing.assert_array_equal(images, images2)
        np.testing.assert_array_equal(labels, labels2)


def test_in_stored_order_every_image_comes_once(store):
    loader = NumpyLoader(store, "8-box", "val", batch_size=5)
    assert len(loader) == 3
    batches = list(loader)
    np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), store.labels("val"))
    mean, std = store.statistics("train", "8-box")
    expected = (store.images("val", "8-box") - mean) / std
    np.testing.assert_allclose(np.concatenate([b[0] for b in batches]), expected, atol=1e-5)


def test_torch_loader_has_the_same_batches_channels_last(store):
    loader = lowres.torch_loader(store, "16-box", batch_size=8, seed=2)
    numpy_loader = NumpyLoader(
        store, "16-box", batch_size=8, shuffle=True, flip="random", shift_px=2, seed=2
    )
    assert len(loader) == 3
    for (images, labels), (expected, expected_labels) in zip(loader, numpy_loader, strict=True):
        assert images.shape == (8, 3, 16, 16)
        assert images.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_array_equal(images.permute(0, 2, 3, 1).numpy(), expected)
        np.testing.assert_array_equal(labels.numpy(), expected_labels)


def test_torch_loader_leaves_other_splits_as_they_are(store):
    loader = lowres.torch_loader(store, "16-box", "val", batch_size=100)
    ((_, labels),) = list(loader)
    np.testing.assert_array_equal(labels.numpy(), store.labels("val"))


@pytest.mark.parametrize("split", ["train", "val"])
def test_normalised_train_has_mean_0_and_deviation_1(store, split):
    images = np.concatenate([b[0] for b in NumpyLoader(store, "16-box", split)])
    if split == "train":
        np.testing.assert_allclose(images.mean(axis=(0, 1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(images.std(axis=(0, 1, 2)), 1, atol=1e-5)
    else:
        assert abs(images.mean()) > 1e-4, "normalised by train, not by itself"
