"""--test-fraction and --split-file: val and test out of the only split beside train."""

import json
from pathlib import Path

import numpy as np
import pytest

import lowres
from images import draw_source
from lowres.errors import SourceError
from lowres.formats.indexing import split_by_file, val_and_test
from lowres.formats.source import Entry, Index


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return draw_source(tmp_path_factory.mktemp("many") / "animals", train=3, val=10)


@pytest.fixture
def released(store, tmp_path):
    """Return the released layout of a store with 12 images in val."""
    lowres.export(store, tmp_path / "released", "8-box", to="batches")
    return tmp_path / "released"


def split_file(path, val, test, names=("xvalid", "xtest")):
    """Write rows as the benchmark's own files have them: texts after the name of their type."""
    lines = [
        f'  "{name}"{" " * 15}: ["int"   , {json.dumps(list(map(str, rows)))}]'
        for name, rows in zip(names, (val, test), strict=True)
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return str(path)


def built(source, store, **options):
    lowres.build(source, store, lowres.BuildOptions(**options))
    return lowres.open_store(store)


def test_a_fraction_of_val_becomes_test_and_nothing_else_moves(many, tmp_path):
    whole = built(many, tmp_path / "whole", size=8)
    halves = built(many, tmp_path / "halves", size=8, test_fraction=0.5)
    assert list(halves.splits) == ["train", "val", "test"]
    val, test = (halves.keys(split) for split in ("val", "test"))
    assert 8 < len(test) < 32
    assert sorted([*val, *test]) == list(whole.keys("val"))
    assert halves.keys("train") == whole.keys("train")
    rows = [whole.keys("val").index(key) for key in test]
    assert np.array_equal(halves.images("test", "8-box"), whole.images("val", "8-box")[rows])
    assert np.array_equal(halves.labels("test"), whole.labels("val")[rows])
    note = f"val is divided: {len(val)} images are val, {len(test)} are test"
    assert note in halves.manifest.source["notes"]
    assert halves.manifest.options["test_fraction"] == 0.5
    assert "test_fraction" not in whole.manifest.options


def test_a_store_is_divided_by_the_same_hashes(many, tmp_path):
    halves = built(many, tmp_path / "halves", size=8, test_fraction=0.5)
    built(many, tmp_path / "whole", size=8)
    copied = built(tmp_path / "whole", tmp_path / "copied", test_fraction=0.5)
    assert copied.keys("test") == halves.keys("test")
    assert lowres.compare(tmp_path / "copied", tmp_path / "halves").same


def test_train_alone_becomes_three_splits(many, tmp_path):
    store = built(many / "val", tmp_path / "store", size=8, val_fraction=0.6, test_fraction=0.5)
    assert sum(store.splits.values()) == 40
    assert all(count > 4 for count in store.splits.values())


def test_a_split_file_counts_the_released_images(released, tmp_path):
    whole = built(released, tmp_path / "whole")
    val, test = [0, 3, 4, 7, 8, 11], [1, 2, 5, 6, 9, 10]
    file = split_file(tmp_path / "halves.txt", val, test)
    store = built(released, tmp_path / "store", split_file=file)
    for split, rows in (("val", val), ("test", test)):
        expected = whole.images("val", "8-box")[rows]
        assert np.array_equal(store.images(split, "8-box"), expected)
        assert np.array_equal(store.labels(split), whole.labels("val")[rows])
    assert store.manifest.options["split_file"] == "halves.txt", "without its folder"
    copied = built(tmp_path / "whole", tmp_path / "copied", split_file=file)
    assert copied.keys("test") == store.keys("test"), "a copied store keeps the order"


def test_a_split_file_of_train_makes_val_of_it_and_test_of_val(released, tmp_path):
    whole = built(released, tmp_path / "whole")
    train, val = range(0, 24, 2), range(1, 24, 2)
    file = split_file(tmp_path / "halves.txt", train, val, ("train", "valid"))
    store = built(released, tmp_path / "store", split_file=file)
    assert list(store.splits) == ["train", "val", "test"]
    for split, of, rows in (
        ("train", "train", train),
        ("val", "train", val),
        ("test", "val", range(12)),
    ):
        expected = whole.images(of, "8-box")[list(rows)]
        assert np.array_equal(store.images(split, "8-box"), expected)
        assert np.array_equal(store.labels(split), whole.labels(of)[list(rows)])
    notes = store.manifest.source["notes"]
    assert {
        "train is divided: 12 images are train, 12 are val",
        "val of the source is test",
    } <= set(notes)


@pytest.mark.parametrize(
    ("keys", "others", "expected"),
    [
        ("data_batch_{n}/{row:05}/a.png", "test_batch/{row:05}/b.png", ["train", "val", "test"]),
        ("train/{row:05}", "test/{row:05}", ["train", "val", "test"]),
        ("train/{row:05}/a.png", None, ["train", "val"]),
    ],
)
def test_a_split_file_counts_train_of_cifar(keys, others, expected, tmp_path):
    train = [Entry(keys.format(n=row // 4 + 1, row=row % 4), row % 2, "at") for row in range(8)]
    splits = {"train": tuple(train)}
    if others:
        splits["test"] = tuple(Entry(others.format(row=row), 0, "at") for row in range(3))
    file = Path(
        split_file(tmp_path / "cifar-split.txt", [0, 5, 7], [1, 2, 3, 4, 6], ("train", "valid"))
    )
    index = split_by_file(Index(("a", "b"), splits, ""), file)
    assert list(index.splits) == expected
    assert index.splits["train"] == (train[0], train[5], train[7])
    assert index.splits["val"] == (*train[1:5], train[6])
    assert index.splits.get("test", ()) == splits.get("test", ())


def test_a_test_split_alone_is_divided_as_well():
    entries = tuple(Entry(f"test/{row:05}/x.png", row % 2, "test") for row in range(40))
    index = Index(("a", "b"), {"train": entries[:4], "test": entries}, "")
    splits = val_and_test(index, 0.5).splits
    assert list(splits) == ["train", "val", "test"]
    assert len(splits["val"]) + len(splits["test"]) == 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_fraction": 1.0}, "--test-fraction must lie between 0 and 1, was 1.0"),
        ({"test_fraction": 1e-9}, "of 12 images leaves test empty"),
        ({"test_fraction": 0.5, "split_file": "x"}, "exclude each other: choose one"),
        ({"val_fraction": 0.5, "split_file": "x"}, "exclude each other: choose one"),
        ({"split_file": "missing.txt"}, "missing.txt cannot be read"),
    ],
)
def test_refusals(source, tmp_path, options, message):
    with pytest.raises(SourceError, match=message):
        built(source, tmp_path / "store", size=8, **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no JSON", 'is no split file of NAS-Bench-201: .* "xvalid" and "xtest"'),
        ('{"train": ["int", ["1"]], "test": ["int", ["0"]]}', "it has 'train', 'test'"),
        ('{"train": ["int", ["1"]], "valid": ["int", ["0"]]}', "the 24 images of train once"),
        ('{"xvalid": ["int", ["1.5"]], "xtest": ["int", []]}', "no split file of NAS-Bench-201"),
        ('{"xvalid": ["int", ["1"]], "xtest": ["int", ["0"]]}', "the 12 images of val once"),
        ('{"xvalid": ["int", ["-1"]], "xtest": ["int", []]}', "the 12 images of val once"),
        ("[]", "no split file of NAS-Bench-201"),
    ],
)
def test_split_files_that_do_not_fit(released, tmp_path, text, message):
    (tmp_path / "split.txt").write_text(text)
    with pytest.raises(SourceError, match=message):
        built(released, tmp_path / "store", split_file=str(tmp_path / "split.txt"))


def test_a_split_file_is_not_for_images_in_another_order(source, tmp_path):
    file = split_file(tmp_path / "split.txt", range(6), range(6, 12))
    with pytest.raises(SourceError, match=r"names its images otherwise \(ant/00.jpg\): build from"):
        built(source, tmp_path / "store", size=8, split_file=file)


def test_a_split_file_and_splits_that_it_cannot_divide(tmp_path):
    entries = tuple(Entry(f"test/{row:05}", row % 2, "at") for row in range(2))
    held_out = Path(split_file(tmp_path / "held_out.txt", [0], [1]))
    train = Path(split_file(tmp_path / "train.txt", [0], [1], ("train", "valid")))
    for file, names, message in (
        (held_out, ["train"], "one split beside train, val or test; this source has train: build"),
        (held_out, ["train", "val", "test"], "this source has train, val, test: leave it out"),
        (train, ["train", "val", "test"], "this source has train, val, test: leave it out"),
        (train, ["test"], "train.txt, which has the lists train and valid, divides train; this"),
    ):
        index = Index(("a", "b"), dict.fromkeys(names, entries), "")
        with pytest.raises(SourceError, match=message):
            split_by_file(index, file)


def test_sources_with_both_splits_or_none(source, many, tmp_path):
    built(many, tmp_path / "halves", size=8, test_fraction=0.5)
    with pytest.raises(SourceError, match="this source has train, val, test: leave it out"):
        built(tmp_path / "halves", tmp_path / "again", test_fraction=0.5)
    with pytest.raises(SourceError, match="has train: add --val-fraction, which"):
        built(source / "train", tmp_path / "again", size=8, test_fraction=0.5)
