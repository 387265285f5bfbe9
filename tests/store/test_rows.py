"""Files of rows: written in any order, read back, refused if not whole; and the content hash."""

import hashlib
import os
import threading

import numpy as np
import pytest

import lowres
from lowres.store.options import BuildOptions
from lowres.store.rows import RowFile, content_hash, image_digests
from lowres.work.files import claim

ROWS = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 3), np.uint8)


@pytest.fixture
def written(tmp_path):
    rows = RowFile.create(tmp_path / "x.npy", ROWS.shape)
    for start in (30, 0, 10, 20, 40):
        rows.write(start, ROWS[start : start + 10])
    return rows


def test_numpy_reads_what_was_written_in_any_order(written):
    np.testing.assert_array_equal(np.load(written.path), ROWS)
    np.testing.assert_array_equal(written.read_range(7, 23), ROWS[7:23])
    np.testing.assert_array_equal(written.read(np.array([4, 2, 49])), ROWS[[4, 2, 49]])
    np.testing.assert_array_equal(np.concatenate(list(written.blocks())), ROWS)
    assert written.path.read_bytes() == written.header + ROWS.tobytes()


def test_an_existing_file_stays(written):
    again = RowFile.create(written.path, ROWS.shape)
    np.testing.assert_array_equal(again.read_range(0, 50), ROWS)
    assert [path.name for path in written.path.parent.iterdir()] == ["x.npy"]


def test_of_many_that_make_one_file_all_have_the_same(tmp_path):
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(RowFile.create(tmp_path / "x.npy", ROWS.shape)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for start, rows in enumerate(made):
        rows.write(start, ROWS[start : start + 1])
    assert len(made) == 8
    np.testing.assert_array_equal(made[0].read_range(0, 8), ROWS[:8])


def test_where_files_cannot_be_linked(tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refused)
    for name, text in (("one", "1"), ("two", "2")):
        (tmp_path / name).write_text(text)
        claim(tmp_path / name, tmp_path / "x")
    assert (tmp_path / "x").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("change", [-1, 1, -2500])
def test_a_file_of_another_length_is_refused(written, change):
    os.truncate(written.path, written.path.stat().st_size + change)
    with pytest.raises(ValueError, match=r"size does not fit|EOF|magic"):
        RowFile(written.path)


@pytest.mark.parametrize(
    "array",
    [ROWS.astype(np.int16), np.asfortranarray(ROWS), ROWS[0], np.array([{}], object)],
    ids=["wide", "by column", "three dimensions", "objects"],
)
def test_other_arrays_are_refused(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match="not an array of rows of bytes"):
        RowFile(tmp_path / "x.npy")


def test_a_file_cut_short_while_it_is_read(written):
    os.truncate(written.path, written.path.stat().st_size - 100)
    with pytest.raises(OSError, match="ends before row"):
        written.read_range(0, 50)


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 1, 0, 1, 0])


def test_the_content_hash_is_what_the_documents_say():
    lines = sorted(
        f"train\0{'ab'[label]}\0{hashlib.sha256(image.tobytes()).hexdigest()}\n".encode()
        for label, image in zip(LABELS, IMAGES, strict=True)
    )
    expected = hashlib.sha256(b"4\n" + b"".join(lines)).hexdigest()
    assert content_hash(4, {"train": (LABELS, image_digests(IMAGES))}, "ab") == expected


def hashed(images=IMAGES, labels=LABELS, classes=("a", "b"), split="train"):
    return content_hash(4, {split: (labels, image_digests(images))}, classes)


def test_the_content_hash_ignores_the_order_of_images_and_classes():
    order = np.random.default_rng(1).permutation(6)
    assert hashed(IMAGES[order], LABELS[order]) == hashed()
    assert hashed(labels=1 - LABELS, classes=("b", "a")) == hashed()
    assert hashed(np.asfortranarray(IMAGES)) == hashed()


def test_the_content_hash_depends_on_everything_else():
    flipped = IMAGES.copy()
    flipped[3, 2, 1, 0] ^= 1
    others = [
        hashed(flipped),
        hashed(classes=("a", "c")),
        hashed(split="val"),
        hashed(IMAGES[:5], LABELS[:5]),
        hashed(np.concatenate([IMAGES, IMAGES[:1]]), np.append(LABELS, LABELS[:1])),
        hashed(labels=1 - LABELS),
    ]
    assert len({*others, hashed()}) == len(others) + 1


def test_a_store_has_a_content_hash_for_each_variant(store, source, tmp_path):
    contents = store.manifest.contents
    assert set(contents) == set(store.manifest.variants)
    splits = {
        split: (store.labels(split), image_digests(store.images(split, "16-box")))
        for split in store.splits
    }
    assert contents["16-box"] == content_hash(16, splits, store.classes)
    # Another name of every image, so another order of rows.
    for number, path in enumerate(sorted(source.rglob("*.jpg"), reverse=True)):
        target = tmp_path / "set" / path.relative_to(source).with_name(f"{number:03}.jpg")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    manifest = lowres.build(tmp_path / "set", tmp_path / "store", BuildOptions(size=(16,)))
    assert manifest.contents["16-box"] == contents["16-box"]
    assert manifest.files["train/16-box.npy"] != store.manifest.files["train/16-box.npy"]
