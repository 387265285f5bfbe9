"""A contact sheet for the page: the same images in every variant of a study, from its store."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lowres.errors import LowresError
from lowres.imagenet import find
from lowres.store.store import Store

COUNT = 6
"""Images shown."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One image in all variants.

    Attributes:
        name: its class, and where it is.
        images: a PNG of each variant, as a data URI, at its own size.
    """

    name: str
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The images, or why there are none."""

    variants: tuple[str, ...]
    images: tuple[Shown, ...]
    reason: str = ""


def open_store(path: str, digest: str) -> tuple[Store | None, str]:
    """Open a study's store where it was; give None and the reason where it is gone or another."""
    try:
        store = Store(Path(path))
    except (LowresError, OSError) as error:
        return None, str(error)
    if store.manifest.digest != digest:
        return None, f"{path} holds another store now"
    return store, ""


def sheet(store: Store, variants: Sequence[str]) -> Sheet:
    """Take images of train, evenly spread over it so that many classes show.

    Variants that the store lacks, as a failed run may have, are left out.
    """
    variants = tuple(variant for variant in variants if variant in store.manifest.variants)
    split = "train" if "train" in store.splits else next(iter(store.splits))
    try:
        labels = store.labels(split)
        arrays = [store.images(split, variant) for variant in variants]
    except (LowresError, OSError) as error:
        return Sheet(variants, (), str(error))
    rows = np.unique(np.linspace(0, len(labels) - 1, COUNT).round().astype(int)).tolist()
    images = (
        Shown(
            f"{_class_name(store.classes[labels[row]])}, {split} {row}",
            tuple(_data_uri(np.array(array[row])) for array in arrays),
        )
        for row in rows
    )
    return Sheet(variants, tuple(images))


def _class_name(name: str) -> str:
    known = find(name)
    return f"{name} {known.word}" if known else name


def _data_uri(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
