"""WebDataset shards: which files are taken, what labels mean, and a way there and back."""

import gc
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import lowres
from images import draw_image, encoded
from lowres.errors import SourceError
from lowres.formats import open_source, webdataset
from lowres.formats.containers.shards import expanded
from lowres.formats.source import Index
from lowres.formats.webdataset import WebDatasetSink, WebDatasetSource
from lowres.imagenet import wnids
from lowres.store.export import export
from lowres.testing import SinkContract, SourceContract

JPEG = encoded(draw_image(1, 20, 20))


def packed(members: list[tuple[str, bytes | str]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def shard(path: Path, *members: tuple[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed(list(members)))
    return path


def sample(key: str, label: str, **about: object) -> list[tuple[str, bytes | str]]:
    found: list[tuple[str, bytes | str]] = [(f"{key}.jpg", JPEG), (f"{key}.cls", label)]
    return [*found, (f"{key}.json", json.dumps(about))] if about else found


def pair(key: str) -> list[tuple[str, bytes | str]]:
    """Return a sample of each of two classes."""
    return [*sample(key, "0"), *sample(f"{key}1", "1")]


def index(path: Path) -> Index:
    source = open_source(path)
    assert source.kind == "webdataset"
    return source.index()


def keys(path: Path) -> dict[str, list[str]]:
    return {split: [e.key for e in entries] for split, entries in index(path).splits.items()}


class TestWebDatasetSink(SinkContract):
    @pytest.fixture
    def sink(self):
        return WebDatasetSink

    @pytest.fixture
    def reader(self):
        return WebDatasetSource


class TestWebDatasetSource(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path):
        shard(tmp_path / "set-train-000000.tar", *sample("a", "1"), *sample("b", "0"))
        shard(tmp_path / "set-train-000001.tar", *sample("a", "0"), *sample("c", "1"))
        shard(tmp_path / "set-val-000000.tar", *sample("a", "0"))
        return open_source(tmp_path)


def test_images_of_every_kind_and_case(tmp_path):
    names = ("0.jpg", "1.JPEG", "d/2.PNG", "3.webp")
    parts = [(name, f"{number}".encode()) for number, name in enumerate(names)]
    labels = [(f"{Path(name).with_suffix('.CLS')}", f"{n % 2}\n") for n, name in enumerate(names)]
    path = shard(tmp_path / "x.tar", *parts, *labels)
    source = open_source(path)
    read = {entry.key: source.read(entry) for entry in source.index().splits["train"]}
    assert read == {f"x/{name}": data for name, data in parts}


def test_splits_come_from_names_of_files_and_folders(tmp_path):
    for name in ("a-training-0", "validation/0", "a_val_0", "test/train-0", "plain", "other/0"):
        shard(tmp_path / f"{name}.tar", *pair("s"))
    assert keys(tmp_path) == {
        "train": ["a-training-0/s.jpg", "a-training-0/s1.jpg"],
        "val": ["0/s.jpg", "0/s1.jpg", "a_val_0/s.jpg", "a_val_0/s1.jpg"],
        "test": ["train-0/s.jpg", "train-0/s1.jpg"],
    }
    (note,) = index(tmp_path).notes
    assert note.startswith("left out 2 shards whose names mean no split: ")


def test_one_tar(tmp_path):
    one = keys(shard(tmp_path / "set.tar", *pair("s")))
    assert one == {"train": ["set/s.jpg", "set/s1.jpg"]}
    one = keys(shard(tmp_path / "val-0.tar", *pair("s")))
    assert one == {"val": ["val-0/s.jpg", "val-0/s1.jpg"]}


def test_patterns(tmp_path):
    for split in ("train", "val"):
        for number in range(12):
            shard(tmp_path / split / f"s-{number:03}.tar", *pair("s"))
    assert keys(tmp_path / "train" / "s-{000..001}.tar") == {
        "train": ["s-000/s.jpg", "s-000/s1.jpg", "s-001/s.jpg", "s-001/s1.jpg"]
    }
    found = keys(tmp_path / "{train,val}" / "s-{008..011}.tar")
    assert [len(found[split]) for split in ("train", "val")] == [8, 8]
    with pytest.raises(SourceError, match=r"train/s-012\.tar, a shard of .*\{011\.\.013\}"):
        index(tmp_path / "train" / "s-{011..013}.tar")
    manifest = lowres.build(
        tmp_path / "train" / "s-{000..001}.tar", tmp_path / "x", lowres.BuildOptions(size=(4,))
    )
    assert manifest.splits == {"train": 4}


def test_braces():
    assert expanded("a{8..10}b") == ["a8b", "a9b", "a10b"]
    assert expanded("{08..10}{x,}") == ["08x", "08", "09x", "09", "10x", "10"]
    assert expanded("plain") == ["plain"]
    for pattern, words in {
        "{a,{b,c}}": "nested braces",
        "{1..2}{": "not closed",
        "{2..1}": "smaller number first",
        "{one}": "must be a range",
        "{0..999999999}": "at most 100,000 shards",
        "{1..999}{1..999}": "at most 100,000 shards, was 998,001",
    }.items():
        with pytest.raises(SourceError, match=words):
            expanded(pattern)


def test_a_missing_shard_is_noticed_by_its_number(tmp_path):
    for name in ("train-000001", "train-000003", "val-000000"):
        shard(tmp_path / f"{name}.tar", *pair("s"))
    with pytest.raises(SourceError, match=r"train-000002\.tar is missing among the shards"):
        index(tmp_path)
    shard(tmp_path / "train-000002.tar", *pair("s"))
    assert len(keys(tmp_path)["train"]) == 6
    shard(tmp_path / "late" / "s-000002.tar", *sample("s", "0"))
    with pytest.raises(SourceError, match=r"s-000000\.tar is missing among the shards"):
        index(tmp_path / "late")
    shard(tmp_path / "hub" / "train-00001-of-00003.tar", *sample("s", "0"))
    with pytest.raises(SourceError, match=r"train-00000-of-00003\.tar is missing"):
        index(tmp_path / "hub")


def test_numbers_are_in_numeric_order(tmp_path):
    path = shard(tmp_path / "x.tar", *(part for n in (10, 9, 2) for part in sample(f"{n}", f"{n}")))
    found = index(path)
    assert found.classes == ("2", "9", "10")
    assert [(e.key, e.label) for e in found.splits["train"]] == [
        ("x/10.jpg", 2),
        ("x/2.jpg", 0),
        ("x/9.jpg", 1),
    ]


def test_names_come_from_json_where_they_fit(tmp_path):
    a, b = sample("a", "0", **{"class": "zebra"}), sample("b", "1", class_name="ant")
    found = index(shard(tmp_path / "x.tar", *a, *b))
    assert found.classes == ("zebra", "ant")
    assert [entry.label for entry in found.splits["train"]] == [0, 1]
    for odd in (
        sample("c", "1", wnid="bee"),  # two names of a number
        sample("c", "2", wnid="ant"),  # two numbers of a name
        sample("c", "1"),  # no name
    ):
        found = index(shard(tmp_path / "x.tar", *a, *b, *odd))
        assert found.classes[:2] == ("0", "1")
        assert any("class names are the numbers" in note for note in found.notes)


def test_wnids_are_sorted_and_a_thousand_words_become_wnids(tmp_path):
    a, b = (sample(f"{n}", f"{n}", wnid=wnids()[9 - n]) for n in (0, 1))
    found = index(shard(tmp_path / "x.tar", *a, *b))
    assert found.classes == wnids()[8:10]
    assert [entry.label for entry in found.splits["train"]] == [1, 0]
    thousand = [part for n in range(1000) for part in sample(f"{n:03}", f"{n}")]
    assert index(shard(tmp_path / "x.tar", *thousand)).classes == tuple(map(str, range(1000)))


def test_labels_as_words(tmp_path):
    found = index(shard(tmp_path / "x.tar", *sample("a", "dog\n"), *sample("b", "cat")))
    assert found.classes == ("cat", "dog")
    a, b = [("a.png", JPEG), ("a.json", '{"class": "dog"}')], sample("b", "cat")
    found = index(shard(tmp_path / "x.tar", *a, *b))
    assert [entry.label for entry in found.splits["train"]] == [1, 0]


def test_labels_in_json_alone(tmp_path):
    parts = [("a.png", JPEG), ("a.json", '{"label": 7}'), ("b.png", JPEG), ("b.json", '{"cls": 3}')]
    assert index(shard(tmp_path / "x.tar", *parts)).classes == ("3", "7")


def test_what_is_neither_image_nor_label_is_noted(tmp_path):
    odd = [("README", "x"), ("a.txt", "a dog"), ("._a.jpg", b"x"), ("a.seg.png", b"x")]
    found = index(shard(tmp_path / "train.tar", *sample("a", "0"), *sample("b", "1"), *odd))
    assert len(found.splits["train"]) == 2
    assert found.notes == (
        "left out 4 members that are neither images nor labels (.seg.png, .txt, no suffix)",
    )


REFUSED = {
    "no label": ([("a.jpg", JPEG)], r"x\.tar: sample a must have a label"),
    "no image": ([("d/a.cls", "0")], r"x\.tar: sample d/a must have one image .*, was none"),
    "two images": ([*sample("a", "0"), ("a.png", JPEG)], r"was a\.jpg, a\.png"),
    "twice": ([*sample("a", "0"), ("a.jpg", JPEG)], r"x\.tar: a has two members \.jpg"),
    "negative": (sample("a", "-1"), r"sample a must have a label from 0 up, was -1"),
    "empty": (sample("a", " \n"), "sample a must have a label"),
    "json without": ([("a.jpg", JPEG), ("a.json", "{}")], "sample a must have a label"),
    "json true": ([("a.jpg", JPEG), ("a.json", '{"label": true}')], "must have a label"),
    "json list": ([("a.jpg", JPEG), ("a.json", "[1]")], "sample a must have a label"),
    "json damaged": ([("a.jpg", JPEG), ("a.json", "{")], r"sample a has a \.json that is damaged"),
    "json deep": ([("a.jpg", JPEG), ("a.json", "[" * 99_999)], "json that is damaged"),
    "json digits": ([("a.jpg", JPEG), ("a.json", "1" * 9_999)], "json that is damaged"),
    "long": (sample("a", "x" * 2**21), r"a\.cls must have at most 1048576 bytes"),
    "not text": ([("a.jpg", JPEG), ("a.cls", b"\xff")], r"a: a\.cls must be UTF-8"),
    "climbing": (sample("a", "../b"), r"sample a must have a class name.*'\.\./b'"),
    "two lines": (sample("a", "b\nc"), "class name in one line"),
    "mixed": ([*sample("a", "0"), *sample("b", "b")], r"sample a has a number, .*sample b a name"),
    "nothing": ([], "holds no samples"),
    "unsafe": (sample("../a", "0"), "has a member named"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_refusals(tmp_path, form):
    parts, words = REFUSED[form]
    with pytest.raises(SourceError, match=words):
        index(shard(tmp_path / "x.tar", *parts))


def test_the_same_shard_name_twice(tmp_path):
    for folder in ("val", "valid"):
        shard(tmp_path / folder / "0.tar", *pair("s"))
    with pytest.raises(SourceError, match=r"val has two images named 0/s\.jpg"):
        index(tmp_path)


def test_a_tar_beside_class_folders_is_not_the_set(source, tmp_path):
    shutil.copytree(source, tmp_path / "set")
    shard(tmp_path / "set" / "copy.tar", *sample("s", "0"))
    assert open_source(tmp_path / "set").kind == "folder"
    shard(tmp_path / "set" / "val" / "ant" / "copy.tar", *sample("s", "0"))
    assert open_source(tmp_path / "set").kind == "folder"


@pytest.fixture
def written(store, tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(webdataset, "SHARD_SAMPLES", 10)
    export(store, tmp_path / "shards", "16-box", to="webdataset")
    return tmp_path / "shards"


def test_written_shards(store, written):
    names = sorted(path.name for path in written.iterdir())
    assert names == [
        "classes.txt",
        "train-000000.tar",
        "train-000001.tar",
        "train-000002.tar",
        "val-000000.tar",
        "val-000001.tar",
    ]
    assert (written / "classes.txt").read_text().splitlines() == list(store.classes)
    with tarfile.open(written / "train-000001.tar") as archive:
        members = archive.getmembers()
        assert [m.name for m in members[:3]] == ["00000010.png", "00000010.cls", "00000010.json"]
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
        about = json.loads(archive.extractfile(members[2]).read())
    assert about["split"] == "train"
    assert about["class"] in store.classes
    assert about["key"] in store.keys("train")


def test_written_shards_are_read_back_to_equal_contents(store, written, tmp_path):
    manifest = lowres.build(written, tmp_path / "back", lowres.BuildOptions(size=(16,)))
    assert manifest.contents["16-box"] == store.manifest.contents["16-box"]
    back = lowres.open_store(tmp_path / "back")
    assert back.classes == store.classes
    for split in store.splits:
        rows = {image.tobytes(): n for n, image in enumerate(store.images(split, "16-box"))}
        order = [rows[image.tobytes()] for image in back.images(split, "16-box")]
        assert sorted(order) == list(range(len(rows)))
        assert order != sorted(order)
        assert np.array_equal(back.labels(split), store.labels(split)[order])


# The package leaves the shards that it reads open until they are collected.
@pytest.mark.full
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("split", ["train", "val"])
def test_the_webdataset_package_reads_what_was_written(store, written, split):
    wds = pytest.importorskip("webdataset")
    shards = [str(path) for path in sorted(written.glob(f"{split}-*.tar"))]
    samples = wds.WebDataset(shards, shardshuffle=False).decode("rgb8")
    found = list(samples.to_tuple("png", "cls", "json"))
    del samples
    gc.collect()
    keys = store.keys(split)
    seen = []
    for pixels, label, about in found:
        row = keys.index(about["key"])
        seen.append(row)
        assert np.array_equal(pixels, store.images(split, "16-box")[row])
        assert label == store.labels(split)[row]
        assert about["class"] == store.classes[label]
    assert sorted(seen) == list(range(len(keys)))


def test_what_the_webdataset_package_wrote_is_read(tmp_path):
    wds = pytest.importorskip("webdataset")
    pixels = [draw_image(number, 9, 9) for number in range(5)]
    (tmp_path / "set").mkdir()
    with wds.ShardWriter(str(tmp_path / "set" / "set-%06d.tar"), maxcount=2, verbose=0) as writer:
        for number, image in enumerate(pixels):
            writer.write({"__key__": f"{number:04}", "png": image, "cls": number % 2})
    source = open_source(tmp_path / "set")
    entries = source.index().splits["train"]
    assert [entry.label for entry in entries] == [0, 1, 0, 1, 0]
    store = tmp_path / "store"
    lowres.build(tmp_path / "set", store, lowres.BuildOptions(size=(9,)))
    assert np.array_equal(lowres.open_store(store).images("train", "9-box"), pixels)
