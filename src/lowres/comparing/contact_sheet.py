"""Contact sheets: the same images in every variant of a store, as a PNG file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lowres.errors import LowresError, StoreError
from lowres.formats.sink import png
from lowres.imagenet import with_word
from lowres.store.preview import first_split, spread
from lowres.store.store import Store
from lowres.variant import FITS, RULES
from lowres.work.files import write_output

if TYPE_CHECKING:
    from lowres.comparing.check import Check

CELL_PX = 96
GAP_PX = 6
MARGIN_PX = 150
HEADER_PX = 12
LINE_PX = 14
TEXT_PX = 13
INK, PALE_INK = (20, 20, 20), (110, 110, 110)

PAIRS_A_ROW = 4


def contact_sheet(store: Store, out: Path, *, split: str | None = None, count: int = 8) -> Path:
    """Draw some images of a split, one a row, with a column for each variant.

    Images are spread evenly over the split, so that many classes show. Pixels are enlarged without
    smoothing.

    Args:
        store: where the images are.
        out: the PNG file to write.
        split: the default is train, or the first split of a store without train.
        count: number of images, at least 1; fewer if the split has fewer.

    Returns:
        The path written.

    Raises:
        StoreError: the split does not exist, `count` is below 1, or `out` is no PNG.
    """
    if count < 1:
        raise StoreError(f"--count must be at least 1, was {count}")
    _need_png(out)
    split = split or first_split(store)
    labels = store.labels(split)
    variants = sorted(store.variants)
    headings = [
        [
            f"{v.size}-{v.filter}",
            *([v.fit] if v.fit != FITS[0] else []),
            *([v.rule] if v.rule != RULES[0] else []),
        ]
        for v in variants
    ]
    rows = spread(len(labels), count)
    first_top = HEADER_PX + LINE_PX * max(map(len, headings))
    pitch = CELL_PX + GAP_PX
    size = (MARGIN_PX + len(variants) * pitch, first_top + len(rows) * pitch)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
    for column, (variant, heading) in enumerate(zip(variants, headings, strict=True)):
        left = MARGIN_PX + column * pitch
        for number, words in enumerate(heading):
            place = (left, HEADER_PX - 4 + number * LINE_PX)
            draw.text(place, words, fill=INK, font=font)
        images = store.images(split, variant)
        for line, row in enumerate(rows):
            cell = Image.fromarray(np.array(images[row]))
            cell = cell.resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST)
            sheet.paste(cell, (left, first_top + line * pitch))
    for line, row in enumerate(rows):
        name = _fitted(draw, font, with_word(store.classes[labels[row]]), MARGIN_PX - 14)
        middle = first_top + line * pitch + CELL_PX // 2
        draw.text((8, middle - 16), name, fill=INK, font=font)
        draw.text((8, middle), f"{split} {row}", fill=PALE_INK, font=font)
    write_output(out, png(np.asarray(sheet)))
    return out


def pair_sheet(found: Check, out: Path, *, count: int = 60) -> Path:
    """Draw pairs of equal and similar images, four a row, with similarity, class and names.

    Args:
        found: the check of a store.
        out: the PNG file to write.
        count: number of pairs, spread evenly over all similarities; fewer if there are fewer.

    Raises:
        StoreError: `out` is no PNG.
    """
    _need_png(out)
    pairs = found.shown(count)
    width, height = 2 * CELL_PX + 2 * GAP_PX, CELL_PX + 3 * LINE_PX + GAP_PX
    rows = max(-(-len(pairs) // PAIRS_A_ROW), 1)
    sheet = Image.new("RGB", (PAIRS_A_ROW * width + GAP_PX, rows * height + GAP_PX), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
    for number, (caption, *places) in enumerate(pairs):
        left = GAP_PX + number % PAIRS_A_ROW * width
        top = GAP_PX + number // PAIRS_A_ROW * height
        for side, image in enumerate(found.images(np.array(places))):
            cell = Image.fromarray(image).resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST)
            sheet.paste(cell, (left + side * CELL_PX, top))
        below = [(caption, PALE_INK), *((found.name(place), INK) for place in places)]
        for line, (text, ink) in enumerate(below):
            text = _fitted(draw, font, text, width - GAP_PX)
            draw.text((left, top + CELL_PX + line * LINE_PX), text, fill=ink, font=font)
    write_output(out, png(np.asarray(sheet)))
    return out


def _need_png(out: Path) -> None:
    if out.suffix.lower() != ".png":
        raise StoreError(
            f"the contact sheet is a PNG: name it {out.with_suffix('.png')}, not {out}"
        )


def _fitted(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    text: str,
    width: int,
) -> str:
    """Return a text, cut so that it fits into some pixels."""
    fitted = text
    while draw.textlength(fitted, font) > width and text:
        text = text[:-1]
        fitted = f"{text}…"
    return fitted


def reopen_store(path: str, digest: str) -> tuple[Store | None, str]:
    """Open the store of a study; return None and the reason if it is missing or has changed."""
    try:
        store = Store(Path(path))
    except (LowresError, OSError) as error:
        return None, str(error)
    if store.manifest.digest != digest:
        return None, f"{path} holds another store now"
    return store, ""
