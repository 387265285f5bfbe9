"""Encoded bytes to RGB, as Pillow decodes and converts them today or did in 2017.

What a conversion loses is a finding, so that a build can count it: depth, transparency, rotation.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor, ImageOps, UnidentifiedImageError, features

from lowres.errors import ImageError, VariantError, install_command
from lowres.resampling import MAX_PIXELS
from lowres.resampling.jpeg import decode_plain
from lowres.resampling.libtiff import libtiff_lines
from lowres.variant import Depth, Rule

TOO_LARGE = "more than --max-pixels"
"""Words of the error of an image with too many pixels; the limit follows."""

Finding = Literal["clipped", "scaled", "reduced", "dark", "transparent", "turned"]
"""What a conversion changed or lost. clipped, scaled: values beyond 8 bits, by `Depth`. reduced:
colours of 16 bits, of which Pillow keeps the upper 8. dark: such colours whose values need 12 bits
at most, as of a 12-bit camera, so that they come out near-black. transparent: some pixels are not
opaque. turned: an EXIF orientation other than upright, whether or not it was applied."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")
"""The formats that are tried, whatever the name of a file, as far as Pillow is built for them; HEIF
with the plugin pillow-heif. Some others of Pillow (EPS) start other programs."""

UNREAD = {
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\0" * 128 + b"DICM": "DICOM",
}
"""First bytes of other image formats, and their names for messages."""

SAMPLE_FORMAT, SIGNED = 339, 2
"""In TIFF: the tag of the types of the channels, and the type of signed integers."""

FULL_SCALE = 65535
BRIGHTEST_OF_12_BITS = 15
"""Upper 8 of 16 bits of 4095, the largest value of 12 bits."""

UPRIGHT = 1


@dataclass(frozen=True, slots=True)
class Decoded:
    """One image, decoded.

    Attributes:
        images: (H, W, 3) uint8 RGB under each rule; the same array if they agree.
        findings: what the conversion changed or lost.
    """

    images: dict[Rule, NDArray[np.uint8]]
    findings: tuple[Finding, ...] = ()


def decode(
    data: bytes,
    *,
    exif_rotate: bool = False,
    rule: Rule = "pillow",
    depth: Depth | None = None,
    background: str | None = None,
) -> NDArray[np.uint8]:
    """Decode one image, or the first frame of several.

    Grey, palette, alpha and CMYK images become RGB as `Image.convert("RGB")` does it. The rules
    differ only for CMYK.

    Args:
        data: a whole JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF or HEIC file.
        exif_rotate: turn the image by its EXIF orientation. The released data was not turned.
        rule: that of the conversion of CMYK.
        depth: what to do with values beyond 8 bits; None refuses them.
        background: the colour behind transparent pixels, such as `white` or `#ffffff`; None drops
            alpha, as Pillow does, so that the colours under transparent pixels show.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: the bytes are no image of these formats, are cut short, describe an image
            beyond Pillow's limit against decompression bombs, or hold values that `depth` refuses.
    """
    images = decode_for(
        data, (rule,), exif_rotate=exif_rotate, depth=depth, background=background
    ).images
    return images[rule]


def decode_for(
    data: bytes,
    rules: Iterable[Rule],
    *,
    exif_rotate: bool = False,
    depth: Depth | None = None,
    background: str | None = None,
) -> Decoded:
    """Decode one image once, for several rules, and list what the conversion lost; see `decode`.

    Raises:
        ImageError: see `decode`.
    """
    plain = decode_plain(data, exif_rotate=exif_rotate)
    if plain is not None:
        turned = plain.may_be_turned and _orientation_of(data) != UPRIGHT
        return Decoded(dict.fromkeys(rules, plain.pixels), ("turned",) if turned else ())
    said: list[str] = []
    try:
        with libtiff_lines() as said, Image.open(io.BytesIO(data), formats=_formats()) as image:
            return _converted(image, rules, exif_rotate, depth, background)
    except UnidentifiedImageError as error:
        raise ImageError(_unidentified(data)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found = re.search("[0-9]+", str(error))
        pixels = f"{int(found[0]):,} pixels, " if found else ""
        limit = Image.MAX_IMAGE_PIXELS or 0
        raise ImageError(f"has {pixels}{TOO_LARGE} {limit:,}") from error
    except (MemoryError, ImageError):
        raise
    # Pillow does not document what its decoders raise on a damaged file.
    except Exception as error:
        raise ImageError("; ".join((str(error) or type(error).__name__, *said))) from error


def size_of(data: bytes) -> tuple[int, int]:
    """Read width and height of an encoded image from its header, as it is stored, unturned.

    Raises:
        ImageError: the bytes are no image.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            return image.size
    except Exception as error:
        raise ImageError(str(error) or type(error).__name__) from error


def background_of(color: str) -> str:
    """Return a colour as `#rrggbb`.

    Args:
        color: a name of CSS or any other form that `PIL.ImageColor` reads, such as `white`.

    Raises:
        VariantError: it is no opaque colour.
    """
    try:
        red, green, blue, *alpha = ImageColor.getrgb(color)
    except ValueError:
        alpha = [0]
    if alpha not in ([], [255]):
        raise VariantError(
            f"--background must be an opaque colour, such as white or '#7f7f7f', was {color!r}"
        )
    return f"#{red:02x}{green:02x}{blue:02x}"


def _converted(
    image: Image.Image,
    rules: Iterable[Rule],
    exif_rotate: bool,
    depth: Depth | None,
    background: str | None,
) -> Decoded:
    """Convert an opened image to RGB, and list what that loses."""
    findings: list[Finding] = ["reduced"] if _has_deep_colors(image) else []
    image.load()
    if _is_signed(image):
        raise ImageError(
            "its values are signed 8-bit integers, and a store has levels from 0 to 255: convert it"
        )
    if _orientation(image) != UPRIGHT:
        findings.append("turned")
    if exif_rotate:
        image = ImageOps.exif_transpose(image)
    if image.mode == "CMYK":
        return Decoded({rule: _from_cmyk(image, rule) for rule in rules}, tuple(findings))
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image, found = _to_8_bits(image, depth)
        findings += found
    elif image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        layers = image.convert("RGBA")
        lowest, _ = layers.getchannel("A").getextrema()
        if lowest != 255:
            findings.append("transparent")
            if background is not None:
                ground = Image.new("RGBA", layers.size, background)
                image = Image.alpha_composite(ground, layers)
    pixels = np.asarray(image.convert("RGB"))
    if "reduced" in findings and 0 < pixels.max() <= BRIGHTEST_OF_12_BITS:
        findings.append("dark")
    return Decoded(dict.fromkeys(rules, pixels), tuple(findings))


def _has_deep_colors(image: Image.Image) -> bool:
    """Return whether an image that is not loaded yet has channels of 16 bits, which Pillow reduces.

    Grey without alpha keeps them: `_to_8_bits`.
    """
    tiles = getattr(image, "tile", [])
    if image.mode.startswith(("I", "F")) or not tiles:
        return False
    codec, _, _, args = tiles[0]
    if codec == "ppm":  # mode and largest value
        return isinstance(args, tuple) and isinstance(args[1], int) and args[1] > 255
    raw_mode = args[0] if isinstance(args, tuple) else args
    return isinstance(raw_mode, str) and ";16" in raw_mode


def _is_signed(image: Image.Image) -> bool:
    """Return whether a TIFF has signed bytes, which Pillow reads as if they were unsigned."""
    found = getattr(image, "tag_v2", {}).get(SAMPLE_FORMAT)
    kinds = found if isinstance(found, tuple) else (found,)
    return SIGNED in kinds and not image.mode.startswith(("I", "F"))


def _to_8_bits(image: Image.Image, depth: Depth | None) -> tuple[Image.Image, list[Finding]]:
    """Convert grey of 16 bits, 32 bits or floats to 8 bits.

    Without a `depth`, only an image whose values are levels of 8 bits already.
    """
    values = np.asarray(image)
    lowest, highest = values.min(), values.max()
    is_float = values.dtype.kind == "f"
    kind = "floats" if is_float else f"{8 * values.dtype.itemsize}-bit grey"
    span = f"its values are {kind} from {lowest:g} to {highest:g}"
    if depth == "scale":
        most = 1 if is_float else FULL_SCALE
        if not (lowest >= 0 and highest <= most):
            raise ImageError(
                f"{span}, and --depth scale takes whole numbers from 0 to {FULL_SCALE} and floats "
                "from 0 to 1"
            )
        if is_float:
            values = np.rint(values * np.float64(FULL_SCALE))
        levels = values.astype(np.int64) // (FULL_SCALE // 255)  # as Pillow scales PPM
        return Image.fromarray(levels.astype(np.uint8)), ["scaled"]
    fits = bool(lowest >= 0 and highest <= 255)
    if fits and is_float:  # 0 and 1 alone may be black and white
        fits = bool((values == np.rint(values)).all() and (highest > 1 or highest == 0))
    if fits:
        return image, []
    if depth is None:
        full = "1" if is_float else str(FULL_SCALE)
        raise ImageError(
            f"{span}, and a store has 8 bits. Name a new store and add --depth scale ({full} "
            "becomes 255) or --depth clip (values above 255 become 255)"
        )
    if np.isnan(lowest):
        raise ImageError(f"{span}: some are no numbers")
    return image, ["clipped"]


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, as `ImageOps.exif_transpose` reads it."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # noqa: BLE001  damaged metadata does not concern the pixels
        return UPRIGHT
    return orientation if orientation in range(1, 9) else UPRIGHT


def _orientation_of(data: bytes) -> int:
    """Return the orientation of a JPEG whose pixels another decoder has read."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return _orientation(image)


def _from_cmyk(image: Image.Image, rule: Rule) -> NDArray[np.uint8]:
    """Convert CMYK as Pillow does today, or as it did up to 4.2 (`Convert.c`)."""
    if rule != "release-2017":
        return np.asarray(image.convert("RGB"))
    inks = np.asarray(image).astype(np.int16)
    levels: NDArray[np.int16] = np.clip(255 - inks[..., :3] - inks[..., 3:], 0, 255)
    return levels.astype(np.uint8)


@cache
def _formats() -> tuple[str, ...]:
    """List the formats that this Pillow reads."""
    known = features.get_supported()  # an older Pillow warns of a feature that it does not know
    missing = set() if "avif" in known else {"AVIF"}
    if find_spec("pillow_heif"):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    else:
        missing.add("HEIF")
    return tuple(name for name in FORMATS if name not in missing)


def _unidentified(data: bytes) -> str:
    """Return why no decoder takes the bytes, and what to install if one could."""
    if not data:
        return "is empty"
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in (b"avif", b"avis") and "AVIF" not in _formats():
        return "is AVIF, and this Pillow is built without it; run: pip install -U pillow"
    if brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
        if "HEIF" not in _formats():
            return f"is HEIC, which needs pillow-heif; run: {install_command('heif')}"
        return "is HEIC, and damaged"
    for begins, name in UNREAD.items():
        if data.startswith(begins):
            return f"is {name}, which lowres cannot decode: convert it, for example to PNG"
    if data.startswith((b"II", b"MM")):
        return (
            "is a TIFF of a kind that Pillow cannot decode, such as floats in colour or more than "
            "four channels: convert it to 8 bits and three channels; or it is damaged"
        )
    return f"is none of {', '.join(_formats())}"


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
