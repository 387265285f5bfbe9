"""Store to another format: the images of one variant, handed to a sink one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from lowres.errors import StoreError
from lowres.formats import writers
from lowres.formats.sink import Outline
from lowres.progress import Track, silent
from lowres.store.store import Store
from lowres.variant import Variant
from lowres.work.files import named

READ_ROWS = 256
ORDER_SEED = 0
"""Seed of the order in which images are written to a format that wants them shuffled."""


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
        splits: which splits. Default: all; a format with one split gets train, or the first split
            if there is no train.
        track: shows progress.

    Returns:
        The number of images written, by split.

    Raises:
        StoreError: the store lacks the variant or split, the format is unknown or cannot contain
            them, or the destination is not empty.
    """
    known = writers()
    if to not in known:
        raise StoreError(f"--to must be one of {', '.join(known)}, was {to!r}")
    writer = known[to]
    chosen = list(dict.fromkeys(splits)) or list(store.splits)
    if writer.one_split and len(splits) > 1:
        raise StoreError(f"{to} has one split: choose one --split, was {', '.join(splits)}")
    if writer.one_split and not splits:
        chosen = ["train"] if "train" in store.splits else chosen[:1]
    if not (store.labelled or writer.takes_unlabelled):
        names = ", ".join(name for name, one in known.items() if one.takes_unlabelled)
        raise StoreError(f"{store.path} has no labels, and {to} needs them: choose --to {names}")
    arrays = {split: store.rows(split, variant) for split in chosen}
    counts = {split: len(images) for split, images in arrays.items()}
    outline = Outline(
        name=store.manifest.source["name"],
        variant=Variant.parse(str(variant)),
        classes=store.classes,
        splits=counts,
        content=store.manifest.contents[str(variant)],
        labelled=store.labelled,
    )
    sink = writer(destination, outline)
    try:
        with track("export", sum(counts.values())) as display:
            for split, images in arrays.items():
                labels, keys = store.labels(split), store.keys(split)
                order = np.arange(len(images))
                if sink.shuffled:
                    order = np.random.default_rng(ORDER_SEED).permutation(len(images))
                for start in range(0, len(order), READ_ROWS):
                    rows = order[start : start + READ_ROWS]
                    with named(sink.partial):
                        for row, image in zip(rows.tolist(), images.read(rows), strict=True):
                            sink.write(split, keys[row], int(labels[row]), image)
                    display.advance(len(rows))
        with named(sink.partial):
            sink.finish()
    except BaseException:
        sink.abandon()
        raise
    return counts


def notes(store: Store, written: Collection[str], to: str) -> Iterator[str]:
    """Report what a reader of an export should know: missing splits, classes without images."""
    left = [split for split in store.splits if split not in written]
    if left:
        yield f"left out {', '.join(left)}" + (f": {to} has one split" * writers()[to].one_split)
    for split in written if to == "folder" else ():
        empty = len(store.classes) - len(np.unique(store.labels(split)))
        if empty:
            yield (
                f"{split} has no images of {empty} of the {len(store.classes)} classes, so "
                "readers that number the folders number the others differently"
            )
    if to == "folder" and list(store.classes) != sorted(store.classes):
        yield (
            "the labels are not in the order of the sorted names: readers that sort names as text, "
            "such as torchvision's ImageFolder, number the classes differently; classes.txt has "
            "the store's order, and lowres reads it"
        )
