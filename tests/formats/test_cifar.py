"""CIFAR-10 and CIFAR-100 in their authors' layout: pickles of Python 2, unpacked and as tar.gz."""

import gzip
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

import lowres
from lowres.errors import SourceError
from lowres.formats import open_source
from lowres.formats.cifar import CifarSource
from lowres.formats.containers import streams
from lowres.store.export import export
from lowres.testing import SourceContract

Files = dict[str, dict[str, object]]

NAMES10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
TRAIN10 = [f"data_batch_{n}" for n in range(1, 6)]


def python_2(value: object) -> bytes:
    """Pickle like cPickle of Python 2 with protocol 2: text is bytes, arrays are NumPy 1's."""
    return b"\x80\x02" + opcodes(value) + b"."


def opcodes(value: object) -> bytes:
    if isinstance(value, str):
        data = value.encode("latin-1")
        return b"U" + bytes([len(data)]) + data + b"q\x01"
    if isinstance(value, int):
        return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)
    if isinstance(value, list):
        return b"]q\x02(" + b"".join(map(opcodes, value)) + b"e"
    if isinstance(value, dict):
        items = b"".join(opcodes(key) + opcodes(each) for key, each in value.items())
        return b"}q\x03(" + items + b"u"
    assert isinstance(value, np.ndarray)
    shape = b"".join(map(opcodes, value.shape))
    return (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85U\x01b\x87R"
        b"(K\x01(" + shape + b"tcnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + struct.pack("<i", value.size) + value.tobytes() + b"tb"
    )


def batch(seed: int, labels: list[int], key: str = "labels") -> dict[str, object]:
    data = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), np.uint8)
    return {
        "batch_label": f"batch {seed}",
        key: labels,
        "data": data,
        "filenames": [f"{NAMES10[label % 10]}_s_{row:06}.png" for row, label in enumerate(labels)],
    }


def cifar_10() -> Files:
    files: Files = {name: batch(n, [9 - n, n, 9, 3]) for n, name in enumerate(TRAIN10)}
    files["test_batch"] = batch(9, [9, 8, 0, 1])
    files["batches.meta"] = {
        "num_cases_per_batch": 4,
        "label_names": list(NAMES10),
        "num_vis": 3072,
    }
    return files


def cifar_100() -> Files:
    files: Files = {
        "train": batch(1, list(range(100)), "fine_labels"),
        "test": batch(2, [99, 0], "fine_labels"),
        "meta": {
            "fine_label_names": [f"fine {n:02}" for n in range(100)],
            "coarse_label_names": ["coarse"],
        },
    }
    files["train"]["coarse_labels"] = [n % 20 for n in range(100)]
    return files


def lay(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in files.items():
        (folder / name).write_bytes(python_2(values))
    return folder


def pack(path: Path, folder: str, files: Files) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, values in [("readme.html", None), *files.items()]:
            data = python_2(values) if values else b"read me"
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def planar(image: np.ndarray) -> np.ndarray:
    return image.transpose(2, 0, 1).reshape(-1)


class TestCifarSource(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path):
        return open_source(lay(tmp_path / "cifar-10-batches-py", cifar_10()))


@pytest.mark.parametrize("form", ["folder", "above", "archive", "above archive"])
def test_cifar_10(tmp_path, form):
    files = cifar_10()
    if "archive" in form:
        path = pack(tmp_path / "x" / "cifar-10-python.tar.gz", "cifar-10-batches-py", files)
    else:
        path = lay(tmp_path / "x" / "cifar-10-batches-py", files)
    source = open_source(path.parent if "above" in form else path)
    assert isinstance(source, CifarSource)
    index = source.index()
    assert index.classes == tuple(NAMES10)
    assert index.layout == "CIFAR-10, 6 files"
    assert (index.native_px, index.is_variant, index.notes) == (32, False, ())
    assert list(index.splits) == ["train", "test"]
    rows = iter(index.splits["train"] + index.splits["test"])
    for name in [*TRAIN10, "test_batch"]:
        values = files[name]
        for row, (data, label) in enumerate(zip(values["data"], values["labels"], strict=True)):
            entry = next(rows)
            assert entry.key == f"{name}/{row:05}/{NAMES10[label]}_s_{row:06}.png"
            assert entry.label == label
            assert (planar(source.read(entry)) == data).all()
            assert source.stamp(entry)[0].isdigit()


def test_cifar_100(tmp_path):
    source = open_source(lay(tmp_path, cifar_100()))
    index = source.index()
    assert index.layout == "CIFAR-100, 2 files"
    assert index.classes[42] == "fine 42"
    assert [entry.label for entry in index.splits["train"]] == list(range(100))
    assert index.notes == ("left out the coarse labels of CIFAR-100",)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_python_3(tmp_path, protocol):
    lay(tmp_path, cifar_10())
    for name, values in cifar_10().items():
        keys = {key.encode() if protocol % 2 else key: value for key, value in values.items()}
        keys.pop("filenames", None)
        keys.pop(b"filenames", None)
        (tmp_path / name).write_bytes(pickle.dumps(keys, protocol))
    source = CifarSource(tmp_path)
    first = source.index().splits["train"][0]
    assert first.key == "data_batch_1/00000"
    assert (planar(source.read(first)) == cifar_10()["data_batch_1"]["data"][0]).all()


def test_builds_and_exports(tmp_path):
    lowres.build(lay(tmp_path / "cifar-10-batches-py", cifar_10()), tmp_path / "store")
    store = lowres.open_store(tmp_path / "store")
    assert store.splits == {"train": 20, "test": 4}
    assert export(store, tmp_path / "out", store.variants[-1]) == store.splits


def test_recognised_by_names(tmp_path):
    assert not CifarSource.recognises(tmp_path)
    assert not CifarSource.recognises(tmp_path / "nothing")
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    (tmp_path / "meta").write_bytes(b"")
    assert not CifarSource.recognises(tmp_path)
    (tmp_path / "cifar-100-python").mkdir()
    assert CifarSource.recognises(tmp_path)


def test_both_sets_in_one_folder(tmp_path):
    lay(tmp_path / "cifar-10-batches-py", cifar_10())
    lay(tmp_path / "cifar-100-python", cifar_100())
    with pytest.raises(SourceError, match="holds cifar-10-batches-py and cifar-100-python: pass"):
        open_source(tmp_path).index()


WRONG = [
    ({"labels": [1, 2, 3]}, "has 4 images, 3 labels and 4 names"),
    ({"labels": [1, 2, 3, 10]}, "label of row 3 must be 0 to 9, was 10"),
    ({"labels": "abcd"}, "must have a list labels, was bytes"),
    ({"labels": [1, 2, 3, "a"]}, "label of row 3 must be 0 to 9, was bytes"),
    ({"filenames": ["a"] * 3}, "has 4 images, 4 labels and 3 names"),
    ({"filenames": ["a", "b", "c", "../d"]}, r"relative paths without \.\."),
    ({"data": np.zeros((4, 3071), np.uint8)}, r"data must be \(4, 3072\), was \(4, 3071\)"),
    ({"data": np.zeros((3, 3072), np.uint8)}, r"data must be \(4, 3072\), was \(3, 3072\)"),
    ({"data": np.zeros(3072, np.uint8)}, r"data must be a uint8 array \(N, 3072\)"),
    ({"data": [1]}, r"data must be a uint8 array \(N, 3072\)"),
]


@pytest.mark.parametrize(("values", "words"), WRONG)
def test_wrong_contents(tmp_path, values, words):
    files = cifar_10()
    files["data_batch_3"].update(values)
    with pytest.raises(SourceError, match=f"data_batch_3.*{words}"):
        CifarSource(lay(tmp_path, files)).index()


def test_wrong_files(tmp_path):
    folder = lay(tmp_path, cifar_10())
    (folder / "batches.meta").write_bytes(python_2({"label_names": ["a", "a"]}))
    with pytest.raises(SourceError, match=r"batches\.meta: label_names must be names that differ"):
        CifarSource(folder).index()
    (folder / "batches.meta").write_bytes(python_2(["a", "a"]))
    with pytest.raises(SourceError, match=r"batches\.meta must hold a dict, was list"):
        CifarSource(folder).index()
    (folder / "data_batch_4").unlink()
    with pytest.raises(SourceError, match="data_batch_4 is missing; CIFAR-10 is"):
        CifarSource(folder).index()
    whole = python_2(cifar_10()["data_batch_1"])
    for length in range(0, len(whole), 501):
        (folder / "data_batch_1").write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"data_batch_1 .*cut short"):
            CifarSource(folder).index()


def test_an_empty_train(tmp_path):
    files = cifar_100()
    files["train"] = batch(1, [], "fine_labels")
    with pytest.raises(SourceError, match="no images in train"):
        CifarSource(lay(tmp_path, files)).index()


def test_nothing_hostile_is_run(tmp_path):
    folder = lay(tmp_path / "x", cifar_10())
    call = f"cos\nsystem\n(S'touch {tmp_path / 'made'}'\ntR."
    (folder / "data_batch_2").write_bytes(call.encode())
    with pytest.raises(SourceError, match=r"data_batch_2 names os\.system, .* nothing was run"):
        open_source(folder).index()
    assert not os.path.lexists(tmp_path / "made")


def test_damaged_archives(tmp_path):
    path = pack(tmp_path / "cifar-10-python.tar.gz", "cifar-10-batches-py", cifar_10())
    whole = path.read_bytes()
    for data in (whole[:-20000], whole[:100], gzip.compress(b"no tar" * 200), b"no gzip", b""):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=r"cifar-10-python\.tar\.gz"):
            CifarSource(path).index()
    files = cifar_10()
    pack(path, "../x", files)
    with pytest.raises(SourceError, match=r"relative paths without \.\."):
        CifarSource(path).index()
    del files["test_batch"]
    pack(path, "x", files)
    with pytest.raises(SourceError, match=r"tar\.gz: test_batch is missing; CIFAR-10 is"):
        CifarSource(path).index()


def test_archives_that_unpack_to_gigabytes_are_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "UNPACKED_FREELY", 1 << 20)
    path = tmp_path / "cifar-10-python.tar.gz"
    member = tarfile.TarInfo("a/other")
    member.size = 1 << 34
    path.write_bytes(gzip.compress(member.tobuf() + bytes(1 << 24)))
    with pytest.raises(SourceError, match="unpacks to more than 50 times its size"):
        CifarSource(path).index()


def test_odd_members_of_archives(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for folder in ("a", "b"):
            member = tarfile.TarInfo(f"{folder}/test_batch")
            data = python_2(cifar_10()["test_batch"])
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with pytest.raises(SourceError, match="b/test_batch is the second member called test_batch"):
        CifarSource(path).index()
    member = tarfile.TarInfo("a/data_batch_1")
    member.size = 1 << 40
    path.write_bytes(gzip.compress(member.tobuf() + b"x" * 1024))
    with pytest.raises(SourceError, match="data_batch_1 has 1,099,511,627,776 bytes; files of CIF"):
        CifarSource(path).index()
