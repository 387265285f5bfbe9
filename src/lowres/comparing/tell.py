"""Telling what a comparison found: lines for people, and every entry that differs as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from lowres.comparing.compare import Comparison, Pairs, SplitComparison
from lowres.comparing.matching import LIKENESS_LIMIT, Rows
from lowres.comparing.sets import Side

SHOWN = 5
"""How many entries or classes of one kind are named."""


def lines(comparison: Comparison, sides: tuple[Side, Side]) -> Iterator[str]:
    """Tell what was found, the verdict last."""
    one, other = sides
    if comparison.naming:
        yield comparison.naming
    for splits, side in zip(comparison.only, sides, strict=True):
        if splits:
            yield f"only in {side.name}: {', '.join(splits)}"
    for split, found in comparison.splits.items():
        yield f"{split}: {_counts(found)}"
        yield from (f"  {line}" for line in _split_lines(split, found, sides))
    renamed = " (its classes named as said above)" if comparison.naming else ""
    for content, side in zip(comparison.contents, sides, strict=True):
        yield f"content {content} {side.name}{renamed if side.name in comparison.naming else ''}"
    verdict = "the same images" if comparison.same else "not the same images"
    yield f"{verdict}: {one.name} and {other.name}"


def _counts(found: SplitComparison) -> str:
    ours, theirs = found.counts
    numbers = f"{ours:,}" if ours == theirs else f"{ours:,} and {theirs:,}"
    return f"{numbers} images, {found.identical:,} identical"


def _split_lines(split: str, found: SplitComparison, sides: tuple[Side, Side]) -> Iterator[str]:
    means = " and ".join(f"({', '.join(f'{level:.3f}' for level in side)})" for side in found.means)
    yield f"mean of each channel {means}"
    yield f"mean images differ by at most {found.mean_difference:.3f} levels"
    for name, ours, theirs in found.class_counts[:SHOWN]:
        yield f"class {name}: {ours:,} and {theirs:,} images"
    if len(found.class_counts) > SHOWN:
        yield f"... {len(found.class_counts):,} classes differ in their number of images"
    if found.same:
        return
    keys = (sides[0].keys(split), sides[1].keys(split))
    if len(found.relabelled[0]):
        yield f"{len(found.relabelled[0]):,} have the same pixels and another class:"
        for row, there in _first(*found.relabelled):
            yield f"  {keys[0][row]} and {keys[1][there]}"
    for how, pairs in (("name", found.by_name), ("likeness", found.by_likeness)):
        yield from _pair_lines(how, pairs, keys)
    for rows, names, side in zip(found.alone, keys, sides, strict=True):
        if len(rows):
            yield f"{len(rows):,} only in {side.name}: {_named(rows, names)}"
    if found.too_many:
        yield (
            f"not compared for likeness, as there are more than {LIKENESS_LIMIT:,} left: class "
            f"{', '.join(found.too_many[:SHOWN])}"
        )


def _first(rows: Rows, other_rows: Rows) -> Iterator[tuple[int, int]]:
    yield from zip(rows[:SHOWN].tolist(), other_rows[:SHOWN].tolist(), strict=True)


def _pair_lines(how: str, pairs: Pairs, keys: tuple[Sequence[str], Sequence[str]]) -> Iterator[str]:
    if not len(pairs.rows):
        return
    yield (
        f"{len(pairs.rows):,} have other pixels, paired by {how}: by {pairs.mean.mean():.2f} "
        f"levels on average, by {pairs.largest.max()} at most; the largest differences:"
    )
    for pair in (-pairs.largest).argsort(kind="stable")[:SHOWN]:
        row, there = int(pairs.rows[pair]), int(pairs.other_rows[pair])
        yield (
            f"  {pairs.largest[pair]} levels (mean {pairs.mean[pair]:.2f}): "
            f"{keys[0][row]} and {keys[1][there]}"
        )


def _named(rows: Rows, keys: Sequence[str]) -> str:
    return ", ".join(keys[row] for row in rows[:SHOWN]) + (", ..." if len(rows) > SHOWN else "")


def write_csv(path: Path, comparison: Comparison, sides: tuple[Side, Side]) -> int:
    """Write a line for each entry that is not identical, and give their number.

    Columns: split; found (another class, other pixels by name, other pixels by likeness, alone);
    key and other_key; largest and mean absolute difference in levels.
    """
    written = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("split", "found", "key", "other_key", "largest", "mean"))
        for split, found in comparison.splits.items():
            for line in _rows(split, found, sides):
                table.writerow((split, *line))
                written += 1
    return written


def _rows(
    split: str, found: SplitComparison, sides: tuple[Side, Side]
) -> Iterator[tuple[object, ...]]:
    keys, other_keys = sides[0].keys(split), sides[1].keys(split)
    for row, there in zip(*found.relabelled, strict=True):
        yield "another class", keys[row], other_keys[there], 0, 0
    for how, pairs in (("name", found.by_name), ("likeness", found.by_likeness)):
        for row, there, largest, mean in zip(
            pairs.rows, pairs.other_rows, pairs.largest, pairs.mean, strict=True
        ):
            yield f"other pixels by {how}", keys[row], other_keys[there], largest, f"{mean:.4f}"
    for row in found.alone[0]:
        yield "alone", keys[row], "", "", ""
    for row in found.alone[1]:
        yield "alone", "", other_keys[row], "", ""
