"""Batch files in the released layout: read as pickle.load and numpy.load do, and written alike."""

import os
import pickle
import random
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import lowres
from lowres.errors import SourceError, StoreError
from lowres.formats import batch_file, open_source
from lowres.formats.batch_file import PickleWriter
from lowres.formats.batches import BatchesNpzSink, BatchesSink, BatchesSource
from lowres.formats.sink import Outline
from lowres.imagenet import devkit_wnids, wnids
from lowres.store.export import export
from lowres.testing import SinkContract, SourceContract
from lowres.variant import Variant

SIDE = 4
ROWS = 3
NUMBERS = (449, 1, 1000)
"""Devkit ids: of the first WNID, of the first in the devkit, and of the last there."""

Batches = dict[str, dict[str, object]]


def drawn(*, val: bool = True, side: int = SIDE, numbers: tuple[int, ...] = NUMBERS) -> Batches:
    """Make the dicts of all files, as the authors' scripts do."""
    chance = np.random.default_rng(side)
    names = [f"train_data_batch_{n}" for n in range(1, 11)] + ["val_data"] * val
    batches: Batches = {
        name: {
            "data": chance.integers(0, 256, (len(numbers), 3 * side**2), np.uint8),
            "labels": chance.permutation(numbers).tolist(),
        }
        for name in names
    }
    train = [batch for name, batch in batches.items() if name != "val_data"]
    mean = np.mean(np.concatenate([batch["data"] for batch in train]), axis=0)
    for batch in train:
        batch["mean"] = mean
    return batches


def dump(path: Path, batch: dict[str, object], protocol: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, **batch)
    else:
        path.write_bytes(pickle.dumps(batch, protocol))


def flat(folder: Path, batches: Batches, suffix: str = "") -> Path:
    for name, batch in batches.items():
        dump(folder / f"{name}{suffix}", batch)
    return folder


def unpacked(folder: Path, batches: Batches, suffix: str = "") -> Path:
    """Lay them out as the parts of ImageNet64 are, unpacked each into its own folder."""
    mark = "_npz" if suffix else ""
    for name, batch in batches.items():
        number = int(name.rpartition("_")[2]) if "batch" in name else 0
        part = f"train_part{1 + (number > 5)}" if number else "val"
        dump(folder / f"Imagenet64_{part}{mark}" / f"{name}{suffix}", batch)
    return folder


def zipped(folder: Path, batches: Batches, suffix: str = "", inner: str = "") -> Path:
    unpacked(folder, batches, suffix)
    for part in sorted(folder.iterdir()):
        method = zipfile.ZIP_STORED if "part1" in part.name else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(f"{part}.zip", "w", method) as archive:
            for file in sorted(part.iterdir()):
                archive.write(file, inner + file.name)
                file.unlink()
        part.rmdir()
    return folder


LAYOUTS = {
    "flat": flat,
    "flat npz": lambda folder, batches: flat(folder, batches, ".npz"),
    "unpacked": unpacked,
    "unpacked npz": lambda folder, batches: unpacked(folder, batches, ".npz"),
    "zips": zipped,
    "zips with folders": lambda folder, batches: zipped(folder, batches, inner="Imagenet64/x/"),
    "zips of npz": lambda folder, batches: zipped(folder, batches, ".npz"),
}


def planar(image: np.ndarray) -> np.ndarray:
    return np.concatenate([image[..., channel].reshape(-1) for channel in range(3)])


def check_equal(source: BatchesSource, batches: Batches) -> None:
    """Compare a source with the dicts, row by row."""
    index = source.index()
    rows = {split: iter(entries) for split, entries in index.splits.items()}
    for name, batch in batches.items():
        for row, label in zip(batch["data"], batch["labels"], strict=True):
            entry = next(rows[name.partition("_")[0]])
            assert (planar(source.read(entry)) == row).all()
            assert index.classes[entry.label] == devkit_wnids()[label - 1]
    assert not any(list(left) for left in rows.values())


class TestBatchesSink(SinkContract):
    @pytest.fixture(params=[BatchesSink, BatchesNpzSink])
    def sink(self, request):
        return request.param

    @pytest.fixture
    def reader(self):
        return BatchesSource


class TestBatchesSource(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path):
        return open_source(flat(tmp_path, drawn()))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read(tmp_path, layout):
    batches = drawn()
    source = open_source(LAYOUTS[layout](tmp_path / "set", batches))
    assert isinstance(source, BatchesSource)
    check_equal(source, batches)
    index = source.index()
    kind = "npz" if "npz" in layout else "pickle"
    assert index.layout == f"ImageNet4, {kind}, 10 + 1 files"
    assert (index.native_px, index.is_variant) == (SIDE, True)
    assert index.classes == wnids(), "labels are torchvision's, whatever images there are"
    assert index.notes == (
        "the source's train has 3 of the 1,000 classes that ImageNet's devkit numbers",
        "the source's val has 3 of the 1,000 classes that ImageNet's devkit numbers",
    )
    mean = source.mean()
    assert mean is not None
    assert (planar(mean) == batches["train_data_batch_1"]["mean"]).all()


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol(tmp_path, protocol):
    batches = drawn()
    for name, batch in batches.items():
        dump(tmp_path / name, batch, protocol)
    check_equal(BatchesSource(tmp_path), batches)


def test_keys_and_locations(tmp_path):
    folder = zipped(tmp_path / "set", drawn())
    source = BatchesSource(folder)
    last = source.index().splits["train"][-1]
    assert last.key == "train_data_batch_10/0000002"
    assert last.location == f"{folder}/Imagenet64_train_part2.zip!train_data_batch_10"
    assert source.index().splits["val"][1].key == "val_data/0000001"
    assert source.describe(last) == f"{last.location}: {last.key}"
    before = source.stamp(last)
    os.utime(folder / "Imagenet64_train_part2.zip", (1, 1))
    assert source.stamp(last) != before


def test_files_with_published_checksums(tmp_path):
    batches = drawn()
    names = tuple(batches)
    loose = BatchesSource(flat(tmp_path / "a", batches))
    packed = BatchesSource(zipped(tmp_path / "b", batches))
    npz = BatchesSource(zipped(tmp_path / "c", batches, ".npz"))
    assert loose.files() == packed.files() == names
    assert BatchesSource(flat(tmp_path / "d", batches, ".npz")).files()[0] == f"{names[0]}.npz"
    assert npz.files() == tuple(
        f"Imagenet64_{part}_npz.zip" for part in ("train_part1", "train_part2", "val")
    )
    for name in names:
        with loose.open_file(name) as one, packed.open_file(name) as other:
            assert one.read() == other.read() == (tmp_path / "a" / name).read_bytes()
    with npz.open_file("Imagenet64_val_npz.zip") as file:
        assert file.read() == (tmp_path / "c" / "Imagenet64_val_npz.zip").read_bytes()


def test_a_zip_by_itself_and_train_alone(tmp_path):
    path = tmp_path / "Imagenet8_train.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, batch in drawn(val=False).items():
            archive.writestr(name, pickle.dumps(batch))
    source = open_source(path)
    assert list(source.index().splits) == ["train"]
    assert "the source has no val_data" in source.index().notes


def test_files_without_a_mean(tmp_path):
    batches = drawn()
    for batch in batches.values():
        batch.pop("mean", None)
    assert BatchesSource(flat(tmp_path, batches)).mean() is None


def test_all_classes_need_no_note(tmp_path):
    batches = drawn(numbers=tuple(range(1, 1001)))
    source = BatchesSource(flat(tmp_path, batches, ".npz"))
    assert source.index().classes == wnids()
    assert source.index().notes == ()
    check_equal(source, batches)


@pytest.mark.parametrize("suffix", ["", ".npz"])
def test_indexing_does_not_read_pixels(tmp_path, monkeypatch, suffix):
    batches = drawn(side=16, numbers=(1, 2, 3, 4) * 20)
    source = BatchesSource(flat(tmp_path, batches, suffix))
    monkeypatch.setattr(batch_file, "LONG_BYTES", 20_000)
    taken = []
    for module in ("batch_file", "containers.pickle"):
        name = f"lowres.formats.{module}.read_exactly"
        real = batch_file.load_plain.__globals__["read_exactly"]
        monkeypatch.setattr(
            name,
            lambda stream, count, where, real=real: (
                taken.append(count),
                real(stream, count, where),
            )[1],
        )
    source.index()
    assert max(taken) < 20_000 < batches["val_data"]["data"].nbytes
    monkeypatch.undo()
    check_equal(source, batches)


def test_recognised_by_names(tmp_path):
    for name in ("train_data_batch_3", "val_data.npz", "Imagenet16_val_npz.zip"):
        (tmp_path / name).write_bytes(b"")
        assert BatchesSource.recognises(tmp_path / name)
    (tmp_path / "a" / "train_data_batch_6.npz").mkdir(parents=True)
    assert not BatchesSource.recognises(tmp_path / "a")
    dump(tmp_path / "b" / "Imagenet64_train_part2" / "train_data_batch_6", {})
    assert BatchesSource.recognises(tmp_path / "b")
    for name in ("train_data_batch_11", "train_data", "images.zip", "val_data.txt"):
        (tmp_path / name).write_bytes(b"")
        assert not BatchesSource.recognises(tmp_path / name)


def changed(batches: Batches, name: str, **values: object) -> None:
    batch = batches.get(name, {})
    batches[name] = {k: v for k, v in {**batch, **values}.items() if v is not None}


ONE = "train_data_batch_4"
DATA = np.zeros((ROWS, 3 * SIDE**2), np.uint8)
WRONG = [
    ({"labels": [1, 2]}, "has 3 images and 2 labels"),
    ({"labels": [1, 2, 1001]}, "label of row 2 must be 1 to 1000, was 1001"),
    ({"labels": [1, 0, 1]}, r"counts from 0.* put a file classes\.txt into"),
    ({"labels": None}, "has no labels"),
    ({"data": None}, "has no data"),
    ({"data": DATA.astype(np.int64)}, r"data must be uint8 \(N, 3\*S\*S\), was int64 \(3, 48\)"),
    ({"data": DATA[:, :47]}, r"data must be uint8 \(N, 3\*S\*S\), was uint8 \(3, 47\)"),
    ({"data": DATA.reshape(ROWS, 3, SIDE, SIDE)}, r"was uint8 \(3, 3, 4, 4\)"),
    ({"data": np.zeros((ROWS, 3 * 1025**2), np.uint8)}, "at most 1024 px"),
    ({"data": np.zeros((ROWS, 27), np.uint8), "mean": np.zeros(27)}, "3 px and .* of 4 px"),
    ({"mean": np.zeros(47)}, "mean must be 48 numbers"),
    ({"mean": np.full(48, np.nan)}, "mean must be 48 numbers"),
    ({"mean": np.zeros(48)}, "have different means"),
]


@pytest.mark.parametrize("suffix", ["", ".npz"])
@pytest.mark.parametrize(("values", "words"), WRONG)
def test_wrong_contents(tmp_path, values, words, suffix):
    batches = drawn()
    changed(batches, ONE, **values)
    with pytest.raises(SourceError, match=f"{ONE}.*{words}"):
        BatchesSource(flat(tmp_path, batches, suffix)).index()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"labels": [2.0, 2.0, 1.0]}, r"label of row 0 must be an integer from 0 or 1, was 2\.0"),
        ({"labels": [1, 2, True]}, "label of row 2 must be an integer from 0 or 1, was True"),
        ({"labels": [1, 2, "n"]}, "label of row 2 must be an integer from 0 or 1, was str"),
        ({"labels": "abc"}, "labels must be a list of integers, was str"),
        ({"data": [1, 2]}, "data must be an array, was list"),
    ],
)
def test_wrong_types_in_pickles(tmp_path, values, words):
    batches = drawn()
    changed(batches, ONE, **values)
    with pytest.raises(SourceError, match=f"{ONE}.*{words}"):
        BatchesSource(flat(tmp_path, batches)).index()


def test_labels_of_npz_that_are_no_integers(tmp_path):
    batches = drawn()
    changed(batches, ONE, labels=[2.0, 2.0, 1.0])
    words = rf"{ONE}\.npz: labels must be a list of integers, was float64 \(3,\)"
    with pytest.raises(SourceError, match=words):
        BatchesSource(flat(tmp_path, batches, ".npz")).index()


def test_a_class_that_train_lacks_keeps_its_label(tmp_path):
    batches = drawn()
    changed(batches, "val_data", labels=[1, 1000, 7])
    index = BatchesSource(flat(tmp_path, batches)).index()
    labels = [entry.label for entry in index.splits["val"]]
    assert [index.classes[label] for label in labels] == [devkit_wnids()[n] for n in (0, 999, 6)]
    assert labels[0] == 278


def only(batches: Batches, *numbers: int) -> Batches:
    return {f"train_data_batch_{n}": batches[f"train_data_batch_{n}"] for n in numbers}


def test_missing_files(tmp_path):
    batches = drawn()
    part = flat(tmp_path / "part 1", only(batches, 1, 2, 3, 4, 5))
    with pytest.raises(SourceError, match="batch_6 is missing: it has part 1 of train; put part 2"):
        open_source(part).index()
    part = flat(tmp_path / "part 2", only(batches, 6, 7, 8, 9, 10), ".npz")
    with pytest.raises(SourceError, match="batch_1 is missing: it has part 2 of train; put part 1"):
        open_source(part).index()
    with pytest.raises(SourceError, match="train_data_batch_1 is missing: train is 10 files"):
        open_source(part / "train_data_batch_6.npz").index()
    whole = flat(tmp_path / "whole", batches)
    alone = open_source(whole / "val_data").index()
    assert list(alone.splits) == ["val"]
    assert "the source has no train_data_batch_1 to 10" in alone.notes
    (whole / ONE).unlink()
    with pytest.raises(SourceError, match="whole: train_data_batch_4 is missing: train is 10"):
        open_source(whole).index()
    zips = zipped(tmp_path / "zips", drawn())
    assert list(open_source(zips / "Imagenet64_val.zip").index().splits) == ["val"]


def test_two_sets_in_one_folder(tmp_path):
    twice = unpacked(tmp_path / "twice", drawn())
    flat(twice / "Imagenet32_val", {"val_data": drawn()["val_data"]})
    with pytest.raises(
        SourceError, match=r"val_data twice: .*Imagenet32_val/val_data and .*64_val"
    ):
        BatchesSource(twice).index()
    mixed = flat(tmp_path / "mixed", drawn(val=False))
    dump(mixed / "val_data.npz", drawn()["val_data"])
    with pytest.raises(SourceError, match=r"pickles and npz files: .*batch_1 and .*val_data\.npz"):
        BatchesSource(mixed).index()
    sizes = flat(tmp_path / "sizes", drawn(val=False))
    dump(sizes / "val_data", drawn(side=5)["val_data"])
    with pytest.raises(SourceError, match=r"val_data has images of 5 px and .*batch_1 of 4 px"):
        BatchesSource(sizes).index()


def test_no_images(tmp_path):
    batches = drawn(val=False)
    for name in batches:
        changed(batches, name, data=DATA[:0], labels=[], mean=None)
    with pytest.raises(SourceError, match="have no images"):
        BatchesSource(flat(tmp_path, batches)).index()


def test_wrong_kinds_of_file(tmp_path):
    folder = flat(tmp_path / "pickles", drawn())
    (folder / ONE).rename(folder / "x")
    np.savez(folder / f"{ONE}.npz", a=DATA)
    (folder / f"{ONE}.npz").rename(folder / ONE)
    with pytest.raises(SourceError, match=rf"{ONE} must be a pickle by .* rename it to {ONE}\.npz"):
        BatchesSource(folder).index()
    (folder / ONE).write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(SourceError, match=f"{ONE} must be a pickle of a dict .*it is a list"):
        BatchesSource(folder).index()
    (folder / ONE).write_bytes(b"")
    with pytest.raises(SourceError, match=f"{ONE} is cut short"):
        BatchesSource(folder).index()
    folder = flat(tmp_path / "npz", drawn(), ".npz")
    (folder / f"{ONE}.npz").write_bytes(pickle.dumps({}))
    with pytest.raises(SourceError, match=rf"{ONE}\.npz must be an npz file .*a pickle: rename it"):
        BatchesSource(folder).index()
    (folder / f"{ONE}.npz").write_bytes(b"nothing")
    with pytest.raises(SourceError, match=rf"{ONE}\.npz must be an npz file .* it is b'noth'"):
        BatchesSource(folder).index()


class Touches:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def test_nothing_hostile_is_run(tmp_path):
    made = tmp_path / "made"
    folder = flat(tmp_path / "pickles", drawn())
    dump(folder / ONE, {"data": DATA, "labels": Touches(made)})
    with pytest.raises(SourceError, match=r"batch_4 names posix.system, .* nothing was run"):
        BatchesSource(folder).index()
    folder = flat(tmp_path / "npz", drawn(), ".npz")
    dump(folder / f"{ONE}.npz", {"data": DATA, "labels": np.array([Touches(made)], object)})
    with pytest.raises(SourceError, match=r"npz!labels.npy holds Python objects.* nothing was run"):
        BatchesSource(folder).index()
    assert not made.exists()


@pytest.mark.parametrize("suffix", ["", ".npz"])
def test_cut_files(tmp_path, suffix):
    folder = flat(tmp_path, drawn(), suffix)
    path = folder / f"{ONE}{suffix}"
    whole = path.read_bytes()
    for length in range(4, len(whole) - 1, 29):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match=f"{ONE}"):
            BatchesSource(folder).index()


@pytest.mark.parametrize("inner", ["", ".npz"])
def test_damaged_zips(tmp_path, inner):
    folder = zipped(tmp_path, drawn(), inner)
    path = (
        folder / "Imagenet64_train_part1_npz.zip"
        if inner
        else folder / "Imagenet64_train_part1.zip"
    )
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        starts = [info.header_offset for info in archive.infolist()]
    damaged = bytearray(whole)
    damaged[starts[1] + 500] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(SourceError, match=r"part1.*\.zip!train_data_batch_2.* is damaged"):
        BatchesSource(folder).index()
    path.write_bytes(whole[: len(whole) // 2])
    # The end of an inner npz, stored as it is, can look like the end of the zip.
    with pytest.raises(SourceError, match=r"part1.*\.zip (is damaged|holds no batch files)"):
        BatchesSource(folder).index()


def test_flips_in_zips_raise_nothing_else(tmp_path):
    folder = zipped(tmp_path, drawn(), ".npz")
    path = folder / "Imagenet64_val_npz.zip"
    whole = path.read_bytes()
    chance = random.Random(2)
    for _ in range(60):
        damaged = bytearray(whole)
        place = chance.choice((chance.randrange(99), len(whole) - 1 - chance.randrange(99)))
        damaged[place] = chance.randrange(256)
        path.write_bytes(damaged)
        with suppress(SourceError):
            BatchesSource(folder).index()
    damaged = bytearray(whole)
    damaged[-22 + 16 : -22 + 20] = b"\xff\0\0\0"  # where the list of members begins
    path.write_bytes(damaged)
    with pytest.raises(SourceError, match=r"Imagenet64_val_npz\.zip"):
        BatchesSource(folder).index()


def test_refused_members(tmp_path):
    path = tmp_path / "Imagenet32_train.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../train_data_batch_1", b"")
    with pytest.raises(SourceError, match=r"relative paths without \.\."):
        BatchesSource(path).index()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", b"")
    with pytest.raises(SourceError, match="holds no batch files such as train_data_batch_1 or"):
        BatchesSource(path).index()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_data_batch_1", b"")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match="zip!train_data_batch_1 is encrypted: unpack"):
        BatchesSource(path).index()


def test_a_file_that_changes_after_it_was_listed(tmp_path):
    source = BatchesSource(flat(tmp_path, drawn()))
    entry = source.index().splits["train"][0]
    dump(tmp_path / "train_data_batch_1", {"data": DATA[:1], "labels": [1]})
    with pytest.raises(SourceError, match="batch_1 changed while lowres read it"):
        source.read(entry)


def outline(rows: int, classes: tuple[str, ...] = ("ant", "bee")) -> Outline:
    return Outline(
        name="x", variant=Variant(2, "box"), classes=classes, splits={"train": rows}, content=""
    )


def loaded(path: Path) -> dict[str, object]:
    """Read a file as anyone would."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    return pickle.loads(path.read_bytes())  # noqa: S301  our own


@pytest.mark.parametrize("to", ["batches", "batches-npz"])
def test_export_is_the_released_layout(store, tmp_path, to):
    export(store, tmp_path / "out", "8-box", to=to)
    mark, suffix = ("_npz", ".npz") if "npz" in to else ("", "")
    train = [
        loaded(tmp_path / "out" / f"Imagenet8_train{mark}" / f"train_data_batch_{n}{suffix}")
        for n in range(1, 11)
    ]
    assert [len(batch["data"]) for batch in train] == [2] * 9 + [6]
    val = loaded(tmp_path / "out" / f"Imagenet8_val{mark}" / f"val_data{suffix}")
    assert list(val) == ["data", "labels"]
    images = store.images("train", "8-box")
    for batch in train:
        assert list(batch) == ["data", "labels", "mean"]
        assert batch["data"].dtype == np.uint8
        assert isinstance(batch["labels"], np.ndarray if suffix else list)
        decoded = batch["data"].reshape(-1, 3, 8, 8).transpose(0, 2, 3, 1)
        for got, label in zip(decoded, batch["labels"], strict=True):
            row = next(n for n, image in enumerate(images) if (image == got).all())
            assert store.labels("train")[row] == label - 1
        expected = images.transpose(0, 3, 1, 2).reshape(len(images), -1).mean(axis=0)
        assert batch["mean"].dtype == np.float64
        assert (batch["mean"] == expected).all()
    names = (tmp_path / "out" / "classes.txt").read_text().splitlines()
    assert tuple(names) == store.classes


@pytest.mark.parametrize("to", ["batches", "batches-npz"])
def test_what_was_exported_builds_the_same_set(store, tmp_path, to):
    export(store, tmp_path / "out", "8-box", to=to)
    lowres.build(tmp_path / "out", tmp_path / "again")
    again = lowres.open_store(tmp_path / "again")
    assert again.manifest.contents["8-box"] == store.manifest.contents["8-box"]
    assert again.manifest.source["layout"].startswith("8 px, ")
    export(again, tmp_path / "out 2", "8-box", to=to)
    means = [BatchesSource(tmp_path / name).mean() for name in ("out", "out 2")]
    assert np.array_equal(*means)
    assert np.array_equal(means[0], store.images("train", "8-box").mean(axis=0))


def test_imagenet_classes_keep_their_numbers(tmp_path):
    batches = drawn()
    lowres.build(flat(tmp_path / "set", batches), tmp_path / "store")
    store = lowres.open_store(tmp_path / "store")
    export(store, tmp_path / "out", "4-box", to="batches")
    assert not (tmp_path / "out" / "classes.txt").exists()
    again = [loaded(file) for file in sorted((tmp_path / "out").glob("*/*"))]
    assert sorted(label for b in again for label in b["labels"]) == sorted(NUMBERS * 11)
    assert np.array_equal(again[0]["mean"], batches[ONE]["mean"])


def test_fewer_images_than_files(tmp_path):
    sink = BatchesSink(tmp_path / "out", outline(3))
    for label in (0, 1, 1):
        sink.write("train", "x", label, np.full((2, 2, 3), label, np.uint8))
    sink.finish()
    index = BatchesSource(tmp_path / "out").index()
    assert [entry.key for entry in index.splits["train"]] == [
        f"train_data_batch_10/000000{n}" for n in range(3)
    ]
    assert index.classes == ("ant", "bee")


def test_an_unfinished_export_leaves_nothing_that_looks_whole(tmp_path):
    sink = BatchesSink(tmp_path / "out", outline(3))
    sink.write("train", "x", 0, np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(StoreError, match="fewer images than the outline"):
        sink.finish()
    sink.abandon()
    assert not (tmp_path / "out").exists()


def test_pickles_beyond_four_gigabytes(tmp_path, monkeypatch):
    monkeypatch.setattr("lowres.formats.batch_file.MAX_SHORT_BYTES", 10)
    writer = PickleWriter(tmp_path / "x", 1, 2)
    writer.add(bytes(range(12)), 7)
    writer.finish(None)
    batch = loaded(tmp_path / "x")
    assert (batch["labels"], batch["data"].tolist()) == ([7], [list(range(12))])


def test_classes_txt(tmp_path):
    folder = flat(tmp_path, drawn(numbers=(1, 2)))
    (folder / "classes.txt").write_text("zoo\nx y\nant\n")
    index = BatchesSource(folder).index()
    assert index.classes == ("zoo", "x y", "ant")
    assert "the source's train has 2 of the 3 classes" in index.notes
    for text, words in (
        ("zoo\n", "must be 1 to 1, was 2"),
        ("zoo\nzoo\n", "names the class 'zoo' twice"),
        ("zoo\n../x\n", r"relative paths without \.\."),
    ):
        (folder / "classes.txt").write_text(text)
        with pytest.raises(SourceError, match=words):
            BatchesSource(folder).index()
    (folder / "classes.txt").write_bytes(b"\xff\n")
    with pytest.raises(SourceError, match=r"classes.txt must be UTF-8"):
        BatchesSource(folder).index()
