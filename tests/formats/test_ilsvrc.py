"""ILSVRC2012 in every form that people have it: the same rows from each, and what is refused."""

import gzip
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import lowres
from images import draw_image, encoded
from lowres.errors import SourceError
from lowres.formats import open_source
from lowres.formats.ilsvrc import IlsvrcSource, small_imagenet
from lowres.formats.source import Index
from lowres.imagenet import devkit_wnids
from lowres.testing import SourceContract

IDS = (490, 361, 490, 171)
"""Devkit ids of the synthetic validation images; the real list begins with these numbers."""

WNIDS = sorted({devkit_wnids()[devkit_id - 1] for devkit_id in IDS})
TRAIN = {
    f"{wnid}/{wnid}_{number}.JPEG": encoded(draw_image(10 * label + number, 24, 20))
    for label, wnid in enumerate(WNIDS)
    for number in (3, 10)
}
VAL = {
    f"ILSVRC2012_val_{number:08}.JPEG": encoded(draw_image(90 + number, 24, 20))
    for number in range(1, len(IDS) + 1)
}
VAL_KEYS = sorted(
    f"{devkit_wnids()[devkit_id - 1]}/{name}" for devkit_id, name in zip(IDS, VAL, strict=True)
)
TRUTH = "".join(f"{devkit_id}\n" for devkit_id in IDS)
TRUTH_NAME = "ILSVRC2012_validation_ground_truth.txt"
TRUTH_PATH = f"ILSVRC2012_devkit_t12/data/{TRUTH_NAME}"


def packed(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def class_tars() -> dict[str, bytes]:
    return {
        f"{wnid}.tar": packed({k.partition("/")[2]: v for k, v in TRAIN.items() if wnid in k})
        for wnid in WNIDS
    }


def write(root: Path, contents: dict[str, bytes]) -> Path:
    for name, data in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def below(folder: str, contents: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": data for name, data in contents.items()}


TRAIN_TAR = {"ILSVRC2012_img_train.tar": packed(class_tars())}
VAL_TAR = {"ILSVRC2012_img_val.tar": packed(VAL)}
DEVKIT = {"ILSVRC2012_devkit_t12.tar.gz": gzip.compress(packed({TRUTH_PATH: TRUTH.encode()}))}
SOLUTION = {
    "LOC_val_solution.csv": b"ImageId,PredictionString\n"
    + "".join(
        f"{Path(key).stem},{key.partition('/')[0]} 1 2 3 4 n00000000 5 6 7 8\n"
        for key in reversed(VAL_KEYS)
    ).encode()
}
FOLDERS = {
    **below("train", TRAIN),
    **{f"val/{key}": VAL[key.partition("/")[2]] for key in VAL_KEYS},
}
FLAT = {**below("train", TRAIN), **below("val", VAL)}
KAGGLE = below("ILSVRC/Data/CLS-LOC", {**FLAT, "test/ILSVRC2012_test_00000001.JPEG": b""})


@pytest.fixture
def distributed(tmp_path) -> Path:
    return write(tmp_path / "distributed", TRAIN_TAR | VAL_TAR | DEVKIT)


def index(path: Path) -> Index:
    source = open_source(path)
    assert source.kind == "ilsvrc"
    return source.index()


class TestIlsvrcSource(SourceContract):
    @pytest.fixture
    def opened(self, distributed):
        return open_source(distributed)


class TestFlatIlsvrcSource(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path):
        return open_source(write(tmp_path, FLAT | DEVKIT))


FORMS = {
    "tars": (TRAIN_TAR | VAL_TAR | DEVKIT, ""),
    "tars, devkit unpacked": (TRAIN_TAR | VAL_TAR | {TRUTH_PATH: TRUTH.encode()}, ""),
    "class tars in train": (below("train", class_tars()) | VAL_TAR | DEVKIT, ""),
    "class tars": (class_tars() | VAL_TAR | DEVKIT, ""),
    "class folders, val tar": (below("train", TRAIN) | VAL_TAR | DEVKIT, ""),
    "train tar, class folders": (
        TRAIN_TAR | {name: data for name, data in FOLDERS.items() if name.startswith("val")},
        "",
    ),
    "flat val": (FLAT | DEVKIT, ""),
    "flat val, devkit unpacked": (FLAT | {TRUTH_PATH: TRUTH.encode()}, ""),
    "flat val, list": (FLAT | {TRUTH_NAME: TRUTH.encode()}, ""),
    "flat val, devkit above": (below("set", FLAT) | DEVKIT, "set"),
    "Kaggle": (KAGGLE | SOLUTION, ""),
    "Kaggle, ILSVRC": (KAGGLE | SOLUTION, "ILSVRC"),
    "Kaggle, CLS-LOC": (KAGGLE | SOLUTION, "ILSVRC/Data/CLS-LOC"),
    "tars beside what they were unpacked to": (TRAIN_TAR | VAL_TAR | DEVKIT | FOLDERS, ""),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_rows_of_the_unpacked_folders(tmp_path, form):
    folders = open_source(write(tmp_path / "folders", FOLDERS))
    assert folders.kind == "folder"
    expected = folders.index()
    contents, path = FORMS[form]
    source = IlsvrcSource(write(tmp_path / "form", contents) / path)
    found = index(source.path)
    assert found.classes == expected.classes == tuple(WNIDS)
    assert found.digest() == expected.digest()
    assert [entry.key for entry in found.splits["val"]] == VAL_KEYS
    for split, entries in found.splits.items():
        for ours, theirs in zip(entries, expected.splits[split], strict=True):
            assert (ours.key, ours.label) == (theirs.key, theirs.label)
            assert source.read(ours) == folders.read(theirs)
            assert ours.key.rpartition("/")[2] in source.describe(ours)


def test_layout_and_notes(distributed, tmp_path):
    write(
        distributed, {"ILSVRC2012_img_test_v10102019.tar": b"", "ILSVRC2012_img_train_t3.tar": b""}
    )
    found = index(distributed)
    assert found.layout == "ILSVRC2012, train as tar of class tars, val as tar"
    assert set(found.notes) == {
        "left out ILSVRC2012_img_test_v10102019.tar: it has no labels here",
        "left out ILSVRC2012_img_train_t3.tar",
    }
    notes = index(write(tmp_path / "both", TRAIN_TAR | FOLDERS)).notes
    assert "left out train: lowres read the tar beside it" in "; ".join(notes)
    notes = index(write(tmp_path / "kaggle", KAGGLE | SOLUTION)).notes
    assert notes == ("left out test: it has no labels here",)


def test_the_train_tar_alone(distributed):
    found = index(distributed / "ILSVRC2012_img_train.tar")
    assert list(found.splits) == ["train"]
    assert "left out ILSVRC2012_img_val.tar" in found.notes[0]
    assert "build from the folder to read both tars" in found.notes[0]
    (distributed / "ILSVRC2012_img_train.tar").rename(distributed / "mine.tar")
    assert list(index(distributed / "mine.tar").splits) == ["train"]


def test_val_alone(distributed, tmp_path):
    assert list(index(distributed / "ILSVRC2012_img_val.tar").splits) == ["val"]
    (distributed / "ILSVRC2012_img_train.tar").unlink()
    assert list(index(distributed).splits) == ["val"]
    manifest = lowres.build(distributed, tmp_path / "store", lowres.BuildOptions(size=(4,)))
    assert manifest.splits == {"val": 4}


def test_a_flat_val_without_labels_is_noted(tmp_path):
    found = index(write(tmp_path, FLAT))
    assert list(found.splits) == ["train"]
    assert "left out val: nothing labels its 4 images" in found.notes[0]
    assert "LOC_val_solution.csv) beside the folder" in found.notes[0]
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(SourceError, match=r"holds no labelled images.*nothing labels its 4"):
        index(tmp_path)


def test_other_classes_and_odd_members(tmp_path):
    inner = {"n99999999_1.JPEG": b"1", "notes.txt": b"", "._n99999999_1.JPEG": b""}
    other = packed({"n99999998_1.JPEG": b"1"})
    outer = packed({"./n99999999.tar": packed(inner), "n99999998.tar": other, "README": b""})
    found = index(write(tmp_path, {"ILSVRC2012_img_train.tar": outer} | VAL_TAR | DEVKIT))
    assert found.classes == ("n99999998", "n99999999")
    assert [entry.key for entry in found.splits["train"]] == [
        "n99999998/n99999998_1.JPEG",
        "n99999999/n99999999_1.JPEG",
    ]
    assert "left out val: train has none of its classes" in "; ".join(found.notes)
    assert "left out 3 files that are not images: ILSVRC2012_img_train.tar: README first" in (
        found.notes
    )


def test_classes_that_train_lacks_are_noted(tmp_path):
    some = dict(list(class_tars().items())[1:])
    found = index(write(tmp_path, some | VAL_TAR | DEVKIT))
    assert found.classes == tuple(WNIDS)
    assert f"train has no images of 1 of the 3 classes, {WNIDS[0]} first" in found.notes


def truth(text: str) -> dict[str, bytes]:
    return TRAIN_TAR | VAL_TAR | {TRUTH_NAME: text.encode()}


def solution(text: str) -> dict[str, bytes]:
    return FLAT | {"LOC_val_solution.csv": text.encode()}


ONE = packed({"n00000001_1.JPEG": b"1"})
REFUSED = {
    "no devkit": (
        TRAIN_TAR | VAL_TAR,
        r"img_val\.tar needs the labels.*or build from ILSVRC2012_img",
    ),
    "no devkit, val alone": (VAL_TAR, r"put ILSVRC2012_devkit_t12\.tar\.gz .* beside it$"),
    "id 0": (truth("490\n0\n1\n1\n"), r"line 2 must be a devkit id from 1 to 1000, was '0'"),
    "id 1001": (truth("490\n1001\n1\n1\n"), "line 2 must be a devkit id"),
    "id x": (truth("490\n1\nn02\n1\n"), "line 3 must be a devkit id from 1 to 1000, was 'n02'"),
    "blank line": (truth("490\n\n1\n1\n1\n"), "line 2 must be"),
    "no lines": (truth("\n"), "ground_truth.txt is empty"),
    "too few": (truth("1\n2\n3\n"), r"val_00000004\.JPEG has no label.*labels 3 images"),
    "too many": (truth("1\n2\n3\n4\n5\n"), r"labels 5 images, and .* has 4: .*val_00000005 is"),
    "gap": (
        FLAT | {"ILSVRC2012_img_val.tar": packed(dict(list(VAL.items())[1:]))} | DEVKIT,
        "ILSVRC2012_val_00000001 is missing first",
    ),
    "another name": (
        TRAIN_TAR | {"ILSVRC2012_img_val.tar": packed(VAL | {"other.JPEG": b"1"})} | DEVKIT,
        r"other\.JPEG has no label",
    ),
    "twice": (
        TRAIN_TAR
        | {"ILSVRC2012_img_val.tar": packed(VAL | {f"./{next(iter(VAL))}": b""})}
        | DEVKIT,
        r"val_00000001\.JPEG has no label of its own",
    ),
    "deep val": (
        {"ILSVRC2012_img_val.tar": packed(below("val", VAL))} | DEVKIT,
        r"val/ILSVRC2012_val_00000001\.JPEG lies in a folder",
    ),
    "deep class": (
        {"n00000001.tar": packed({"n00000001/1.JPEG": b"1"})},
        r"n00000001\.tar: n00000001/1\.JPEG lies in a folder",
    ),
    "odd class": (
        {"ILSVRC2012_img_train.tar": packed({"n00000001.tar": ONE, "n0002.tar": ONE})},
        r"img_train\.tar: n0002\.tar must be named nNNNNNNNN\.tar",
    ),
    "class twice": (
        {"ILSVRC2012_img_train.tar": packed({"n00000001.tar": ONE, "./n00000001.tar": ONE})},
        r"n00000001\.tar comes twice",
    ),
    "image twice": (
        {"n00000001.tar": packed({"a.JPEG": b"1", "./a.JPEG": b"2"})},
        "train has two images named n00000001/a.JPEG",
    ),
    "empty class": (
        {"ILSVRC2012_img_train.tar": packed({"n00000001.tar": ONE, "n00000002.tar": packed({})})},
        r"img_train\.tar: n00000002\.tar holds no images",
    ),
    "cut inner": (
        {"ILSVRC2012_img_train.tar": packed({"n00000001.tar": ONE[:1024]})},
        r"img_train\.tar: n00000001\.tar is cut short",
    ),
    "devkit not gzipped": (
        TRAIN_TAR | VAL_TAR | {"ILSVRC2012_devkit_t12.tar.gz": packed({TRUTH_PATH: b"1\n"})},
        "devkit_t12.tar.gz is damaged or not gzipped",
    ),
    "devkit cut": (
        TRAIN_TAR
        | VAL_TAR
        | {"ILSVRC2012_devkit_t12.tar.gz": DEVKIT["ILSVRC2012_devkit_t12.tar.gz"][:-30]},
        "devkit_t12.tar.gz is damaged",
    ),
    "devkit without": (
        TRAIN_TAR | VAL_TAR | {"ILSVRC2012_devkit_t12.tar.gz": gzip.compress(packed({"a": b""}))},
        "has no data/ILSVRC2012_validation_ground_truth.txt",
    ),
    "csv head": (solution("a,b\n"), "must begin with ImageId,PredictionString"),
    "csv row": (
        solution("ImageId,PredictionString\nILSVRC2012_val_00000001,cat 1 2 3 4\n"),
        "line 2 must be a new ImageId and a WNID with boxes, was 'ILSVRC2012_val_00000001,cat",
    ),
    "csv twice": (
        solution("ImageId,PredictionString\na,n01440764\na,n01440764\n"),
        "line 3 must be",
    ),
    "csv NUL": (solution("ImageId,PredictionString\na\0,n00000001\n"), r"JPEG has no label|line 2"),
    "two val": (FLAT | TRAIN_TAR | below("valid", VAL), "two folders for the split val"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_refusals(tmp_path, form):
    contents, words = REFUSED[form]
    with pytest.raises(SourceError, match=words):
        open_source(write(tmp_path, contents)).index()


def test_a_test_tar(tmp_path):
    write(tmp_path, {"ILSVRC2012_img_test.tar": packed(VAL)})
    with pytest.raises(SourceError, match=r"img_test\.tar has no labels"):
        open_source(tmp_path / "ILSVRC2012_img_test.tar").index()


def test_ordinary_folders_stay_folders(source, tmp_path):
    assert open_source(source).kind == "folder"
    assert open_source(write(tmp_path / "a", below("train", TRAIN))).kind == "folder"
    assert open_source(write(tmp_path / "b", TRAIN)).kind == "folder"


@pytest.mark.parametrize(
    ("contents", "path"),
    [
        ({"train_32x32/0000001.png": b"", "valid_32x32/00001.png": b""}, ""),
        ({"valid_64x64/00001.png": b""}, ""),
        ({"train_32x32/0000001.png": b""}, "train_32x32"),
        ({"train_32x32/train_32x32/0000001.png": b""}, ""),
        ({"train_64x64.tar": packed({"train_64x64/0000001.png": b""})}, ""),
        ({"valid_32x32.tar": packed({"valid_32x32/0000001.png": b""})}, "valid_32x32.tar"),
        ({"valid_32x32.tar": b""}, ""),
    ],
)
def test_the_small_imagenet_of_pixelrnn_is_refused(tmp_path, contents, path):
    write(tmp_path, contents)
    with pytest.raises(SourceError, match=r"PixelRNN paper.*1,281,149.*49,999.*must not be compar"):
        open_source(tmp_path / path)


def test_others_are_not_the_small_imagenet(tmp_path, source):
    shards = packed({"1.png": b"1", "1.cls": b"0"})
    write(tmp_path, {"train_32x32/cat/1.png": b"", "a/train_32x32.tar": shards})
    assert small_imagenet(tmp_path) is None
    assert small_imagenet(tmp_path / "a") is None
    assert small_imagenet(source) is None


def test_stores_are_equal_and_a_changed_tar_is_noticed(distributed, tmp_path):
    options = lowres.BuildOptions(size=(8,))
    from_tars = lowres.build(distributed, tmp_path / "tars", options)
    unpacked = lowres.build(write(tmp_path / "unpacked", FOLDERS), tmp_path / "folders", options)
    assert from_tars.contents == unpacked.contents
    assert from_tars.files == unpacked.files
    source = open_source(distributed)
    entry = source.index().splits["val"][-1]
    path = distributed / "ILSVRC2012_img_val.tar"
    path.write_bytes(path.read_bytes()[: entry.offset + 5])
    with pytest.raises(SourceError, match=rf"img_val\.tar is cut short: {entry.key} must have"):
        source.read(entry)


def test_real_images_from_tar_and_from_folder(shared, tmp_path):
    images: dict[str, dict[str, bytes]] = {}
    with tarfile.open(shared / "imagenet-1-per-class.tar") as archive:
        for member in archive:
            if member.isfile() and len(images) < 60:
                wnid, name = Path(member.name).parts[-2:]
                file = archive.extractfile(member)
                images[wnid] = {name: file.read()}
    folder = tmp_path / "folder"
    for wnid, files in images.items():
        write(folder, below(wnid, files))
    outer = packed({f"{wnid}.tar": packed(files) for wnid, files in reversed(images.items())})
    tar = write(tmp_path / "tar", {"ILSVRC2012_img_train.tar": outer})
    options = lowres.BuildOptions(size=(16,))
    one = lowres.build(folder, tmp_path / "from folder", options)
    other = lowres.build(tar, tmp_path / "from tar", options)
    assert one.contents == other.contents
    stores = lowres.open_store(tmp_path / "from folder"), lowres.open_store(tmp_path / "from tar")
    assert stores[0].keys("train") == stores[1].keys("train")
    assert len(stores[0].keys("train")) == 60
    assert np.array_equal(stores[0].labels("train"), stores[1].labels("train"))
    assert np.array_equal(*(store.images("train", "16-box") for store in stores))
    assert stores[0].classes == stores[1].classes == tuple(sorted(images))


@pytest.mark.parametrize("odd", ["new\nline.JPEG", "\udcff.JPEG"])
def test_one_odd_name_can_be_skipped_in_every_form(tmp_path, odd):
    tars = class_tars()
    first = min(tars)
    name = f"{first.removesuffix('.tar')}_3.JPEG"
    inner = {name: TRAIN[f"{first.removesuffix('.tar')}/{name}"], odd: b"x"}
    contents = {
        "tar of tars/ILSVRC2012_img_train.tar": packed(tars | {first: packed(inner)}),
        f"class tars/{first}": packed(inner),
        "val/ILSVRC2012_img_val.tar": packed(VAL | {odd: b"x"}),
        f"val/{TRUTH_NAME}": TRUTH.encode(),
        "flat/" + TRUTH_NAME: TRUTH.encode(),
        **{f"flat/val/{name}": data for name, data in VAL.items()},
    }
    write(tmp_path, contents | {f"class tars/{n}": data for n, data in tars.items() if n != first})
    (tmp_path / "flat" / "val" / odd).write_bytes(b"x")
    for form in ("tar of tars", "class tars", "val", "flat"):
        source = open_source(tmp_path / form)
        assert source.kind == "ilsvrc"
        with pytest.raises(SourceError, match=r"UTF-8 in one line.* skip it: --on-error skip"):
            source.index()
        source.skips = True
        assert sum(map(len, source.index().splits.values())) in (4, 5)
        assert len(source.left_out) == 1
