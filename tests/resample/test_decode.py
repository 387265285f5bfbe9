"""Decoding: every mode and format is Pillow's convert("RGB"), and damage is an error."""

import io
import runpy
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowres.errors import PictureError
from lowres.resample.decode import decode, decode_for, quiet_decoder
from pictures import encoded, picture

ARRAY = picture(3, 41, 30)
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
        ours = decode(data)
    assert ours.shape == (30, 41, 3)
    np.testing.assert_array_equal(ours, expected)


def test_cmyk_of_2017():
    golden = runpy.run_path(str(Path(__file__).with_name("golden.py")))
    inks = golden["noise"](24, 24, 4)
    data = saved(Image.frombytes("CMYK", (24, 24), inks.tobytes()), "TIFF")
    both = decode_for(data, ("pillow", "release-2017"))
    np.testing.assert_array_equal(both["release-2017"], np.load(golden["FILE"])["cmyk"])
    np.testing.assert_array_equal(both["pillow"], decode(data))
    assert (both["pillow"] != both["release-2017"]).any()


def test_other_modes_are_the_same_picture_under_both_rules():
    for name in ("jpeg", "jpeg grey", "png palette", "png alpha"):
        image, kind, *_ = ODD[name]
        both = decode_for(saved(image, kind), ("pillow", "release-2017"))
        assert both["pillow"] is both["release-2017"]


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
        (b"no picture at all", "is none of JPEG, PNG"),
        (encoded(ARRAY)[:-200], "truncated"),
        (encoded(ARRAY, "PNG")[:-200], "truncated|Truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is none of"),
        (huge_png(), "decompression bomb"),
    ],
)
def test_damage_is_an_error_with_its_reason(data, words):
    with pytest.raises(PictureError, match=words):
        decode(data)


def test_warnings_are_silenced_only_inside():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with quiet_decoder():
            warnings.warn_explicit("odd EXIF", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")
        warnings.warn_explicit("odd EXIF", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")
    assert len(seen) == 1
