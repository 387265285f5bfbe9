"""lowres info: which known set a source is."""

import hashlib
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lowres
from lowres.cli.info import describe
from lowres.comparing import identify
from lowres.comparing.identify import PublishedChecksum, published
from lowres.errors import SourceError
from lowres.formats.source import Entry, Index, Source
from lowres.imagenet import wnids

TRAIN = [f"train_data_batch_{number}" for number in range(1, 11)]


@pytest.fixture
def batches(tmp_path) -> Path:
    """Batches of 16 px with an image or two in each file."""
    folder = tmp_path / "batches"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in (*TRAIN, "val_data"):
        data = random.integers(0, 256, (2, 3 * 16 * 16)).astype(np.uint8)
        record = {"data": data, "labels": random.integers(1, 1001, 2).tolist()}
        (folder / name).write_bytes(pickle.dumps(record, protocol=3))
    return folder


def described(path: Path) -> str:
    return "\n".join(describe(path))


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def publish(monkeypatch, folder: Path, *sets: tuple[str, tuple[str, ...]]) -> None:
    entries = tuple(
        PublishedChecksum("md5", md5(folder / name), name, set_name)
        for set_name, names in sets
        for name in names
    )
    monkeypatch.setattr(identify, "published", lambda: entries)


def test_the_list_of_checksums():
    by_set: dict[str, set[str]] = {}
    for entry in published():
        assert len(entry.digest) == {"md5": 32, "sha256": 64}[entry.algorithm]
        by_set.setdefault(entry.set_name, set()).add(entry.name)
    for name in ("ImageNet16 pickle", "ImageNet32 pickle, set A", "ImageNet32 pickle, set B"):
        assert by_set[name] == {*TRAIN, "val_data"}
    assert len({entry.digest for entry in published()}) == len(published())
    assert ("md5", "27846dcaa50de8e21a7d1a35f30f0e91", TRAIN[0], "ImageNet16 pickle") in published()
    assert sum(entry.algorithm == "sha256" for entry in published()) == 9


def test_unknown_batches(batches):
    lines = described(batches)
    assert "origin: unknown; no file has a published checksum" in lines
    assert "labels in the files: 1 to 1000 in devkit order" in lines
    assert "ImageNet16, pickle, 10 + 1 files" in lines
    assert "train: 20 images; ILSVRC2012 has 1,281,167" in lines
    assert "images: 16 x 16; unknown filter" in lines


def test_official_batches_of_either_version(batches, monkeypatch):
    publish(monkeypatch, batches, ("ImageNet16 pickle", (*TRAIN, "val_data")))
    assert "origin: the released ImageNet16 pickle: 11 files have its published" in described(
        batches
    )
    publish(monkeypatch, batches, ("ImageNet32 pickle, set B", (*TRAIN, "val_data")))
    assert "set B: 11 files" in described(batches)
    assert "two versions with different checksums are in circulation as official" in described(
        batches
    )


def test_batches_with_an_altered_file(batches, monkeypatch):
    publish(monkeypatch, batches, ("ImageNet16 pickle", (*TRAIN, "val_data")))
    record = pickle.loads((batches / TRAIN[3]).read_bytes())  # noqa: S301  made here
    record["data"][0, 0] ^= 1
    (batches / TRAIN[3]).write_bytes(pickle.dumps(record, protocol=3))
    assert "not the unchanged released set: 10 files" in described(batches)
    assert "these differ: train_data_batch_4" in described(batches)


def test_a_single_file_is_identified_though_it_cannot_be_built_from(batches, monkeypatch):
    publish(monkeypatch, batches, ("ImageNet16 pickle", (*TRAIN, "val_data")))
    lines = describe(batches / "train_data_batch_2")
    assert "origin: the released ImageNet16 pickle: 1 files" in next(lines)
    with pytest.raises(SourceError, match="train_data_batch_1 is missing"):
        list(lines)
    assert "val: 2 pictures" in described(batches / "val_data")


def test_the_other_small_imagenet(tmp_path):
    for name in ("train_32x32", "valid_32x32"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (32, 32)).save(tmp_path / name / "0000001.png")
    assert "PixelRNN paper" in described(tmp_path)
    with pytest.raises(SourceError, match="must not be compared"):
        lowres.build(tmp_path, tmp_path.with_name("store"))


@pytest.fixture(scope="module")
def photographs(shared, tmp_path_factory):
    """A store of 500 real images; the classes that lack one have copies."""
    folder = tmp_path_factory.mktemp("photographs")
    with tarfile.open(shared / "imagenet-1-per-class.tar") as archive:
        members = sorted((m for m in archive if m.isfile()), key=lambda member: member.name)
        archive.extractall(folder / "set", members[::2], filter="data")
    for copied, member in zip(members[::2], members[1::2], strict=True):
        target = folder / "set" / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(folder / "set" / copied.name)
    options = lowres.BuildOptions(size=32, filter=("lanczos", "box"))
    lowres.build(folder / "set" / "imagenet-1-per-class", folder / "store", options)
    return lowres.open_store(folder / "store")


@pytest.mark.parametrize(
    ("filter_name", "words"),
    [
        ("lanczos", "a lanczos repack of ImageNet; not the released ImageNet32"),
        ("box", "made with box like the released ImageNet32. Compare the two: lowres verify"),
    ],
)
def test_a_repack_of_imagenet_in_another_format(photographs, tmp_path, filter_name, words):
    assert photographs.classes == wnids()
    lowres.export(photographs, tmp_path / "repack", f"32-{filter_name}", to="parquet")
    lines = described(tmp_path / "repack")
    assert f"images: 32 x 32; made with {filter_name}, by their spectrum" in lines
    assert words in lines


def test_a_labelled_set_beside_small_imagenet_is_itself(tmp_path, source):
    (tmp_path / "set").symlink_to(source)
    (tmp_path / "train_32x32").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "train_32x32" / "1.png")
    with pytest.raises(SourceError, match="splits inside its folders, such as set/train"):
        described(tmp_path)
    assert "PixelRNN" in described(tmp_path / "train_32x32")


def test_the_filter_of_jpegs_is_unknown(shared, tmp_path):
    with tarfile.open(shared / "tiny-imagenet-20.tar.xz") as archive:
        members = [m for m in archive if m.isfile() and "/train/" in m.name][:600]
        archive.extractall(tmp_path, members, filter="data")
    root = next(tmp_path.iterdir())
    assert "unknown filter" in described(root)


def test_full_images_have_no_filter(source):
    assert "train: 24 pictures" in described(source)
    assert "images: " not in described(source)


def test_a_store_has_order_and_contents(store, store_path):
    lines = described(store_path)
    assert f"16-box: content {store.manifest.contents['16-box']}" in lines
    assert "labels: 0 to 3, in sorted order" in lines


class NoiseSource(Source):
    """A format as docs/architecture.md asks for: nothing but its own class."""

    kind = "noise"

    @classmethod
    def recognises(cls, path):
        return path.suffix == ".noise"

    def index(self):
        entries = tuple(Entry(f"{number}", number % 2, str(self.path)) for number in range(4))
        return Index(classes=("ant", "bee"), splits={"train": entries}, layout="noise")

    def read(self, entry):
        return np.random.default_rng(int(entry.key)).integers(0, 256, (9, 9, 3), np.uint8)


def test_a_format_without_a_label_order_of_its_own_is_described(tmp_path):
    source = NoiseSource(tmp_path / "set.noise")
    lines = "\n".join(identify.identify(source, source.index()))
    assert "labels in the files: 0-based, in the sorted order of the class names" in lines
    assert "images: 9 x 9" in lines
