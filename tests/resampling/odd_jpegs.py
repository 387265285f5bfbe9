"""JPEGs that are odd in one respect each, built from Pillow's own by their segments."""

import io
import itertools
import struct

import numpy as np
from PIL import Image

from images import draw_image, encoded

ARRAY = draw_image(3, 41, 30)
RGB = Image.fromarray(ARRAY)
SOI, EOI, SOS = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
DPI = {"dpi": (72, 72)}
RESOURCE = b"8BIM\x04\x04\0\0\0\0\0\x02ab"
"""One of Photoshop's: number, empty name, length, two bytes."""


def jpeg(image: Image.Image = RGB, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def cut(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut a JPEG into the segments before its first scan, and the rest."""
    at, found = 2, []
    while data[at : at + 2] != SOS:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        found.append(data[at:end])
        at = end
    return found, data[at:]


def with_segment(marker: int, body: bytes, data: bytes | None = None, *, place: int = 1) -> bytes:
    """Put a segment in, by default behind that of JFIF."""
    segments, rest = cut(data or jpeg())
    segments.insert(place, segment(marker, body))
    return SOI + b"".join(segments) + rest


def with_frame(change: dict[int, int], data: bytes | None = None) -> bytes:
    """Change bytes of the frame's segment: 1 is its marker, 4 the bits, 5:7 the height."""
    segments, rest = cut(data or jpeg())
    frame = next(n for n, found in enumerate(segments) if found[1] in (0xC0, 0xC2))
    for place, value in change.items():
        segments[frame] = segments[frame][:place] + bytes((value,)) + segments[frame][place + 1 :]
    return SOI + b"".join(segments) + rest


def without(marker: int) -> bytes:
    segments, rest = cut(jpeg())
    return SOI + b"".join(found for found in segments if found[1] != marker) + rest


def one_scan_each() -> bytes:
    """Three components, of which each has a scan of its own."""
    planes = [cut(encoded(ARRAY[..., channel])) for channel in range(3)]
    body = struct.pack(">BHHB", 8, 30, 41, 3) + bytes((1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0))
    tables = [segment(0xC0, body) if found[1] == 0xC0 else found for found in planes[0][0]]
    scans = [segment(0xDA, bytes((1, n + 1, 0, 0, 63, 0))) for n in range(3)]
    data = [rest.removesuffix(EOI)[10:] for _, rest in planes]
    return SOI + b"".join(tables) + b"".join(map(bytes.__add__, scans, data)) + EOI


def after_first_scan(data: bytes) -> bytes:
    """End a progressive image after its first scan, without damage."""
    segments, rest = cut(data)
    return SOI + b"".join(segments) + rest[: rest.index(SOS, 2)] + EOI


def exif(orientation: int = 6, order: str = "<", more: bytes = b"") -> bytes:
    """EXIF with an orientation between a description and a resolution."""
    entries = [
        (0x010E, struct.pack(f"{order}HII", 2, 12, 50)),
        (0x0112, struct.pack(f"{order}HIHH", 3, 1, orientation, 0)),
        (0x0128, struct.pack(f"{order}HIHH", 3, 1, 2, 0)),
    ]
    body = b"".join(struct.pack(f"{order}H", tag) + value for tag, value in entries) + more
    head = b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08"
    count = struct.pack(f"{order}H", len(body) // 12)
    return b"Exif\0\0" + head + count + body + bytes(4) + b"a small face"


def short_resolution() -> bytes:
    """EXIF whose resolution is the text "1": Pillow takes a JPEG with it for none."""
    entries = struct.pack("<HHHI4sHHII", 2, 0x011A, 2, 2, b"1", 0x0128, 3, 1, 2)
    return b"Exif\0\0II*\0\x08\0\0\0" + entries + bytes(4)


def several() -> bytes:
    buffer = io.BytesIO()
    RGB.save(buffer, "MPO", save_all=True, append_images=[Image.fromarray(255 - ARRAY)])
    return buffer.getvalue()


def noise() -> bytes:
    """More than two of the blocks of 64 kB in which Pillow reads, of noise."""
    values = np.arange(300 * 250 * 3, dtype=np.uint32) * np.uint32(2654435761) >> np.uint32(24)
    return encoded(values.astype(np.uint8).reshape(250, 300, 3), quality=95)


JFIF = b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
FAST = {
    **{
        f"{sampling}, {kind}": jpeg(subsampling=sampling, **options)
        for sampling, (kind, options) in itertools.product(
            ("4:4:4", "4:2:2", "4:2:0"),
            {
                "baseline": {},
                "progressive": {"progressive": True},
                "optimised": {"optimize": True, "quality": 95},
                "restarts": {"restart_marker_blocks": 2},
            }.items(),
        )
    },
    "grey": jpeg(RGB.convert("L")),
    "grey, progressive": jpeg(RGB.convert("L"), progressive=True),
    "one pixel": jpeg(RGB.crop((3, 3, 4, 4))),
    "several blocks": noise(),
    "stored as RGB": jpeg(keep_rgb=True, subsampling=0),
    "extended": with_frame({1: 0xC1}),
    "a scan each": one_scan_each(),
    "progressive, one scan": after_first_scan(jpeg(progressive=True)),
    "no JFIF": without(0xE0),
    "comment": jpeg(comment=b"a comment"),
    "profile in two": jpeg(icc_profile=bytes(range(250)) * 300),
    "EXIF beside dots per inch": jpeg(exif=exif(), **DPI),
    "bad EXIF beside dots per inch": jpeg(exif=b"Exif\0\0MM\0*\0\0", **DPI),
    "XMP": with_segment(0xE1, XMP + b'<x tiff:Orientation="6"/>'),
    "upright by EXIF": jpeg(exif=exif(1), **DPI),
    "upright by EXIF, big end first": jpeg(exif=exif(1, ">"), **DPI),
    "upright by EXIF beside XMP": with_segment(0xE1, XMP + b"<x/>", jpeg(exif=exif(1), **DPI)),
    "upright, XMP without an orientation": with_segment(0xE1, XMP + b"<x/>"),
    "XMP beside upright EXIF": with_segment(
        0xE1, XMP + b'<x tiff:Orientation="6"/>', jpeg(exif=exif(1), **DPI)
    ),
    "EXIF of two orientations": jpeg(exif=exif(1, more=exif(6)[28:40]), **DPI),
    "EXIF in two segments": with_segment(0xE1, exif(6), jpeg(exif=exif(1), **DPI)),
    "Photoshop": with_segment(0xED, b"Photoshop 3.0\0" + RESOURCE),
    "Photoshop, cut in a name": with_segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\x09ab"),
    "Adobe": with_segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01"),
    "Adobe, RGB": with_segment(0xEE, b"Adobe\0\x64\0\0\0\0\0", without(0xE0)),
    "other segments": with_segment(0xEC, b"Ducky\0\x01", with_segment(0xE5, b"")),
    "segment behind the frame": with_segment(0xE7, b"x", place=4),
    "no Huffman tables": without(0xC4),
    "few bytes before the end": jpeg().removesuffix(EOI) + b"bytes" + EOI,
    "something after the end": jpeg() + b"something",
    "another after the end": jpeg() + jpeg(RGB.convert("L")),
}
"""What simplejpeg may decode."""

SLOW = {
    "CMYK": jpeg(RGB.convert("CMYK")),
    "several images": several(),
    "start twice": SOI + jpeg(),
    "fill byte": SOI + b"\xff" + jpeg()[2:],
    "junk between segments": SOI + b"junk" + jpeg()[2:],
    "restart between segments": SOI + b"\xff\xd0" + jpeg()[2:],
    "only the start": SOI,
    "only the segments": jpeg()[:-1].split(SOS)[0],
    "no frame": without(0xC0),
    "no quantisation": without(0xDB),
    "two frames": with_segment(0xC0, cut(jpeg())[0][3][4:]),
    "frame too short": with_segment(0xC0, b"\x08\0\x1e\0\x29\x03", without(0xC0)),
    "frame with too many bytes": with_segment(0xC0, cut(jpeg())[0][3][4:] + b"x", without(0xC0)),
    "12 bits": with_frame({4: 12}),
    "two components": with_frame({9: 2}),
    "no height": with_frame({5: 0, 6: 0}),
    "no width": with_frame({7: 0, 8: 0}),
    "taller than its data": with_frame({5: 1}),
    "odd sampling": with_frame({11: 0x33}),
    "lossless": with_frame({1: 0xC3}),
    "hierarchical": with_frame({1: 0xC5}),
    "arithmetic": with_frame({1: 0xC9}),
    "arithmetic, progressive": with_frame({1: 0xCA}, jpeg(progressive=True)),
    "number of lines": with_segment(0xDC, b"\0\x1e"),
    "reserved segment": with_segment(0xF0, b"x"),
    "segment of no length": SOI + b"\xff\xe5\0\0" + jpeg()[2:],
    "segment of length one": SOI + b"\xff\xfe\0\x01" + jpeg()[2:],
    "segment beyond the end": SOI + b"\xff\xfe\xff\xff" + jpeg()[2:],
    "JFIF without a version": with_segment(0xE0, b"JFIF\0\x01"),
    "JFIF of another version": with_segment(0xE0, JFIF.replace(b"\0\x01", b"\0\x02", 1)),
    "JFIF extension": with_segment(0xE0, b"JFXX\0\x10"),
    "EXIF": jpeg(exif=exif()),
    "bad EXIF": jpeg(exif=b"Exif\0\0MM\0*"),
    "EXIF with a resolution of text": jpeg(exif=short_resolution()),
    "EXIF beside dots per centimetre": with_segment(
        0xE1, exif(), jpeg()[:13] + b"\x02" + jpeg()[14:]
    ),
    "profile without numbers": with_segment(0xE2, b"ICC_PROFILE\0\x01"),
    "profile, half of it": with_segment(0xE2, b"ICC_PROFILE\0\x01\x02abc"),
    "many bytes before the end": jpeg().removesuffix(EOI) + bytes(50) + EOI,
    "FlashPix": with_segment(0xE2, b"FPXR\0"),
    "index that is none": with_segment(0xE2, b"MPF\0II*\0\x08\0\0\0"),
    "Photoshop, cut after a number": with_segment(
        0xED, b"Photoshop 3.0\0" + RESOURCE + RESOURCE[:6]
    ),
    "Adobe without a version": with_segment(0xEE, b"Adobe\0"),
    "Adobe, unknown colours": with_segment(0xEE, b"Adobe\0\x64\0\0\0\0\x03", without(0xE0)),
    "no end": jpeg().removesuffix(EOI),
    "cut short": jpeg()[:-200],
    "cut short, with an end": jpeg()[:-200] + EOI,
    "cut in the second block": noise()[:70_000],
    "restart out of place": jpeg(restart_marker_blocks=2).replace(b"\xff\xd1", b"\xff\xd5"),
    "PNG": encoded(ARRAY, "PNG"),
    "GIF": encoded(ARRAY, "GIF"),
}
"""What is left to Pillow."""


def damaged(count: int) -> list[bytes]:
    """Change bytes at places drawn from a fixed seed; in one of three, also cut or end early."""
    chance = np.random.default_rng(1)
    whole = [data for data in FAST.values() if len(data) < 5000]
    found = []
    for number in range(count):
        data = bytearray(whole[number % len(whole)])
        for place in chance.integers(2, len(data), chance.integers(1, 4)):
            data[place] = chance.choice((0, 0xFF, 0xD9, data[place] ^ 1, data[place] ^ 16))
        end = chance.integers(4, len(data)) if number % 3 == 0 else len(data)
        found.append(bytes(data[:end]) + (EOI if number % 2 else b""))
    return found
