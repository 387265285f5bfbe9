"""A set of small squares, open for comparison: one variant of a store, or any other source.

Images are read in blocks of rows, so that a set of any size fits into memory.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError, StoreError, reason
from lowres.formats.source import Entry, Index, Source
from lowres.progress import Track
from lowres.reading import Reading
from lowres.resampling.decode import decode, quiet_decoder
from lowres.store.prepare import StoreSource, open_source
from lowres.store.rows import BLOCK_BYTES, DIGEST_BYTES, image_digests
from lowres.store.store import Store
from lowres.variant import Variant
from lowres.work.threads import available_cores, in_threads


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprints:
    """What identifies the images of a split.

    Attributes:
        digests: (N, 32) uint8, SHA-256 of the pixels of each image.
        labels: (N,) int64.
        mean: (H, W, 3) float64 in levels, the mean image.
    """

    digests: NDArray[np.uint8]
    labels: NDArray[np.int64]
    mean: NDArray[np.float64]


class Packed:
    """The entries of a split in arrays: 60 bytes each in place of 300."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        places: dict[str, int] = {}
        self._text = "\n".join(entry.key for entry in entries).encode()  # a key is one line
        breaks = np.flatnonzero(np.frombuffer(self._text, np.uint8) == ord("\n"))
        self._ends = np.append(breaks, len(self._text))
        self._numbers = np.empty((len(entries), 3), np.int64)  # place, offset, length
        self.labels = np.fromiter((entry.label for entry in entries), np.int64, len(entries))
        for row, entry in enumerate(entries):
            place = places.setdefault(entry.location, len(places))
            self._numbers[row] = place, entry.offset, entry.length
        self._places = list(places)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> Entry:
        begin = int(self._ends[row - 1]) + 1 if row else 0
        key = self._text[begin : int(self._ends[row])].decode()
        place, offset, length = self._numbers[row].tolist()
        return Entry(key, int(self.labels[row]), self._places[place], offset, length)

    def keys(self) -> list[str]:
        return self._text.decode().split("\n")


class SmallImages:
    """A set of small squares of one size.

    Args:
        source: a store, or a source of such squares.
        variant: which variant of a store.
        index: the source's, if it is known already.

    Attributes:
        name: path and variant, for people.
        size: side of the images in pixels.
        classes: class names by label.
        splits: number of images in each split.

    Raises:
        SourceError: the first image is no square, or cannot be read.
    """

    def __init__(
        self, source: Source, variant: Variant | None = None, index: Index | None = None
    ) -> None:
        self.source, self.variant, self.name = source, variant, str(source.path)
        if isinstance(source, StoreSource) and variant is not None:
            # Its arrays are read directly: a million entries would take half a gigabyte.
            self.name += f" {variant}"
            self.classes, self.splits, self.size = (
                source.store.classes,
                source.store.splits,
                variant.size,
            )
            return
        listed = index or source.index()
        self.classes = listed.classes
        self._entries = {split: Packed(entries) for split, entries in listed.splits.items()}
        del listed
        self.splits = {split: len(entries) for split, entries in self._entries.items()}
        first = next(iter(self._entries.values()))[0]
        height, width, _ = self._image(first).shape
        if height != width:
            raise SourceError(
                f"{source.describe(first)} has {width} x {height} pixels: only sets of small "
                f"squares can be compared. Build a store of it and compare that: lowres build "
                f"{source.path} STORE"
            )
        self.size = height

    @property
    def block_rows(self) -> int:
        """Number of images in a block."""
        return max(BLOCK_BYTES // (self.size * self.size * 3), 1)

    def blocks(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Cut row numbers into blocks."""
        for start in range(0, len(rows), self.block_rows):
            yield rows[start : start + self.block_rows]

    def images(self, split: str, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read some images: (len(rows), size, size, 3) uint8.

        Raises:
            SourceError: one cannot be read, or has another size than the first.
        """
        if isinstance(self.source, StoreSource) and self.variant is not None:
            return self.source.images(split, self.variant, rows)
        entries = self._entries[split]
        images = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for number, row in enumerate(map(int, rows)):
            image = self._image(entries[row])
            if image.shape != images.shape[1:]:
                raise SourceError(
                    f"{self.source.describe(entries[row])} has {image.shape[1]} x "
                    f"{image.shape[0]} pixels and others have {self.size} x {self.size}: only sets "
                    "of one size can be compared"
                )
            images[number] = image
        return images

    def _image(self, entry: Entry) -> NDArray[np.uint8]:
        try:
            read = self.source.read(entry)
            return decode(read) if isinstance(read, bytes) else read
        except (SourceError, OSError) as error:
            raise SourceError(
                f"{self.source.describe(entry)} cannot be read: {reason(error)}"
            ) from error

    def labels(self, split: str) -> NDArray[np.int64]:
        """Return all labels of a split, (N,) int64."""
        if isinstance(self.source, StoreSource):
            return self.source.store.labels(split)
        return self._entries[split].labels

    def keys(self, split: str) -> list[str]:
        """Return all keys of a split."""
        if isinstance(self.source, StoreSource):
            return self.source.store.keys(split)
        return self._entries[split].keys()

    def fingerprints(self, split: str, track: Track) -> Fingerprints:
        """Read every image of a split once."""
        count = self.splits[split]
        digests = np.empty((count, DIGEST_BYTES), np.uint8)
        total = np.zeros((self.size, self.size, 3), np.int64)
        adding = threading.Lock()

        def look(start: int) -> int:
            images = self.images(split, np.arange(start, min(start + self.block_rows, count)))
            digests[start : start + len(images)] = image_digests(images)
            summed = images.sum(axis=0, dtype=np.int64)
            with adding:
                np.add(total, summed, out=total)
            return len(images)

        blocks = range(0, count, self.block_rows)
        workers = 1 if self.source.in_order else available_cores()
        with track(f"{split} of {self.name}", count) as display, quiet_decoder():
            for _, looked in in_threads(look, blocks, workers, threading.Event()):
                display.advance(looked)
        return Fingerprints(digests, self.labels(split), total / max(count, 1))


def open_pairs(
    path: Path, other_path: Path, variant: str | None = None
) -> list[tuple[SmallImages, SmallImages]]:
    """Open the sets to compare: pairs of variants of two stores, or sources of small squares.

    Args:
        path: a store, or a source of small squares.
        other_path: another.
        variant: which variant of the store (of the first, if both are stores). The default is the
            variant of the other set's size; for two stores, all variants that both have, or those
            of one size if they have none in common.

    Raises:
        StoreError: a variant does not exist, or has no counterpart or more than one.
        SourceError: a set cannot be read.
    """
    stores = [Store(each) for each in (path, other_path) if StoreSource.recognises(each)]
    reading = Reading(unlabelled=not all(store.labelled for store in stores))
    one, other = (open_source(each, reading=reading) for each in (path, other_path))
    wanted = () if variant is None else (Variant.parse(variant),)
    if isinstance(one, StoreSource):
        one = StoreSource(path, wanted)
    elif isinstance(other, StoreSource):
        other = StoreSource(other_path, wanted)
    elif wanted:
        raise StoreError(f"neither {path} nor {other_path} is a store: leave out --variant")
    if not isinstance(one, StoreSource):
        small = SmallImages(one)
        chosen = _of_size(other, small.size) if isinstance(other, StoreSource) else None
        return [(small, SmallImages(other, chosen))]
    if not isinstance(other, StoreSource):
        small = SmallImages(other)
        return [(SmallImages(one, _of_size(one, small.size)), small)]
    pairs = [(ours, ours) for ours in one.variants if ours in other.variants]
    if not pairs:
        sizes = {theirs.size for theirs in other.variants}
        pairs = [(ours, _of_size(other, ours.size)) for ours in one.variants if ours.size in sizes]
    if not pairs:
        raise StoreError(
            f"{path} has {', '.join(map(str, one.variants))} and {other_path} has "
            f"{', '.join(map(str, other.variants))}: no variants of one size to compare"
        )
    return [(SmallImages(one, ours), SmallImages(other, theirs)) for ours, theirs in pairs]


def _of_size(source: StoreSource, size: int) -> Variant:
    fitting = [variant for variant in source.variants if variant.size == size]
    if len(fitting) > 1:
        raise StoreError(
            f"{source.path} has {' and '.join(map(str, fitting))} of {size} px: choose one by "
            "--variant"
        )
    if not fitting:
        raise StoreError(
            f"{source.path} has {', '.join(map(str, source.variants))}, and the other set has "
            f"{size} px: no variants of one size to compare"
        )
    return fitting[0]
