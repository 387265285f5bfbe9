"""Encoded bytes to RGB as Pillow gives it, with its own conversions or those of 2017."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lowres.errors import ImageError
from lowres.resampling.jpeg import decode_plain
from lowres.variant import Rule

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""The formats tried, whatever a file is called. Not all of Pillow's: some of those (EPS) start
other programs."""


def decode(data: bytes, *, exif_rotate: bool = False, rule: Rule = "pillow") -> NDArray[np.uint8]:
    """Decode one image; the first frame where there are several.

    Grey, palette, alpha, CMYK and 16-bit images become RGB as `Image.convert("RGB")` does it:
    alpha is dropped, 16-bit grey is clipped at 255. The rules differ for CMYK alone.

    Args:
        data: a whole JPEG, PNG, WebP, GIF, BMP or TIFF file.
        exif_rotate: turn the image as its EXIF orientation says. The released ImageNet
            variants do not.
        rule: whose conversion of CMYK.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: the bytes are no such image, are cut short, or describe an image beyond
            Pillow's limit against decompression bombs.
    """
    return decode_for(data, (rule,), exif_rotate=exif_rotate)[rule]


def decode_for(
    data: bytes, rules: Iterable[Rule], *, exif_rotate: bool = False
) -> dict[Rule, NDArray[np.uint8]]:
    """Decode one image once, for several rules; see `decode`.

    Returns:
        The image under each rule; the same array where they agree.

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
    except MemoryError:
        raise
    # What a damaged file makes Pillow's decoders raise is not limited to a documented set.
    except Exception as error:
        raise ImageError(str(error) or type(error).__name__) from error


def _from_cmyk(image: Image.Image, rule: Rule) -> NDArray[np.uint8]:
    """Convert CMYK as today's Pillow does, or as Pillow did up to 4.2 (`Convert.c`)."""
    if rule != "release-2017":
        return np.asarray(image.convert("RGB"))
    inks = np.asarray(image).astype(np.int16)
    levels: NDArray[np.int16] = np.clip(255 - inks[..., :3] - inks[..., 3:], 0, 255)
    return levels.astype(np.uint8)


@contextmanager
def quiet_decoder() -> Iterator[None]:
    """Silence Pillow's warnings (odd EXIF, large images), which do not concern the pixels.

    Around a whole piece of work and not each decode: the filter is shared by all threads.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
