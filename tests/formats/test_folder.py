"""Folders: the layouts that are recognised, and what is refused or noted."""

import os
import shutil
from pathlib import Path

import pytest

import lowres
from images import CLASSES, draw_image, draw_source, encoded
from lowres.errors import LowresError, SourceError, StoreError
from lowres.formats import open_source
from lowres.formats.folder import FolderSink, FolderSource
from lowres.formats.indexing import select_classes, split_by_hash
from lowres.formats.sink import Outline
from lowres.store.export import export, notes
from lowres.testing import SinkContract, SourceContract
from lowres.variant import Variant

JPEG = encoded(draw_image(1, 20, 20))


def write(root: Path, *paths: str) -> Path:
    for path in paths:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(JPEG)
    return root


def keys(root: Path) -> dict[str, list[str]]:
    splits = FolderSource(root).index().splits
    return {split: [entry.key for entry in entries] for split, entries in splits.items()}


class TestFolderSink(SinkContract):
    @pytest.fixture
    def sink(self):
        return FolderSink

    @pytest.fixture
    def reader(self):
        return FolderSource


class TestFolderSource(SourceContract):
    @pytest.fixture
    def opened(self, source):
        return open_source(source)


def test_split_folders(tmp_path):
    write(tmp_path, "train/b/2.jpg", "train/a/1.JPEG", "valid/a/3.png", "test/b/4.webp")
    index = FolderSource(tmp_path).index()
    assert index.layout == "split/class"
    assert index.classes == ("a", "b")
    assert keys(tmp_path) == {
        "train": ["a/1.JPEG", "b/2.jpg"],
        "val": ["a/3.png"],
        "test": ["b/4.webp"],
    }


def test_class_folders_become_train(tmp_path):
    write(tmp_path, "b/2.jpg", "a/deep/er/1.jpg")
    assert FolderSource(tmp_path).index().layout == "class"
    assert keys(tmp_path) == {"train": ["a/deep/er/1.jpg", "b/2.jpg"]}


def test_a_stray_image_does_not_turn_splits_into_classes(tmp_path):
    write(tmp_path, "train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg", "train/montage.jpg")
    index = FolderSource(tmp_path).index()
    assert index.classes == ("a", "b")
    assert "left out 1 image that is in no class folder: train 1" in index.notes


@pytest.mark.parametrize(
    ("paths", "level", "note"),
    [
        (
            ("dress/100APPLE/1.jpg", "dress/101APPLE/1.jpg", "hat/1.jpg"),
            None,
            ("1 class joins the images of several folders, such as dress/100APPLE and "
            "dress/101APPLE; if those are the classes, add --class-level 2"),
        ),
        (
            ("train/a/x/2020/1.jpg", "train/a/x/2021/1.jpg", "train/b/1.jpg", "val/b/old/1.jpg",
             "val/b/2.jpg"),
            None,
            ("2 classes join the images of several folders, such as train/a/x/2020 and "
            "train/a/x/2021; if those are the classes, add --class-level 3"),
        ),
        (
            ("shoes/1.jpg", "shoes/old/2.jpg", "hat/1.jpg"),
            None,
            ("1 class joins the images of several folders, such as shoes and shoes/old; if those "
            "are the classes, add --class-level 2"),
        ),
        (
            ("a/2020/1.jpg", "b/2020/1.jpg", "b/2021/1.jpg", "c/1.jpg"),
            2,
            "1 class joins folders of the same name, such as a/2020 and b/2020",
        ),
        (("a/2020/1.jpg", "b/2021/1.jpg", "c/1.jpg"), 2, ("left out 1 image that is in no class "
         "folder: c 1")),
        (("a/images/1.jpg", "b/images/1.jpg"), None, None),
        (("a/2020/1.jpg", "a/2021/1.jpg", "b/1.jpg"), 1, None),
    ],
)  # fmt: skip
def test_folders_that_join_in_a_class_are_noted(tmp_path, paths, level, note):
    write(tmp_path, *paths)
    notes = FolderSource(tmp_path, level).index().notes
    assert (note in notes) if note else not notes


def test_training_and_validation_are_splits_too(tmp_path):
    write(tmp_path, "training/a/1.jpg", "validation/a/2.jpg", "testing/a/3.jpg")
    write(tmp_path, "training/b/1.jpg")
    assert list(keys(tmp_path)) == ["train", "val", "test"]


def test_a_class_called_train_is_a_class(tmp_path):
    write(tmp_path, "train/1.jpg", "bus/2.jpg")
    assert keys(tmp_path) == {"train": ["bus/2.jpg", "train/1.jpg"]}


def tiny_imagenet(root: Path) -> Path:
    write(root, "train/n02/images/n02_0.JPEG", "train/n01/images/n01_0.JPEG")
    write(root, "val/images/val_0.JPEG", "val/images/val_1.JPEG", "test/images/test_0.JPEG")
    (root / "train/n01/n01_boxes.txt").write_text("n01_0.JPEG\t0\t0\t9\t9\n")
    lines = "val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n"
    (root / "val/val_annotations.txt").write_text(lines)
    return root


def test_tiny_imagenet(tmp_path):
    index = FolderSource(tiny_imagenet(tmp_path)).index()
    assert index.layout == "Tiny ImageNet"
    assert index.classes == ("n01", "n02")
    assert [(e.key, e.label) for e in index.splits["val"]] == [
        ("images/val_0.JPEG", 1),
        ("images/val_1.JPEG", 0),
    ]
    assert "test" not in index.splits
    assert any("left out test" in note for note in index.notes)
    assert any(".txt" in note for note in index.notes)


def test_tiny_imagenet_annotations_must_fit(tmp_path):
    tiny_imagenet(tmp_path)
    write(tmp_path, "val/images/val_9.JPEG")
    with pytest.raises(SourceError, match=r"val_9\.JPEG is not in"):
        FolderSource(tmp_path).index()
    (tmp_path / "val/images/val_9.JPEG").unlink()
    (tmp_path / "val/images/val_0.JPEG").unlink()
    with pytest.raises(SourceError, match=r"lists 1 images that are not in .* val_0\.JPEG first"):
        FolderSource(tmp_path).index()


def test_links_are_followed_and_loops_refused(tmp_path):
    write(tmp_path / "real", "1.jpg")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").symlink_to(tmp_path / "real")
    write(tmp_path / "set", "b/2.jpg")
    (tmp_path / "set" / "b" / "3.jpg").symlink_to(tmp_path / "real" / "1.jpg")
    assert keys(tmp_path / "set") == {"train": ["a/1.jpg", "b/2.jpg", "b/3.jpg"]}
    (tmp_path / "set" / "b" / "loop").symlink_to(tmp_path / "set" / "b")
    with pytest.raises(SourceError, match="links to a folder above itself"):
        keys(tmp_path / "set")


def test_pipes_and_links_to_them_are_no_images(tmp_path):
    """Opening one would wait for ever; a link to nothing is told when it is read."""
    write(tmp_path, "a/1.png", "b/1.png")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "a" / "2.png")
    (tmp_path / "a" / "3.png").symlink_to("../pipe")
    (tmp_path / "a" / "4.png").symlink_to("nowhere")
    assert keys(tmp_path) == {"train": ["a/1.png", "a/4.png", "b/1.png"]}


def test_what_is_left_out_is_noted(tmp_path):
    write(tmp_path, "train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg", "val/loose.jpg")
    write(tmp_path, "extra/x/4.jpg", "train/a/.hidden.jpg", "__MACOSX/a/1.jpg")
    (tmp_path / "train" / "a" / "list.txt").write_text("")
    notes = "; ".join(FolderSource(tmp_path).index().notes)
    assert "left out 1 file that is no image: .txt 1" in notes
    assert "left out 1 image that is in no class folder: val 1" in notes
    assert "beside the splits: extra" in notes
    assert "val has no images of 1 of the 2 classes, b first" in notes


@pytest.mark.parametrize(
    ("paths", "folders", "words"),
    [
        ((), (), "holds no labelled images.*found nothing"),
        (("loose.jpg",), (), r"holds no labelled images.*in no class folders .*1\)"),
        (("train/a/1.jpg", "val/a/2.jpg", "valid/a/3.jpg"), (), "two folders for the split val"),
        (("a/1.jpg", "c/1.jpg"), ("b",), "b holds no images.*labels of other classes"),
        (("a/new\nline.jpg", "b/1.jpg"), (), "one line"),
        (("val/a/1.jpg", "test/a/2.jpg"), (), "has test, val but no train"),
    ],
)
def test_refusals(tmp_path, paths, folders, words):
    write(tmp_path, *paths)
    for folder in folders:
        (tmp_path / folder).mkdir()
    with pytest.raises(SourceError, match=f"(?s){words}"):
        FolderSource(tmp_path).index()


def test_names_that_are_not_utf8_are_refused(tmp_path):
    write(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "a" / "1.jpg").rename(tmp_path / "a" / os.fsdecode(b"\xff.jpg"))
    with pytest.raises(SourceError, match="must be UTF-8"):
        FolderSource(tmp_path).index()


def test_nothing_there_and_a_file(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        open_source(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="must be a folder"):
        open_source(tmp_path / "file")


def test_classes_keep_sorted_labels(source):
    index = select_classes(FolderSource(source).index(), ["dog", "bee"])
    assert index.classes == ("bee", "dog")
    assert {entry.key.split("/")[0]: entry.label for entry in index.splits["train"]} == {
        "bee": 0,
        "dog": 1,
    }
    with pytest.raises(SourceError, match=r"'dgo' is not among the 4 classes.*did you mean dog"):
        select_classes(FolderSource(source).index(), ["dgo"])
    with pytest.raises(SourceError, match=r"'cow' .and 1 more of those asked for. is not among"):
        select_classes(FolderSource(source).index(), ["cow", "bee", "hen"])
    with pytest.raises(SourceError, match="names 'dog' twice"):
        select_classes(FolderSource(source).index(), ["dog", "dog"])


def test_classes_that_a_split_lacks(tmp_path):
    write(tmp_path, "train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg")
    index = select_classes(FolderSource(tmp_path).index(), ["b"])
    assert list(index.splits) == ["train"]
    assert "left out val: it has no images of the classes kept" in index.notes
    write(tmp_path, "val/c/4.jpg")
    with pytest.raises(SourceError, match="train has no images of c"):
        select_classes(FolderSource(tmp_path).index(), ["c"])


def test_odd_names_go_through_the_whole_way(tmp_path):
    write(tmp_path / "set", "a/x\ry.jpg", "a/ü z.jpg", "b/1.jpg")
    (tmp_path / "set" / "a" / os.fsdecode(b"x.\xff")).write_text("")
    lowres.build(tmp_path / "set", tmp_path / "store", lowres.BuildOptions(size=(4,)))
    store = lowres.open_store(tmp_path / "store")
    assert list(store.problems()) == []
    assert store.keys("train") == ["a/x\ry.jpg", "a/ü z.jpg", "b/1.jpg"]


def test_split_by_hash_moves_nothing_when_images_are_added(tmp_path):
    folder = draw_source(tmp_path / "x", train=20, val=1) / "train"
    before = split_by_hash(FolderSource(folder).index(), 0.25).splits
    write(folder, *(f"{name}/new-{n}.jpg" for name in CLASSES for n in range(20)))
    after = split_by_hash(FolderSource(folder).index(), 0.25).splits
    for split in ("train", "val"):
        assert {e.key for e in before[split]} <= {e.key for e in after[split]}
    share = len(after["val"]) / sum(map(len, after.values()))
    assert 0.1 < share < 0.4


def test_split_by_hash_refusals(source):
    with pytest.raises(SourceError, match="this source has train, val"):
        split_by_hash(FolderSource(source).index(), 0.1)
    only_train = FolderSource(source / "train").index()
    with pytest.raises(SourceError, match=r"between 0 and 1, was 1\.5"):
        split_by_hash(only_train, 1.5)
    with pytest.raises(SourceError, match="leaves val empty"):
        split_by_hash(only_train, 1e-9)


def test_exported_folder_is_read_back_to_the_same_pixels(store, tmp_path):
    assert export(store, tmp_path / "png", "16-box") == store.splits
    again = tmp_path / "again"
    lowres.build(tmp_path / "png", again, lowres.BuildOptions(size=(16,), filter=("bicubic",)))
    reopened = lowres.open_store(again)
    for split in store.splits:
        assert (reopened.labels(split) == store.labels(split)).all()
        expected = store.images(split, "16-box")
        assert (reopened.images(split, "16-bicubic") == expected).all()


def test_an_export_that_fails_leaves_nothing(store, tmp_path, monkeypatch):
    def failing(self, *_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FolderSink, "write", failing)
    with pytest.raises(KeyboardInterrupt):
        export(store, tmp_path / "png", "16-box")
    assert list(tmp_path.iterdir()) == []


def test_what_an_export_left_behind_is_cleared_and_nothing_else(store, tmp_path):
    for name in ("png.lowres-partial", "png.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("")
    export(store, tmp_path / "png", "16-box")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["png", "png.partial"]


@pytest.mark.parametrize("name", ["a/b", ".a", "__MACOSX", "ü" * 128])
def test_class_names_that_no_folder_can_have(store, tmp_path, name):
    outline = Outline(
        name="x", variant=Variant(4, "box"), classes=(name,), splits={"train": 1}, content=""
    )
    with pytest.raises(StoreError, match="cannot be the name of a folder"):
        FolderSink(tmp_path / "png", outline)
    assert list(tmp_path.iterdir()) == []


def test_a_class_named_like_a_tar_is_a_class(tmp_path):
    write(tmp_path, "train/a.tar/1.jpg", "train/b/2.jpg")
    assert open_source(tmp_path).index().classes == ("a.tar", "b")


def test_notes_of_an_export(store, tmp_path):
    assert list(notes(store, ["train", "val"], "folder")) == []
    assert list(notes(store, ["train"], "edm")) == ["left out val: edm has one split"]
    write(tmp_path / "set", "train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg")
    lowres.build(tmp_path / "set", tmp_path / "store", lowres.BuildOptions(size=(4,)))
    found = list(notes(lowres.open_store(tmp_path / "store"), ["train", "val"], "folder"))
    assert len(found) == 1
    assert "val has no images of 1 of the 2 classes" in found[0]


def test_export_refusals(store, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="exists and is not empty"):
        export(store, tmp_path / "link", "16-box")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    with pytest.raises(StoreError, match="exists and is not empty"):
        export(store, tmp_path / "full", "16-box")
    with pytest.raises(StoreError, match="has no variant 64-box"):
        export(store, tmp_path / "new", "64-box")
    with pytest.raises(StoreError, match=r"--to must be one of .*folder, was 'zip'"):
        export(store, tmp_path / "new", "16-box", to="zip")


def test_export_keeps_names_apart_that_differ_by_suffix(tmp_path):
    write(tmp_path / "set", "a/1.jpg", "a/1.png", "b/1.jpg")
    lowres.build(tmp_path / "set", tmp_path / "store", lowres.BuildOptions(size=(4,)))
    export(lowres.open_store(tmp_path / "store"), tmp_path / "png", "4-box")
    written = sorted(p.relative_to(tmp_path / "png").as_posix() for p in tmp_path.glob("png/*/*/*"))
    assert written == ["train/a/1.png", "train/a/1.png.png", "train/b/1.png"]
    shutil.rmtree(tmp_path / "png")


def test_bad_names_and_closed_folders_are_refused_or_skipped(tmp_path, monkeypatch):
    source = draw_source(tmp_path / "animals")
    first = source / "train" / "ant" / "00.jpg"
    for name in (b"a\nb.jpg", b"\xff.jpg"):
        (first.parent / os.fsdecode(name)).write_bytes(first.read_bytes())
    closed = source / "train" / "bee" / "more"
    closed.mkdir()
    scandir = os.scandir

    def refusing(path):
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    store, options = tmp_path / "store", lowres.BuildOptions(size=(8,))
    with pytest.raises(SourceError, match=r"Permission denied;.* skip it: --on-error skip"):
        lowres.build(source, store, options)
    working = lowres.Working(on_error="skip")
    manifest = lowres.build(source, store, options, working=working)
    skipped = [note for note in manifest.source["notes"] if note.startswith("skipped: ")]
    assert len(skipped) == 3
    assert f"the folder '{closed}' cannot be read: Permission denied" in skipped[0]
    assert manifest.splits == {"train": 24, "val": 12}
    monkeypatch.undo()
    closed.rmdir()
    with pytest.raises(SourceError, match=r"must be UTF-8 in one line.* skip it: --on-error skip"):
        lowres.build(source, tmp_path / "other", options)
    for name in (b"a\nb.jpg", b"\xff.jpg"):
        (first.parent / os.fsdecode(name)).unlink()
    whole = lowres.build(source, tmp_path / "whole", options)
    assert whole.digest == manifest.digest


def test_loops_of_links(tmp_path, source):
    copy = Path(shutil.copytree(source, tmp_path / "animals"))
    for name in ("loop.jpg", "loop"):
        (copy / "train" / "ant" / name).symlink_to(name)
    options, skip = lowres.BuildOptions(size=(8,)), lowres.Working(on_error="skip")
    with pytest.raises(SourceError, match=r"symbolic links; remove it, or skip it: --on-error"):
        lowres.build(copy, tmp_path / "store", options)
    manifest = lowres.build(copy, tmp_path / "store", options, working=skip)
    assert manifest.splits == {"train": 24, "val": 12}
    assert sum("symbolic links" in note for note in manifest.source["notes"]) == 2
    (tmp_path / "self").symlink_to("self")
    for paths in ((tmp_path / "self", tmp_path / "new"), (copy, tmp_path / "self")):
        with pytest.raises((LowresError, OSError), match="self"):
            lowres.build(*paths, options, working=skip)
