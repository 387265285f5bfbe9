"""Whether two sets hold the same images, in any order, under any names and in any formats.

Images are matched by the hash of their pixels. Images without an equal are paired by name, or else
with the most similar image of their class. So for a set made by another decoder or resizer, the
result says how far it differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import splitext

import numpy as np
from numpy.typing import NDArray

from lowres.comparing.matching import LIKENESS_LIMIT, Rows, alike_rows, equal_rows, thumbnails
from lowres.comparing.sets import Fingerprints, SmallImages, open_pairs
from lowres.errors import StoreError
from lowres.imagenet import devkit_ids, devkit_wnids, wnids
from lowres.progress import Track, silent
from lowres.store.rows import content_hash
from lowres.text import count, csv_bytes
from lowres.work.files import write_output

ALIKE_LEVELS = 16.0
"""Mean absolute difference above which a pair is not the same image; other decoders and filters
stay well below."""

SHOWN = 5
"""Images or classes of one kind that are named in the text."""

ClassNames = tuple[Sequence[str], Sequence[str]]
"""Class names by label of both sets."""

RowPairs = tuple[Rows, Rows]
"""Rows of both sets: (P,) each, paired where the text says so."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Images that have a counterpart with other pixels.

    Attributes:
        rows: (P,) int64, rows of the one set.
        other_rows: (P,) int64, rows of the other.
        largest: (P,) int64, the largest difference of any value, in levels.
        mean: (P,) float64, the mean absolute difference, in levels.
    """

    rows: Rows
    other_rows: Rows
    largest: NDArray[np.int64]
    mean: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SplitComparison:
    """One split of two sets.

    Attributes:
        counts: number of images of each set.
        identical: number of images with equal pixels and class in both sets.
        relabelled: paired rows with equal pixels and different classes.
        by_name: pairs with equal names and different pixels.
        by_likeness: pairs of one class that are each other's most similar.
        alone: rows of each set without a counterpart.
        too_many: classes with too many images left to compare them for likeness.
        class_counts: name and both numbers of images, of classes that differ in them.
        means: mean of each channel of each set, in levels.
        mean_difference: largest difference between the two mean images, in levels.
    """

    counts: tuple[int, int]
    identical: int
    relabelled: RowPairs
    by_name: Pairs
    by_likeness: Pairs
    alone: RowPairs
    too_many: list[str]
    class_counts: list[tuple[str, int, int]]
    means: tuple[list[float], list[float]]
    mean_difference: float

    @property
    def same(self) -> bool:
        """Whether both sets hold the same images with the same classes."""
        return self.counts[0] == self.counts[1] == self.identical


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """Two sets compared.

    Attributes:
        sets: the two sets.
        splits: the results for the splits that both have.
        only: splits that only the one or only the other set has.
        contents: content hash of each set, over all its splits that were asked for.
        naming: how numbers were read as class names; empty if they were not.
    """

    sets: tuple[SmallImages, SmallImages]
    splits: dict[str, SplitComparison]
    only: tuple[tuple[str, ...], tuple[str, ...]]
    contents: tuple[str, str]
    naming: str

    @property
    def same(self) -> bool:
        """Whether both sets hold the same images with the same classes in the same splits."""
        return not any(self.only) and all(split.same for split in self.splits.values())

    def lines(self) -> Iterator[str]:
        """Write the results for people, the answer last."""
        one, other = self.sets
        if self.naming:
            yield self.naming
        for splits, side in zip(self.only, self.sets, strict=True):
            if splits:
                yield f"only in {side.name}: {', '.join(splits)}"
        for split, found in self.splits.items():
            yield from _counted(split, found)
            if not found.same:
                yield from self._differences(split, found)
        for content, side in zip(self.contents, self.sets, strict=True):
            renamed = " (with its classes named as above)" if side.name in self.naming else ""
            yield f"content {content} {side.name}{renamed}"
        answer = "the same images" if self.same else "not the same images"
        yield f"{answer}: {one.name} and {other.name}"

    def _differences(self, split: str, found: SplitComparison) -> Iterator[str]:
        keys = (self.sets[0].keys(split), self.sets[1].keys(split))
        if len(found.relabelled[0]):
            yield f"  same pixels, another class: {count(len(found.relabelled[0]), 'image')}"
            for row, other_row in zip(*(rows[:SHOWN] for rows in found.relabelled), strict=True):
                yield f"    {keys[0][row]} and {keys[1][other_row]}"
        for how, pairs in (("name", found.by_name), ("likeness", found.by_likeness)):
            if len(pairs.rows):
                yield (
                    f"  other pixels, paired by {how}: {count(len(pairs.rows), 'image')}, "
                    f"{pairs.mean.mean():.2f} levels apart on average, at most "
                    f"{pairs.largest.max()}; the largest first:"
                )
            for pair in (-pairs.largest).argsort(kind="stable")[:SHOWN]:
                names = f"{keys[0][pairs.rows[pair]]} and {keys[1][pairs.other_rows[pair]]}"
                yield f"    {pairs.largest[pair]} levels (mean {pairs.mean[pair]:.2f}): {names}"
        for rows, names_of, side in zip(found.alone, keys, self.sets, strict=True):
            if len(rows):
                first = ", ".join(names_of[row] for row in rows[:SHOWN])
                rest = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
                yield f"  only in {side.name}: {count(len(rows), 'image')}: {first}{rest}"
        if found.too_many:
            yield (
                f"  not compared for likeness, because more than {LIKENESS_LIMIT:,} images of a "
                f"class are left: {', '.join(found.too_many[:SHOWN])}"
            )

    def write_csv(self, path: Path) -> int:
        """Write a line for each image that is not identical; return the number of lines.

        Columns: split; found (another class, other pixels by name, other pixels by likeness,
        alone); key and other_key; largest and mean absolute difference in levels.
        """
        header = ("split", "found", "key", "other_key", "largest", "mean")
        lines = list(self._csv_lines())
        write_output(path, csv_bytes([header, *lines]))
        return len(lines)

    def _csv_lines(self) -> Iterator[tuple[object, ...]]:
        for split, found in self.splits.items():
            keys, other_keys = self.sets[0].keys(split), self.sets[1].keys(split)
            for row, other_row in zip(*found.relabelled, strict=True):
                yield split, "another class", keys[row], other_keys[other_row], 0, 0
            for how, pairs in (("name", found.by_name), ("likeness", found.by_likeness)):
                what = f"other pixels by {how}"
                for pair, row in enumerate(pairs.rows):
                    names = (keys[row], other_keys[pairs.other_rows[pair]])
                    yield split, what, *names, pairs.largest[pair], f"{pairs.mean[pair]:.4f}"
            yield from ((split, "alone", keys[row], "", "", "") for row in found.alone[0])
            yield from ((split, "alone", "", other_keys[row], "", "") for row in found.alone[1])


def _counted(split: str, found: SplitComparison) -> Iterator[str]:
    ours, theirs = found.counts
    numbers = f"{ours:,}" if ours == theirs else f"{ours:,} and {theirs:,}"
    yield f"{split}: {numbers} images, {found.identical:,} identical"
    means = " and ".join(f"({', '.join(f'{m:.3f}' for m in side)})" for side in found.means)
    yield f"  mean of each channel {means}"
    yield f"  mean images differ by at most {found.mean_difference:.3f} levels"
    for name, ours, theirs in found.class_counts[:SHOWN]:
        yield f"  class {name}: {ours:,} and {theirs:,} images"
    if len(found.class_counts) > SHOWN:
        more = len(found.class_counts) - SHOWN
        yield f"  and {more:,} more classes that differ in their number of images"


def compare(
    path: Path | str,
    other_path: Path | str,
    *,
    variant: str | None = None,
    splits: Sequence[str] = (),
    track: Track = silent,
) -> Comparison:
    """Compare two sets of small images: stores, or sources in any format.

    Args:
        path: a store, or a source of small squares.
        other_path: another.
        variant: which variant of the store (of the first, if both are stores).
        splits: only these; all by default.
        track: shows progress.

    Raises:
        StoreError: a store has several variants to compare, or the sets differ in size or have no
            split in common.
        SourceError: a set cannot be read.
    """
    pairs = open_pairs(Path(path), Path(other_path), variant)
    if len(pairs) > 1:
        sizes = ", ".join(str(one.variant) for one, _ in pairs)
        raise StoreError(f"{path} and {other_path} have several variants: choose one of {sizes}")
    return compare_sets(*pairs[0], splits=splits, track=track)


def compare_sets(
    one: SmallImages, other: SmallImages, *, splits: Sequence[str] = (), track: Track = silent
) -> Comparison:
    """Compare two open sets; see `compare`."""
    if one.size != other.size:
        raise StoreError(
            f"{one.name} has {one.size} px and {other.name} has {other.size} px: compare sets of "
            "one size"
        )
    for side in (one, other):
        for split in splits:
            if split not in side.splits:
                have = ", ".join(side.splits)
                raise StoreError(f"{side.name} has no split {split!r}; it has {have}")
    ours, theirs = (list(dict.fromkeys(splits)) or list(side.splits) for side in (one, other))
    common = [split for split in ours if split in theirs]
    if not common:
        raise StoreError(
            f"no split is in both: {one.name} has {', '.join(ours)} and {other.name} has "
            f"{', '.join(theirs)}"
        )
    prints = {split: one.fingerprints(split, track) for split in ours}
    other_prints = {split: other.fingerprints(split, track) for split in theirs}
    naming, names = _named(one, other, (prints[common[0]], other_prints[common[0]]))
    return Comparison(
        sets=(one, other),
        splits={
            split: _compare_split(split, (one, other), (prints[split], other_prints[split]), names)
            for split in common
        },
        only=(
            tuple(split for split in ours if split not in common),
            tuple(split for split in theirs if split not in common),
        ),
        contents=(
            content_hash(one.size, {s: (p.labels, p.digests) for s, p in prints.items()}, names[0]),
            content_hash(
                one.size, {s: (p.labels, p.digests) for s, p in other_prints.items()}, names[1]
            ),
        ),
        naming=naming,
    )


def _named(
    one: SmallImages, other: SmallImages, prints: tuple[Fingerprints, Fingerprints]
) -> tuple[str, ClassNames]:
    """Return the class names of both sets; numbers become the names that fit the images best."""
    numbers = _numbers(one.classes), _numbers(other.classes)
    unchanged = (one.classes, other.classes)
    if numbers[0] and numbers[1]:  # 7 and 007 are one class
        return "", (list(map(str, numbers[0])), list(map(str, numbers[1])))
    if not (numbers[0] or numbers[1]):
        return "", unchanged
    numbered, named = (one, other) if numbers[0] else (other, one)
    found = {
        words: (names, named.classes) if numbered is one else (named.classes, names)
        for words, names in _namings(numbers[0] or numbers[1] or [], named.classes)
    }
    if not found:
        return f"classes of {numbered.name} are numbers, which fit no order", unchanged
    best = max(found, key=lambda w: len(_identical(prints, _class_numbers(prints, found[w]))[0]))
    return f"classes of {numbered.name} are numbers, taken as {best}", found[best]


def _namings(numbers: Sequence[int], named: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """List the ways to read numbers as classes, the likeliest first."""
    orders = {"the labels of the other set": list(named)}
    ids = devkit_ids(named)
    if ids is not None:
        orders["devkit ids"] = list(devkit_wnids())
        orders["places among the other set's devkit ids"] = [
            name for _, name in sorted(zip(ids, named, strict=True))
        ]
        orders["places among all sorted WNIDs"] = list(wnids())
    for words, order in orders.items():
        for first in (0, 1):
            if first <= min(numbers) and max(numbers) < len(order) + first:
                yield f"{words}, from {first}", [order[number - first] for number in numbers]


def _numbers(classes: Sequence[str]) -> list[int] | None:
    """Read class names as numbers, if all are numbers and differ."""
    if not all(name.isascii() and name.isdigit() for name in classes):
        return None
    numbers = [int(name) for name in classes]
    return numbers if len(set(numbers)) == len(numbers) else None


def _class_numbers(prints: tuple[Fingerprints, Fingerprints], names: ClassNames) -> RowPairs:
    """Return the class of each row of both sets, (N,) and (M,): its place among all names."""
    number = {name: place for place, name in enumerate(sorted({*names[0], *names[1]}))}
    ours, theirs = (
        np.array([number[name] for name in side], np.int64)[found.labels]
        for side, found in zip(names, prints, strict=True)
    )
    return ours, theirs


def _identical(prints: tuple[Fingerprints, Fingerprints], classes: RowPairs) -> RowPairs:
    ours, theirs = (
        np.column_stack([found.digests.view(np.uint64), numbers.astype(np.uint64)])
        for found, numbers in zip(prints, classes, strict=True)
    )
    return equal_rows(ours, theirs)


def _compare_split(
    split: str,
    sets: tuple[SmallImages, SmallImages],
    prints: tuple[Fingerprints, Fingerprints],
    names: ClassNames,
) -> SplitComparison:
    ours, theirs = prints
    classes = _class_numbers(prints, names)
    identical = _identical(prints, classes)
    left = _without((np.arange(len(classes[0])), np.arange(len(classes[1]))), *identical)
    rows, other_rows = equal_rows(
        ours.digests[left[0]].view(np.uint64), theirs.digests[left[1]].view(np.uint64)
    )
    relabelled = (left[0][rows], left[1][other_rows])
    left = _without(left, *relabelled)
    by_name = _measured(split, sets, _same_name(split, sets, left))
    left = _without(left, by_name.rows, by_name.other_rows)
    by_likeness = _measured(split, sets, _most_alike(split, sets, classes, left))
    every_class = sorted({*names[0], *names[1]})
    counts, counts_left = (
        [np.bincount(side, minlength=len(every_class)).tolist() for side in sides]
        for sides in (classes, (classes[0][left[0]], classes[1][left[1]]))
    )
    return SplitComparison(
        counts=(len(ours.labels), len(theirs.labels)),
        identical=len(identical[0]),
        relabelled=relabelled,
        by_name=by_name,
        by_likeness=by_likeness,
        alone=_without(left, by_likeness.rows, by_likeness.other_rows),
        too_many=[
            name
            for name, here, there in zip(every_class, *counts_left, strict=True)
            if max(here, there) > LIKENESS_LIMIT and min(here, there) > 0
        ],
        class_counts=[
            (name, here, there)
            for name, here, there in zip(every_class, *counts, strict=True)
            if here != there
        ],
        means=(ours.mean.mean(axis=(0, 1)).tolist(), theirs.mean.mean(axis=(0, 1)).tolist()),
        mean_difference=float(np.abs(ours.mean - theirs.mean).max()),
    )


def _without(left: RowPairs, rows: Rows, other_rows: Rows) -> RowPairs:
    return np.setdiff1d(left[0], rows), np.setdiff1d(left[1], other_rows)


def _same_name(split: str, sets: tuple[SmallImages, SmallImages], left: RowPairs) -> RowPairs:
    """Pair rows by their keys without suffix."""
    if not (len(left[0]) and len(left[1])):
        return left[0][:0], left[1][:0]
    keys, other_keys = sets[0].keys(split), sets[1].keys(split)
    other_row = {splitext(other_keys[row])[0]: row for row in left[1].tolist()}
    pairs = [
        (row, other_row.pop(stem))
        for row in left[0].tolist()
        if (stem := splitext(keys[row])[0]) in other_row
    ]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _most_alike(
    split: str, sets: tuple[SmallImages, SmallImages], classes: RowPairs, left: RowPairs
) -> RowPairs:
    """Pair rows of one class that are each other's most similar by their thumbnails."""
    if not (len(left[0]) and len(left[1])):
        return left[0][:0], left[1][:0]
    ours, theirs = classes[0][left[0]], classes[1][left[1]]
    small, other_small = (
        np.concatenate([thumbnails(side.images(split, block)) for block in side.blocks(rows)])
        for side, rows in zip(sets, left, strict=True)
    )
    pairs = [(left[0][:0], left[1][:0])]
    for number in np.intersect1d(ours, theirs):
        here, there = np.flatnonzero(ours == number), np.flatnonzero(theirs == number)
        rows, other_rows = alike_rows(small[here], other_small[there])
        pairs.append((left[0][here[rows]], left[1][there[other_rows]]))
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def _measured(split: str, sets: tuple[SmallImages, SmallImages], rows: RowPairs) -> Pairs:
    """Measure the difference of each pair; drop pairs that differ too much to be the same image.

    Equal names may be mere numbers, and the most similar image of a class may be another one.
    """
    order = np.argsort(rows[1], kind="stable")  # sources are read best in their order
    ours, theirs = rows[0][order], rows[1][order]
    largest, mean = np.empty(len(ours), np.int64), np.empty(len(ours))
    start = 0
    for block, other_block in zip(sets[0].blocks(ours), sets[0].blocks(theirs), strict=True):
        images = sets[0].images(split, block).astype(np.int16)
        apart = np.abs(images - sets[1].images(split, other_block))
        stop = start + len(block)
        largest[start:stop] = apart.max(axis=(1, 2, 3))
        mean[start:stop] = apart.mean(axis=(1, 2, 3))
        start = stop
    kept = mean <= ALIKE_LEVELS
    return Pairs(ours[kept], theirs[kept], largest[kept], mean[kept])
