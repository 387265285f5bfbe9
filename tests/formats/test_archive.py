"""Archives of class folders: read in place as the unpacked folder is."""

import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

import lowres
from images import contents, draw_image, encoded
from lowres.errors import ImageError, SourceError
from lowres.formats import open_source
from lowres.formats.archive import ArchiveSource
from lowres.formats.containers.remote import Remote
from lowres.reading import Reading
from lowres.store.build import build
from lowres.testing import SourceContract
from packing import pack

JPEG = encoded(draw_image(1, 20, 20))
SET = {
    "set/train/cat/1.jpg": JPEG,
    "set/train/cat/deep/2.jpg": JPEG,
    "set/train/dog/1.jpg": JPEG,
    "set/val/dog/3": JPEG,
    "set/val/cat/notes.txt": b"no image",
    "__MACOSX/set/train/cat/._1.jpg": b"",
    "set/@eaDir/x/thumb.jpg": JPEG,
}
FORMS = ("tar", "zip", "deflated.zip", "streamed.zip")


def folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


class TestTar(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path):
        return open_source(pack(tmp_path / "x.tar", SET))


class TestZip(SourceContract):
    @pytest.fixture(params=FORMS[1:])
    def opened(self, tmp_path, request):
        return open_source(pack(tmp_path / f"x.{request.param}", SET))


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_is_the_unpacked_folder(tmp_path, form):
    archive = open_source(pack(tmp_path / f"x.{form}", SET))
    unpacked = open_source(folder(tmp_path / "x", SET))
    assert isinstance(archive, ArchiveSource)
    ours, theirs = archive.index(), unpacked.index()
    assert ours.digest() == theirs.digest()
    assert list(ours.classes) == ["cat", "dog"]
    assert set(ours.notes) == set(theirs.notes)
    for split, entries in ours.splits.items():
        for one, other in zip(entries, theirs.splits[split], strict=True):
            assert archive.read(one) == unpacked.read(other)


@pytest.mark.parametrize("form", ["tar", "deflated.zip"])
def test_a_store_of_an_archive_is_that_of_the_folder(source, tmp_path, form):
    files = {f"animals/{p.relative_to(source)}": p.read_bytes() for p in source.rglob("*.jpg")}
    options = lowres.BuildOptions(size=8)
    build(pack(tmp_path / f"x.{form}", files), tmp_path / "one", options)
    build(source, tmp_path / "other", options)
    one, other = contents(tmp_path / "one"), contents(tmp_path / "other")
    assert one.pop("manifest.json") != other.pop("manifest.json")
    assert one == other


def test_forms_of_trees(tmp_path):
    plain = {"cat/1.jpg": JPEG, "dog/1.jpg": JPEG}
    for name, split in (("val", "val"), ("set", "train"), ("train2017", "train")):
        assert list(open_source(pack(tmp_path / f"{name}.tar", plain)).index().splits) == [split]
    tiny = {f"t/train/{wnid}/images/{wnid}_0.JPEG": JPEG for wnid in ("n01443537", "n01629819")}
    tiny["t/val/images/val_0.JPEG"] = JPEG
    tiny["t/val/val_annotations.txt"] = b"val_0.JPEG\tn01629819\t0\t0\t1\t1\n"
    index = open_source(pack(tmp_path / "tiny.zip", tiny)).index()
    assert index.layout == "Tiny ImageNet in archive"
    assert index.splits["val"][0].label == 1
    listed = {**plain, "classes.txt": b"dog\ncat\n"}
    assert open_source(pack(tmp_path / "x.zip", listed)).index().classes == ("dog", "cat")


@pytest.mark.parametrize("form", ["tar", "zip"])
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.jpg": JPEG, "b.jpg": JPEG}, "in no class folders"),
        ({"cat/1.jpg": JPEG, "cat/2.jpg": JPEG}, "one class alone, cat"),
        ({"cat/notes.txt": b"", "dog/1.csv": b""}, "holds no labelled images"),
        ({"a/cat/1.jpg": JPEG, "a/dog/1.jpg": JPEG, "b/cat/1.jpg": JPEG, "b/ox/1.jpg": JPEG},
         "--class-level"),
    ],
)  # fmt: skip
def test_trees_that_are_refused_as_folders_are(tmp_path, form, files, words):
    with pytest.raises(SourceError, match=words):
        ArchiveSource(pack(tmp_path / f"x.{form}", files)).index()
    assert len(open_source(pack(tmp_path / f"y.{form}", {**files, "t/1.jpg": JPEG}),
                           Reading(unlabelled=True)).index().classes) == 1  # fmt: skip


@pytest.mark.parametrize("form", ["tar", "zip", "deflated.zip"])
@pytest.mark.parametrize("around", ["", "SPLIT/"])
def test_a_folder_of_one_archive_a_split(tmp_path, form, around):
    files = {
        "train": ["cat/1.jpg", "cat/old/2.jpg", "dog/1.jpg"],
        "val": ["cat/1.jpg", "dog/3.jpg"],
    }
    suffix = form.rpartition(".")[2]
    (tmp_path / "set").mkdir()
    for split, names in files.items():
        inside = around.replace("SPLIT", split)
        pack(tmp_path / f"{split}.{form}", {f"{inside}{name}": JPEG for name in names}).rename(
            tmp_path / "set" / f"{split}.{suffix}"
        )
        folder(tmp_path / "unpacked", {f"{split}/{name}": JPEG for name in names})
    source, unpacked = open_source(tmp_path / "set"), open_source(tmp_path / "unpacked")
    assert isinstance(source, ArchiveSource)
    ours, theirs = source.index(), unpacked.index()
    assert ours.digest() == theirs.digest()
    for entry in ours.splits["val"]:
        assert source.read(entry) == JPEG
        assert source.describe(entry).startswith(f"{tmp_path}/set/val.{suffix}")
    assert not any("beside" in note for note in ours.notes)
    (tmp_path / "set" / "extra.csv").write_text("x")
    assert "left out 1 file beside the archives: extra.csv" in source.index().notes
    assert open_source(tmp_path / "set", Reading(unlabelled=True)).index().splits.keys() == {
        "train", "val"
    }  # fmt: skip


def test_parts_and_odd_archives_in_a_folder(tmp_path):
    for name, animal in (("train_1", "cat"), ("train_2", "dog"), ("val", "cat"), ("more", "cat")):
        pack(tmp_path / f"{name}.tar", {f"{animal}/{name}.jpg": JPEG, f"bird/{name}.jpg": JPEG})
    index = open_source(tmp_path).index()
    assert {split: len(rows) for split, rows in index.splits.items()} == {"train": 4, "val": 2}
    assert index.classes == ("bird", "cat", "dog")
    assert "left out the folders beside the splits: more" in index.notes
    (tmp_path / "images").mkdir()
    with pytest.raises(SourceError):
        open_source(tmp_path).index()


def test_the_level_of_the_classes_by_flag(tmp_path):
    files = {f"{top}/{name}/{n}.jpg": JPEG for top in "ab" for name in ("cat", "ox") for n in "12"}
    path = pack(tmp_path / "x.zip", files)
    assert open_source(path, Reading(class_level=1)).index().classes == ("a", "b")
    assert open_source(path, Reading(class_level=2)).index().classes == ("cat", "ox")


def test_shards_stay_shards_and_edm_stays_edm(tmp_path):
    shard = {f"deep/{n}.{end}": data for n in "01" for end, data in (("jpg", JPEG), ("cls", b"1"))}
    assert open_source(pack(tmp_path / "shard.tar", shard)).kind == "webdataset"
    edm = {"00000/img00000000.png": JPEG, "dataset.json": b'{"labels": [["x", 0]]}'}
    assert open_source(pack(tmp_path / "edm.zip", edm)).kind == "edm"
    boxes = {"train/cat/1.jpg": JPEG, "train/dog/1.jpg": JPEG, "train/boxes.json": b"{}"}
    assert open_source(pack(tmp_path / "boxes.tar", boxes)).kind == "archive"


def test_without_labels(tmp_path):
    unlabelled = Reading(unlabelled=True)
    shard = pack(tmp_path / "shard.tar", {f"{n}.jpg": JPEG for n in "01"})
    with pytest.raises(SourceError):
        open_source(shard).index()
    assert len(open_source(shard, unlabelled).index().splits["train"]) == 2
    edm = {"00000/img00000000.png": JPEG, "dataset.json": b'{"labels": null}'}
    index = open_source(pack(tmp_path / "edm.zip", edm), unlabelled).index()
    assert not index.labelled
    assert [entry.key for entry in index.splits["train"]] == ["00000/img00000000.png"]


@pytest.mark.parametrize("name", ["x.tgz", "x.tar.gz", "x.tar.xz", "x.tar.zst", "x.7z", "x.rar"])
def test_packed_archives_say_what_to_do(tmp_path, name):
    (tmp_path / name).write_bytes(b"packed")
    with pytest.raises(SourceError, match=rf"unpack it .* tar -xf .*{name} -C x && lowres build x"):
        open_source(tmp_path / name)
    (tmp_path / "shards").mkdir()
    shutil.copy(tmp_path / name, tmp_path / "shards" / f"train-000000.{name[2:]}")
    with pytest.raises(SourceError, match=r"packed archives, train-000000.* gunzip"):
        open_source(tmp_path / "shards")
    folder(tmp_path / "shards", {"cat/1.jpg": JPEG, "dog/1.jpg": JPEG})
    assert open_source(tmp_path / "shards").index().classes == ("cat", "dog")


def test_damage(tmp_path):
    path = pack(tmp_path / "x.zip", SET)
    data = bytearray(path.read_bytes())
    source = open_source(path)
    entry = source.index().splits["train"][0]
    data[entry.offset + 60] ^= 1  # of the image
    path.write_bytes(data)
    with pytest.raises(ImageError, match="its checksum is wrong"):
        source.read(entry)
    data[entry.offset] ^= 1
    path.write_bytes(data)
    with pytest.raises(ImageError, match="does not begin with the header"):
        ArchiveSource(path).read(entry)
    path.write_bytes(data[:-30])
    with pytest.raises(SourceError, match="is damaged"):
        ArchiveSource(path).index()
    path.write_bytes(data[: entry.offset + 20])
    with pytest.raises(SourceError, match="cut short"):
        ArchiveSource(path).read(entry)


@pytest.mark.parametrize("name", ["../up/1.jpg", "/etc/1.jpg", "a\\b/1.jpg"])
def test_hostile_names(tmp_path, name):
    files = {"cat/1.jpg": JPEG, "dog/1.jpg": JPEG, name: JPEG}
    for form in ("tar", "zip"):
        with pytest.raises(SourceError, match="has a member named"):
            ArchiveSource(pack(tmp_path / f"x.{form}", files)).index()


def test_zips_that_cannot_be_read(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/1.jpg", JPEG)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("cat/1.jpg", JPEG)
    with pytest.raises(SourceError, match="comes twice"):
        ArchiveSource(path).index()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("cat/1.jpg", JPEG)
    with pytest.raises(SourceError, match="must be stored or deflated"):
        ArchiveSource(path).index()
    pack(path, {"cat/1.jpg": JPEG})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 8
    struct.pack_into("<H", data, at, 1)
    path.write_bytes(data)
    with pytest.raises(SourceError, match="is encrypted"):
        ArchiveSource(path).index()


def test_a_zip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("lowres.formats.containers.zip.MOST_BYTES", 10_000)
    path = pack(tmp_path / "deflated.zip", {"cat/1.jpg": bytes(100_000), "dog/1.jpg": JPEG})
    source = ArchiveSource(path)
    with pytest.raises(ImageError, match="unpacks to more than 10000 bytes"):
        source.read(source.index().splits["train"][0])


def test_two_members_of_one_name_in_a_tar(tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("cat/1.jpg", "dog/1.jpg", "cat/1.jpg"):
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(SourceError, match="two members named"):
        ArchiveSource(path).index()


@pytest.mark.parametrize("form", ["set.tar", "set.zip", "url"])
def test_one_odd_name_can_be_skipped(tmp_path, form, monkeypatch):
    """A name that is not one line of UTF-8; names that lead elsewhere stay hostile."""
    files = {f"{kind}/{n}.jpg": encoded(draw_image(n, 20, 20)) for kind in "ab" for n in range(3)}
    odd = {"a/new\nline.jpg": b"x"}
    if form != "set.zip":  # zipfile reads names that are not UTF-8 as code page 437
        odd["b/\udcff.jpg"] = b"x"
    if form == "url":
        pytest.importorskip("fsspec")
        path = Path("memory://odd")
        found = {"odd/" + name: data for name, data in (files | odd).items()}
        monkeypatch.setattr(Remote, "walk", lambda *_: [n.removeprefix("odd/") for n in found])
        monkeypatch.setattr(Remote, "whole", lambda _, name: found[name.lstrip("/")])
    else:
        path = pack(tmp_path / form, files | odd)
    options = lowres.BuildOptions(size=(8,))
    words = r"must be UTF-8 in one line, was '(a/new\\nline|b/\\udcff)\.jpg' in .* --on-error skip"
    with pytest.raises(SourceError, match=words):
        build(path, tmp_path / "stopped", options)
    manifest = build(path, tmp_path / "store", options, working=lowres.Working(on_error="skip"))
    assert manifest.splits == {"train": 6}
    notes = [note for note in manifest.source["notes"] if note.startswith("skipped: ")]
    assert len(notes) == len(odd)
    if form != "url":
        hostile = pack(tmp_path / f"hostile-{form}", files | {"../up.jpg": b"x"})
        with pytest.raises(SourceError, match="damaged or hostile"):
            build(hostile, tmp_path / "no", options, working=lowres.Working(on_error="skip"))
