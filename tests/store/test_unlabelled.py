"""Sets without labels: built, exported without labels, and refused by training."""

import io
import json
import shutil
import tarfile
import zipfile

import numpy as np
import pytest

import lowres
from images import draw_image, encoded
from lowres.comparing.identify import identify
from lowres.comparing.sets import open_pairs
from lowres.errors import SourceError, StoreError
from lowres.formats import open_source
from lowres.formats.unlabelled import UnlabelledSource
from lowres.progress import silent
from lowres.reading import Reading
from lowres.recipe import Recipe
from lowres.store.build import build
from lowres.store.export import export
from lowres.study.search.plan import Allotment, SearchPlan
from lowres.study.study import Study
from lowres.testing import SourceContract

UNLABELLED = Reading(unlabelled=True)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    root = tmp_path_factory.mktemp("faces")
    for number in range(6):
        path = root / f"{number // 3:05}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(draw_image(number, 20, 20), "PNG"))
    return root


@pytest.fixture(scope="module")
def unlabelled(faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("unlabelled") / "store"
    build(faces, path, lowres.BuildOptions(size=8, unlabelled=True))
    return lowres.open_store(path)


def keys(path):
    index = open_source(path, UNLABELLED).index()
    assert (index.classes, index.labelled) == (("unlabelled",), False)
    return {split: [entry.key for entry in entries] for split, entries in index.splits.items()}


def test_images_at_any_depth(faces, tmp_path):
    assert isinstance(open_source(faces, UNLABELLED), UnlabelledSource)
    assert keys(faces) == {"train": [f"{n // 3:05}/{n}.png" for n in range(6)]}
    shutil.copytree(faces / "00000", tmp_path / "flat")
    assert keys(tmp_path / "flat") == {"train": ["0.png", "1.png", "2.png"]}
    shutil.copytree(faces / "00000", tmp_path / "set" / "train")
    shutil.copytree(faces, tmp_path / "set" / "val")
    assert {split: len(rows) for split, rows in keys(tmp_path / "set").items()} == {
        "train": 3, "val": 6,
    }  # fmt: skip
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no images"):
        open_source(tmp_path / "empty", UNLABELLED).index()


class TestUnlabelledSource(SourceContract):
    @pytest.fixture
    def opened(self, faces):
        return UnlabelledSource(faces)


def test_labels_of_a_labelled_set_are_dropped(source, store, tmp_path):
    assert {split: len(rows) for split, rows in keys(source).items()} == {"train": 24, "val": 12}
    build(store.path, tmp_path / "copy", lowres.BuildOptions(size=8, unlabelled=True))
    copy = lowres.open_store(tmp_path / "copy")
    assert not copy.labelled
    assert copy.splits == store.splits


def test_the_manifest_says_it(unlabelled, store, tmp_path):
    assert unlabelled.manifest.source["labelled"] is False
    assert "read without labels: all images are in one class" in unlabelled.manifest.source["notes"]
    assert not unlabelled.labelled
    assert store.labelled
    assert "labelled" not in store.manifest.source
    build(unlabelled.path, tmp_path / "copy")
    assert not lowres.open_store(tmp_path / "copy").labelled


@pytest.mark.full
def test_training_is_refused(unlabelled, tmp_path):
    recipe = Recipe(variant="8-box")
    words = "has no labels .* export .* --to folder"
    with pytest.raises(StoreError, match=words):
        lowres.train(unlabelled, recipe, tmp_path / "run")
    with pytest.raises(StoreError, match=words):
        Study.plan(tmp_path / "study", unlabelled, recipe, {"lr": [0.1, 0.2]})
    plan = SearchPlan(base=recipe, sizes=(8, 16), space=("lr=log:0.001:1",), budget=10)
    with pytest.raises(StoreError, match=words):
        Allotment.of(plan, unlabelled)
    assert list(tmp_path.iterdir()) == []


def test_export_as_folder(unlabelled, tmp_path):
    export(unlabelled, tmp_path / "set", "8-box", to="folder")
    assert (tmp_path / "set" / "train" / "00000" / "0.png").is_file()
    assert not (tmp_path / "set" / "classes.txt").exists()
    again = open_source(tmp_path / "set", UNLABELLED)
    assert [entry.key for entry in again.index().splits["train"]] == unlabelled.keys("train")


def test_export_as_shards_and_zip(unlabelled, tmp_path):
    export(unlabelled, tmp_path / "shards", "8-box", to="webdataset")
    with tarfile.open(tmp_path / "shards" / "train-000000.tar") as shard:
        suffixes = {member.name.partition(".")[2] for member in shard}
    assert suffixes == {"png", "json"}
    assert not (tmp_path / "shards" / "classes.txt").exists()
    export(unlabelled, tmp_path / "set.zip", "8-box", to="edm")
    with zipfile.ZipFile(tmp_path / "set.zip") as archive:
        assert json.loads(archive.read("dataset.json")) == {"labels": None}


def test_export_as_parquet(unlabelled, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("yaml")
    export(unlabelled, tmp_path / "set", "8-box", to="parquet")
    table = parquet.read_table(next((tmp_path / "set" / "data").iterdir()))
    assert table.column_names == ["image", "key"]
    from PIL import Image

    images = [np.array(Image.open(io.BytesIO(one["bytes"]))) for one in table["image"].to_pylist()]
    assert sorted(image.tobytes() for image in images) == sorted(
        image.tobytes() for image in np.array(unlabelled.images("train", "8-box"))
    )
    card = (tmp_path / "set" / "README.md").read_text()
    assert "without labels" in card
    assert "class_label" not in card
    assert "label" not in json.dumps(json.loads((tmp_path / "set" / "croissant.json").read_text())
                                     ["recordSet"])  # fmt: skip


def test_formats_that_need_labels_refuse(unlabelled, tmp_path):
    words = "has no labels, and batches needs them: choose --to parquet, edm, webdataset, folder"
    with pytest.raises(StoreError, match=words):
        export(unlabelled, tmp_path / "set", "8-box", to="batches")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["folder", "webdataset", "parquet", "edm"])
def test_what_was_exported_without_labels_is_read_and_compared(unlabelled, tmp_path, form):
    if form == "parquet":
        pytest.importorskip("pyarrow")
        pytest.importorskip("yaml")
    path = tmp_path / ("set.zip" if form == "edm" else "set")
    export(unlabelled, path, "8-box", to=form)
    index = open_source(path, UNLABELLED).index()
    assert (index.classes, index.labelled) == (("unlabelled",), False)
    assert "read without labels: all images are in one class" in index.notes
    assert len(index.splits["train"]) == 6
    for one, other in ((unlabelled.path, path), (path, unlabelled.path)):
        ((ours, theirs),) = open_pairs(one, other)
        found = (each.fingerprints("train", silent).digests for each in (ours, theirs))
        assert len({digest.tobytes() for part in found for digest in part}) == 6
    if form in ("webdataset", "parquet"):
        with pytest.raises(SourceError, match="For images without labels, add --unlabelled"):
            open_source(path).index()


def test_labels_of_shards_and_tables_can_be_left_unread(store, tmp_path):
    for form in ("webdataset", "parquet"):
        if form == "parquet":
            pytest.importorskip("pyarrow")
            pytest.importorskip("yaml")
        export(store, tmp_path / form, "8-box", to=form)
        index = open_source(tmp_path / form, UNLABELLED).index()
        assert index.classes == ("unlabelled",)
        assert not index.labelled
        assert {entry.label for entry in index.splits["train"]} == {0}
        assert "labels in the files: not read" in set(identify(open_source(tmp_path / form), index))
