"""Decoding: every mode and format is Pillow's convert("RGB"), and damage is an error."""

import io
import runpy
import struct
import sys
import tarfile
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, features
from PIL.JpegImagePlugin import JpegImageFile

from images import draw_image, encoded
from lowres.errors import ImageError
from lowres.resampling import jpeg
from lowres.resampling.decode import decode, decode_for, quiet_decoder

ODD_JPEGS = runpy.run_path(str(Path(__file__).with_name("odd_jpegs.py")))
FAST, SLOW = ODD_JPEGS["FAST"], ODD_JPEGS["SLOW"]

ARRAY = draw_image(3, 41, 30)
RGB = Image.fromarray(ARRAY)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sixteen_bit() -> Image.Image:
    return Image.fromarray(ARRAY[..., 0].astype(np.uint16) * 3)


ODD = {
    "jpeg": (RGB, "JPEG"),
    "jpeg progressive": (RGB, "JPEG", {"progressive": True}),
    "jpeg grey": (RGB.convert("L"), "JPEG"),
    "jpeg cmyk": (RGB.convert("CMYK"), "JPEG"),
    "png": (RGB, "PNG"),
    "png palette": (RGB.quantize(16), "PNG"),
    "png palette, transparent": (RGB.quantize(16), "PNG", {"transparency": b"\x00\x80"}),
    "png alpha": (RGB.convert("RGBA"), "PNG"),
    "png grey alpha": (RGB.convert("LA"), "PNG"),
    "png one bit": (RGB.convert("1"), "PNG"),
    "png 16 bit": (sixteen_bit(), "PNG"),
    "webp lossless": (RGB, "WEBP", {"lossless": True}),
    "bmp": (RGB, "BMP"),
    "tiff": (RGB, "TIFF"),
    "tiff 16 bit": (sixteen_bit(), "TIFF"),
}


@pytest.mark.parametrize("name", ODD)
def test_answer_is_pillows(name):
    image, kind, *options = ODD[name]
    data = saved(image, kind, **(options[0] if options else {}))
    with quiet_decoder():
        with Image.open(io.BytesIO(data)) as opened:
            expected = np.asarray(opened.convert("RGB"))
        ours = decode(data, depth="clip")
    assert ours.shape == (30, 41, 3)
    np.testing.assert_array_equal(ours, expected)


def test_cmyk_of_2017():
    golden = runpy.run_path(str(Path(__file__).with_name("golden.py")))
    inks = golden["noise"](24, 24, 4)
    data = saved(Image.frombytes("CMYK", (24, 24), inks.tobytes()), "TIFF")
    both = decode_for(data, ("pillow", "release-2017"))
    np.testing.assert_array_equal(both.images["release-2017"], np.load(golden["FILE"])["cmyk"])
    np.testing.assert_array_equal(both.images["pillow"], decode(data))
    assert (both.images["pillow"] != both.images["release-2017"]).any()


def test_other_modes_are_the_same_image_under_both_rules():
    for name in ("jpeg", "jpeg grey", "png palette", "png alpha"):
        image, kind, *_ = ODD[name]
        both = decode_for(saved(image, kind), ("pillow", "release-2017"))
        assert both.images["pillow"] is both.images["release-2017"]


@pytest.mark.parametrize(("kind", "words"), [(1, None), (2, "signed 8-bit integers")])
def test_signed_bytes_of_a_tiff_are_not_read_as_unsigned(kind, words):
    values = bytes(range(100, 200)) * 4
    tags = {
        256: 20, 257: 20, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 20, 279: 400, 339: kind,
    }  # fmt: skip
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    data = b"II*\0" + struct.pack("<I", 408) + values + struct.pack("<H", len(tags)) + entries
    data += bytes(4)
    if words is None:
        assert decode(data)[0, 0].tolist() == [100] * 3
    else:
        with pytest.raises(ImageError, match=words):
            decode(data)


def test_first_frame_of_a_gif():
    second = Image.fromarray(255 - ARRAY)
    data = saved(RGB, "GIF", save_all=True, append_images=[second])
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.n_frames == 2
        expected = np.asarray(opened.convert("RGB"))
    np.testing.assert_array_equal(decode(data), expected)


def test_exif_orientation_only_when_asked():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to look at it
    data = saved(RGB, "JPEG", exif=exif)
    assert decode(data).shape == (30, 41, 3)
    np.testing.assert_array_equal(decode(data, exif_rotate=True), np.rot90(decode(data), -1))


def huge_png() -> bytes:
    """A PNG that says it is 60,000 pixels square."""
    header = bytearray(encoded(ARRAY, "PNG"))
    header[16:24] = struct.pack(">II", 60_000, 60_000)
    header[29:33] = struct.pack(">I", zlib.crc32(header[12:29]))
    return bytes(header)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"no image at all", "is none of JPEG, PNG"),
        (encoded(ARRAY)[:-200], "truncated"),
        (encoded(ARRAY, "PNG")[:-200], "truncated|Truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is none of"),
        (huge_png(), "3,600,000,000 pixels, more than --max-pixels"),
    ],
)
def test_damage_is_an_error_with_its_reason(data, words):
    with pytest.raises(ImageError, match=words):
        decode(data)


def odd_tiff(compression: str) -> bytes:
    """A TIFF of which Pillow reads the directory, and libtiff cannot read an image."""
    data = saved(RGB, "TIFF", compression=compression)
    if compression == "jpeg":
        return data[:-9]
    return data[:8] + bytes(50) + data[58:]


@pytest.mark.skipif(not features.check("libtiff"), reason="this Pillow has no libtiff")
def test_what_libtiff_says_is_in_the_error_of_its_image(capfd):
    """libtiff writes to standard error without a name; threads that decode keep lines apart."""
    wanted = {
        odd_tiff("tiff_adobe_deflate"): "ZIPDecode: Decoding error at scanline 0",
        odd_tiff("jpeg"): "JPEGLib: Quantization table 0x00 was not defined",
        saved(RGB, "TIFF")[:-300]: "image file is truncated",
    }

    def reason_of(data: bytes) -> str:
        with pytest.raises(ImageError) as caught:
            decode(data)
        return str(caught.value)

    with quiet_decoder(), ThreadPoolExecutor(4) as threads:
        tried = list(wanted) * 20
        for data, reason in zip(tried, threads.map(reason_of, tried), strict=True):
            assert wanted[data] in reason
            assert not any(words in reason for words in wanted.values() if words != wanted[data])
    assert capfd.readouterr().err == ""
    with (
        Image.open(io.BytesIO(tried[0])) as image,
        pytest.raises(OSError, match=r"decoder error|^-2$"),  # the number by an older Pillow
    ):
        image.load()
    assert "ZIPDecode" in capfd.readouterr().err, "images of others: as without lowres"


def test_warnings_are_silenced_only_inside():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with quiet_decoder():
            warnings.warn_explicit("odd EXIF", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")
        warnings.warn_explicit("odd EXIF", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")
    assert len(seen) == 1


def outcome(data: bytes, **options: object) -> tuple:
    """Decode to something comparable: pixels, or the text of the error."""
    with quiet_decoder():
        return outcome_aloud(data, **options)


def outcome_aloud(data: bytes, **options: object) -> tuple:
    try:
        pixels = decode(data, **options)
    except ImageError as error:
        return ("error", str(error))
    assert pixels.flags.c_contiguous
    return (pixels.dtype, pixels.shape, pixels.flags.writeable, pixels.tobytes())


@pytest.fixture
def by_pillow(monkeypatch):
    """The outcome with Pillow alone."""

    def outcome_without(data: bytes, **options: object) -> tuple:
        with monkeypatch.context() as patch:
            patch.setattr(jpeg, "simplejpeg", None)
            return outcome(data, **options)

    return outcome_without


@pytest.fixture
def same_libraries():
    if not jpeg.same_decoder():
        pytest.skip("this Pillow is built on another libjpeg, so that it decodes everything")


@pytest.mark.parametrize("exif_rotate", [False, True])
@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_odd_jpegs_are_as_with_pillow_alone(name, exif_rotate, by_pillow):
    data = (FAST | SLOW)[name]
    assert outcome(data, exif_rotate=exif_rotate) == by_pillow(data, exif_rotate=exif_rotate)


@pytest.mark.usefixtures("same_libraries")
@pytest.mark.parametrize("name", FAST)
def test_plain_jpegs_do_not_need_pillow(name, monkeypatch):
    monkeypatch.setattr(JpegImageFile, "load", None)
    both = decode_for(FAST[name], ("pillow", "release-2017"))
    assert both.images["pillow"] is both.images["release-2017"]
    assert both.images["pillow"].shape[2] == 3


@pytest.mark.parametrize("name", SLOW)
def test_pillow_decodes_odd_jpegs(name):
    assert jpeg.decode_plain(SLOW[name]) is None


@pytest.mark.usefixtures("same_libraries")
def test_pillow_decodes_what_may_be_turned():
    turnable = {name for name in FAST if name.startswith(("EXIF", "bad EXIF", "XMP"))}
    assert len(turnable) == 6
    for name, data in FAST.items():
        assert (jpeg.decode_plain(data, exif_rotate=True) is None) == (name in turnable), name


@pytest.mark.usefixtures("same_libraries")
def test_upright_images_with_metadata_are_known_without_pillow(monkeypatch, by_pillow):
    names = [name for name in FAST if name.startswith("upright")]
    expected = [by_pillow(FAST[name], exif_rotate=True) for name in names]
    assert len(names) == 4
    monkeypatch.setattr(Image, "open", None)
    assert [outcome(FAST[name], exif_rotate=True) for name in names] == expected


@pytest.mark.usefixtures("same_libraries")
def test_damaged_metadata_is_read_as_with_pillow_alone(by_pillow):
    random, certain = np.random.default_rng(5), 0
    whole = [ODD_JPEGS["exif"](turned, order) for turned in (1, 6) for order in ("<", ">")]
    for number in range(300):
        exif = bytearray(whole[number % len(whole)])
        for _ in range(random.integers(1, 4)):
            exif[random.integers(len(exif))] = random.choice([0, 1, 3, 6, 8, 0x12, 255])
        kept = bytes(exif[: random.integers(8, len(exif) + 9)])
        data = ODD_JPEGS["with_segment"](0xE1, kept, ODD_JPEGS["jpeg"](dpi=(72, 72)))
        plain = jpeg.decode_plain(data)
        certain += plain is not None and not plain.may_be_turned
        assert outcome(data, exif_rotate=True) == by_pillow(data, exif_rotate=True)
    assert 30 < certain < 270


@pytest.mark.parametrize("limit", [None, 1230, 1229, 615, 614])
@pytest.mark.usefixtures("same_libraries")
def test_images_beyond_the_limit_of_pixels_are_refused_by_both_decoders(limit, monkeypatch):
    large = limit is not None and limit < 1230
    data = encoded(ARRAY)
    with quiet_decoder(limit):
        assert (jpeg.decode_plain(data) is None) == large
        found = outcome_aloud(data)
        monkeypatch.setattr(jpeg, "simplejpeg", None)
        assert outcome_aloud(data) == found
    if large:
        assert found == ("error", f"has 1,230 pixels, more than --max-pixels {limit:,}")
    assert Image.MAX_IMAGE_PIXELS > 1230


def test_damage_by_chance_is_as_with_pillow_alone(by_pillow):
    images = ODD_JPEGS["damaged"](3000)
    found = [outcome(data) for data in images]
    assert found == [by_pillow(data) for data in images]
    errors = sum(kind[0] == "error" for kind in found)
    assert 500 < errors < 2500


def test_several_threads_get_the_same(by_pillow):
    images = [*FAST.values(), *SLOW.values()] * 4
    with quiet_decoder(), ThreadPoolExecutor(4) as pool:
        found = list(pool.map(outcome_aloud, images))
    assert found == [by_pillow(data) for data in images]


def test_simplejpeg_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    alone = runpy.run_path(jpeg.__file__)
    assert alone["simplejpeg"] is None
    assert alone["decode_plain"](encoded(ARRAY)) is None


def test_libraries_that_differ_are_noticed(monkeypatch):
    real = jpeg.simplejpeg
    other = SimpleNamespace(
        encode_jpeg=real.encode_jpeg, decode_jpeg=lambda data, **_: real.decode_jpeg(data) ^ 1
    )
    jpeg.same_decoder.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(jpeg, "simplejpeg", other)
        assert jpeg.decode_plain(encoded(ARRAY)) is None
    jpeg.same_decoder.cache_clear()


@pytest.mark.usefixtures("same_libraries")
def test_real_photographs_take_the_fast_path(shared, by_pillow):
    with tarfile.open(shared / "imagenet-1-per-class.tar") as archive:
        files = [member for member in archive if member.isfile()][::8]
        images = [archive.extractfile(member).read() for member in files]
    assert sum(jpeg.decode_plain(data) is not None for data in images) > 0.95 * len(images)
    for data in images:
        assert outcome(data) == by_pillow(data)
