"""A contact sheet: the same images across sizes and filters, to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lowres.errors import StoreError
from lowres.imagenet import find
from lowres.store.store import Store
from lowres.variant import FITS, RULES, Variant

CELL_PX = 96
GAP_PX = 6
MARGIN_PX = 150
HEADER_PX = 12
LINE_PX = 14
TEXT_PX = 13
INK = (20, 20, 20)


def contact_sheet(store: Store, out: Path, *, split: str | None = None, count: int = 8) -> Path:
    """Draw some images of a split, one a row, with a column for each variant.

    Images are spread evenly over the split, so that with labels in order many classes show.
    Pixels are enlarged without smoothing.

    Args:
        store: where the images are.
        out: the PNG file to write.
        split: which split; the first of the store if not given.
        count: how many images, at least 1; fewer where the split has fewer.

    Returns:
        The path written.

    Raises:
        StoreError: there is no such split, or `count` or `out` cannot be used.
    """
    split = split or ("train" if "train" in store.splits else next(iter(store.splits)))
    if count < 1:
        raise StoreError(f"--count must be at least 1, was {count}")
    if out.suffix.lower() != ".png":
        raise StoreError(f"the contact sheet is a PNG: name it .png, was {out}")
    labels = store.labels(split)
    rows = np.unique(np.linspace(0, len(labels) - 1, count).round().astype(int))
    variants = sorted(store.variants)
    headings = [_heading(variant) for variant in variants]
    tops = [
        HEADER_PX + LINE_PX * max(map(len, headings)) + line * (CELL_PX + GAP_PX)
        for line in range(len(rows) + 1)
    ]
    sheet = Image.new("RGB", (_left(len(variants)), tops[-1]), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(TEXT_PX)
    for column, (variant, heading) in enumerate(zip(variants, headings, strict=True)):
        for number, words in enumerate(heading):
            place = (_left(column), HEADER_PX - 4 + number * LINE_PX)
            draw.text(place, words, fill=INK, font=font)
        images = store.images(split, variant)
        for top, row in zip(tops, rows, strict=False):
            _paste(sheet, np.array(images[row]), (_left(column), top))
    for top, row in zip(tops, rows, strict=False):
        name = _fitted(_class_name(store.classes[labels[row]]), draw, font)
        draw.text((8, top + CELL_PX // 2 - 16), name, fill=INK, font=font)
        draw.text((8, top + CELL_PX // 2), f"{split} {row}", fill=(110,) * 3, font=font)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)
    return out


def _heading(variant: Variant) -> list[str]:
    """Name a variant in lines that fit above a cell."""
    lines = [f"{variant.size}-{variant.filter}"]
    if variant.fit != FITS[0]:
        lines.append(variant.fit)
    if variant.rule != RULES[0]:
        lines.append(variant.rule)
    return lines


def _class_name(name: str) -> str:
    known = find(name)
    return f"{name} {known.word}" if known else name


def _paste(sheet: Image.Image, image: NDArray[np.uint8], place: tuple[int, int]) -> None:
    small = Image.fromarray(image)
    sheet.paste(small.resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST), place)


def _left(column: int) -> int:
    return MARGIN_PX + column * (CELL_PX + GAP_PX)


def _fitted(
    text: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """Shorten text until it fits the margin."""
    shown = text
    while draw.textlength(shown, font) > MARGIN_PX - 14 and len(shown) > 1:
        text = text[:-1]
        shown = f"{text}…"
    return shown
