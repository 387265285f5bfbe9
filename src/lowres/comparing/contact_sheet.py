"""Contact sheets: the same images in every variant of a store, as a PNG file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lowres.errors import LowresError, StoreError
from lowres.imagenet import with_word
from lowres.store.preview import first_split, spread
from lowres.store.store import Store
from lowres.variant import FITS, RULES

CELL_PX = 96
GAP_PX = 6
MARGIN_PX = 150
HEADER_PX = 12
LINE_PX = 14
TEXT_PX = 13
INK, PALE_INK = (20, 20, 20), (110, 110, 110)


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
    if out.suffix.lower() != ".png":
        raise StoreError(
            f"the contact sheet is a PNG: name it {out.with_suffix('.png')}, not {out}"
        )
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
        name = text = with_word(store.classes[labels[row]])
        while draw.textlength(name, font) > MARGIN_PX - 14 and text:
            text = text[:-1]
            name = f"{text}…"
        middle = first_top + line * pitch + CELL_PX // 2
        draw.text((8, middle - 16), name, fill=INK, font=font)
        draw.text((8, middle), f"{split} {row}", fill=PALE_INK, font=font)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)
    return out


def reopen_store(path: str, digest: str) -> tuple[Store | None, str]:
    """Open the store of a study; return None and the reason if it is missing or has changed."""
    try:
        store = Store(Path(path))
    except (LowresError, OSError) as error:
        return None, str(error)
    if store.manifest.digest != digest:
        return None, f"{path} holds another store now"
    return store, ""
