"""A set of small images to compare, whatever holds it: a variant of a store, or a source.

Images are taken in blocks of rows, so that a set of any size fits into memory.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError, StoreError
from lowres.formats import open_source
from lowres.formats.source import Entry, Source
from lowres.progress import Track
from lowres.resampling.decode import decode, quiet_decoder
from lowres.store.manifest import FILE_NAME
from lowres.store.rows import BLOCK_BYTES, DIGEST_BYTES, image_digests
from lowres.store.store import Store, open_store
from lowres.variant import Variant
from lowres.work.threads import available_cores, in_threads


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprints:
    """What is kept of each image of a split.

    Attributes:
        digests: (N, 32) uint8, SHA-256 of the pixels of each.
        labels: (N,) int64.
        mean: (H, W, 3) float64 in levels, the mean image.
    """

    digests: NDArray[np.uint8]
    labels: NDArray[np.int64]
    mean: NDArray[np.float64]


class Side(ABC):
    """One of two sets that are compared.

    Attributes:
        name: for people.
        size: side of the images in pixels.
        classes: class names by label.
        splits: number of images in each split.
    """

    name: str
    size: int
    classes: tuple[str, ...]
    splits: dict[str, int]
    workers: int = 1

    @property
    def block_rows(self) -> int:
        """How many images make a block."""
        return max(BLOCK_BYTES // (self.size * self.size * 3), 1)

    def blocks(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Cut row numbers into blocks."""
        for start in range(0, len(rows), self.block_rows):
            yield rows[start : start + self.block_rows]

    @abstractmethod
    def images(self, split: str, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read some images: (len(rows), size, size, 3) uint8."""

    @abstractmethod
    def labels(self, split: str) -> NDArray[np.int64]:
        """Read all labels of a split."""

    @abstractmethod
    def keys(self, split: str) -> Sequence[str]:
        """Read all keys of a split."""

    def fingerprints(self, split: str, track: Track) -> Fingerprints:
        """Look once at every image of a split."""
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
        with track(f"{split} of {self.name}", count) as display, quiet_decoder():
            for _, looked in in_threads(look, blocks, self.workers, threading.Event()):
                display.advance(looked)
        return Fingerprints(digests, self.labels(split), total / max(count, 1))


class StoreSide(Side):
    """One variant of a store."""

    def __init__(self, store: Store, variant: Variant) -> None:
        self.store = store
        self.variant = variant
        self.name = f"{store.path} {variant}"
        self.size = variant.size
        self.classes = store.classes
        self.splits = dict(store.splits)
        self.workers = available_cores()
        self._files = {split: store.rows(split, variant) for split in store.splits}

    def images(self, split: str, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read some images; see `Side.images`."""
        return self._files[split].read(np.asarray(rows))

    def labels(self, split: str) -> NDArray[np.int64]:
        """Read all labels of a split."""
        return self.store.labels(split)

    def keys(self, split: str) -> Sequence[str]:
        """Read all keys of a split."""
        return self.store.keys(split)


class SourceSide(Side):
    """A source whose images are small squares of one size already.

    Raises:
        SourceError: the first image is no square.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.index = source.index()
        self.name = str(source.path)
        self.classes = self.index.classes
        self.splits = {split: len(entries) for split, entries in self.index.splits.items()}
        self.workers = 1 if source.in_order else available_cores()
        first = next(iter(self.index.splits.values()))[0]
        height, width, _ = self._image(first).shape
        if height != width:
            raise SourceError(
                f"{source.describe(first)} has {width} x {height} pixels: only sets of small "
                "squares can be compared; build a store of it and compare that"
            )
        self.size = height

    def images(self, split: str, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read some images; see `Side.images`.

        Raises:
            SourceError: one cannot be read, or has another size than the first.
        """
        found = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for number, row in enumerate(rows):
            entry = self.index.splits[split][row]
            image = self._image(entry)
            if image.shape != found.shape[1:]:
                raise SourceError(
                    f"{self.source.describe(entry)} has {image.shape[1]} x {image.shape[0]} "
                    f"pixels and others have {self.size} x {self.size}: only sets of one size can "
                    "be compared"
                )
            found[number] = image
        return found

    def _image(self, entry: Entry) -> NDArray[np.uint8]:
        try:
            read = self.source.read(entry)
            return decode(read) if isinstance(read, bytes) else read
        except (SourceError, OSError) as error:
            raise SourceError(f"{self.source.describe(entry)} cannot be read: {error}") from error

    def labels(self, split: str) -> NDArray[np.int64]:
        """Read all labels of a split."""
        return np.fromiter((entry.label for entry in self.index.splits[split]), np.int64)

    def keys(self, split: str) -> Sequence[str]:
        """Read all keys of a split."""
        return self._keys[split]

    @cached_property
    def _keys(self) -> dict[str, list[str]]:
        return {split: [e.key for e in entries] for split, entries in self.index.splits.items()}


def opened_sides(store: Store, path: Path, variant: str | None) -> list[tuple[Side, Side]]:
    """Say what of a store is compared with what of another set.

    Args:
        store: the one set.
        path: the other: a store, or a source of small squares.
        variant: which variant of the store; if None, all that have a counterpart in another store
            by name or else by size, or the one of the source's size.

    Raises:
        StoreError: there is no such variant, or no counterpart, or more than one.
        SourceError: the other set cannot be read.
    """
    wanted = store.variants if variant is None else (Variant.parse(variant),)
    if not (path / FILE_NAME).exists():
        side = SourceSide(open_source(path))
        return [(StoreSide(store, _of_size(store.path, wanted, side.size)), side)]
    other = open_store(path)
    pairs: list[tuple[Side, Side]] = []
    for ours in wanted:
        if ours in other.variants:
            theirs = ours
        elif any(v.size == ours.size for v in other.variants) and (
            variant is not None or not set(wanted) & set(other.variants)
        ):
            theirs = _of_size(other.path, other.variants, ours.size)
        else:
            continue
        pairs.append((StoreSide(store, ours), StoreSide(other, theirs)))
    if not pairs:
        raise StoreError(
            f"{store.path} has {', '.join(map(str, wanted))} and {path} has "
            f"{', '.join(map(str, other.variants))}: no variants of one size to compare"
        )
    return pairs


def _of_size(path: Path, variants: Sequence[Variant], size: int) -> Variant:
    fitting = [variant for variant in variants if variant.size == size]
    if len(fitting) > 1:
        raise StoreError(
            f"{path} has {' and '.join(map(str, fitting))} of {size} px: choose one by --variant"
        )
    if not fitting:
        raise StoreError(
            f"{path} has {', '.join(map(str, variants))}, and the other set has {size} px: no "
            "variants of one size to compare"
        )
    return fitting[0]
