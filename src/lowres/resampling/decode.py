"""Encoded bytes to RGB, as Pillow decodes and converts them today or did in 2017."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lowres.errors import ImageError
from lowres.resampling import MAX_PIXELS
from lowres.resampling.jpeg import decode_plain
from lowres.variant import Rule

TOO_LARGE = "more than --max-pixels"
"""Words of the error of an image with too many pixels; the limit follows."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""The formats that are tried, whatever the name of a file. Some others of Pillow (EPS) start other
programs."""


def decode(data: bytes, *, exif_rotate: bool = False, rule: Rule = "pillow") -> NDArray[np.uint8]:
    """Decode one image, or the first frame of several.

    Grey, palette, alpha, CMYK and 16-bit images become RGB as `Image.convert("RGB")` does it:
    alpha is dropped, 16-bit grey is clipped at 255. The rules differ only for CMYK.

    Args:
        data: a whole JPEG, PNG, WebP, GIF, BMP or TIFF file.
        exif_rotate: turn the image by its EXIF orientation. The released data was not turned.
        rule: that of the conversion of CMYK.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: the bytes are no image of these formats, are cut short, or describe an image
            beyond Pillow's limit against decompression bombs.
    """
    return decode_for(data, (rule,), exif_rotate=exif_rotate)[rule]


def decode_for(
    data: bytes, rules: Iterable[Rule], *, exif_rotate: bool = False
) -> dict[Rule, NDArray[np.uint8]]:
    """Decode one image once, for several rules; see `decode`.

    Returns:
        The image under each rule; the same array if they agree.

    Raises:
        ImageError: see `decode`.
    """
    plain = decode_plain(data, exif_rotate=exif_rotate)
    if plain is not None:
        return dict.fromkeys(rules, plain)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            turned = ImageOps.exif_transpose(image) if exif_rotate else image
            if turned.mode == "CMYK":
                return {rule: _from_cmyk(turned, rule) for rule in rules}
            return dict.fromkeys(rules, np.asarray(turned.convert("RGB")))
    except UnidentifiedImageError as error:
        reason = "is empty" if not data else f"is none of {', '.join(FORMATS)}"
        raise ImageError(reason) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found = re.search("[0-9]+", str(error))
        pixels = f"{int(found[0]):,} pixels, " if found else ""
        limit = Image.MAX_IMAGE_PIXELS or 0
        raise ImageError(f"has {pixels}{TOO_LARGE} {limit:,}") from error
    except MemoryError:
        raise
    # Pillow does not document what its decoders raise on a damaged file.
    except Exception as error:
        raise ImageError(str(error) or type(error).__name__) from error


def _from_cmyk(image: Image.Image, rule: Rule) -> NDArray[np.uint8]:
    """Convert CMYK as Pillow does today, or as it did up to 4.2 (`Convert.c`)."""
    if rule != "release-2017":
        return np.asarray(image.convert("RGB"))
    inks = np.asarray(image).astype(np.int16)
    levels: NDArray[np.int16] = np.clip(255 - inks[..., :3] - inks[..., 3:], 0, 255)
    return levels.astype(np.uint8)


@contextmanager
def quiet_decoder(max_pixels: int | None = MAX_PIXELS) -> Iterator[None]:
    """Silence Pillow's warnings (such as odd EXIF), and let it refuse images that are too large.

    Enter it once around all decoding, because all threads share filter and limit.

    Args:
        max_pixels: images with more pixels raise an ImageError before they are decoded; None for
            no limit.
    """
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
