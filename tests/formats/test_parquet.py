"""Parquet as the Hub keeps it: read by us and written by `datasets`, and the other way round."""

import io
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before datasets is imported

import numpy as np
import pytest
from PIL import Image

import lowres
from images import draw_image, encoded
from lowres.errors import SourceError
from lowres.formats import cards, open_source, parquet, parquet_tables as tables
from lowres.formats.parquet import ParquetSink, ParquetSource
from lowres.imagenet import imagenet_classes, wnids
from lowres.store.export import export
from lowres.testing import SinkContract, SourceContract

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NAMES = ("ant", "bee", "cat")
CAST = {"label": {"_type": "ClassLabel", "names": NAMES}, "image": {"_type": "Image"}}
README = """---
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': zebra
          '1': ant
          '2': 'on'
---
# Words
"""


def jpeg(number: int) -> bytes:
    return encoded(draw_image(number, 12, 10))


def columns(labels: list, first: int = 0) -> dict:
    rows = [{"bytes": jpeg(first + n), "path": f"{n}.jpg"} for n in range(len(labels))]
    return {"image": rows, "label": labels}


def write(path: Path, data: dict, features: dict | None = CAST, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(data)
    if features is not None:
        record = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": record})
    pq.write_table(table, path, **options)
    return path


def write_set(root: Path) -> Path:
    """Write a set in two files of train and one each of val and test, in row groups of 2."""
    data = root / "data"
    write(data / "train-00000-of-00002.parquet", columns([0, 1, 2, 0, 1]), row_group_size=2)
    write(data / "train-00001-of-00002.parquet", columns([2, 2], 5), row_group_size=2)
    write(data / "validation-00000-of-00001.parquet", columns([1, 0], 7))
    write(data / "test-00000-of-00001.parquet", columns([-1, -1, -1], 9))
    return root


def refused(path: Path, words: str) -> None:
    with pytest.raises(SourceError, match=f"(?s){words}"):
        ParquetSource(path).index()


class TestParquetSink(SinkContract):
    @pytest.fixture
    def sink(self):
        return ParquetSink

    @pytest.fixture
    def reader(self):
        return ParquetSource


class TestParquetSource(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path):
        return open_source(write_set(tmp_path / "set"))


def test_a_set_in_the_layout_of_the_hub(tmp_path):
    source = open_source(write_set(tmp_path))
    index = source.index()
    assert index.classes == NAMES
    assert [(e.key, e.label, e.offset) for e in index.splits["train"]][3:6] == [
        ("train-00000-of-00002/0000003/3.jpg", 0, 3),
        ("train-00000-of-00002/0000004/4.jpg", 1, 4),
        ("train-00001-of-00002/0000000/0.jpg", 2, 0),
    ]
    assert list(index.splits) == ["train", "val"]
    assert index.notes == (
        "left out test: its 3 images are unlabelled (all -1)",
        "val has no images of 1 of the 3 classes, cat first",
    )
    assert [source.read(e) for e in index.splits["train"]] == [jpeg(n) for n in range(7)]
    assert [source.read(e) for e in index.splits["val"]] == [jpeg(7), jpeg(8)]
    assert source.describe(index.splits["val"][1]).endswith("of-00001.parquet, row 1")
    assert len({id(e.location) for e in index.splits["train"]}) == 2


@pytest.mark.parametrize(
    "paths",
    [
        ("train.parquet", "validation.parquet"),
        ("plain_text/train-00000-of-00001.parquet", "plain_text/test-00000-of-00001.parquet"),
        ("default/train/0000.parquet", "default/test/0000.parquet"),
        ("default/partial-train/0000.parquet", "default/partial-validation/0000.parquet"),
        ("train/0000.parquet", "valid/0000.parquet"),
        ("data/train/a.parquet", "data/val/a.parquet"),
        ("data/train-00000-of-00001-0f1e2d3c4b5a6978.parquet", "data/test-00000-of-00001.parquet"),
    ],
)
def test_layouts(tmp_path, paths):
    for path in paths:
        write(tmp_path / path, columns([0, 1, 2]))
    write(tmp_path / ".cache" / "train-00000-of-00001.parquet", columns([0]))
    write(tmp_path / "metadata.parquet", {"file_name": ["a.jpg"]})
    source = open_source(tmp_path)
    assert source.kind == "parquet"
    assert len(source.index().splits) == 2
    assert {len(entries) for entries in source.index().splits.values()} == {3}


def test_one_file(tmp_path):
    path = write_set(tmp_path) / "data" / "train-00000-of-00002.parquet"
    index = open_source(path).index()
    assert {split: len(entries) for split, entries in index.splits.items()} == {"train": 5}
    assert index.notes[0] == f"read {path.name} alone, of 2 files"
    val = open_source(tmp_path / "data" / "validation-00000-of-00001.parquet").index()
    assert list(val.splits) == ["val"]
    assert list(open_source(path.rename(tmp_path / "x.parquet")).index().splits) == ["train"]


def test_folders_of_images_are_no_parquet(tmp_path, source):
    assert not ParquetSource.recognises(source)
    write(tmp_path / "metadata.parquet", {"file_name": ["a.jpg"]})
    (tmp_path / "train" / "ant").mkdir(parents=True)
    assert not ParquetSource.recognises(tmp_path)
    for number in range(tables.MOST_FOLDERS + 1):
        (tmp_path / f"n{number}").mkdir()
    write(tmp_path / "n0" / "train.parquet", columns([0]))
    assert not ParquetSource.recognises(tmp_path)
    write(tmp_path / "data" / "train.parquet", columns([0]))
    assert ParquetSource.recognises(tmp_path)


def test_missing_and_mixed_parts(tmp_path):
    folder = write_set(tmp_path) / "data"
    (folder / "train-00000-of-00002.parquet").rename(tmp_path / "away")
    refused(
        tmp_path, r"train-00000-of-00002\.parquet is missing: .* has 2 files, and 1 of them exist"
    )
    (tmp_path / "away").rename(folder / "train-00000-of-00002.parquet")
    write(folder / "train-00000-of-00001.parquet", columns([0]))
    refused(tmp_path, r"parts of two sets for the split train: .*of-00001.* and .*of-00002")
    (folder / "train-00000-of-00001.parquet").unlink()
    write(folder / "train-00000-of-00002-abcdef.parquet", columns([0]))
    refused(tmp_path, "parts of two sets")


def test_two_configurations(tmp_path):
    write(tmp_path / "small" / "train-00000-of-00001.parquet", columns([0]))
    write(tmp_path / "large" / "train-00000-of-00001.parquet", columns([0]))
    refused(tmp_path, "split train twice, in .*large and in .*small: build from the folder of one")
    assert open_source(tmp_path / "small").index().splits


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary("int8", "string")])
def test_labels_that_are_names(tmp_path, kind):
    data = columns(["dog", "ant", "dog"])
    data["label"] = pa.array(data["label"], pa.string()).cast(kind)
    index = ParquetSource(write(tmp_path / "x.parquet", data, None)).index()
    assert index.classes == ("ant", "dog")
    assert [entry.label for entry in index.splits["train"]] == [1, 0, 1]


def test_labels_that_are_numbers_without_names(tmp_path):
    write(tmp_path / "train.parquet", columns([10, 2, 10]), None)
    write(tmp_path / "test.parquet", columns([7]), None)
    index = ParquetSource(tmp_path).index()
    assert index.classes == ("2", "7", "10")
    assert [entry.label for entry in index.splits["train"]] == [2, 0, 2]


def test_names_from_the_card(tmp_path, monkeypatch):
    write(tmp_path / "train.parquet", columns([0, 1, 2]), None)
    (tmp_path / "README.md").write_text(README)
    assert ParquetSource(tmp_path).index().classes == ("zebra", "ant", "on")
    (tmp_path / "README.md").write_text(README.replace("'2'", "x"))
    assert "its first part is damaged" in ParquetSource(tmp_path).index().notes[0]
    (tmp_path / "README.md").write_text(README.replace("---\n# Words", ""))
    assert ParquetSource(tmp_path).index().classes == ("0", "1", "2")

    monkeypatch.setitem(sys.modules, "yaml", None)  # as if it were not installed
    (tmp_path / "README.md").write_text(README)
    notes = ParquetSource(tmp_path).index().notes
    assert notes == ("README.md has class names; without PyYAML, lowres cannot read them",)


def test_a_card_with_several_configurations(tmp_path):
    write(tmp_path / "train.parquet", columns([0, 1]), None)
    config = """- config_name: {0}
  features:
  - name: label
    dtype: {{class_label: {{names: [{0}, b]}}}}
"""
    both = "---\ndataset_info:\n" + config.format("one") + config.format("two") + "---\n"
    (tmp_path / "README.md").write_text(both)
    refused(tmp_path, "several sets of class names for label")
    (tmp_path / "README.md").write_text(both.replace("[two,", "[one,"))
    assert ParquetSource(tmp_path).index().classes == ("one", "b")


def test_imagenets_names_in_words_become_wnids(tmp_path):
    words = [known.word for known in imagenet_classes()]
    features = {
        "label": {"_type": "ClassLabel", "names": [f"{w} {n}, x" for n, w in enumerate(words)]}
    }
    path = write(tmp_path / "x.parquet", columns([3, 999]), features)
    assert ParquetSource(path).index().classes[:1] == (f"{words[0]} 0, x",)
    unique = [w if words.count(w) == 1 else f"{w}, {n}" for n, w in enumerate(words)]
    features["label"]["names"] = unique
    index = ParquetSource(write(tmp_path / "x.parquet", columns([3, 999]), features)).index()
    assert index.classes == wnids()
    assert [entry.label for entry in index.splits["train"]] == [3, 999]


@pytest.mark.parametrize(
    ("image_column", "label_column"), [("img", "fine_label"), ("png", "cls"), ("jpg", "labels")]
)
def test_other_names_of_columns_and_plain_bytes(tmp_path, image_column, label_column):
    data = {"id": [5, 6], image_column: [jpeg(0), jpeg(1)], label_column: [1, 0]}
    path = write(tmp_path / "x.parquet", data, None)
    source = ParquetSource(path)
    entries = source.index().splits["train"]
    assert [entry.key for entry in entries] == ["x/0000000", "x/0000001"]
    assert [source.read(entry) for entry in entries] == [jpeg(0), jpeg(1)]


def test_only_the_name_of_a_path_is_taken(tmp_path):
    data = columns([0, 0, 0, 0])
    for row, path in zip(data["image"], ["/root/../a.jpg", "C:\\b.jpg", None, ""], strict=True):
        row["path"] = path
    entries = ParquetSource(write(tmp_path / "x.parquet", data)).index().splits["train"]
    assert [entry.key for entry in entries] == [
        "x/0000000/a.jpg",
        "x/0000001/b.jpg",
        "x/0000002",
        "x/0000003",
    ]
    for bad in ("..", "a/..", "a\nb"):
        data["image"][0]["path"] = bad
        refused(write(tmp_path / "x.parquet", data), r"x\.parquet, row 0 has a member named")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1, -1], "row 2: label must be a number from 0 to 2, was -1"),
        ([0, 3, 1], "row 1: label must be a number from 0 to 2, was 3"),
        ([0, None, 1], "row 1: label is null"),
        ([0.5, 1.0, 2.0], "label must be whole numbers or class names, was double"),
        ([[0], [1], [2]], "label must be whole numbers or class names, was list"),
        ([-1, -1, -1], "holds no labelled images"),
        ([], "holds no labelled images"),
    ],
)
def test_labels_that_are_refused(tmp_path, labels, words):
    data = columns(labels)
    if not labels:
        data = {"image": pa.array([], image_type()), "label": pa.array([], "int64")}
    refused(write(tmp_path / "x.parquet", data, row_group_size=2), words)


def image_type():
    return pa.struct({"bytes": pa.binary(), "path": pa.string()})


def test_numbers_below_zero_without_names(tmp_path):
    refused(
        write(tmp_path / "x.parquet", columns([0, -2]), None),
        r"x\.parquet, row 1: label must be a number from 0 up, was -2",
    )


def test_null_images_are_named_and_can_be_skipped(tmp_path):
    data = columns([0, 1, 2, 0])
    data["image"][3]["bytes"] = None
    path = write(tmp_path / "x.parquet", data, row_group_size=2)
    options = lowres.BuildOptions(size=(4,))
    with pytest.raises(SourceError, match=r"x\.parquet, row 3 cannot be read: its bytes are null"):
        lowres.build(path, tmp_path / "store", options)
    manifest = lowres.build(
        path, tmp_path / "store", options, working=lowres.Working(on_error="skip")
    )
    assert manifest.splits == {"train": 3}


def test_columns_that_are_missing(tmp_path):
    path = tmp_path / "x.parquet"
    refused(
        write(path, {"text": ["a"], "label": [0]}, None),
        "no column of images: looked for image, img, .*; it has text, label",
    )
    refused(
        write(path, {"image": [b"a"], "y": [0]}, None), "no column of labels: .*it has image, y"
    )
    refused(write(path, {"image": ["a.jpg"], "label": [0]}, None), "image must be encoded images")
    refused(write(path, {"image": [{"path": "a.jpg"}], "label": [0]}, None), "embed the images")


def test_files_of_two_sets(tmp_path):
    write(tmp_path / "train.parquet", columns([0, 1, 2]))
    other = {"label": {"_type": "ClassLabel", "names": ["x", "y", "z"]}}
    write(tmp_path / "test.parquet", columns([0, 1, 2]), other)
    refused(tmp_path, r"must have the same columns and class names; their class names differ")


def test_class_names_that_are_refused(tmp_path):
    for names, words in [(["a", "a"], "two classes named 'a'"), (["../x", "b"], "relative paths")]:
        features = {"label": {"_type": "ClassLabel", "names": names}}
        refused(write(tmp_path / "x.parquet", columns([0, 1]), features), words)
    table = pa.table(columns([0])).replace_schema_metadata({"huggingface": "{"})
    pq.write_table(table, tmp_path / "x.parquet")
    refused(tmp_path / "x.parquet", "damaged schema")
    for names in (None, 5):
        features = {"label": {"_type": "ClassLabel", "names": names}}
        refused(write(tmp_path / "x.parquet", columns([0, 1]), features), "damaged schema")


def test_damaged_files(tmp_path):
    whole = write(tmp_path / "x.parquet", columns([0, 1, 2])).read_bytes()
    for data in (b"", b"PAR1", whole[:-20], whole[: len(whole) // 2], b"x" * 99):
        (tmp_path / "x.parquet").write_bytes(data)
        refused(
            tmp_path / "x.parquet", r"x\.parquet is damaged or is not a Parquet file .*fetch it"
        )
    (tmp_path / "x.parquet").write_bytes(whole)
    source = ParquetSource(tmp_path / "x.parquet")
    entry = source.index().splits["train"][0]
    (tmp_path / "x.parquet").write_bytes(b"PAR1" + bytes(len(whole) - 4))
    with pytest.raises(SourceError, match=r"x\.parquet is damaged"):
        source.read(entry)


def test_changed_images_are_noticed_in_files_that_we_wrote(exported):
    path = min(exported.glob("data/train-*"))
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 20] ^= 1
    path.write_bytes(data)
    source = ParquetSource(exported)
    with pytest.raises(SourceError, match=f"{path.name} is damaged .*checksum"):
        source.read(source.index().splits["train"][0])


def test_names_that_are_not_utf8(tmp_path):
    data = columns([0, 1])
    bad = pa.array([b"\xff.jpg", b"b.jpg"]).view("string")
    images = [row["bytes"] for row in data["image"]]
    data["image"] = pa.StructArray.from_arrays([pa.array(images), bad], ["bytes", "path"])
    refused(write(tmp_path / "x.parquet", data), r"x\.parquet is damaged .*UTF")


@pytest.mark.full
def test_flipped_bytes_raise_source_errors(tmp_path):
    path = write(tmp_path / "x.parquet", columns([0, 1, 2]))
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for position in random.integers(len(whole) // 2, len(whole), 200):
        data = bytearray(whole)
        data[position] ^= 1 << random.integers(8)
        path.write_bytes(data)
        source = ParquetSource(path)
        try:
            for entry in source.index().splits["train"]:
                source.read(entry)
        except SourceError:
            continue


def test_a_row_group_is_read_once_for_many_threads(tmp_path, monkeypatch):
    source = ParquetSource(write_set(tmp_path))
    entries = source.index().splits["train"]
    reads, gate = [], threading.Lock()
    images = tables.Table.images

    def counted(table, group):
        with gate:
            reads.append((table.path, group))
        return images(table, group)

    monkeypatch.setattr(tables.Table, "images", counted)
    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(source.read, entries * 20))
    assert read == [jpeg(n) for n in range(7)] * 20
    assert len(reads) == len(set(reads)) == 4


class Groups:
    """A table whose row groups are numbers."""

    path = "t.parquet"

    def __init__(self) -> None:
        self.read = []

    def group_bytes(self, group: int) -> int:
        return 10

    def images(self, group: int) -> int:
        self.read.append(group)
        return group


def test_memory_for_row_groups_is_bounded():
    table, groups = Groups(), tables.RowGroups(most_bytes=1)
    assert [groups.get(table, group) for group in (0, 1, 0, 1, 2, 0)] == [0, 1, 0, 1, 2, 0]
    assert table.read == [0, 1, 2, 0], "two stay; the least recently used goes first"


def test_a_failed_read_is_tried_again(tmp_path):
    source = ParquetSource(write_set(tmp_path))
    entry = source.index().splits["train"][0]
    whole = Path(entry.location).read_bytes()
    Path(entry.location).unlink()
    with pytest.raises(SourceError, match="No such file"):
        source.read(entry)
    Path(entry.location).write_bytes(whole)
    assert source.read(entry) == jpeg(0)


def test_the_index_reads_one_row_group_of_images(tmp_path, monkeypatch):
    read = []
    images = tables.Table.images
    monkeypatch.setattr(
        tables.Table, "images", lambda table, group: read.append(group) or images(table, group)
    )
    ParquetSource(write_set(tmp_path)).index()
    assert read == [0], "to see that there are any"


# Written by datasets, read by us; written by us, read by datasets and mlcroissant.


@pytest.fixture(scope="module")
def datasets():
    return pytest.importorskip("datasets")


@pytest.mark.full
def test_a_set_that_datasets_wrote(tmp_path, datasets):
    images = [Image.fromarray(draw_image(number, 9, 8)) for number in range(5)]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "ant"])}
    )
    rows = {"image": images, "label": [1, 0, 1, 1, 0]}
    written = datasets.Dataset.from_dict(rows, features=features)
    written.to_parquet(tmp_path / "train.parquet", batch_size=2)
    source = open_source(tmp_path)
    index = source.index()
    assert index.classes == ("dog", "ant")
    assert [entry.label for entry in index.splits["train"]] == rows["label"]
    for entry, image in zip(index.splits["train"], images, strict=True):
        with Image.open(io.BytesIO(source.read(entry))) as opened:
            assert (np.array(opened) == np.array(image)).all()


@pytest.fixture
def exported(store, tmp_path, monkeypatch):
    """Give a set in several files and row groups."""
    monkeypatch.setattr(parquet, "GROUP_ROWS", 5)
    monkeypatch.setattr(parquet, "SHARD_BYTES", 8000)
    assert export(store, tmp_path / "set", "16-box", to="parquet") == store.splits
    return tmp_path / "set"


def by_pixels(rows) -> list[tuple[bytes, int]]:
    return sorted((np.asarray(image).tobytes(), label) for image, label in rows)


def of_store(store, split: str) -> list[tuple[bytes, int]]:
    return by_pixels(zip(store.images(split, "16-box"), store.labels(split).tolist(), strict=True))


def test_export_has_the_layout_of_the_hub(exported, store):
    names = sorted(path.relative_to(exported).as_posix() for path in exported.rglob("*.*"))
    train = sum(name.startswith("data/train-") for name in names)
    assert train > 1
    assert f"data/train-00000-of-{train:05}.parquet" in names
    assert {"README.md", "croissant.json"} <= set(names)
    assert not exported.with_name("set.partial").exists()
    file = pq.ParquetFile(exported / f"data/train-00000-of-{train:05}.parquet")
    assert file.metadata.row_group(0).num_rows == 5
    first = file.read_row_group(0).to_pylist()[0]
    assert first["image"]["bytes"].startswith(b"\x89PNG")
    assert Path(first["image"]["path"]).suffix == ".png"


def test_datasets_reads_our_export(exported, store, tmp_path, datasets):
    hub = {"train": "train", "validation": "val"}
    files = {split: str(exported / f"data/{split}-*.parquet") for split in hub}
    cache = str(tmp_path / "cache")
    for read in (
        datasets.load_dataset("parquet", data_files=files, cache_dir=cache),
        datasets.load_dataset(str(exported), cache_dir=cache),
    ):
        assert set(read) == set(hub)
        for split, ours in hub.items():
            features = read[split].features
            assert isinstance(features["image"], datasets.Image)
            assert features["label"].names == list(store.classes)
            rows = [(row["image"], row["label"]) for row in read[split]]
            assert by_pixels(rows) == of_store(store, ours)
            images = dict(zip(store.keys(ours), store.images(ours, "16-box"), strict=True))
            for row in read[split]:
                assert (np.asarray(row["image"]) == images.pop(row["key"])).all()
            assert not images


def test_the_card_is_one_that_the_hub_reads(exported, store):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.DatasetCard.load(exported / "README.md", ignore_metadata_errors=False)
    info = card.data.to_dict()["dataset_info"]
    names = info["features"][1]["dtype"]["class_label"]["names"]
    assert names == dict(zip("0123", store.classes, strict=True))
    assert [split["num_examples"] for split in info["splits"]] == list(store.splits.values())
    sizes = [path.stat().st_size for path in exported.glob("data/*")]
    assert info["download_size"] == sum(sizes)
    assert store.manifest.contents["16-box"] in card.text
    assert "sorted by name" in card.text
    assert "ImageNet" not in card.text


def outline(classes: tuple[str, ...], name: str = "odd") -> lowres.formats.sink.Outline:
    variant = lowres.Variant(8, "box")
    return lowres.formats.sink.Outline(
        name=name, variant=variant, classes=classes, splits={"train": 1}, content="0f"
    )


def test_cards_take_odd_names_and_name_imagenets_terms(tmp_path):
    pytest.importorskip("yaml")
    odd = ("yes", "'\"\\", "tab\there", "a: b #c", "\x7f\x85\u2028\ufeff", "Käfer 🐞", "~", "01")
    (tmp_path / "README.md").write_text(cards.dataset_card(outline(odd), []))
    assert cards.class_names_in(tmp_path / "README.md", "label") == (odd, [])
    card = cards.dataset_card(outline(wnids()), [])
    assert "do not redistribute them without permission" in card
    assert "in the order of the source" in cards.dataset_card(outline(("b", "a")), [])
    assert "# two lines, 8-box" in cards.dataset_card(outline(("a",), "two\nlines"), [])


def test_croissant_names_version_date_and_what_to_cite(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1500000000")
    record = cards.croissant(outline(("a", "b")), [])
    assert (record["version"], record["datePublished"]) == ("1.0.0+0f", "2017-07-14")
    assert record["citeAs"].startswith(
        "Cite the authors of the original set, and the variant 8-box"
    )
    assert "arXiv:1707.08819" in cards.croissant(outline(wnids()), [])["citeAs"]


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of rdflib and pandas, under mlcroissant
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_mlcroissant_validates_and_reads_our_export(exported, store):
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(jsonld=exported / "croissant.json")
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    found: dict[bytes, list] = {}
    for record in dataset.records("default"):
        row = (record["default/image"], record["default/label"])
        found.setdefault(record["default/split"], []).append(row)
    assert set(found) == {b"train", b"validation"}
    assert by_pixels(found[b"train"]) == of_store(store, "train")
    assert by_pixels(found[b"validation"]) == of_store(store, "val")


def test_the_checksums_in_croissant_are_those_of_the_files(exported):
    record = json.loads((exported / "croissant.json").read_text())
    listed = {part["contentUrl"]: part.get("sha256") for part in record["distribution"][:-1]}
    files = {p.relative_to(exported).as_posix(): p for p in exported.glob("data/*")}
    assert listed == {name: lowres.work.files.sha256_of_file(path) for name, path in files.items()}


def test_export_is_built_again_to_the_same_contents(exported, store, tmp_path):
    options = lowres.BuildOptions(size=(16,))
    manifest = lowres.build(exported, tmp_path / "again", options)
    assert manifest.contents["16-box"] == store.manifest.contents["16-box"]
    assert manifest.classes == store.classes
    assert manifest.splits == store.splits


def test_an_order_of_classes_that_is_not_sorted_is_kept(tmp_path, exported):
    features = {"label": {"_type": "ClassLabel", "names": ["cat", "ant"]}}
    write(tmp_path / "own" / "train.parquet", columns([0, 1, 0]), features)
    options = lowres.BuildOptions(size=(8,))
    first = lowres.build(tmp_path / "own", tmp_path / "store", options)
    export(lowres.open_store(tmp_path / "store"), tmp_path / "out", "8-box", to="parquet")
    again = lowres.build(tmp_path / "out", tmp_path / "again", options)
    assert first.classes == again.classes == ("cat", "ant")
    assert first.contents == again.contents
