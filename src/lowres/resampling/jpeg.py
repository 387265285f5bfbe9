"""JPEGs by simplejpeg, in two thirds of the time, if its pixels are certain to be Pillow's.

Both decode with libjpeg-turbo, and both return the same bytes for a file that it reads without a
warning. They differ in what they accept: Pillow parses the segments before the pixels itself and
refuses some that libjpeg would skip, and it ignores warnings. Therefore lowres checks the segments
here first. Pillow decodes every file with an unusual segment, and every file that simplejpeg
refuses in its strict mode.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

try:
    import simplejpeg
except (ImportError, ValueError):  # the latter: it was compiled for another NumPy
    simplejpeg = None

SCAN, METADATA = 0xDA, 0xE1
FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Start of a frame in Huffman coding: baseline, extended, progressive. Arithmetic coding is not
among them: Pillow cannot read it beyond 64 kB."""
OPAQUE = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE3, 0xED), 0xEF})
"""Tables, comments and APP segments, in which Pillow finds no errors that libjpeg does not find."""
EXIF = b"Exif\0\0"
ORIENTATION = 0x0112
UPRIGHT = (ORIENTATION, 3, 1, 1)
"""The entry of EXIF: its tag; type, a 16-bit integer; count; value."""


class Plain(NamedTuple):
    """A JPEG without unusual segments, decoded.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, C-contiguous and read-only, as `np.asarray` of Pillow's image.
        may_be_turned: neither EXIF nor XMP excludes an orientation other than upright.
    """

    pixels: NDArray[np.uint8]
    may_be_turned: bool


def decode_plain(data: bytes, *, exif_rotate: bool = False) -> Plain | None:
    """Decode a JPEG of one or three components without unusual segments.

    Args:
        data: a file of any format.
        exif_rotate: leave images to Pillow if an orientation may turn them.

    Returns:
        None if Pillow has to decode the file.
    """
    places = _metadata(data)
    if simplejpeg is None or places is None or not same_decoder():
        return None
    may_be_turned = bool(places) and not _are_upright(data, places)
    if may_be_turned and exif_rotate:
        return None
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except (ValueError, RuntimeError, MemoryError):  # damage, even slight; no decoder; no memory
        return None
    pixels.flags.writeable = False
    return Plain(pixels, may_be_turned)


def _metadata(data: bytes) -> list[tuple[int, int]] | None:
    """Return begin and end of each segment of EXIF or XMP before the first scan.

    None if Pillow may refuse a segment up to there, and for images beyond Pillow's limit of pixels,
    of which it warns or which it refuses.
    """
    if not data.startswith(b"\xff\xd8"):
        return None
    places: list[tuple[int, int]] = []
    pixels, at, size = 0, 2, len(data)
    while at + 4 <= size and data[at] == 0xFF:
        marker = data[at + 1]
        end = at + 2 + (data[at + 2] << 8 | data[at + 3])
        if marker == SCAN:
            limit = Image.MAX_IMAGE_PIXELS
            whole = pixels > 0 and end <= size and (limit is None or pixels <= limit)
            return places if whole else None
        if marker in FRAMES:
            pixels = 0 if pixels else _frame_pixels(data, at, end)
            if not pixels:
                return None
        elif marker not in OPAQUE and not (marker in CHECKED and CHECKED[marker](data, at, end)):
            return None
        if marker == METADATA:
            places.append((at + 4, end))
        if end < at + 4:
            return None
        at = end
    return None


def _are_upright(data: bytes, places: Sequence[tuple[int, int]]) -> bool:
    """Return whether segments of EXIF and XMP leave no doubt that the image is upright.

    Pillow joins all EXIF, and looks for an orientation in its first directory, then in XMP. It
    needs a third of a decode for that.
    """
    parts = [data[begin:end] for begin, end in places]
    exif = b"".join(part.removeprefix(EXIF) for part in parts if part.startswith(EXIF))
    others = [part for part in parts if not part.startswith(EXIF)]
    return not any(b"Orientation" in part for part in others) and (not exif or _is_upright(exif))


def _is_upright(exif: bytes) -> bool:
    """Return whether each orientation in the first directory of EXIF, a TIFF, is upright."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return False
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start + 2 > len(exif):
        return False
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    entries = exif[start + 2 : start + 2 + 12 * count]
    if len(entries) < 12 * count:
        return False
    read = struct.iter_unpack(f"{order}HHIH2x", entries)
    return all(entry == UPRIGHT for entry in read if entry[0] == ORIENTATION)


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
