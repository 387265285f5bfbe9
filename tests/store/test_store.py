"""Opening and verifying stores."""

import hashlib
import json
import os
import shutil

import numpy as np
import pytest

import lowres
from lowres.errors import StoreError
from lowres.store.manifest import Manifest


@pytest.fixture
def copy(store_path, tmp_path):
    return shutil.copytree(store_path, tmp_path / "copy")


def test_a_whole_store_has_no_problems(store):
    assert list(store.problems()) == []


def test_arrays_are_maps_that_cannot_be_written(store):
    images = store.images("train", "8-box")
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


@pytest.mark.parametrize("name", ["train/8-box.npy", "val/labels.npy", "val/keys.txt"])
def test_one_flipped_bit_is_found(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[-2] ^= 1
    (copy / name).write_bytes(data)
    problems = list(lowres.open_store(copy).problems())
    assert any(name in p and "SHA-256" in p for p in problems)


def test_images_that_were_never_built_are_found(copy):
    """Black rows whose SHA-256 went into the manifest, as once after a power cut."""
    file = copy / "train" / "8-box.npy"
    black = np.load(file)
    black[3:9] = 0
    np.save(file, black)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    edit(copy, lambda record: record["files"].update({"train/8-box.npy": sha256}))
    problems = list(lowres.open_store(copy).problems())
    assert len(problems) == 1
    assert problems[0].startswith("8-box has other images than those that were built")


def test_a_file_that_cannot_be_read_is_a_problem_among_others(copy, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("lowres.store.store.sha256_of_file", refused)
    os.truncate(copy / "train" / "16-box.npy", 3000)
    problems = list(lowres.open_store(copy).problems())
    assert "val/keys.txt cannot be read: Permission denied" in problems
    assert "train/16-box.npy cannot be read: its size does not fit its shape" in problems


def test_missing_and_misshapen_files_are_found(copy):
    (copy / "val" / "16-box.npy").unlink()
    problems = list(lowres.open_store(copy).problems())
    assert any("val/16-box.npy is missing" in problem for problem in problems)
    np.save(copy / "val" / "16-box.npy", np.zeros((2, 16, 16, 3), np.uint8))
    problems = list(lowres.open_store(copy).problems())
    assert any("must be (12, 16, 16, 3) uint8, was (2, 16, 16, 3)" in p for p in problems)


def edit(copy, change):
    record = json.loads((copy / "manifest.json").read_text())
    change(record)
    (copy / "manifest.json").write_text(json.dumps(record))


def test_counts_that_disagree_are_found(copy):
    (copy / "val" / "keys.txt").write_text("only/one.jpg\n")
    labels = np.full(12, 9, np.int64)
    np.save(copy / "val" / "labels.npy", labels)
    problems = list(lowres.open_store(copy).problems())
    assert any("has 1 keys for 12 images" in problem for problem in problems)
    assert any("must lie in 0 to 3, was 9 to 9" in problem for problem in problems)


def test_a_file_the_manifest_forgot_is_found(copy):
    edit(copy, lambda record: record["files"].pop("train/labels.npy"))
    problems = list(lowres.open_store(copy).problems())
    assert problems == ["train/labels.npy has no SHA-256 in the manifest"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(format="else"), "is not the manifest of a lowres store"),
        (
            lambda r: r.update(format_version=99),
            "format version 99, and this lowres reads",
        ),
        (lambda r: r.pop("classes"), "is damaged"),
        (lambda r: r.update(variants=["32-boxx"]), "is damaged.*did you mean box"),
    ],
)
def test_bad_manifests_are_refused(copy, change, words):
    edit(copy, change)
    with pytest.raises(StoreError, match=words):
        lowres.open_store(copy)


def test_what_is_not_a_store_is_refused(tmp_path, copy):
    with pytest.raises(StoreError, match="does not exist"):
        lowres.open_store(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"is not a store: it has no manifest\.json"):
        lowres.open_store(tmp_path)
    (copy / "manifest.json").write_text('{"format": ')
    with pytest.raises(StoreError, match="is damaged"):
        lowres.open_store(copy)


def test_pickles_are_never_read(copy):
    array = np.array([{"a": 1}], dtype=object)
    np.save(copy / "train" / "labels.npy", array, allow_pickle=True)
    with pytest.raises(StoreError, match="damaged"):
        lowres.open_store(copy).labels("train")


def test_unknown_names_are_answered_with_the_known_ones(store):
    with pytest.raises(StoreError, match="no split 'test'; it has train, val"):
        store.labels("test")
    with pytest.raises(StoreError, match="no variant 32-box; it has 8-box, 8-lanczos, 16-box"):
        store.images("train", "32-box")


def test_digest_follows_contents(store, copy):
    assert Manifest.read(copy).digest == store.manifest.digest
    edit(copy, lambda record: record["files"].update({"train/labels.npy": "0"}))
    assert Manifest.read(copy).digest != store.manifest.digest
