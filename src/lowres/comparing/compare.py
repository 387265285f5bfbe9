"""Whether two sets hold the same images, whatever their order, names and formats.

Images are matched by the hash of their pixels. What is left on both sides is paired by name,
else with the most alike of its class, so that a set made by another decoder or resizer is not only
called different: it is told by how much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from posixpath import splitext

import numpy as np
from numpy.typing import NDArray

from lowres.comparing.matching import (
    LIKENESS_LIMIT,
    Rows,
    alike_rows,
    equal_rows,
    left_out,
    thumbnails,
)
from lowres.comparing.sets import Fingerprints, Side
from lowres.errors import StoreError
from lowres.imagenet import devkit_ids, devkit_wnids, wnids
from lowres.progress import Track, silent
from lowres.store.rows import content_hash

ALIKE_LEVELS = 16.0
"""Mean absolute difference above which two images are not taken for the same one any more; other
decoders and filters stay well below."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Images that have a counterpart with other pixels.

    Attributes:
        rows: (P,) int64, rows on the one side.
        other_rows: (P,) int64, rows on the other.
        largest: (P,) int64, the largest difference of any value, in levels.
        mean: (P,) float64, the mean absolute difference, in levels.
    """

    rows: Rows
    other_rows: Rows
    largest: NDArray[np.int64]
    mean: NDArray[np.float64]

    def only(self, kept: NDArray[np.bool_]) -> Pairs:
        """Keep some of the pairs."""
        return Pairs(self.rows[kept], self.other_rows[kept], self.largest[kept], self.mean[kept])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SplitComparison:
    """One split of two sets.

    Attributes:
        counts: number of images on either side.
        identical: images of the same pixels and class on both sides.
        relabelled: rows on either side of the same pixels and another class.
        by_name: pairs of the same name and other pixels.
        by_likeness: pairs of the same class that are each other's most alike.
        alone: rows on either side without a counterpart.
        too_many: classes of which too many are left to be compared for likeness.
        class_counts: name and the two numbers of images, of classes where these differ.
        means: mean of each channel on either side, in levels.
        mean_difference: largest difference between the two mean images, in levels.
    """

    counts: tuple[int, int]
    identical: int
    relabelled: tuple[Rows, Rows]
    by_name: Pairs
    by_likeness: Pairs
    alone: tuple[Rows, Rows]
    too_many: list[str]
    class_counts: list[tuple[str, int, int]]
    means: tuple[list[float], list[float]]
    mean_difference: float

    @property
    def same(self) -> bool:
        """Whether both sides hold the same images with the same classes."""
        return self.counts[0] == self.counts[1] == self.identical


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """Two sets compared.

    Attributes:
        splits: what was found, of the splits that both have.
        only: splits that one side alone has, on either side.
        contents: content hash of either side, over all its splits that were asked for.
        naming: how classes without names were named, or empty.
    """

    splits: dict[str, SplitComparison]
    only: tuple[tuple[str, ...], tuple[str, ...]]
    contents: tuple[str, str]
    naming: str

    @property
    def same(self) -> bool:
        """Whether both sets hold the same images with the same classes in the same splits."""
        return not any(self.only) and all(split.same for split in self.splits.values())


def compare(
    one: Side, other: Side, *, splits: Sequence[str] = (), track: Track = silent
) -> Comparison:
    """Compare two sets of small images.

    Args:
        one: a set.
        other: another.
        splits: only these; all if none is given.
        track: shows progress.

    Raises:
        StoreError: they have other sizes, or no split in common.
        SourceError: one cannot be read.
    """
    if one.size != other.size:
        raise StoreError(
            f"{one.name} has {one.size} px and {other.name} has {other.size} px: compare sets of "
            "one size"
        )
    ours, theirs = (_asked(side, splits) for side in (one, other))
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
        splits={
            split: _compare_split(split, (one, other), (prints[split], other_prints[split]), names)
            for split in common
        },
        only=(
            tuple(split for split in ours if split not in common),
            tuple(split for split in theirs if split not in common),
        ),
        contents=(
            _content(one.size, prints, names[0]),
            _content(other.size, other_prints, names[1]),
        ),
        naming=naming,
    )


def _asked(side: Side, splits: Sequence[str]) -> list[str]:
    for split in splits:
        if split not in side.splits:
            raise StoreError(f"{side.name} has no split {split!r}; it has {', '.join(side.splits)}")
    return list(dict.fromkeys(splits)) or list(side.splits)


Names = tuple[Sequence[str], Sequence[str]]


def _content(size: int, prints: Mapping[str, Fingerprints], classes: Sequence[str]) -> str:
    return content_hash(size, {s: (p.labels, p.digests) for s, p in prints.items()}, classes)


def _named(one: Side, other: Side, prints: tuple[Fingerprints, Fingerprints]) -> tuple[str, Names]:
    """Give the class names of both sides; where one has only numbers, those that fit best."""
    numbers = _numbers(one.classes), _numbers(other.classes)
    as_they_are = (one.classes, other.classes)
    if numbers[0] and numbers[1]:  # 7 and 007 are one class
        return "", (list(map(str, numbers[0])), list(map(str, numbers[1])))
    if not (numbers[0] or numbers[1]):
        return "", as_they_are
    numbered, named = (one, other) if numbers[0] else (other, one)
    found = {
        words: (names, named.classes) if numbered is one else (named.classes, names)
        for words, names in _namings(numbers[0] or numbers[1] or [], named.classes)
    }
    if not found:
        return f"classes of {numbered.name} are numbers, which fit no order", as_they_are
    best = max(found, key=lambda words: len(_identical(prints, found[words])[0]))
    return f"classes of {numbered.name} are numbers, taken as {best}", found[best]


def _namings(numbers: Sequence[int], named: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Give the ways to read numbers as classes, the likeliest first."""
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
    """Read class names as numbers, if all are, and different ones."""
    if not all(name.isascii() and name.isdigit() for name in classes):
        return None
    numbers = [int(name) for name in classes]
    return numbers if len(set(numbers)) == len(numbers) else None


def _class_numbers(names: Names) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the names of both sides together, in sorted order."""
    number = {name: position for position, name in enumerate(sorted({*names[0], *names[1]}))}
    ours, theirs = (np.array([number[name] for name in side], np.int64) for side in names)
    return ours, theirs


def _identical(prints: tuple[Fingerprints, Fingerprints], names: Names) -> tuple[Rows, Rows]:
    ours, theirs = (
        np.column_stack([side.digests.view(np.uint64), numbers[side.labels].astype(np.uint64)])
        for side, numbers in zip(prints, _class_numbers(names), strict=True)
    )
    return equal_rows(ours, theirs)


def _compare_split(
    split: str, sides: tuple[Side, Side], prints: tuple[Fingerprints, Fingerprints], names: Names
) -> SplitComparison:
    ours, theirs = prints
    everything = (np.arange(len(ours.labels)), np.arange(len(theirs.labels)))
    identical = _identical(prints, names)
    left = _left(prints, identical)
    relabelled = equal_rows(
        ours.digests[left[0]].view(np.uint64), theirs.digests[left[1]].view(np.uint64)
    )
    relabelled = (left[0][relabelled[0]], left[1][relabelled[1]])
    left = (np.setdiff1d(left[0], relabelled[0]), np.setdiff1d(left[1], relabelled[1]))
    by_name = _measured(split, sides, _same_name(split, sides, left))
    by_name = by_name.only(by_name.mean <= ALIKE_LEVELS)  # names may be mere numbers
    left = (np.setdiff1d(left[0], by_name.rows), np.setdiff1d(left[1], by_name.other_rows))
    by_likeness = _measured(split, sides, _most_alike(split, sides, prints, names, left))
    by_likeness = by_likeness.only(by_likeness.mean <= ALIKE_LEVELS)
    return SplitComparison(
        counts=(len(ours.labels), len(theirs.labels)),
        identical=len(identical[0]),
        relabelled=relabelled,
        by_name=by_name,
        by_likeness=by_likeness,
        alone=(
            np.setdiff1d(left[0], by_likeness.rows),
            np.setdiff1d(left[1], by_likeness.other_rows),
        ),
        too_many=[
            name
            for name, here, there in _by_class(prints, names, left)
            if max(here, there) > LIKENESS_LIMIT and min(here, there) > 0
        ],
        class_counts=[
            counted for counted in _by_class(prints, names, everything) if counted[1] != counted[2]
        ],
        means=(ours.mean.mean(axis=(0, 1)).tolist(), theirs.mean.mean(axis=(0, 1)).tolist()),
        mean_difference=float(np.abs(ours.mean - theirs.mean).max()),
    )


def _left(prints: tuple[Fingerprints, Fingerprints], taken: tuple[Rows, Rows]) -> tuple[Rows, Rows]:
    ours, theirs = (
        left_out(len(side.labels), rows) for side, rows in zip(prints, taken, strict=True)
    )
    return ours, theirs


def _same_name(split: str, sides: tuple[Side, Side], left: tuple[Rows, Rows]) -> tuple[Rows, Rows]:
    """Pair rows by their keys without suffix."""
    if not (len(left[0]) and len(left[1])):
        return left[0][:0], left[1][:0]
    keys, other_keys = sides[0].keys(split), sides[1].keys(split)
    rows_there = {splitext(other_keys[row])[0]: row for row in left[1].tolist()}
    pairs = [
        (row, rows_there.pop(stem))
        for row in left[0].tolist()
        if (stem := splitext(keys[row])[0]) in rows_there
    ]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _most_alike(
    split: str,
    sides: tuple[Side, Side],
    prints: tuple[Fingerprints, Fingerprints],
    names: Names,
    left: tuple[Rows, Rows],
) -> tuple[Rows, Rows]:
    """Pair rows of one class that are each other's most alike by their thumbnails."""
    if not (len(left[0]) and len(left[1])):
        return left[0][:0], left[1][:0]
    numbers = _class_numbers(names)
    ours, theirs = (numbers[i][prints[i].labels[left[i]]] for i in (0, 1))
    small = [_thumbnails(split, sides[i], left[i]) for i in (0, 1)]
    pairs = []
    for number in np.intersect1d(ours, theirs):
        here, there = (np.flatnonzero(side == number) for side in (ours, theirs))
        rows, other_rows = alike_rows(small[0][here], small[1][there])
        pairs.append((left[0][here[rows]], left[1][there[other_rows]]))
    if not pairs:
        return left[0][:0], left[1][:0]
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def _by_class(
    prints: tuple[Fingerprints, Fingerprints], names: Names, rows: tuple[Rows, Rows]
) -> list[tuple[str, int, int]]:
    """Count some rows of both sides by class: name and the two numbers."""
    everyone = sorted({*names[0], *names[1]})
    numbers = _class_numbers(names)
    counts = (
        np.bincount(numbers[i][prints[i].labels[rows[i]]], minlength=len(everyone)).tolist()
        for i in (0, 1)
    )
    return list(zip(everyone, *counts, strict=True))


def _thumbnails(split: str, side: Side, rows: Rows) -> NDArray[np.float32]:
    return np.concatenate([thumbnails(side.images(split, block)) for block in side.blocks(rows)])


def _measured(split: str, sides: tuple[Side, Side], rows: tuple[Rows, Rows]) -> Pairs:
    """Measure how far the images of each pair are apart."""
    order = np.argsort(rows[1], kind="stable")  # sources are read best in their order
    ours, theirs = rows[0][order], rows[1][order]
    largest, mean = np.empty(len(ours), np.int64), np.empty(len(ours))
    start = 0
    for block, other_block in zip(sides[0].blocks(ours), sides[0].blocks(theirs), strict=True):
        images = sides[0].images(split, block).astype(np.int16)
        apart = np.abs(images - sides[1].images(split, other_block))
        stop = start + len(block)
        largest[start:stop] = apart.max(axis=(1, 2, 3))
        mean[start:stop] = apart.mean(axis=(1, 2, 3))
        start = stop
    return Pairs(ours, theirs, largest, mean)
