"""Sets that are almost right: each is told, none is taken for something else in silence."""

import io
import itertools
import json
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import lowres
from images import draw_image, encoded
from lowres import imagenet as labels
from lowres.errors import SourceError
from lowres.formats import open_source
from lowres.formats.indexing import missing_number
from lowres.store.options import class_names


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("stems", "missing"),
    [
        (["a-00", "a-01", "a-03"], "a-02"),
        (["a_0", "a_1", "a_3"], "a_2"),
        (["a_9", "a_10"], None),
        (["0001", "0002"], None),
        (["a-002", "a-003"], "a-000"),
        (["cifar100", "cifar10"], None),
        (["year-2019", "year-2021"], None),
        (["a", "b"], None),
    ],
)
def test_gaps_in_numbers(stems, missing):
    assert missing_number(stems) == missing


def test_a_half_unpacked_train_is_refused(tmp_path):
    jpeg = encoded(draw_image(1, 20, 20))
    write(tmp_path / "train" / "n01440764" / "1.JPEG", jpeg)
    with tarfile.open(tmp_path / "train" / "n01443537.tar", "w") as archive:
        info = tarfile.TarInfo("n01443537_1.JPEG")
        info.size = len(jpeg)
        archive.addfile(info, io.BytesIO(jpeg))
    with pytest.raises(
        SourceError, match=r"class tars .n01443537\.tar. and class folders .n014407"
    ):
        open_source(tmp_path).index()


def test_folders_called_like_the_tars_are_splits(tmp_path):
    for split, wnid in itertools.product(("train", "val"), ("n01440764", "n01443537")):
        path = tmp_path / f"ILSVRC2012_img_{split}" / wnid / "1.JPEG"
        write(path, encoded(draw_image(1, 20, 20)))
    assert list(open_source(tmp_path).index().splits) == ["train", "val"]


def npz(path: Path, labels_header: bytes) -> None:
    """Write a batch whose labels are a header and no more."""
    data = io.BytesIO()
    np.save(data, np.zeros((2, 12), np.uint8))
    padded = labels_header.ljust(117) + b"\n"
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", data.getvalue())
        archive.writestr("labels.npy", member)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<i8', 'fortran_order': False, 'shape': (2000000000, 0)}",
        b"{'descr': '|V0', 'fortran_order': False, 'shape': (2000000000,)}",
        b"{'descr':__imp",
    ],
)
def test_labels_that_are_nothing_or_a_great_many(tmp_path, header):
    npz(tmp_path / "val_data.npz", header)
    with pytest.raises(SourceError, match=r"val_data\.npz"):
        open_source(tmp_path / "val_data.npz").index()


def test_an_edm_zip_of_two_sizes_is_not_resampled_in_silence(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for number, side in enumerate((16, 24)):
            archive.writestr(f"0/{number}.png", encoded(draw_image(number, side, side), "PNG"))
        pairs = [["0/0.png", 0], ["0/1.png", 1]]
        archive.writestr("dataset.json", json.dumps({"labels": pairs}))
    with pytest.raises(SourceError, match="has 24 x 24 pixels, and the set 16 x 16"):
        lowres.build(tmp_path / "set.zip", tmp_path / "store")


def test_a_range_of_sorted_names_is_a_range_of_labels():
    assert labels.expanded(["sorted:0-2"], ("2", "0", "10", "1")) == ("2", "0", "10")


def test_classes_from_files_and_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.txt").write_text("ant\n# no class\nbee\n")
    (tmp_path / "cat").write_text("a file that is called like a class")
    assert class_names(["one.txt", "cat"]) == ("ant", "bee", "cat")
