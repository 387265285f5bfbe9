"""verify --against: what is found between two sets, by every way they can differ."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lowres
from lowres import cli
from lowres.comparing.compare import compare, compare_sets
from lowres.comparing.sets import open_pairs
from lowres.errors import SourceError, StoreError
from lowres.imagenet import find, wnids
from lowres.store.options import BuildOptions


@pytest.fixture
def folder(store, tmp_path) -> Path:
    """The store's 16-box as PNG files with other names, in another order."""
    for split in store.splits:
        images, labels = store.images(split, "16-box"), store.labels(split)
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            number = (row * 7) % len(images)
            path = tmp_path / "png" / split / store.classes[label] / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.array(image)).save(path)
    return tmp_path / "png"


def found(store, path, variant="16-box"):
    comparison = compare(store.path, path, variant=variant)
    return comparison, "\n".join(comparison.lines())


def some(folder: Path, split: str, name: str) -> Path:
    return sorted((folder / split / name).iterdir())[0]


def test_the_same_images_in_another_order(store, folder):
    comparison, text = found(store, folder)
    assert comparison.same
    assert comparison.contents[0] == comparison.contents[1] == store.manifest.contents["16-box"]
    assert "train: 24 images, 24 identical" in text
    assert text.splitlines()[-1].startswith("the same images: ")


def test_an_image_with_other_pixels_is_paired_by_likeness(store, folder, tmp_path):
    path = some(folder, "train", "bee")
    pixels = np.array(Image.open(path))
    pixels[3, 4, 1] ^= 16
    Image.fromarray(pixels).save(path)
    comparison, text = found(store, folder)
    split = comparison.splits["train"]
    assert not comparison.same
    assert comparison.splits["val"].same
    assert (split.identical, split.by_likeness.largest.tolist()) == (23, [16])
    assert "other pixels, paired by likeness: 1 image, 0.02 levels apart" in text
    assert f"bee/{path.name}" in text
    assert comparison.write_csv(tmp_path / "d.csv") == 1
    [row] = csv.DictReader((tmp_path / "d.csv").read_text().splitlines())
    assert (row["found"], row["other_key"]) == ("other pixels by likeness", f"bee/{path.name}")
    key = store.keys("train")[int(split.by_likeness.rows[0])]
    assert (row["key"], row["largest"]) == (key, "16")


def test_images_of_one_name_are_paired_by_it(store, store_path, source, tmp_path):
    lowres.build(source, tmp_path / "lanczos", BuildOptions(size=(16,), filter=("lanczos",)))
    comparison, text = found(store, tmp_path / "lanczos")
    split = comparison.splits["train"]
    ours = store.images("train", "16-box").astype(int)
    apart = np.abs(ours - lowres.open_store(tmp_path / "lanczos").images("train", "16-lanczos"))
    assert len(split.by_name.rows) == 24
    assert int(split.by_name.largest.max()) == apart.max()
    np.testing.assert_allclose(sorted(split.by_name.mean), sorted(apart.mean(axis=(1, 2, 3))))
    assert "other pixels, paired by name: 24 images" in text
    means = ours.mean(0) - lowres.open_store(tmp_path / "lanczos").images(
        "train", "16-lanczos"
    ).mean(0)
    assert split.mean_difference == pytest.approx(np.abs(means).max())


def test_a_missing_an_added_and_a_relabelled_image(store, folder, tmp_path):
    some(folder, "train", "ant").unlink()
    strange = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(strange).save(folder / "train" / "cat" / "new.png")
    moved = some(folder, "val", "dog")
    shutil.move(moved, folder / "val" / "cat" / "moved.png")
    comparison, text = found(store, folder)
    train, val = comparison.splits["train"], comparison.splits["val"]
    assert (train.counts, train.identical) == ((24, 24), 23)
    assert [len(rows) for rows in train.alone] == [1, 1]
    assert train.class_counts == [("ant", 6, 5), ("cat", 6, 7)]
    assert [len(rows) for rows in val.relabelled] == [1, 1]
    assert "class ant: 6 and 5 images" in text
    assert "cat/new.png" in text
    assert "same pixels, another class: 1 image" in text
    assert comparison.write_csv(tmp_path / "d.csv") == 3


def test_a_copy_too_many(store, folder):
    shutil.copy(some(folder, "train", "ant"), folder / "train" / "ant" / "copy.png")
    comparison, text = found(store, folder)
    assert not comparison.same
    assert comparison.splits["train"].identical == 24
    assert "24 and 25 images" in text
    assert f"only in {folder}: 1 image: ant/" in text


def test_other_splits_are_told_unless_only_some_are_asked_for(store, folder):
    shutil.rmtree(folder / "val")
    comparison, text = found(store, folder)
    assert not comparison.same
    assert f"only in {store.path} 16-box: val" in text
    assert comparison.contents[0] == store.manifest.contents["16-box"] != comparison.contents[1]
    both = (store.path, folder)
    train = compare(*both, variant="16-box", splits=["train"])
    assert train.same
    assert train.contents[0] == train.contents[1] == comparison.contents[1]
    with pytest.raises(StoreError, match="has no split 'val'; it has train"):
        compare(*both, variant="16-box", splits=["val"])


def test_too_many_for_likeness_is_said(store, folder, monkeypatch):
    for path in (folder / "train" / "bee").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) ^ 1).save(path.with_stem(f"x{path.stem}"))
        path.unlink()
    monkeypatch.setattr("lowres.comparing.matching.LIKENESS_LIMIT", 5)
    monkeypatch.setattr("lowres.comparing.compare.LIKENESS_LIMIT", 5)
    _, text = found(store, folder)
    assert "not compared for likeness, because more than 5 images of a class are left: bee" in text


def test_names_that_are_mere_numbers_do_not_pair_strangers(store, tmp_path):
    """Two sets whose names are positions: the same names, another order."""
    for kind, seed in (("one", 1), ("other", 2)):
        images = [np.array(image) for image in store.images("train", "16-box")]
        order = np.random.default_rng(seed).permutation(len(images))
        for position, row in enumerate(order):
            images[row][0, 0, 0] ^= seed  # no two are identical
            label = store.classes[store.labels("train")[row]]
            path = tmp_path / kind / "train" / label / f"{position}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[row]).save(path)
    lowres.build(tmp_path / "one", tmp_path / "store", BuildOptions(size=(16,)))
    comparison, _ = found(lowres.open_store(tmp_path / "store"), tmp_path / "other")
    split = comparison.splits["train"]
    assert len(split.by_name.rows) + len(split.by_likeness.rows) == 24
    assert max(*split.by_name.largest, *split.by_likeness.largest) <= 3


@pytest.fixture(scope="module")
def imagenet12(tmp_path_factory) -> Path:
    """Random images of 12 of ImageNet's classes in folders, and a store of them."""
    root = tmp_path_factory.mktemp("imagenet12")
    random = np.random.default_rng(0)
    for wnid in wnids()[::85]:
        for number in range(2):
            path = root / "named" / wnid / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(path)
    lowres.build(root / "named", root / "store", BuildOptions(size=(16,)))
    return root


def devkit_id(wnid: str) -> int:
    return find(wnid).devkit_id


NUMBERINGS = {
    "the labels of the other set, from 0": lambda all_, wnid: all_.index(wnid),
    "the labels of the other set, from 1": lambda all_, wnid: all_.index(wnid) + 1,
    "devkit ids, from 1": lambda all_, wnid: devkit_id(wnid),
    "devkit ids, from 0": lambda all_, wnid: devkit_id(wnid) - 1,
    "places among the other set's devkit ids, from 0": lambda all_, wnid: sorted(
        all_, key=devkit_id
    ).index(wnid),
    "places among all sorted WNIDs, from 0": lambda all_, wnid: wnids().index(wnid),
}


@pytest.mark.parametrize("words", NUMBERINGS)
@pytest.mark.parametrize("form", ["{}", "{:04}"])
def test_numbered_classes_take_the_order_that_fits(imagenet12, tmp_path, words, form):
    """Only in the right order do the images agree with their classes."""
    store = lowres.open_store(imagenet12 / "store")
    for wnid in store.classes:
        number = NUMBERINGS[words](store.classes, wnid)
        shutil.copytree(imagenet12 / "named" / wnid, tmp_path / "set" / form.format(number))
    comparison, text = found(store, tmp_path / "set")
    assert f"are numbers, taken as {words}" in text
    assert comparison.same
    assert comparison.contents == (store.manifest.contents["16-box"],) * 2


def test_numbers_on_both_sides_are_the_same_numbers(imagenet12, tmp_path):
    """Folders and the EDM ZIP number classes 0, 1, 2, ..., 11."""
    store = lowres.open_store(imagenet12 / "store")
    for label, wnid in enumerate(store.classes):
        shutil.copytree(imagenet12 / "named" / wnid, tmp_path / "set" / f"{label}")
    lowres.export(store, tmp_path / "set.zip", "16-box", to="edm")
    lowres.build(tmp_path / "set", tmp_path / "store", BuildOptions(size=(16,)))
    numbered = lowres.open_store(tmp_path / "store")
    assert numbered.classes[2] == "2"
    comparison, text = found(numbered, tmp_path / "set.zip")
    assert comparison.same
    assert "numbers, taken" not in text
    assert comparison.contents[0] == comparison.contents[1] == numbered.manifest.contents["16-box"]


def test_names_of_other_sets_stay_as_they_are(imagenet12, store):
    _, text = found(store, imagenet12 / "store")
    assert "24 identical" not in text
    assert "class ant: 6 and 0 images" in text


def test_two_stores_are_compared_in_all_common_variants(store_path):
    pairs = open_pairs(store_path, store_path)
    assert [str(ours.variant) for ours, _ in pairs] == [
        "8-box",
        "8-lanczos",
        "16-box",
        "16-lanczos",
    ]
    assert all(compare_sets(*sides).same for sides in pairs)
    with pytest.raises(StoreError, match="several variants: choose one of 8-box, 8-lanczos"):
        compare(store_path, store_path)


def test_a_source_may_come_first_and_both_may_be_sources(store, folder):
    comparison = compare(folder, store.path, variant="16-box")
    assert comparison.same
    assert [side.name for side in comparison.sets] == [str(folder), f"{store.path} 16-box"]
    assert compare(folder, folder).same
    with pytest.raises(StoreError, match=r"neither .* is a store: leave out --variant"):
        compare(folder, folder, variant="16-box")


def test_refusals(store, source, folder, tmp_path):
    path, other = store.path, tmp_path / "other"
    with pytest.raises(
        SourceError, match=r"00\.jpg has 40 x 33 pixels: only sets of small squares"
    ):
        compare(path, source)
    with pytest.raises(StoreError, match="has 16-box and 16-lanczos of 16 px: choose one"):
        compare(path, folder)
    with pytest.raises(StoreError, match="has 8-box, and the other set has 16 px"):
        compare(path, folder, variant="8-box")
    with pytest.raises(StoreError, match="has 8-box, 8-lanczos, 16-box, 16-lanczos, not 4-box"):
        compare(path, folder, variant="4-box")
    lowres.build(source, other, BuildOptions(size=(4,)))
    with pytest.raises(StoreError, match="no variants of one size to compare"):
        compare(path, other)
    file = some(folder, "val", "dog")
    Image.new("RGB", (16, 15)).save(file)
    with pytest.raises(SourceError, match="has 16 x 15 pixels and others have 16 x 16"):
        found(store, folder)
    file.write_bytes(b"")
    with pytest.raises(SourceError, match=r"dog.*cannot be read: is empty"):
        found(store, folder)


def test_on_the_command_line(store_path, folder, capsys, tmp_path):
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["verify", *map(str, arguments)])
        return (ended.value.code or 0, *capsys.readouterr())

    status, text, _ = run(store_path, "--against", folder, "--variant", "16-box")
    assert status == 0
    assert "the same images" in text
    table = tmp_path / "d.csv"
    command = (store_path, "--against", folder, "--variant", "16-lanczos", "--out", table)
    status, text, _ = run(*command)
    assert status == 1
    assert "d.csv: 36 lines" in text
    status, _, errors = run(store_path, "--out", table)
    assert (status, "add --against PATH" in errors) == (1, True)
    status, _, errors = run(store_path, "--against", store_path, "--out", table)
    assert (status, "choose one by --variant" in errors) == (1, True)
    assert run(store_path, "--against", tmp_path / "nowhere")[0] == 1
