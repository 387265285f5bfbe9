"""Store to another format: the images of one variant, handed to a sink one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres.errors import StoreError
from lowres.formats import writers
from lowres.formats.sink import Outline, Sink
from lowres.progress import Display, Track, silent
from lowres.store.rows import RowFile
from lowres.store.store import Store
from lowres.variant import Variant

READ_ROWS = 256
ORDER_SEED = 0
"""Of the order that images are written in where a format wants them shuffled."""


def export(
    store: Store,
    destination: Path,
    variant: Variant | str,
    *,
    to: str = "folder",
    splits: Sequence[str] = (),
    track: Track = silent,
) -> dict[str, int]:
    """Write one variant of a store in another format.

    Args:
        store: where the images are.
        destination: what to write; it must not exist, or be an empty folder.
        variant: which variant.
        to: name of the format; `folder` is PNG files as `split/class/name.png`.
        splits: which splits; all if none is given, or train in a format that holds only one
            (another where there is no train).
        track: shows progress.

    Returns:
        The number of images written, by split.

    Raises:
        StoreError: the store lacks the variant or split, the format is unknown or cannot hold
            them, or the destination is not empty.
    """
    known = writers()
    if to not in known:
        raise StoreError(f"--to must be one of {', '.join(known)}, was {to!r}")
    writer = known[to]
    arrays = {split: store.rows(split, variant) for split in _chosen(store, splits, writer, to)}
    counts = {split: len(images) for split, images in arrays.items()}
    outline = Outline(
        name=store.manifest.source["name"],
        variant=Variant.parse(str(variant)),
        classes=store.classes,
        splits=counts,
        content=store.manifest.contents[str(variant)],
    )
    sink = writer(destination, outline)
    try:
        with track("export", sum(counts.values())) as display:
            for split, images in arrays.items():
                _write_split(store, split, images, sink, display)
        sink.finish()
    except BaseException:
        sink.abandon()
        raise
    return counts


def notes(store: Store, written: Collection[str], to: str) -> Iterator[str]:
    """Tell what a reader of an export should know: splits left out, classes without images.

    Args:
        store: what was exported.
        written: the splits that were written.
        to: name of the format.
    """
    left = [split for split in store.splits if split not in written]
    if left:
        yield f"left out {', '.join(left)}" + (f": {to} holds one split" * writers()[to].one_split)
    for split in written if to == "folder" else ():
        empty = len(store.classes) - len(np.unique(store.labels(split)))
        if empty:
            yield (
                f"{split} has no images of {empty} of the {len(store.classes)} classes, so "
                "readers that number folders number the others differently"
            )


def _write_split(store: Store, split: str, images: RowFile, sink: Sink, display: Display) -> None:
    labels, keys = store.labels(split), store.keys(split)
    order = _order(sink, len(images))
    for start in range(0, len(order), READ_ROWS):
        rows = order[start : start + READ_ROWS]
        for row, image in zip(rows.tolist(), images.read(rows), strict=True):
            sink.write(split, keys[row], int(labels[row]), image)
        display.advance(len(rows))


def _chosen(store: Store, splits: Sequence[str], writer: type[Sink], to: str) -> list[str]:
    for split in splits:
        if split not in store.splits:
            raise StoreError(
                f"{store.path} has no split {split!r}; it has {', '.join(store.splits)}"
            )
    if not writer.one_split:
        return list(dict.fromkeys(splits)) or list(store.splits)
    if len(splits) > 1:
        raise StoreError(f"{to} holds one split: give one --split, was {', '.join(splits)}")
    return list(splits) or (["train"] if "train" in store.splits else list(store.splits)[:1])


def _order(sink: Sink, count: int) -> NDArray[np.int64]:
    """List the rows in the order they are written."""
    if not sink.shuffled:
        return np.arange(count)
    return np.random.default_rng(ORDER_SEED).permutation(count)
