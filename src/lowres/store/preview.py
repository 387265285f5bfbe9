"""A few images of a store in every variant, as PNGs inside HTML: for notebooks and reports."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from lowres.errors import LowresError
from lowres.formats.sink import png
from lowres.imagenet import with_word
from lowres.store.store import Store
from lowres.text import count

PAGE_COUNT = 6
"""Images on a page."""

MOST_VARIANTS = 8
"""Variants in a notebook's sheet; a store may have hundreds."""

CELL_PX = 72


@dataclass(frozen=True, slots=True)
class Shown:
    """One image in all variants.

    Attributes:
        name: its class, split and row.
        images: a PNG of each variant, as a data URI, at its own size.
    """

    name: str
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Images for a web page, or the reason why there are none."""

    variants: tuple[str, ...]
    images: tuple[Shown, ...]
    reason: str = ""


def sheet(store: Store, variants: Sequence[str]) -> Sheet:
    """Return some images for a web page, spread evenly over train, so that many classes show.

    Variants that the store lacks (those of a failed run, for example) are skipped.
    """
    variants = tuple(variant for variant in variants if variant in store.manifest.variants)
    split = first_split(store)
    try:
        labels = store.labels(split)
        arrays = [store.images(split, variant) for variant in variants]
    except (LowresError, OSError) as error:
        return Sheet(variants, (), str(error))
    images = []
    for row in spread(len(labels), PAGE_COUNT):
        pngs = []
        for array in arrays:
            data = base64.b64encode(png(np.array(array[row]), compress_level=9)).decode()
            pngs.append(f"data:image/png;base64,{data}")
        name = f"{with_word(store.classes[labels[row]])}, {split} {row}"
        images.append(Shown(name, tuple(pngs)))
    return Sheet(variants, tuple(images))


def page_of(store: Store) -> str:
    """Return a contact sheet as an HTML table, one image a row, as notebooks show it."""
    shown = sheet(store, [str(variant) for variant in sorted(store.variants)[:MOST_VARIANTS]])
    style = f"width:{CELL_PX}px;height:{CELL_PX}px;image-rendering:pixelated"
    heads = "".join(f"<th>{variant}</th>" for variant in shown.variants)
    rows = "".join(
        f"<tr><td>{escape(one.name)}</td>"
        + "".join(f'<td><img src="{image}" style="{style}" alt=""></td>' for image in one.images)
        + "</tr>"
        for one in shown.images
    )
    more = len(store.variants) - len(shown.variants)
    notes = [shown.reason] if shown.reason else []
    notes += [f"and {count(more, 'more variant')}"] if more else []
    return f"<p>{escape(repr(store))}</p><table><tr><th></th>{heads}</tr>{rows}</table>" + "".join(
        f"<p>{escape(note)}</p>" for note in notes
    )


def first_split(store: Store) -> str:
    """Return train, or the first split of a store without train."""
    return "train" if "train" in store.splits else next(iter(store.splits))


def spread(rows: int, most: int) -> list[int]:
    """Return up to `most` rows from the first to the last, evenly spread."""
    found: list[int] = np.unique(np.linspace(0, rows - 1, most).round().astype(int)).tolist()
    return found
