"""A contact sheet: the same pictures across sizes and filters, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lowres.errors import StoreError
from lowres.store import Store
from lowres.variant import Variant

CELL_PX = 96
GAP_PX = 6
MARGIN_PX = 150
HEADER_PX = 26
TEXT_PX = 13
INK = (20, 20, 20)


def contact_sheet(store: Store, out: Path, *, split: str | None = None, count: int = 8) -> Path:
    """Draw some pictures of a split, one a row, with a column for each variant.

    Pictures are spread evenly over the split, so that with labels in order many classes show.
    Pixels are enlarged without smoothing.

    Args:
        store: where the pictures are.
        out: the PNG file to write.
        split: which split; the first of the store if not given.
        count: how many pictures, at least 1; fewer where the split has fewer.

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
    sheet = Image.new("RGB", _sheet_size(len(variants), len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(TEXT_PX)
    for column, variant in enumerate(variants):
        draw.text((_left(column), HEADER_PX - 18), str(variant), fill=INK, font=font)
        _draw_column(sheet, store, split, variant, column, rows.tolist())
    for line, row in enumerate(rows):
        name = _fitted(store.classes[labels[row]], draw, font)
        draw.text((8, _top(line) + CELL_PX // 2 - 16), name, fill=INK, font=font)
        draw.text((8, _top(line) + CELL_PX // 2), f"{split} {row}", fill=(110,) * 3, font=font)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)
    return out


def _draw_column(
    sheet: Image.Image, store: Store, split: str, variant: Variant, column: int, rows: Sequence[int]
) -> None:
    images = store.images(split, variant)
    for line, row in enumerate(rows):
        small = Image.fromarray(np.array(images[row]))
        cell = small.resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST)
        sheet.paste(cell, (_left(column), _top(line)))


def _sheet_size(columns: int, lines: int) -> tuple[int, int]:
    return _left(columns), _top(lines)


def _left(column: int) -> int:
    return MARGIN_PX + column * (CELL_PX + GAP_PX)


def _top(line: int) -> int:
    return HEADER_PX + line * (CELL_PX + GAP_PX)


def _fitted(
    text: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """Shorten text until it fits the margin."""
    shown = text
    while draw.textlength(shown, font) > MARGIN_PX - 14 and len(shown) > 1:
        text = text[:-1]
        shown = f"{text}…"
    return shown
