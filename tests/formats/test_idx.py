"""MNIST's and Fashion-MNIST's idx files: what is read, and what is refused."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

import lowres
from lowres.errors import SourceError
from lowres.formats import open_source
from lowres.formats.containers import streams
from lowres.formats.idx import FASHION, IdxSource
from lowres.store.export import export
from lowres.testing import SourceContract

Arrays = dict[str, np.ndarray]


def drawn(side: int = 5) -> Arrays:
    chance = np.random.default_rng(3)
    return {
        "train-images": chance.integers(0, 256, (20, side, side), np.uint8),
        "train-labels": np.arange(20, dtype=np.uint8) % 10,
        "t10k-images": chance.integers(0, 256, (4, side, side), np.uint8),
        "t10k-labels": np.array([9, 0, 3, 3], np.uint8),
    }


def idx(array: np.ndarray) -> bytes:
    lengths = b"".join(struct.pack(">I", length) for length in array.shape)
    return bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes()


def lay(folder: Path, arrays: Arrays, *, dash: str = "-", packed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        data = idx(array)
        path = folder / f"{name}{dash}idx{array.ndim}-ubyte{'.gz' * packed}"
        path.write_bytes(gzip.compress(data) if packed else data)
    return folder


@pytest.fixture
def folder(tmp_path):
    """A folder whose path does not speak of the test's name."""
    return tmp_path / "a" / "b" / "c"


class TestIdxSource(SourceContract):
    @pytest.fixture
    def opened(self, folder):
        return open_source(lay(folder, drawn()))


@pytest.mark.parametrize("dash", ["-", "."])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["", "raw"])
def test_every_layout_is_read(folder, dash, packed, below):
    arrays = drawn()
    lay(folder / below, arrays, dash=dash, packed=packed)
    source = open_source(folder)
    assert isinstance(source, IdxSource)
    index = source.index()
    assert (index.layout, index.native_px, index.is_variant) == ("MNIST", 5, False)
    assert index.classes == tuple("0123456789")
    assert index.notes == ()
    for split, prefix in (("train", "train"), ("test", "t10k")):
        entries = index.splits[split]
        assert [entry.label for entry in entries] == arrays[f"{prefix}-labels"].tolist()
        for entry, grey in zip(entries, arrays[f"{prefix}-images"], strict=True):
            image = source.read(entry)
            assert image.shape == (5, 5, 3)
            assert all((image[..., channel] == grey).all() for channel in range(3))
    assert index.splits["test"][3].key == "000003"


def test_fashion(folder):
    lay(folder / "FashionMNIST" / "raw", drawn(), packed=True)
    lay(folder / "FashionMNIST" / "raw", drawn())
    source = open_source(folder / "FashionMNIST")
    index = source.index()
    assert index.classes == FASHION
    assert index.layout == "Fashion-MNIST"
    assert index.notes == ("the class T-shirt/top is called T-shirt",)
    lowres.build(folder / "FashionMNIST", folder / "store")
    store = lowres.open_store(folder / "store")
    export(store, folder / "out", "5-box")
    written = {child.name for child in (folder / "out" / "train").iterdir()}
    assert written == set(FASHION)


def test_more_classes_and_no_test(folder):
    arrays = {name: array for name, array in drawn().items() if "train" in name}
    arrays["train-labels"][3] = 255
    index = IdxSource(lay(folder, arrays)).index()
    assert index.classes == tuple(map(str, range(256)))
    assert index.notes == ("the set has no split test: its t10k files are missing",)
    with pytest.raises(SourceError, match="has the label 255; Fashion-MNIST's are 0 to 9"):
        IdxSource(lay(folder / "fashion", arrays)).index()


def test_recognised_by_names(folder):
    folder.mkdir(parents=True)
    assert not IdxSource.recognises(folder)
    (folder / "train-images-idx3-ubyte").mkdir()
    assert not IdxSource.recognises(folder)
    (folder / "raw").mkdir()
    (folder / "raw" / "t10k-labels.idx1-ubyte.gz").write_bytes(b"")
    assert IdxSource.recognises(folder)
    assert not IdxSource.recognises(folder / "raw" / "t10k-labels.idx1-ubyte.gz")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train-images", "c: train-images-idx3-ubyte is missing"),
        ("train-labels", "c: train-labels-idx1-ubyte is missing"),
        ("t10k-labels", "c: t10k-labels-idx1-ubyte is missing"),
    ],
)
def test_missing_files(folder, name, words):
    arrays = drawn()
    del arrays[name]
    with pytest.raises(SourceError, match=words):
        IdxSource(lay(folder, arrays)).index()


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("train-images", np.zeros((20, 5, 6), np.uint8), "be squares, were 6 x 5 px"),
        ("train-images", np.zeros((20, 0, 0), np.uint8), "be squares, were 0 x 0 px"),
        ("train-images", np.zeros((1, 1025, 1025), np.uint8), "be squares, were 1025 x 1025"),
        ("train-images", np.zeros((19, 5, 5), np.uint8), "19 images, and .*train-labels.* 20"),
        ("t10k-images", np.zeros((4, 6, 6), np.uint8), "has images of 5 and 6 px"),
    ],
)
def test_wrong_shapes(folder, name, array, words):
    with pytest.raises(SourceError, match=words):
        IdxSource(lay(folder, {**drawn(), name: array})).index()


@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files(folder, packed):
    lay(folder, drawn(), packed=packed)
    path = folder / f"train-images-idx3-ubyte{'.gz' * packed}"
    whole = idx(drawn()["train-images"])
    absurd = whole[:4] + b"\xff" * 12 + whole[16:]
    wrongs = {
        whole[:-1]: "cut short: it ends 1 bytes early",
        whole[:9]: "cut short",
        b"": "cut short",
        absurd: "cut short",
        whole + b"x": "has bytes behind its 20 items",
        idx(drawn()["train-labels"]): r"3 axes of uint8 \(0 0 8 3\), was 0 0 8 1",
    }
    for data, words in wrongs.items():
        path.write_bytes(gzip.compress(data) if packed else data)
        with pytest.raises(SourceError, match=rf"train-images-idx3-ubyte.*{words}"):
            IdxSource(folder).index()


def test_damaged_gzip(folder):
    path = lay(folder, drawn(), packed=True) / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    checksum = whole[:-8] + b"\0\0\0\0" + whole[-4:]
    for data in (whole[:-30], whole[:-4], checksum, b"no gzip file", idx(drawn()["train-images"])):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=r"train-images-idx3-ubyte\.gz is (damaged|cut)"):
            IdxSource(folder).index()


def test_gzip_that_unpacks_to_gigabytes_is_refused_early(folder, monkeypatch):
    monkeypatch.setattr(streams, "UNPACKED_FREELY", 1 << 20)
    path = lay(folder, drawn(), packed=True) / "train-images-idx3-ubyte.gz"
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", 1 << 22, 28, 28)
    path.write_bytes(gzip.compress(header + bytes(1 << 24)))
    with pytest.raises(SourceError, match="unpacks to more than 50 times its size"):
        IdxSource(folder).index()
