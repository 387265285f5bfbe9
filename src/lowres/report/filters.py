"""Filters of one size against each other, over the configurations and seeds that all have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowres.report.reading import Row, fields_but, label
from lowres.statistics import (
    FilterComparison,
    compare_filters,
    equal_within,
    worse_than_all,
)


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of one size.

    Attributes:
        size_name: size, and fit and rule where they are not the usual ones.
        comparison: differences of all pairs.
        sentence: what they allow to be said.
    """

    size_name: str
    comparison: FilterComparison
    sentence: str


def filter_comparisons(rows: Sequence[Row], swept: Sequence[str]) -> list[Filters]:
    """Compare the filters of each size that was trained with two or more."""
    names = fields_but(swept, "variant")
    sizes: dict[str, dict[str, dict[tuple[str, int], float]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for row in rows:
        if row.finished:
            variant = row.variant
            rest = str(variant).removeprefix(f"{variant.size}-{variant.filter}").lstrip("-")
            name = f"{variant.size} px {rest}".rstrip()
            cell = label(row.recipe, names), row.recipe.seed
            sizes[name][variant.filter][cell] = row.error
    return [_compared(name, filters) for name, filters in sizes.items() if len(filters) > 1]


def _compared(size_name: str, filters: dict[str, dict[tuple[str, int], float]]) -> Filters:
    cells = {cell: None for errors in filters.values() for cell in errors}
    configurations = list(dict.fromkeys(key for key, _ in cells))
    seeds = sorted({seed for _, seed in cells})
    table = np.full((len(filters), len(configurations), len(seeds)), np.nan)
    for place, errors in enumerate(filters.values()):
        for (key, seed), error in errors.items():
            table[place, configurations.index(key), seeds.index(seed)] = error
    comparison = compare_filters(table, list(filters))
    return Filters(size_name, comparison, _sentence(size_name, comparison))


def _sentence(size_name: str, comparison: FilterComparison) -> str:
    """Say which filter is worse than all, and how far apart the others can be."""
    names = comparison.names
    opening = f"Filters at {size_name}"
    if comparison.reason:
        return f"{opening}: cannot tell: {comparison.reason}"
    worse = [name for name in names if worse_than_all(comparison, name)]
    others = [name for name in names if name not in worse]
    parts = [f"{name} is worse than all others" for name in worse]
    within = equal_within(comparison, others)
    if within is not None:
        which = "and".join(f" {name} " for name in others) if len(others) == 2 else None
        called = which.strip() if which else f"{'the other ' if worse else 'all '}{len(others)}"
        parts.append(f"{called} differ by at most {100 * within:.1f} points")
    units = f"{comparison.units} paired {comparison.unit}s"
    return f"{opening}: {'; '.join(parts)} ({units}, 95 % for all pairs at once)"
