"""The verb check: equal images, near-duplicates, leaks, blank images, imbalance."""

import tarfile

import numpy as np
import pytest

import lowres
from lowres.comparing import near
from lowres.comparing.check import check
from lowres.comparing.contact_sheet import pair_sheet
from lowres.comparing.near import details, near_pairs
from lowres.errors import StoreError
from lowres.store.build import build
from lowres.store.options import BuildOptions
from near_images import CHANGES, make_store, photograph, plain_set


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("variant", ["8-box", "16-box", "32-box"])
def test_near_duplicates_across_splits_are_found(tmp_path, change, variant):
    images = plain_set()
    images["val/dog/copy"] = CHANGES[change](images["train/dog/2"])
    found = check(make_store(tmp_path, images, size=int(variant[:-4])), variant)
    names = [tuple(map(found.name, pair)) for pair in found.near.tolist()]
    assert names == [("train/dog/2.png", "val/dog/copy.png")]
    equal, similar = found.leaked("val")
    assert equal.tolist() == [False] * 3
    assert similar.tolist() == [key == "dog/copy.png" for key in found.store.keys("val")]
    assert found.sound
    assert (
        "val: 0 of 3 images are in train, too, and 1 more are near-duplicates of an image of "
        "train; 66.67 % are clean"
    ) in list(found.lines())


def test_images_that_share_only_their_gradients_are_not_alike(tmp_path):
    images = plain_set()
    down = np.linspace(30, 220, 64)[:, None, None] * np.ones((64, 64, 3))
    for number, split in enumerate(("train", "val")):
        noise = np.random.default_rng(number).normal(0, 12, (64, 64, 3))
        images[f"{split}/cat/sea{number}"] = np.clip(down + noise, 0, 255).astype(np.uint8)
    found = check(make_store(tmp_path, images))
    assert len(found.near) == 0
    assert "near-duplicates: 0 pairs of similarity 0.9 or more, 0 across splits" in "\n".join(
        found.lines()
    )


def test_equal_images_across_splits_and_classes(tmp_path):
    images = plain_set()
    images["val/cat/leak"] = images["train/cat/1"]
    images["train/dog/wrong"] = images["train/cat/1"]
    images["train/dog/twice"] = images["train/dog/3"]
    images["val/dog/near"] = CHANGES["darker"](images["train/cat/1"])
    found = check(make_store(tmp_path, images))
    lines = list(found.lines())
    assert "duplicates: 2 images of train equal another of train" in lines
    assert any(
        line.startswith("val: 1 of 4 images are in train, too, and 1 more") for line in lines
    )
    assert (
        "classes: 1 image equal an image of another class, train/dog/wrong.png and "
        "train/cat/1.png first"
    ) in lines
    assert lines[-1].endswith("images are in two splits or in two classes (equal at 16 px)")
    assert not found.sound


def test_equal_images_of_one_class_and_split_leave_a_store_sound(tmp_path):
    images = plain_set()
    images["train/dog/twice"] = images["train/dog/3"]
    found = check(make_store(tmp_path, images))
    assert found.sound
    assert len(found.copies) == 1
    assert list(found.lines())[-1].startswith(f"{found.store.path}: no image is in two splits")


def test_blank_images_and_imbalance(tmp_path):
    images = plain_set()
    images["train/cat/blank"] = np.full((64, 64, 3), (9, 200, 30), np.uint8)
    images["train/cat/scan"] = np.random.default_rng(1).integers(250, 254, (64, 64, 3), np.uint8)
    images |= {f"train/dog/more{n}": photograph(5000 + n) for n in range(9)}
    found = check(make_store(tmp_path, images))
    lines = list(found.lines())
    assert "blank: 2 images of one colour, train/cat/blank.png first" in lines
    assert "imbalance: the largest class has 2.2 x the images of the smallest" in lines
    assert len(found.near) == 0
    balanced = check(make_store(tmp_path / "other", plain_set()))
    assert not any(line.startswith(("imbalance", "blank")) for line in balanced.lines())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"least": 0.5}, "--similarity must be from 0.7 to 1, was 0.5"),
        ({"variant": "3-box"}, "3-box is too small to compare"),
        ({"variant": "99-box"}, "has no variant 99-box"),
    ],
)
def test_what_cannot_be_checked_is_refused(tmp_path, flags, words):
    with pytest.raises(StoreError, match=words):
        check(make_store(tmp_path, plain_set(), size=(3, 8)), **flags)


def test_a_sheet_must_be_a_png_and_may_be_empty(tmp_path):
    found = check(make_store(tmp_path, plain_set()))
    with pytest.raises(StoreError, match=r"name it .*pairs\.png, not"):
        pair_sheet(found, tmp_path / "pairs.jpg")
    assert pair_sheet(found, tmp_path / "pairs.png").exists()


def test_a_store_without_val_or_with_one_image_a_class(tmp_path):
    images = {"cat/1": photograph(1), "dog/1": photograph(2)}
    found = check(make_store(tmp_path, images))
    assert found.sound
    assert [line.split(":")[0] for line in found.lines()] == [
        "classes",
        "near-duplicates",
        str(found.store.path),
    ]


def planted(count: int, copies: int) -> np.ndarray:
    """Return details of random images, the last of which are noisy copies of the first."""
    random = np.random.default_rng(count)
    images = random.integers(0, 256, (count, 8, 8, 3)).astype(np.int64)
    images[-copies:] = images[:copies] * 0.8 + random.integers(0, 40, (copies, 8, 8, 3))
    return details(images.astype(np.uint8))


def every_pair(detail: np.ndarray, least: float) -> set[tuple[int, int]]:
    similarity = detail.astype(np.float32) @ detail.astype(np.float32).T
    return set(map(tuple, np.argwhere(np.triu(similarity, 1) >= least).tolist()))


@pytest.mark.parametrize(
    ("count", "compiled"), [(2, True), (2, False), (300, True), (300, False), (2000, True)]
)
def test_found_pairs_are_those_of_all_comparisons(count, compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(near, "HAS_NUMBA", False)
    detail = planted(count, copies=max(count // 20, 1))
    found = near_pairs(detail, 0.9)
    expected = every_pair(detail, 0.9)
    assert len(expected) >= count // 20
    assert set(map(tuple, found.rows.tolist())) == expected
    assert found.complete
    assert (np.diff(found.similarity) <= 0).all()
    assert found.similarity.min() >= 0.9


def test_a_set_full_of_copies_ends_the_search(monkeypatch):
    monkeypatch.setattr(near, "MOST_PAIRS", 50)
    found = near_pairs(planted(1000, copies=400), 0.9)
    assert not found.complete
    assert 50 < len(found.rows) < 400


def test_flat_images_have_no_detail():
    flat = np.full((3, 16, 16, 3), 77, np.uint8)
    assert not details(flat).any()
    assert len(near_pairs(details(flat), 0.9).rows) == 0


@pytest.mark.slow
def test_cifar_10_has_near_duplicates_across_its_splits(shared, tmp_path):
    """About 3 % of the test images are known to have one in train."""
    with tarfile.open(shared / "cifar10-jpeg.tar.xz") as archive:
        for number, member in enumerate(archive):
            if member.isfile() and ("/automobile/" in member.name or "/cat/" in member.name):
                archive.extract(member, tmp_path / "cifar", filter="data")
            assert number < 70_000
    roots = [path.parent for path in (tmp_path / "cifar").rglob("train")]
    build(roots[0], tmp_path / "store", BuildOptions(size=16))
    found = check(lowres.open_store(tmp_path / "store"))
    assert found.leaked("test")[1].sum() > 40
