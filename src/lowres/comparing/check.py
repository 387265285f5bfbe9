"""Whether a store is fit to train on: duplicates, leaks between splits, blank images, imbalance.

One pass reads the images of one variant. Equal images are found by their hashes, near-duplicates as
`near.py` says. Nothing is changed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres.comparing.near import details, near_pairs
from lowres.errors import StoreError
from lowres.progress import Track, silent
from lowres.store.findings import class_line
from lowres.store.rows import image_digests
from lowres.store.store import Store
from lowres.text import count, csv_bytes, percent
from lowres.variant import Variant
from lowres.work.files import write_output
from lowres.work.threads import available_cores, in_threads

SIMILARITY = 0.9
"""The lowest similarity of near-duplicates; docs/checking.md shows what it finds and misses."""

COMPARED_PX = 16
SMALLEST_PX = 4
BLANK_LEVELS = 4
"""The largest range of each channel, in levels, of an image of one colour."""

READ_ROWS = 4096
IMBALANCE = 2.0
"""Ratio of the largest class to the smallest from which classes are called unbalanced."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Check:
    """What was found in a store. A place is a row number, counted over all splits in their order.

    Attributes:
        store: the store.
        variant: the variant that was read.
        labels: (N,) int64, by place.
        group: (N,) int64, the first place whose image has equal pixels.
        near: (P, 2) int64 places of near-duplicates, the first ones of their groups.
        similarity: (P,) float32, of each pair of `near`, the highest first.
        least: the lowest similarity that was searched for.
        complete: False if there are more near-duplicates than `near` has.
        blank: (B,) int64 places of images of one colour.
    """

    store: Store
    variant: Variant
    labels: NDArray[np.int64]
    group: NDArray[np.int64]
    near: NDArray[np.int64]
    similarity: NDArray[np.float32]
    least: float
    complete: bool
    blank: NDArray[np.int64]

    @cached_property
    def split_numbers(self) -> NDArray[np.int64]:
        """The number of the split of each place, (N,) int64."""
        return np.repeat(np.arange(len(self.store.splits)), list(self.store.splits.values()))

    @property
    def reference(self) -> str:
        """The split whose images should be in no other: train, or the first one."""
        return "train" if "train" in self.store.splits else next(iter(self.store.splits))

    def _of(self, split: str) -> NDArray[np.bool_]:
        return np.asarray(self.split_numbers == list(self.store.splits).index(split))

    def leaked(self, split: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which images of a split are in train, too: (n,) equal ones, (n,) similar ones."""
        trained = np.zeros(len(self.group), bool)
        trained[self.group[self._of(self.reference)]] = True
        similar = np.zeros(len(self.group), bool)
        one, other = self.near.T
        similar[one[trained[other]]] = True
        similar[other[trained[one]]] = True
        own = self.group[self._of(split)]
        return trained[own], similar[own]

    @cached_property
    def copies(self) -> NDArray[np.int64]:
        """The places whose image equals an earlier one, (C,) int64."""
        return np.flatnonzero(self.group != np.arange(len(self.group)))

    @cached_property
    def relabelled(self) -> NDArray[np.int64]:
        """The places whose image equals an earlier one of another class, (R,) int64."""
        copies: NDArray[np.int64] = self.copies
        changed: NDArray[np.bool_] = self.labels[copies] != self.labels[self.group[copies]]
        return copies[changed]

    @property
    def sound(self) -> bool:
        """Whether no image is in two splits or in two classes."""
        splits = self.split_numbers
        return not len(self.relabelled) and bool(
            (splits[self.copies] == splits[self.group[self.copies]]).all()
        )

    def lines(self) -> Iterator[str]:
        """Write the results for people, the answer last."""
        splits, px = self.store.splits, self.variant.size
        labels = self.labels[self._of(self.reference)]
        counts = np.bincount(labels, minlength=len(self.store.classes))
        yield class_line(self.store.classes, counts, self.reference)
        ratio = counts.max() / max(counts.min(), 1)
        if ratio >= IMBALANCE:
            yield f"imbalance: the largest class has {ratio:.1f} x the images of the smallest"
        for split, images in splits.items():
            own = self._of(split)
            repeated = images - int((np.bincount(self.group[own]) > 0).sum())
            if repeated:
                yield f"duplicates: {count(repeated, 'image')} of {split} equal another of {split}"
        for split, images in splits.items():
            if split == self.reference:
                continue
            equal, similar = self.leaked(split)
            yield (
                f"{split}: {equal.sum():,} of {images:,} images are in {self.reference}, too, and "
                f"{(similar & ~equal).sum():,} more are near-duplicates of an image of "
                f"{self.reference}; {percent((~(equal | similar)).mean())} are clean"
            )
        if len(self.relabelled):
            place = int(self.relabelled[0])
            yield (
                f"classes: {count(len(self.relabelled), 'image')} equal an image of another class, "
                f"{self.name(place)} and {self.name(int(self.group[place]))} first"
            )
        one, other = self.near.T
        across = (self.split_numbers[one] != self.split_numbers[other]).sum()
        mixed = (self.labels[one] != self.labels[other]).sum()
        yield (
            f"near-duplicates: {'' if self.complete else 'more than '}{count(len(one), 'pair')} of "
            f"similarity {self.least:g} or more, {across:,} across splits, {mixed:,} across classes"
        )
        if len(self.blank):
            yield (
                f"blank: {count(len(self.blank), 'image')} of one colour, "
                f"{self.name(int(self.blank[0]))} first"
            )
        answer = "no image is" if self.sound else "images are"
        yield f"{self.store.path}: {answer} in two splits or in two classes (equal at {px} px)"

    def images(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read some images at the store's largest size: (len(places), S, S, 3) uint8."""
        largest = max(self.store.variants, key=lambda v: (v.size, v == self.variant))
        arrays = [self.store.images(split, largest) for split in self.store.splits]
        begins = np.searchsorted(self.split_numbers, np.arange(len(arrays)))
        numbers = self.split_numbers[places]
        return np.stack(
            [
                arrays[number][place - begins[number]]
                for number, place in zip(numbers, places, strict=True)
            ]
        )

    def name(self, place: int) -> str:
        """Return the split and key of an image, for people."""
        split, _, key, _ = self._named(place)
        return f"{split}/{key}"

    def _classes(self, one: int, other: int) -> str:
        names = (self.store.classes[self.labels[place]] for place in (one, other))
        return " and ".join(dict.fromkeys(names))

    def _named(self, place: int) -> tuple[str, int, str, str]:
        number = int(self.split_numbers[place])
        split = list(self.store.splits)[number]
        row = place - int(np.searchsorted(self.split_numbers, number))
        return split, row, self._keys[split][row], self.store.classes[self.labels[place]]

    @cached_property
    def _keys(self) -> dict[str, list[str]]:
        return {split: self.store.keys(split) for split in self.store.splits}

    def pairs(self) -> Iterator[tuple[str, float, int, int]]:
        """Yield kind, similarity and places of each pair: equal ones, then similar ones."""
        for place in self.copies.tolist():
            yield "equal", 1.0, int(self.group[place]), place
        for (one, other), similarity in zip(
            self.near.tolist(), self.similarity.tolist(), strict=True
        ):
            yield "near", similarity, one, other

    def write_csv(self, path: Path) -> int:
        """Write a line for each pair and each blank image; return how many."""
        half = ("split", "row", "key", "class")
        header = ("kind", "similarity", *half, *(f"other_{name}" for name in half))
        lines = [
            (kind, f"{similarity:.3f}", *self._named(one), *self._named(other))
            for kind, similarity, one, other in self.pairs()
        ]
        blank = [("blank", "", *self._named(at), "", "", "", "") for at in self.blank.tolist()]
        write_output(path, csv_bytes([header, *lines, *blank]))
        return len(lines) + len(blank)

    def shown(self, most: int) -> list[tuple[str, int, int]]:
        """Choose pairs to look at, those across splits if there are any, of all similarities.

        Returns:
            For each pair a caption and two places.
        """
        found = list(self.pairs())
        split = self.split_numbers
        chosen = [pair for pair in found if split[pair[2]] != split[pair[3]]] or found
        steps = np.linspace(0, len(chosen) - 1, min(most, len(chosen))).astype(int).tolist()
        return [
            (f"{kind} {similarity:.3f}, {self._classes(one, other)}", one, other)
            for kind, similarity, one, other in (chosen[step] for step in steps)
        ]


def check(
    store: Store,
    variant: Variant | str | None = None,
    *,
    least: float = SIMILARITY,
    track: Track = silent,
) -> Check:
    """Look for duplicates, leaks between splits, blank images and imbalance.

    Args:
        store: the store.
        variant: which variant to read; default: the one whose size is nearest to 16 px, box first.
        least: the lowest similarity of near-duplicates, 0.7 to 1.
        track: shows progress.

    Raises:
        StoreError: the store has no such variant, its images are too small, or it is damaged.
    """
    if not 0.7 <= least <= 1.0:
        raise StoreError(f"--similarity must be from 0.7 to 1, was {least:g}")
    if variant is None:
        variant = min(
            store.variants,
            key=lambda v: (abs(np.log2(v.size / COMPARED_PX)), v.filter != "box", v),
        )
    variant = Variant.parse(str(variant))
    if variant.size < SMALLEST_PX:
        raise StoreError(f"{variant} is too small to compare: at least {SMALLEST_PX} px are needed")
    files = {split: store.rows(split, variant) for split in store.splits}
    spans, place = [], 0
    for split, images in store.splits.items():
        for start in range(0, images, READ_ROWS):
            spans.append((split, start, place + start))
        place += images
    hashes, blank = np.empty(place, np.uint64), np.empty(place, bool)
    detail = np.empty((place, details(files[spans[0][0]].read_range(0, 1)).shape[1]), np.float16)

    def look(span: tuple[str, int, int]) -> int:
        split, start, first = span
        block = files[split].read_range(start, min(start + READ_ROWS, store.splits[split]))
        target = slice(first, first + len(block))
        hashes[target] = np.ascontiguousarray(image_digests(block)[:, :8]).view(np.uint64)[:, 0]
        blank[target] = (np.ptp(block.reshape(len(block), -1, 3), axis=1) <= BLANK_LEVELS).all(1)
        detail[target] = details(block)
        return len(block)

    with track("read", place) as display:
        for _, looked in in_threads(look, spans, available_cores(), threading.Event()):
            display.advance(looked)
    order = np.argsort(hashes, kind="stable")
    starts = np.append(True, hashes[order[1:]] != hashes[order[:-1]])
    group = np.empty(place, np.int64)
    group[order] = order[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    detail[group != np.arange(place)] = 0
    near = near_pairs(detail, least, track=track)
    return Check(
        store=store,
        variant=variant,
        labels=np.concatenate([store.labels(split) for split in store.splits]),
        group=group,
        near=near.rows,
        similarity=near.similarity,
        least=least,
        complete=near.complete,
        blank=np.flatnonzero(blank),
    )
