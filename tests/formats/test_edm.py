"""The ZIP of EDM and StyleGAN3: exact layout, both ways, and every refusal."""

import io
import json
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import lowres
from images import draw_image, encoded
from lowres.errors import ImageError, SourceError, StoreError
from lowres.formats import open_source
from lowres.formats.edm import EdmSink, EdmSource
from lowres.store.export import export
from lowres.testing import SinkContract, SourceContract

PNG = encoded(draw_image(1, 16, 16), "PNG")
LABELS = "dataset.json"


def edm_zip(path: Path, count: int = 12, method: int = zipfile.ZIP_STORED) -> Path:
    """Write what the published tools write: images, then the labels."""
    names = [f"{n // 1000:05}/img{n:08}.png" for n in range(count)]
    with zipfile.ZipFile(path, "w", method) as archive:
        for number, name in enumerate(names):
            archive.writestr(name, encoded(draw_image(number, 16, 16), "PNG", compress_level=0))
        labels = [[name, number % 3] for number, name in enumerate(names)]
        archive.writestr(LABELS, json.dumps({"labels": labels}))
    return path


def members(path: Path, labels: object, **images: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in images.items():
            archive.writestr(f"{name}.png", data)
        archive.writestr(LABELS, json.dumps({"labels": labels}))
    return path


class ReaderOfEdm:
    """A reader of the documented behaviour of those data loaders, written for this test."""

    def __init__(self, path: Path) -> None:
        self.zip = zipfile.ZipFile(path)
        PIL.Image.init()
        names = self.zip.namelist()
        self.names = sorted(n for n in names if Path(n).suffix.lower() in PIL.Image.EXTENSION)
        listed = json.loads(self.zip.read(LABELS))["labels"]
        by_name = {name.replace("\\", "/"): label for name, label in listed}
        self.labels = np.array([by_name[name] for name in self.names], np.int64)
        first = self.draw_image(0)
        assert first.shape[1] == first.shape[2]
        assert first.shape[1] & (first.shape[1] - 1) == 0
        assert first.shape[0] in (1, 3)
        self.shape = first.shape

    def draw_image(self, number: int) -> np.ndarray:
        data = self.zip.read(self.names[number])
        with PIL.Image.open(io.BytesIO(data)) as opened:
            return np.array(opened).transpose(2, 0, 1)


class TestEdmSink(SinkContract):
    suffix = ".zip"

    @pytest.fixture
    def sink(self):
        return EdmSink

    @pytest.fixture
    def reader(self):
        return EdmSource


class TestEdmZip(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path):
        return open_source(edm_zip(tmp_path / "set.zip"))


class TestDeflatedZip(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path):
        return open_source(edm_zip(tmp_path / "set.zip", method=zipfile.ZIP_DEFLATED))


class TestEdmFolder(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path):
        zipfile.ZipFile(edm_zip(tmp_path / "set.zip")).extractall(tmp_path / "set")
        return open_source(tmp_path / "set")


def test_index_of_zip_and_folder(tmp_path):
    path = edm_zip(tmp_path / "set.zip")
    zipfile.ZipFile(path).extractall(tmp_path / "set")
    (tmp_path / "set" / ".hidden.png").write_bytes(PNG)
    (tmp_path / "set" / "read.me").write_text("")
    zipped, folder = EdmSource(path), EdmSource(tmp_path / "set")
    one, other = zipped.index(), folder.index()
    assert one.digest() == other.digest()
    assert (one.layout, other.layout) == ("EDM ZIP", "EDM folder")
    assert one.classes == ("0", "1", "2")
    assert one.native_px == other.native_px == 16
    assert other.notes == ("left out 1 files that dataset.json does not list",)
    first = one.splits["train"][0]
    assert first.key == "00000/img00000000.png"
    assert [zipped.read(e) for e in one.splits["train"]] == [
        folder.read(e) for e in other.splits["train"]
    ]
    assert zipped.describe(first) == f"{path}: 00000/img00000000.png"
    assert folder.describe(first) == str(tmp_path / "set" / first.key)


def test_many_threads_read_at_once(tmp_path):
    source = EdmSource(edm_zip(tmp_path / "set.zip", 60))
    entries = source.index().splits["train"] * 5
    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(source.read, entries))
    assert read == [source.read(entry) for entry in entries]


def test_a_zip_written_to_a_pipe_has_its_checksums_behind_the_members(tmp_path):
    class Pipe(io.RawIOBase):
        def __init__(self, file):
            self.file = file

        def writable(self):
            return True

        def write(self, data):
            return self.file.write(data)

    with (tmp_path / "set.zip").open("wb") as file, zipfile.ZipFile(Pipe(file), "w") as archive:
        archive.writestr("a.png", PNG)
        archive.writestr("b.png", PNG)
        archive.writestr(LABELS, '{"labels": [["a.png", 0], ["b.png", 1]]}')
    source = EdmSource(tmp_path / "set.zip")
    assert source.read(source.index().splits["train"][0]) == PNG


def test_classes_are_numbers_in_order_and_gaps_are_noted(tmp_path):
    path = members(tmp_path / "set.zip", [["a.png", 11], ["b\\c.png", 2]], a=PNG, **{"b/c": PNG})
    index = EdmSource(path).index()
    assert index.classes == tuple(map(str, range(12)))
    assert {entry.key: entry.label for entry in index.splits["train"]} == {
        "a.png": 11,
        "b/c.png": 2,
    }
    assert index.notes == ("train has no images of 10 of the 12 classes, 0 first",)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "is unlabelled: labels in dataset.json is null"),
        ([], r"is unlabelled: .* is \[\]"),
        ([["a.png", 0], ["b.png", 0]], "has a label for b.png, which does not exist"),
        ([["c.png", 0]], "has a label for c.png"),
        ([["a.png", 0], ["a.png", 1]], "lists a.png twice"),
        ([["a.png", [0.5, 0.5]]], "pairs of a file and a label"),
        ([["a.png", -1]], "label from 0 to 99999"),
        ([["a.png", 10**9]], "label from 0 to 99999"),
        ([["a.png", True]], "label from 0"),
        ([["../a.png", 0]], r"has a label for \.\./a\.png, which does not exist"),
        ([["/a.png", 0]], "has a label for /a.png, which does not exist"),
        (7, "must be a JSON record with a list called labels"),
    ],
)
def test_labels_that_are_refused(tmp_path, labels, words):
    path = members(tmp_path / "set.zip", labels, a=PNG)
    with pytest.raises(SourceError, match=f"set.zip.*{words}"):
        EdmSource(path).index()


def test_images_without_a_label_are_refused(tmp_path):
    path = members(tmp_path / "set.zip", [["a.png", 0]], a=PNG, b=PNG)
    with pytest.raises(SourceError, match=r"has no label for b\.png"):
        EdmSource(path).index()
    zipfile.ZipFile(path).extractall(tmp_path / "set")
    with pytest.raises(SourceError, match=r"has no label for b\.png"):
        EdmSource(tmp_path / "set").index()


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile's, on the archive made here
def test_members_that_are_refused(tmp_path):
    for name, words in [("../b.png", "relative"), ("/b.png", "relative"), ("a.png", "comes twice")]:
        path = members(tmp_path / "set.zip", [["a.png", 0]], a=PNG)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, PNG)
        with pytest.raises(SourceError, match=words):
            EdmSource(path).index()
    with zipfile.ZipFile(tmp_path / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.png", PNG)
    with pytest.raises(SourceError, match="must be stored or deflated"):
        EdmSource(tmp_path / "lzma.zip").index()


def test_an_encrypted_zip_is_refused(tmp_path):
    data = bytearray(edm_zip(tmp_path / "set.zip", 1).read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "set.zip").write_bytes(data)
    with pytest.raises(SourceError, match=r"img00000000\.png is encrypted"):
        EdmSource(tmp_path / "set.zip").index()


def test_zips_that_are_damaged_or_others(tmp_path):
    whole = edm_zip(tmp_path / "set.zip").read_bytes()
    for data in (b"", whole[: len(whole) // 2], whole[:-30], b"x" * 500):
        (tmp_path / "cut.zip").write_bytes(data)
        with pytest.raises(SourceError, match=r"cut\.zip is damaged: "):
            open_source(tmp_path / "cut.zip").index()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("cat/1.png", PNG)
    assert open_source(tmp_path / "other.zip").kind == "archive"
    with pytest.raises(SourceError, match=r"other\.zip has no dataset\.json.*EDM"):
        EdmSource(tmp_path / "other.zip").index()
    for text in ("{", "[]", "null", "[" * 100_000):
        with zipfile.ZipFile(tmp_path / "json.zip", "w") as archive:
            archive.writestr(LABELS, text)
        with pytest.raises(SourceError, match=r"dataset\.json must be a JSON record"):
            EdmSource(tmp_path / "json.zip").index()


@pytest.mark.full
def test_flipped_bytes_raise_source_errors(tmp_path):
    whole = edm_zip(tmp_path / "set.zip", 3).read_bytes()
    random = np.random.default_rng(0)
    for position in random.integers(0, len(whole), 400):
        data = bytearray(whole)
        data[position] ^= 1 << random.integers(8)
        (tmp_path / "set.zip").write_bytes(data)
        source = EdmSource(tmp_path / "set.zip")
        try:
            for entry in source.index().splits["train"]:
                source.read(entry)
        except SourceError:
            continue


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_is_named(tmp_path, method):
    path = edm_zip(tmp_path / "set.zip", method=method)
    source = EdmSource(path)
    entry = source.index().splits["train"][1]
    data = bytearray(path.read_bytes())
    data[entry.offset + 30 + len(entry.key) + 40] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"img00000001\.png cannot be read: it is damaged: "):
        lowres.build(path, tmp_path / "store")
    with pytest.raises(ImageError, match="it is damaged"):
        EdmSource(path).read(entry)
    data[entry.offset : entry.offset + 4] = b"gone"
    path.write_bytes(data)
    with pytest.raises(SourceError, match="it is damaged: it does not begin"):
        EdmSource(path).read(entry)
    path.write_bytes(data[: entry.offset + 100])
    source = EdmSource(path)
    data[entry.offset : entry.offset + 4] = b"PK\3\4"
    path.write_bytes(data[: entry.offset + 100])
    with pytest.raises(SourceError, match=r"is cut short: 00000/img00000001\.png must have"):
        source.read(entry)


def test_a_folder_with_another_dataset_json_stays_a_folder(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(PNG)
    (tmp_path / LABELS).write_text('{"name": "cats"}')
    assert open_source(tmp_path).kind == "folder"


def test_export_has_the_exact_layout(store, tmp_path):
    assert export(store, tmp_path / "x.zip", "16-box", to="edm") == {"train": 24}
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        infos = archive.infolist()
        labels = json.loads(archive.read(LABELS))
    assert [info.filename for info in infos][:2] == [
        "00000/img00000000.png",
        "00000/img00000001.png",
    ]
    assert infos[-1].filename == LABELS
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    expected = [
        [f"00000/img{n:08}.png", label] for n, label in enumerate(store.labels("train").tolist())
    ]
    assert labels == {"labels": expected}
    export(store, tmp_path / "y.zip", "16-box", to="edm")
    assert (tmp_path / "x.zip").read_bytes() == (tmp_path / "y.zip").read_bytes()


def test_a_reader_of_the_documented_format_gets_our_pixels(store, tmp_path):
    export(store, tmp_path / "x.zip", "16-box", to="edm", splits=["val"])
    reader = ReaderOfEdm(tmp_path / "x.zip")
    assert reader.shape == (3, 16, 16)
    assert (reader.labels == store.labels("val")).all()
    images = store.images("val", "16-box")
    assert len(reader.names) == len(images)
    for number, image in enumerate(images):
        assert (reader.draw_image(number) == image.transpose(2, 0, 1)).all()
    reader.zip.close()


def test_pyspng_decodes_our_images(store, tmp_path):
    pyspng = pytest.importorskip("pyspng")  # the decoder of those data loaders
    export(store, tmp_path / "x.zip", "16-box", to="edm")
    images = store.images("train", "16-box")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        for number, image in enumerate(images):
            assert (pyspng.load(archive.read(f"00000/img{number:08}.png")) == image).all()


def test_export_is_built_again_to_the_same_rows(store, tmp_path):
    export(store, tmp_path / "x.zip", "8-box", to="edm")
    manifest = lowres.build(tmp_path / "x.zip", tmp_path / "again")
    again = lowres.open_store(tmp_path / "again")
    assert again.classes == ("0", "1", "2", "3")
    assert manifest.variants == ("8-box",)
    assert (again.labels("train") == store.labels("train")).all()
    assert (again.images("train", "8-box") == store.images("train", "8-box")).all()


def test_exports_that_are_refused(store, tmp_path, source):
    with pytest.raises(StoreError, match=r"must end in \.zip, was .*set$"):
        export(store, tmp_path / "set", "16-box", to="edm")
    lowres.build(source, tmp_path / "odd", lowres.BuildOptions(size=(28,)))
    with pytest.raises(StoreError, match=r"sizes of a power of two .*; was 28"):
        export(lowres.open_store(tmp_path / "odd"), tmp_path / "x.zip", "28-box", to="edm")
    with pytest.raises(StoreError, match="edm has one split"):
        export(store, tmp_path / "x.zip", "16-box", to="edm", splits=["train", "val"])
    assert sorted(child.name for child in tmp_path.iterdir()) == ["odd"]


def test_native_size_is_that_of_the_first_square_png(tmp_path):
    for data, side in [
        (encoded(draw_image(1, 20, 16), "PNG"), None),
        (encoded(draw_image(1, 16, 16)), None),
        (PNG[:16] + struct.pack(">2L", 2048, 2048) + PNG[24:], None),
        (PNG, 16),
    ]:
        path = members(tmp_path / "set.zip", [["a.png", 0], ["b.png", 1]], a=data, b=PNG)
        assert EdmSource(path).index().native_px == side
