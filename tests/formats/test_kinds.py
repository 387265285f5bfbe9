"""Sets as people have them: each kind of misreading, with a neighbour that must be read.

A row has the files of a set, and what is right: classes and images a split, or a refusal.
"""

import io
import json
import pickle
import struct
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest

import lowres
from images import draw_image, encoded
from lowres.errors import ImageError, SourceError
from lowres.formats import open_source
from lowres.formats.folder import FolderSource
from lowres.formats.names import class_order, is_image_data, is_system, split_of
from lowres.formats.source import Index
from lowres.reading import Reading
from lowres.resampling.decode import decode
from lowres.store.export import notes

JPEG = encoded(draw_image(1, 20, 20))
PNG = encoded(draw_image(2, 20, 20), "PNG")
JP2, J2K, JXL = b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"\0\0\0\x0cJXL \r\n\x87\n"
PPM = encoded(draw_image(3, 20, 20), "PPM")


def lay(root: Path, *paths: str) -> Path:
    """Write files; `{a,b}` in a path stands for each choice, a path that ends in / for a folder."""
    from lowres.formats.containers.shards import expanded

    for path in (each for pattern in paths for each in expanded(pattern)):
        target = root / path
        if path.endswith("/"):
            target.mkdir(parents=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        is_image = target.suffix.lower() not in (".txt", ".csv", ".json", ".xml", ".db")
        target.write_bytes(JPEG if is_image else b"id,label\n0,a\n")
    return root


def read(root: Path, level: int | None = None) -> Index:
    return open_source(root, Reading(class_level=level)).index()


def counts(index: Index) -> dict[str, int]:
    return {split: len(entries) for split, entries in index.splits.items()}


# Levels: paths, classes, images a split.
READ = {
    "names of splits": (
        ("{training_set,test_set}/{cat,dog}/{1,2}.jpg",),
        "cat dog",
        {"train": 4, "test": 4},
    ),
    "years": (("{train2017,val2017}/{cat,dog}/1.jpg",), "cat dog", {"train": 2, "val": 2}),
    "one word": (("{trainset,testset}/{cat,dog}/1.jpg",), "cat dog", {"train": 2, "test": 2}),
    "capitals": (("{TrainImages,DevImages}/{cat,dog}/1.jpg",), "cat dog", {"train": 2, "val": 2}),
    "prefixes": (("{my-train,my-eval}/{cat,dog}/1.jpg",), "cat dog", {"train": 2, "test": 2}),
    "each twice, and one flat beside": (
        ("{seg_train/seg_train,seg_test/seg_test}/{cat,dog}/1.jpg", "seg_pred/seg_pred/1.jpg"),
        "cat dog",
        {"train": 2, "test": 2},
    ),
    "Hive": (("split={train,val}/label={cat,dog}/1.jpg",), "cat dog", {"train": 2, "val": 2}),
    "wrapped": (("a/b/{train,val}/{cat,dog}/1.jpg",), "cat dog", {"train": 2, "val": 2}),
    "wrapped, with other files": (
        ("a/{train,val}/{cat,dog}/1.jpg", "read.txt", "b/x.txt"),
        "cat dog",
        {"train": 2, "val": 2},
    ),
    "parts of train": (
        ("train.X1/{a,b}/1.jpg", "train.X2/{c,d}/1.jpg", "val.X/{a,b,c,d}/1.jpg"),
        "a b c d",
        {"train": 4, "val": 4},
    ),
    "parts from 0, a class in two": (
        ("train_0/{a,b}/1.jpg", "train_1/b/2.jpg"),
        "a b",
        {"train": 3},
    ),
    "parts of WNIDs": (
        ("disc1/{n00000001,n00000002}/1.jpg", "disc2/{n00000003,n00000004}/1.jpg"),
        "n00000001 n00000002 n00000003 n00000004",
        {"train": 4},
    ),
    "WNIDs in names": (
        ("train/{n00000001,n00000002}_{1,2}.JPEG", "val/ILSVRC2012_val_1_n00000002.JPEG"),
        "n00000001 n00000002",
        {"train": 4, "val": 1},
    ),
    "WNIDs in names, no split": (
        ("{n00000001,n00000002}_{1,2}.JPEG",),
        "n00000001 n00000002",
        {"train": 4},
    ),
    "neighbour: numbered classes": (("class_{1,2}/1.jpg",), "class_1 class_2", {"train": 2}),
    "neighbour: letter and number": (("c{0,1}/1.jpg",), "c0 c1", {"train": 2}),
    "neighbour: classes with a word of parts": (
        ("{image of a cat,images_dog}/1.jpg",),
        "image of a cat|images_dog",
        {"train": 2},
    ),
    "neighbour: folders in some classes": (
        ("dog/{small,big}/1.jpg", "cat/1.jpg"),
        "cat dog",
        {"train": 3},
    ),
    "neighbour: the same in a split": (
        ("train/dog/{small,big}/1.jpg", "train/cat/1.jpg", "val/{cat,dog}/1.jpg"),
        "cat dog",
        {"train": 3, "val": 2},
    ),
    "neighbour: one folder in each class": (("{dog,cat}/images/1.jpg",), "cat dog", {"train": 2}),
    "neighbour: a class called train": (("{train,bus}/1.jpg",), "bus train", {"train": 2}),
    "neighbour: classes with a word": (
        ("{bullet train,test tube,bus}/1.jpg",),
        "bullet train|bus|test tube",
        {"train": 3},
    ),
    "neighbour: one class in val": (
        ("train/{cat,dog}/1.jpg", "val/cat/1.jpg"),
        "cat dog",
        {"train": 2, "val": 1},
    ),
    "neighbour: a folder beside splits": (
        ("{train,val}/{cat,dog}/1.jpg", "extra/cat/1.jpg"),
        "cat dog",
        {"train": 2, "val": 2},
    ),
    "neighbour: a folder without labels": (
        ("train/{cat,dog}/1.jpg", "test/1.jpg"),
        "cat dog",
        {"train": 2},
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_the_level_of_the_classes_is_found(tmp_path, kind):
    paths, classes, images = READ[kind]
    index = read(lay(tmp_path / "set", *paths))
    assert index.classes == tuple(classes.split("|" if "|" in classes else " "))
    assert counts(index) == images
    source = FolderSource(tmp_path / "set")
    assert all(source.read(e) == JPEG for entries in index.splits.values() for e in entries)


REFUSED = {
    "one class": (("cat/{1,2}.jpg",), "one class alone, cat.*needs two"),
    "one class in a split": (("{train,val}/cat/1.jpg",), "train has one class alone, cat"),
    "a wrapper of classes": (
        ("images/{cat,dog}/1.jpg",),
        r"one class alone, images.*\(cat, dog\) are the classes, build from .*set/images;",
    ),
    "two wrappers": (("a/b/{cat,dog}/1.jpg",), "one class alone, a.* build from .*set/a/b;"),
    "flat splits": (("{train,test}/{1,2}.jpg",), r"in no class folders \(test 2, train 2\)"),
    "flat splits with a CSV": (
        ("{train,test}/{x,y}.jpg", "answers.csv"),
        r"run: lowres build .*set/answers\.csv STORE --paths COLUMN --labels COLUMN",
    ),
    "flat": (("{1,2,3}.jpg",), r"holds no labelled images: .* \(set 3\); expected class/image"),
    "flat parts": (("train_{1,2}/{1,2}.jpg",), r"in no class folders \(train_1 2, train_2 2\)"),
    "unlabelled beside classes": (("{cat,dog,Unlabeled}/1.jpg",), "Unlabeled, which is no class"),
    "flat, other words": (("{train_images,test_images}/1.jpg",), "in no class folders"),
    "flat, a third beside": (("{train,test,sample}/1.jpg",), "in no class folders"),
    "flat train, sorted val": (("train/1.jpg", "val/{a,b}/1.jpg"), r"train .*\(train 1\)"),
    "a flat test beside classes": (("{cat,dog,test}/1.jpg",), "test beside cat, dog, which may"),
    "corruptions": (
        ("{noise/gaussian,blur/motion}/{1,2}/{n00000001,n00000002}/1.jpg",),
        r"--class-level 4 if the 2 folders such as blur/motion/1/n0.*from .*blur/motion/1$",
    ),
    "domains": (("{photo,sketch}/{cat,dog}/1.jpg",), r"--class-level 1 .*--class-level 2 .*photo$"),
    "letters": (("a/{abbey,alley}/1.jpg", "b/{bar,bay}/1.jpg"), "--class-level 2"),
    "masks": (("{cat,dog}/{images,masks}/1.jpg",), "level of the classes is not clear"),
    "parts without a name": (("part1/{a,b}/1.jpg", "part2/{c,d}/1.jpg"), "--class-level 2"),
    "a copy inside": (("{cat,dog,augmented/cat,augmented/dog}/1.jpg",), "augmented/cat"),
    "splits in classes": (("{cat,dog}/{train,test}/1.jpg",), "splits inside .* cat/test"),
    "a gap in the parts": (("train.X{1,3}/{a,b}/1.jpg",), "two folders for the split train"),
    "two years": (("train{2014,2017}/{a,b}/1.jpg",), "two folders for the split train"),
    "val and dev": (("{train,val,dev}/{a,b}/1.jpg",), "two folders for the split val: dev and val"),
    "no train": (("{val,test}/{a,b}/1.jpg",), "no train: name a folder train"),
    "no train, but another": (("images/1.jpg", "val/{a,b}/1.jpg"), "no train"),
    "train and another": (("{train,extra}/{a,b}/1.jpg",), "beside extra, which may be splits or"),
    "numbered parts": (("images_{001,002}/images/{1,2}.png",), "images_001 2, images_002 2"),
    "parts with a table": (
        ("X_images_part_{1,2}/1.jpg", "X_metadata.csv"),
        r"lowres build .*X_metadata\.csv STORE .*--class-level 1",
    ),
    "folds": (("fold{1,2,3}/1.jpg",), "--class-level 1"),
    "drawn on them": (
        ("images/{1,2}.jpg", "annotations/trimaps/{1,2}.png"),
        "a folder annotations, which is no class by its name",
    ),
    "images and what they show": (
        ("JPEGImages/1.jpg", "SegmentationClass/1.png"),
        "JPEGImages, which is no class",
    ),
    "masks of classes": (("{images,masks}/{cat,dog}/1.jpg",), "a folder images, which is no class"),
    "one flat folder with a table": (("pictures/1.jpg", "list.csv"), "if list.csv labels them"),
    "stations": (("{train_station,bus_station}/{x,y}/1.jpg",), "beside bus_station, which may"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_doubt_is_refused(tmp_path, kind):
    paths, words = REFUSED[kind]
    with pytest.raises(SourceError, match=f"(?s){words}"):
        read(lay(tmp_path / "set", *paths))


@pytest.mark.parametrize(
    ("paths", "level", "classes"),
    [
        (("{photo,sketch}/{cat,dog}/1.jpg",), 1, ("photo", "sketch")),
        (("{photo,sketch}/{cat,dog}/1.jpg",), 2, ("cat", "dog")),
        (("{train,val}/a/{abbey,alley}/1.jpg",), 2, ("abbey", "alley")),
        (("{train,test}/1.jpg",), 1, ("test", "train")),
        (("{train_station,bus_station}/{x,y}/1.jpg",), 1, ("bus_station", "train_station")),
        (("{noise,blur}/{1,2}/{cat,dog}/1.jpg",), 3, ("cat", "dog")),
    ],
)
def test_class_level(tmp_path, paths, level, classes):
    index = read(lay(tmp_path / "set", *paths), level)
    assert index.classes == classes
    names = {index.classes[e.label] for e in index.splits["train"]}
    assert names == set(classes)


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_an_archive_is_not_told_to_build_from_a_folder_inside(tmp_path, form):
    def pack(*names: str) -> Path:
        path = tmp_path / f"set.{form}"
        if form == "tar":
            shard(path, *((name, JPEG) for name in names))
        else:
            with zipfile.ZipFile(path, "w") as archive:
                for name in names:
                    archive.writestr(name, JPEG)
        return path

    path = pack("a/b/cat/1.jpg", "a/b/dog/1.jpg")
    with pytest.raises(SourceError, match=r"are the classes, add --class-level 3; else"):
        read(path)
    assert read(path, 3).classes == ("cat", "dog")
    path = pack("photo/cat/1.jpg", "photo/dog/1.jpg", "sketch/cat/1.jpg")
    with pytest.raises(SourceError, match=rf"or unpack set\.{form} and build from its folder ph"):
        read(path)
    # Names of some programs begin with `./`.
    assert counts(read(pack("./train/cat/1.jpg", "./train/dog/1.jpg"))) == {"train": 2}


def test_class_levels_that_do_not_exist(tmp_path):
    lay(tmp_path / "set", "{cat,dog}/1.jpg")
    with pytest.raises(SourceError, match="no folders with images 2 levels below"):
        read(tmp_path / "set", 2)
    with pytest.raises(SourceError, match="must be 1 or more, was 0"):
        read(tmp_path / "set", 0)
    lay(tmp_path / "edm", "dataset.json").joinpath("dataset.json").write_text('{"labels": []}')
    with pytest.raises(SourceError, match=r"--class-level is for folders .* is read as edm"):
        open_source(tmp_path / "edm", Reading(class_level=1))


# Names of splits, in tables and shards.
NAMES = {
    "train": "train", "training": "train", "Train-00000-of-00002-0f1e2d3c": "train",
    "partial-train": "train", "train.X4": "train", "seg_train2017": "train", "trainset": "train",
    "validation": "val", "valid": "val", "dev": "val", "val_images": "val", "TestSet": "test",
    "eval": "test", "evaluation-1": "test", "testing": "test", "split=test": "test",
    "holdout": None, "unlabeled": None, "minival": None, "extra": None, "trainval": None,
    "train_test": None, "constrain": None, "attest": None, "latest": None, "retrain": None,
    "devil": None, "medieval": None, "values": None,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_of_splits(name):
    assert split_of(name) == NAMES[name]


def shard(path: Path, *members: tuple[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def pair(key: str) -> list[tuple[str, bytes]]:
    both = ((f"{key}{n}", str(n).encode()) for n in (0, 1))
    return [member for k, n in both for member in ((f"{k}.jpg", JPEG), (f"{k}.cls", n))]


def table(path: Path, **columns: list[str]) -> None:
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    images = arrow.array([{"bytes": JPEG, "path": None}] * 2, kind)
    pyarrow.parquet.write_table(arrow.table({"image": images, "label": [0, 1], **columns}), path)


@pytest.mark.parametrize(
    ("name", "column", "values", "images"),
    [
        ("train-0", "split", ["train", "test"], {"train": 1, "test": 1}),
        ("all", "split", ["validation", "train"], {"train": 1, "val": 1}),
        ("all", "subset", ["train", "extra"], {"train": 1}),
        ("all", "split", ["test", "test"], {"test": 2}),
        ("test", "split", ["test", "test"], {"test": 2}),
        ("train", "split", ["north", "south"], {"train": 2}),
    ],
)
def test_a_column_of_splits_in_parquet(tmp_path, name, column, values, images):
    table(tmp_path / f"{name}.parquet", **{column: values})
    index = read(tmp_path)
    assert counts(index) == images
    noted = any(f"splits by its column {column} ({values[0]} " in note for note in index.notes)
    assert noted == (name != "test" and values[0] != "north")


def test_a_column_of_splits_that_denies_the_name_of_the_file(tmp_path):
    table(tmp_path / "val.parquet", split=["train", "val"])
    with pytest.raises(SourceError, match=r"means the split val by its name, .* train 1, val 1"):
        read(tmp_path)


SPLITS = {
    "dev": (("train-0", "dev-0"), {"train": 2, "val": 2}),
    "eval": (("train-0", "train-1", "evaluation-0"), {"train": 4, "test": 2}),
    "unknown": (("train-0", "holdout-0"), {"train": 2}),
    "unknown folders": (("train/0", "unlabeled/0"), {"train": 2}),
    "only val is known": (("val-0", "extra-0"), {"val": 2}),
    "neighbour: no name of a split": (("part-0", "part-1"), {"train": 4}),
    "neighbour: numbers": (("0000", "0001"), {"train": 4}),
    "neighbour: the set's own name": (("set-train-0", "set-val-0"), {"train": 2, "val": 2}),
}
UNCLEAR = {
    "two unknown": (("main-0", "holdout-0"), "files of 2 names, and none names a split"),
    "val and dev": (("train-0", "dev-0", "val-0"), "two names for the split val: dev-0 and val-0"),
    "test and eval": (("train-0", "eval-0", "test-0"), "two names for the split test"),
}


@pytest.mark.parametrize("form", ["tar", "parquet"])
@pytest.mark.parametrize("kind", SPLITS)
def test_splits_of_shards_and_tables(tmp_path, form, kind):
    names, images = SPLITS[kind]
    for name in names:
        path = tmp_path / f"{name}.{form}"
        shard(path, *pair(path.stem)) if form == "tar" else table(path)
    index = read(tmp_path)
    assert counts(index) == images
    noted = any("whose names mean no split" in note for note in index.notes)
    assert noted == (sum(images.values()) < 2 * len(names))


@pytest.mark.parametrize("form", ["tar", "parquet"])
@pytest.mark.parametrize(
    ("name", "noted"),
    [
        ("holdout-00000-of-00001", True),
        ("minival", True),
        ("train-0", False),
        ("part-00000", False),
        ("00000", False),
        ("data", False),
        ("train/set-0", False),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_a_name_of_no_split_is_noted(tmp_path, form, name, noted, alone):
    path = tmp_path / f"{name}.{form}"
    path.parent.mkdir(exist_ok=True)
    shard(path, *pair("x")) if form == "tar" else table(path)
    if alone and "/" in name:
        return  # its folder is not part of the source
    index = read(path if alone else tmp_path)
    assert counts(index) == {"train": 2}
    note = f"{path.name} means no split by its name: its images are train"
    assert (note in index.notes) == noted


@pytest.mark.parametrize("form", ["tar", "parquet"])
@pytest.mark.parametrize("kind", UNCLEAR)
def test_splits_that_are_not_clear(tmp_path, form, kind):
    names, words = UNCLEAR[kind]
    for name in names:
        path = tmp_path / f"{name}.{form}"
        shard(path, *pair(path.stem)) if form == "tar" else table(path)
    with pytest.raises(SourceError, match=words):
        read(tmp_path)


def test_a_table_puts_no_unknown_folder_into_train(tmp_path):
    lay(tmp_path, "{train,holdout}/{1,2}.jpg")
    rows = [f"{split}/{n}.jpg,{n}" for split in ("train", "holdout") for n in (1, 2)]
    listed = tmp_path / "list.csv"
    listed.write_text("\n".join(["file,label", *rows]))
    with pytest.raises(SourceError, match=r"in train and in holdout.* --split COLUMN"):
        read(listed)
    listed.write_text("\n".join(["file,label", *rows[:2]]))
    assert counts(read(listed)) == {"train": 2}
    listed.write_text(listed.read_text().replace("train/", "train/../holdout/"))
    assert counts(read(listed)) == {"train": 2}


# Bytes decide.
def test_the_bytes_of_a_file_decide_whether_it_is_an_image(tmp_path):
    lay(tmp_path / "set", "{a,b}/1.jpg")
    for name, data in {
        "2.ppm": PPM, "3.jfif": JPEG, "4": JPEG, "5.v2": PNG, "6.JPE": JPEG, "7.php": PNG,
        "notes.txt": b"a dog", "8": b"", "x.xml": b"<x>", "Thumbs.db": b"\0" * 20,
    }.items():  # fmt: skip
        (tmp_path / "set" / "a" / name).write_bytes(data)
    index = read(tmp_path / "set")
    assert counts(index) == {"train": 8}
    assert "left out 3 files that are no images: no suffix 1, .txt 1, .xml 1" in index.notes


@pytest.mark.parametrize(
    ("name", "data", "form"),
    [
        ("2.jp2", JP2, "JPEG 2000"),
        ("2.j2k", J2K, "JPEG 2000"),
        ("2", JP2, "JPEG 2000"),
        ("2.jxl", JXL, "JPEG XL"),
        ("2.dcm", b"\0" * 128 + b"DICM", "DICOM"),
        ("2.tif", b"II*\0" + b"\x08\0\0\0" + b"\0" * 40, "a TIFF of a kind"),
    ],
)
def test_an_image_that_is_not_read_is_named(tmp_path, name, data, form):
    lay(tmp_path / "set", "{a,b}/1.jpg")
    (tmp_path / "set" / "a" / name).write_bytes(data)
    assert counts(read(tmp_path / "set")) == {"train": 3}
    with pytest.raises(ImageError, match=f"is {form}.*convert it"):
        decode(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_first_bytes(form):
    assert is_image_data(encoded(draw_image(1, 20, 20), form)[:16])


def test_first_bytes_of_large_tiffs_and_of_images_that_are_not_read():
    for data in (b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0", JP2, J2K, JXL):
        assert is_image_data(data.ljust(16, b"\0"))


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"{'a': 1}", b"BM is a word", b"Patent"])
def test_first_bytes_of_other_files(data):
    assert not is_image_data(data)


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (("a.v2.jpg", "a.v2.cls", "b.jpg", "b.cls"), ("a.v2.jpg", "b.jpg")),
        (("a.1.jpg", "a.1.cls", "a.2.jpg", "a.2.cls"), ("a.1.jpg", "a.2.jpg")),
        (("a.jpg", "a.cls", "a.v2.jpg", "a.v2.cls"), ("a.jpg", "a.v2.jpg")),
        (("x.y.z.jpg", "x.y.z.json", "b.jpg", "b.cls"), ("b.jpg", "x.y.z.jpg")),
        (("a.jpg", "a.cls", "a.seg.png", "b.jpg", "b.cls"), ("a.jpg", "b.jpg")),
    ],
)
def test_keys_with_dots(tmp_path, names, keys):
    texts = {"cls": b"%d", "json": b'{"label": %d}'}
    label = {stem: n for n, stem in enumerate(dict.fromkeys(n.rpartition(".")[0] for n in names))}
    members = []
    for name in names:
        stem, _, suffix = name.rpartition(".")
        members.append((name, texts[suffix] % label[stem] if suffix in texts else JPEG))
    shard(tmp_path / "x.tar", *members)
    assert [e.key for e in read(tmp_path).splits["train"]] == [f"x/{key}" for key in keys]


@pytest.mark.parametrize("names", [("a.b.jpg", "a.cls"), ("a.b.jpg", "a.c.cls")])
def test_keys_with_dots_that_do_not_fit(tmp_path, names):
    members = [(name, b"0" if name.endswith("cls") else JPEG) for name in names]
    shard(tmp_path / "x.tar", *pair("ok"), *members)
    with pytest.raises(SourceError, match="must have"):
        read(tmp_path)


# Folders of systems.
SYSTEM = (
    "@eaDir", "#recycle", "lost+found", "$RECYCLE.BIN", "System Volume Information", "@Recycle",
    "__MACOSX", ".Trashes", "__pycache__", ".ipynb_checkpoints", "#snapshot", "RECYCLER",
)  # fmt: skip


@pytest.mark.parametrize("name", SYSTEM)
def test_folders_of_systems_are_ignored(tmp_path, name):
    lay(tmp_path / "set", f"{{train,val}}/{{cat,dog}}/{{1.jpg,{name}/1.jpg}}", f"{name}/cat/1.jpg")
    lay(tmp_path / "set", f"train/{name}/")
    index = read(tmp_path / "set")
    assert index.classes == ("cat", "dog")
    assert counts(index) == {"train": 2, "val": 2}
    assert index.notes == ()


@pytest.mark.parametrize("name", ["recycling", "lost and found", "@home", "#1", "system", "$"])
def test_neighbours_of_folders_of_systems(tmp_path, name):
    assert not is_system(name)
    assert read(lay(tmp_path / "set", "cat/1.jpg", f"{name}/1.jpg")).classes == tuple(
        sorted(("cat", name))
    )


# Names of classes.
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def test_forms_of_unicode_are_one_class(tmp_path):
    lay(tmp_path / "set", f"train/{{{NFC},dog}}/1.jpg", f"val/{{{NFD},dog}}/1.jpg")
    lay(tmp_path / "set", f"train/{NFD}/2.jpg")
    index = read(tmp_path / "set")
    assert index.classes == (NFC, "dog")
    assert counts(index) == {"train": 3, "val": 2}
    options = lowres.BuildOptions(size=4, classes=(NFD, "dog"))
    assert lowres.build(tmp_path / "set", tmp_path / "store", options).classes == (NFC, "dog")


@pytest.mark.parametrize(
    ("one", "other"), [("Cat", "cat"), ("cat", "cat "), ("a b", "a  b"), ("cat", "cat\u200b")]
)
def test_names_that_look_alike_are_refused(tmp_path, one, other):
    lay(tmp_path / "set", f"train/{{{one},dog}}/1.jpg", f"val/{{{other},dog}}/1.jpg")
    with pytest.raises(SourceError) as error:
        read(tmp_path / "set")
    assert f"{one!a} in" in str(error.value)
    assert f"{other!a} in" in str(error.value)


@pytest.mark.parametrize("paths", ["{1,01,2}/1.jpg", "train/{1,2}/1.jpg val/{01,02}/1.jpg"])
def test_equal_numbers_are_refused(tmp_path, paths):
    with pytest.raises(SourceError, match=r"look alike: '0\d' in (train|val) and '\d' in train"):
        read(lay(tmp_path, *paths.split()))


def test_letters_of_both_cases_are_classes(tmp_path):
    assert read(lay(tmp_path / "set", "{train,val}/{A,a,b}/1.jpg")).classes == ("A", "a", "b")


# Numbers as classes.
def test_one_order_of_classes():
    assert class_order({"10", "9", "100"}) == ["9", "10", "100"]
    assert class_order({"010", "9", "1"}) == ["1", "9", "010"]
    assert class_order({"10", "9", "x"}) == ["10", "9", "x"]
    assert class_order({"n02", "n01"}) == ["n01", "n02"]


@pytest.mark.parametrize(
    "classes",
    [
        tuple(map(str, range(12))),
        ("T-shirt", "Ankle boot", "Coat"),
        ("10", "9", "x"),
        ("b", "A", "a"),
        ("005", "12", "7"),
    ],
)
def test_labels_survive_an_export_as_folder(tmp_path, classes):
    for label, name in enumerate(classes):
        for number in range(2):
            image = np.full((8, 8, 3), 10 * label + number, np.uint8)
            path = tmp_path / "set" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(image, "PNG"))
    (tmp_path / "set" / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    lowres.build(tmp_path / "set", tmp_path / "one", lowres.BuildOptions(size=8))
    first = lowres.open_store(tmp_path / "one")
    assert first.classes == classes
    lowres.export(first, tmp_path / "folder", "8-box")
    noted = any("classes.txt has the store's order" in n for n in notes(first, ["train"], "folder"))
    assert noted == (list(classes) != sorted(classes))
    lowres.build(tmp_path / "folder", tmp_path / "two", lowres.BuildOptions(size=8))
    second = lowres.open_store(tmp_path / "two")
    for store in (first, second):
        levels = store.images("train", "8-box")[:, 0, 0, 0]
        assert (levels // 10 == store.labels("train")).all()


def test_a_list_of_other_classes_is_no_order(tmp_path):
    lay(tmp_path / "set", "{b,a}/1.jpg", "classes.txt")
    (tmp_path / "set" / "classes.txt").write_text("b\na\nc\n")
    assert read(tmp_path / "set").classes == ("a", "b")


def test_keys_with_folders_stay_apart_in_an_export(tmp_path):
    lay(tmp_path / "set", "a/{x/1,x_1,x/1.b}.jpg", "a/x_1.png", "b/1.jpg")
    lowres.build(tmp_path / "set", tmp_path / "store", lowres.BuildOptions(size=4))
    lowres.export(lowres.open_store(tmp_path / "store"), tmp_path / "out", "4-box")
    assert len(list((tmp_path / "out" / "train" / "a").glob("*.png"))) == 4
    assert counts(read(tmp_path / "out")) == {"train": 5}


# Forms with messages.
def test_tiny_imagenet_sorted_in_part(tmp_path):
    lay(tmp_path, "train/{n01,n02}/images/0.JPEG", "val/n01/val_0.JPEG", "val/images/val_1.JPEG")
    listed = tmp_path / "val" / "val_annotations.txt"
    listed.write_text("val_0.JPEG\tn01\t0\nval_1.JPEG\tn02\t0\n")
    index = read(tmp_path)
    assert {e.key: e.label for e in index.splits["val"]} == {
        "n01/val_0.JPEG": 0,
        "images/val_1.JPEG": 1,
    }
    listed.write_text("val_0.JPEG\tn02\t0\nval_1.JPEG\tn02\t0\n")
    with pytest.raises(SourceError, match=r"val_0\.JPEG must be in the class n02"):
        read(tmp_path)


def test_tiny_imagenet_sorted_whole(tmp_path):
    lay(tmp_path, "train/{n01,n02}/images/0.JPEG", "val/n01/val_0.JPEG", "val/images/")
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn01\t0\n")
    assert counts(read(tmp_path)) == {"train": 2, "val": 1}


def idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lengths = b"".join(struct.pack(">I", length) for length in array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes())


def test_emnist_and_its_labels_from_1(tmp_path):
    for split in ("train", "test"):
        for name in ("emnist-letters", "emnist-digits"):
            start = f"a/{name}-{split}" if name == "emnist-letters" else f"b/{name}-{split}"
            first = int(name == "emnist-letters")
            idx(tmp_path / f"{start}-images-idx3-ubyte", np.zeros((3, 8, 8), np.uint8))
            idx(tmp_path / f"{start}-labels-idx1-ubyte", np.arange(3, dtype=np.uint8) + first)
    letters = read(tmp_path / "a")
    assert letters.classes == ("1", "2", "3")
    assert [e.label for e in letters.splits["test"]] == [0, 1, 2]
    assert letters.notes == ("EMNIST's images lie on their side, as in its files",)
    assert read(tmp_path / "b").classes[:3] == ("0", "1", "2")
    for path in (tmp_path / "a").iterdir():
        path.rename(tmp_path / "b" / path.name)
    with pytest.raises(SourceError, match="has 2 sets, emnist-digits- and emnist-letters-"):
        read(tmp_path / "b")


def batches(folder: Path, first: int, last: int) -> Path:
    folder.mkdir()
    labels = np.arange(first, last + 1)
    for name in (*(f"train_data_batch_{n}" for n in range(1, 11)), "val_data"):
        data = np.zeros((len(labels), 12), np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": labels.tolist()}))
    return folder


def test_batches_that_count_from_0(tmp_path):
    zero = batches(tmp_path / "zero", 0, 2)
    with pytest.raises(SourceError, match=r"counts from 0.*classes\.txt into .*zero"):
        read(zero)
    (zero / "classes.txt").write_text("x\ny\nz\n")
    index = read(zero)
    assert index.classes == ("x", "y", "z")
    assert {e.label for e in index.splits["train"]} == {0, 1, 2}
    assert any("do not show whether" in n for n in read(batches(tmp_path / "part", 1, 999)).notes)
    whole = read(batches(tmp_path / "whole", 1, 1000))
    assert whole.notes == ()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("train_32x32.mat", "MATLAB"),
        ("stl10_binary/train_X.bin", "binary records"),
        ("pathmnist.npz", "NumPy arrays"),
        ("train-00000-of-00002", "TFRecord"),
        ("set.tfrecord-00000-of-00002", "TFRecord"),
        ("train.h5", "HDF5"),
        ("data.mdb", "LMDB"),
        ("train/cat.zip", "unpack the archives such as cat.zip"),
    ],
)
def test_forms_of_sets_that_are_not_read_are_named(tmp_path, name, form):
    path = tmp_path / "set" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"?" * 100)
    with pytest.raises(SourceError, match=rf"holds no labelled images: .*{form}"):
        read(tmp_path / "set")
    if path.suffix in (".mat", ".h5"):
        with pytest.raises(SourceError, match=rf"cannot be read: .* is {form}.*Parquet"):
            read(path)


def test_sets_saved_to_disk_say_how_to_convert_them(tmp_path):
    for folder in (tmp_path / "set", tmp_path / "set" / "train"):
        lay(folder, "state.json", "dataset_info.json").joinpath("data-0.arrow").write_bytes(b"")
    with pytest.raises(SourceError, match=r"save_to_disk.*d\.load_from_disk\(.*\.to_parquet"):
        read(tmp_path / "set")
    (tmp_path / "set" / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))
    with pytest.raises(SourceError, match=r"for n, s in d\.load_from_disk\("):
        read(tmp_path / "set")


@pytest.mark.parametrize("below", ["", "split=train/"])
def test_labels_in_names_of_folders_of_tables(tmp_path, below):
    for name in ("cat", "dog"):
        table(tmp_path / "set" / f"{below}label={name}" / "0.parquet")
    with pytest.raises(SourceError, match=r"its label in the name of its folder, label=cat.*hive"):
        read(tmp_path / "set")
