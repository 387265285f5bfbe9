"""JPEGs by simplejpeg, in two thirds of the time, wherever its pixels are sure to be Pillow's.

Both decode with libjpeg-turbo, and a file that it reads without a warning gives both the same
bytes. They differ in what they let through: Pillow parses the segments before the pixels itself
and refuses what libjpeg would pass over, and it shrugs off warnings. So the segments are walked
here first, and what is not plain in every respect is left to Pillow, as is all that simplejpeg
does not take in its strict mode.
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
"""Start of a frame in Huffman coding: baseline, extended, progressive. Not the arithmetic kinds,
which Pillow cannot read beyond 64 kB."""
OPAQUE = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE3, 0xED), 0xEF})
"""Tables, comments and APP segments, in which Pillow finds no fault that libjpeg does not find."""


def decode_plain(data: bytes, *, exif_rotate: bool = False) -> NDArray[np.uint8] | None:
    """Decode a JPEG of one or three components in which nothing is odd.

    Args:
        data: the file, of whatever kind.
        exif_rotate: leave the image alone where an EXIF orientation could turn it.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous and read-only, as `np.asarray` of Pillow's image; or
        None, where Pillow has to answer.
    """
    if simplejpeg is None or not _is_plain(data, exif_rotate) or not _same_pixels():
        return None
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except (ValueError, RuntimeError, MemoryError):  # damage, even slight; no decoder; no memory
        return None
    pixels.flags.writeable = False
    return pixels


def _is_plain(data: bytes, exif_rotate: bool) -> bool:
    """Whether all up to the first scan is such that Pillow would not refuse it.

    False also beyond Pillow's limit of pixels, where it warns or raises.
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


def _frame_pixels(data: bytes, at: int, end: int) -> int:
    """Pixels of the frame that the segment describes; 0 where it is not one for simplejpeg."""
    if end > len(data) or end < at + 10:
        return 0
    components = data[at + 9]
    if data[at + 4] != 8 or components not in (1, 3) or end != at + 10 + 3 * components:
        return 0
    return (data[at + 5] << 8 | data[at + 6]) * (data[at + 7] << 8 | data[at + 8])


def _is_jfif(data: bytes, at: int, end: int) -> bool:
    # Pillow refuses a JFIF segment without a version.
    return data.startswith(b"JFIF\0", at + 4) and end >= at + 18


def _is_harmless_app1(data: bytes, at: int, end: int) -> bool:
    # Pillow looks for the resolution in EXIF, and may fail at that, unless JFIF tells it in dots
    # per inch. That is looked for in first place only, where JFIF has to be.
    return not data.startswith(b"Exif", at + 4) or (
        data[2:4] == b"\xff\xe0" and data.startswith(b"JFIF\0", 6) and data[13] == 1
    )


def _is_profile(data: bytes, at: int, end: int) -> bool:
    # The others of this number are FlashPix, and the index of a file of several images.
    return data.startswith(b"ICC_PROFILE\0", at + 4) and end >= at + 18


def _is_whole_app13(data: bytes, at: int, end: int) -> bool:
    # Pillow raises where a resource of Photoshop ends after its number. It may be the last one
    # only, so that it need not be found by going through all of them.
    return data[end - 6 : end - 2] != b"8BIM"


def _is_adobe(data: bytes, at: int, end: int) -> bool:
    return data.startswith(b"Adobe", at + 4) and end >= at + 16


CHECKED: dict[int, Callable[[bytes, int, int], bool]] = {
    0xE0: _is_jfif,
    0xE1: _is_harmless_app1,
    0xE2: _is_profile,
    0xED: _is_whole_app13,
    0xEE: _is_adobe,
}
"""By marker: whether the segment from `at` to `end` is one that Pillow takes."""


@cache
def _same_pixels() -> bool:
    """Whether the two libraries at hand agree where builds of libjpeg are known not to."""
    try:
        return all(
            # Not by Image.open: whatever limit of pixels is set, it is not meant for these.
            np.array_equal(
                np.asarray(JpegImageFile(io.BytesIO(data))), simplejpeg.decode_jpeg(data)
            )
            for data in _telling()
        )
    except (OSError, ValueError):  # a Pillow without JPEG; a simplejpeg that refuses one of them
        return False


def _telling() -> Iterator[bytes]:
    """JPEGs whose pixels tell builds of libjpeg apart.

    The libjpeg of the IJG enlarges colours otherwise than libjpeg-turbo does, so all samplings
    are here. And up to 3.0.0 libjpeg-turbo smoothed a progressive image otherwise whose last
    scans are missing, which shows at 4:2:0.
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
