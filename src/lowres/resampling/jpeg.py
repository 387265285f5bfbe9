"""JPEGs by simplejpeg, in two thirds of the time, if its pixels are certain to be Pillow's.

Both decode with libjpeg-turbo, and both return the same bytes for a file that it reads without a
warning. They differ in what they accept: Pillow parses the segments before the pixels itself and
refuses some that libjpeg would skip, and it ignores warnings. Therefore lowres checks the segments
here first. Pillow decodes every file with an unusual segment, and every file that simplejpeg
refuses in its strict mode.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

try:
    import simplejpeg
except (ImportError, ValueError):  # the latter: it was compiled for another NumPy
    simplejpeg = None

SCAN = 0xDA
FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Start of a frame in Huffman coding: baseline, extended, progressive. Arithmetic coding is not
among them: Pillow cannot read it beyond 64 kB."""
OPAQUE = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE3, 0xED), 0xEF})
"""Tables, comments and APP segments, in which Pillow finds no errors that libjpeg does not find."""


def decode_plain(data: bytes, *, exif_rotate: bool = False) -> NDArray[np.uint8] | None:
    """Decode a JPEG of one or three components without unusual segments.

    Args:
        data: a file of any format.
        exif_rotate: leave images to Pillow if an EXIF orientation could turn them.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous and read-only, as `np.asarray` of Pillow's image; or
        None, if Pillow has to decode the file.
    """
    if simplejpeg is None or not _is_plain(data, exif_rotate) or not same_decoder():
        return None
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except (ValueError, RuntimeError, MemoryError):  # damage, even slight; no decoder; no memory
        return None
    pixels.flags.writeable = False
    return pixels


def _is_plain(data: bytes, exif_rotate: bool) -> bool:
    """Return whether Pillow accepts every segment up to the first scan.

    False also for images beyond Pillow's limit of pixels, of which it warns or which it refuses.
    """
    if not data.startswith(b"\xff\xd8"):
        return False
    pixels, at, size = 0, 2, len(data)
    while at + 4 <= size and data[at] == 0xFF:
        marker = data[at + 1]
        end = at + 2 + (data[at + 2] << 8 | data[at + 3])
        if marker == SCAN:
            limit = Image.MAX_IMAGE_PIXELS
            return pixels > 0 and end <= size and (limit is None or pixels <= limit)
        if marker in FRAMES:
            pixels = 0 if pixels else _frame_pixels(data, at, end)
            if not pixels:
                return False
        elif marker not in OPAQUE and not (marker in CHECKED and CHECKED[marker](data, at, end)):
            return False
        if (marker == 0xE1 and exif_rotate) or end < at + 4:
            return False
        at = end
    return False


def may_be_turned(data: bytes) -> bool:
    """Return whether a JPEG has EXIF or XMP before its first scan, which may turn it."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1] != SCAN:
        if data[at + 1] == 0xE1:
            return True
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return False


def _frame_pixels(data: bytes, at: int, end: int) -> int:
    """Return the number of pixels of a frame; 0 for a frame that simplejpeg must not decode."""
    if end > len(data) or end < at + 10:
        return 0
    components = data[at + 9]
    if data[at + 4] != 8 or components not in (1, 3) or end != at + 10 + 3 * components:
        return 0
    return (data[at + 5] << 8 | data[at + 6]) * (data[at + 7] << 8 | data[at + 8])


def _is_harmless_app1(data: bytes, at: int, end: int) -> bool:
    # Pillow reads the resolution from EXIF, and may fail there, unless JFIF has it in dots per
    # inch. JFIF has to be the first segment, so only that one is checked.
    return not data.startswith(b"Exif", at + 4) or (
        data[2:4] == b"\xff\xe0" and data.startswith(b"JFIF\0", 6) and data[13] == 1
    )


CHECKED: dict[int, Callable[[bytes, int, int], bool]] = {
    # Pillow refuses a JFIF segment without a version.
    0xE0: lambda data, at, end: data.startswith(b"JFIF\0", at + 4) and end >= at + 18,
    0xE1: _is_harmless_app1,
    # A colour profile. The others of this number are FlashPix and the index of several images.
    0xE2: lambda data, at, end: data.startswith(b"ICC_PROFILE\0", at + 4) and end >= at + 18,
    # Pillow raises if a resource of Photoshop ends after its number. Only the last resource can,
    # so the others need no check.
    0xED: lambda data, at, end: data[end - 6 : end - 2] != b"8BIM",
    0xEE: lambda data, at, end: data.startswith(b"Adobe", at + 4) and end >= at + 16,
}
"""By marker: whether Pillow accepts the segment from `at` to `end`."""


@cache
def same_decoder() -> bool:
    """Return whether Pillow and simplejpeg agree on images that builds of libjpeg differ on."""
    try:
        return all(
            # Not by Image.open, which applies the user's limit of pixels.
            np.array_equal(
                np.asarray(JpegImageFile(io.BytesIO(data))), simplejpeg.decode_jpeg(data)
            )
            for data in _revealing_jpegs()
        )
    except (OSError, ValueError):  # a Pillow without JPEG; a simplejpeg that refuses one of them
        return False


def _revealing_jpegs() -> Iterator[bytes]:
    """Make JPEGs that builds of libjpeg decode differently.

    The libjpeg of the IJG enlarges colours in another way than libjpeg-turbo, so all samplings are
    here. Up to 3.0.0, libjpeg-turbo smoothed a progressive image without its last scans in another
    way, which shows at 4:2:0.
    """
    y, x, channel = np.ogrid[:50, :70, :3]
    drawn = ((x * x + y * (3 * x + channel) * 5) % 251).astype(np.uint8)
    for sampling in ("444", "422", "420", "440", "411"):
        yield simplejpeg.encode_jpeg(drawn, quality=90, colorsubsampling=sampling)
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "JPEG", quality=90, subsampling="4:2:0", progressive=True)
    scan = bytes((0xFF, SCAN))
    first, rest = buffer.getvalue().split(scan, 1)
    yield first + scan + rest[: rest.index(scan)] + b"\xff\xd9"
