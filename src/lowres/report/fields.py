"""Filters, and values of other fields in words, against each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lowres.report.reading import Row, fields_but, label
from lowres.statistics import Comparison, Difference, compare_values
from lowres.text import count, is_number, value as value_text


@dataclass(frozen=True, slots=True)
class FieldResult:
    """The filters of one size, or the values of another field in words, against each other.

    Attributes:
        title: filters and their size (fit and rule if they are not the defaults), or the field.
        comparison: their differences.
        sentence: the finding with its numbers.
    """

    title: str
    comparison: Comparison
    sentence: str


def field_results(rows: Sequence[Row], swept: Sequence[str]) -> list[FieldResult]:
    """Compare the filters of each size, and the values of each other swept field in words.

    A field is left out if no two runs differ in it alone.
    """
    names = fields_but(swept, "variant")
    finished = [row for row in rows if row.finished]
    # Title, then value, then configuration and seed, to error.
    cells: dict[str, dict[str, dict[tuple[str, int], float]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for row in finished:
        variant = row.variant
        rest = str(variant).removeprefix(f"{variant.size}-{variant.filter}").lstrip("-")
        title = f"Filters at {variant.size} px {rest}".rstrip()
        cell = label(row.recipe, names), row.recipe.seed
        cells[title][variant.filter][cell] = row.error
    for name in names:
        if not finished or is_number(getattr(finished[0].recipe, name)):
            continue
        title = name.replace("_", " ").capitalize()
        for row in finished:
            cell = label(row.recipe, fields_but(swept, name)), row.recipe.seed
            cells[title][value_text(getattr(row.recipe, name))][cell] = row.error
    results = []
    for title, values in cells.items():
        cells_of = [set(errors) for errors in values.values()]
        if len(values) < 2 or not any(one & other for one, other in combinations(cells_of, 2)):
            continue  # such as optimizers with rates of their own: no run differs in this alone
        keys = list(dict.fromkeys(key for errors in values.values() for key, _ in errors))
        seeds = sorted({seed for errors in values.values() for _, seed in errors})
        table = np.full((len(values), len(keys), len(seeds)), np.nan)
        for place, errors in enumerate(values.values()):
            for (key, seed), error in errors.items():
                table[place, keys.index(key), seeds.index(seed)] = error
        comparison = compare_values(table, list(values))
        results.append(FieldResult(title, comparison, _field_sentence(title, comparison)))
    return results


def _field_sentence(title: str, comparison: Comparison) -> str:
    """Return which values are surely worse or better, and by how much."""
    if comparison.reason:
        return f"{title}: undecided ({comparison.reason})"
    values = len(comparison.names)
    if comparison.findings:
        said = "; ".join(_in_words(found, values, "is") for found in comparison.findings)
    else:
        largest = max(comparison.main, key=lambda each: abs(each.mean))
        said = f"no difference is sure; the largest: {_in_words(largest, values, 'seems')}"
    only = ", for this one alone" if comparison.configurations == 1 else ""
    blocks = count(comparison.blocks, "run") + " of each"
    from_how_many = f"{blocks}, {count(comparison.configurations, 'configuration')}{only}"
    at_once = f" for all {values} at once" if comparison.from_others else ""
    return f"{title}: {said} ({from_how_many}, 95 %{at_once})"


def _in_words(found: Difference, values: int, verb: str) -> str:
    other = found.second if values == 2 else f"the mean of the other {values - 1}"
    reach = max(0.1, 100 * (found.interval.high - found.mean))
    size = f"{abs(100 * found.mean):.1f} \N{PLUS-MINUS SIGN} {reach:.1f} points"
    return f"{found.first} {verb} {'worse' if found.mean > 0 else 'better'} than {other} by {size}"
