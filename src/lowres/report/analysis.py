"""Everything that a report shows, computed once: verdicts on pairs and filters, and curves.

Page, Markdown, JSON and charts only show these numbers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeVar

import numpy as np

from lowres.report.curves import (
    AnytimeCurve,
    ConfigurationCost,
    ResponseCurve,
    Shift,
    VariantCost,
    anytime_curves,
    costs,
    responses,
    shifts,
    spent,
)
from lowres.report.reading import Row, fields_but, label, mean, swept_fields
from lowres.statistics import (
    Figure,
    FilterComparison,
    Verdict,
    ceiling,
    compare_filters,
    equal_within,
    judge,
    mean_errors,
    pair_up,
    rank_correlation,
    worse_than_all,
)
from lowres.text import count
from lowres.variant import Variant

Key = TypeVar("Key", bound=Hashable)

NOTHING = "No verdict yet: no configuration was finished on two sizes of one filter."

FEWEST_OF_WIDTHS = 3
"""Configurations below which two widths are not compared at all: every study has such pairs."""


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A proxy and a target that the same configurations were run on.

    Attributes:
        kind: how they differ: size or width.
        verdict: the answer and its figures.
        sentence: the answer in words, with the next step if it is not sure.
        kendall: Kendall's tau of the mean errors; shown, and no part of the answer.
        ceiling: the tau that noise of the target's seeds allows even a perfect proxy.
        saving: operations of the same search on the target, over those of the proxy's runs and one
            run of its choice on the target; None where the proxy does not stand in, or if they
            were not counted.
        configurations: in words.
        proxy_errors: mean error of each on the proxy, a share, inf if one diverged.
        target_errors: the same on the target.
    """

    kind: Literal["size", "width"]
    verdict: Verdict
    sentence: str
    kendall: Figure
    ceiling: Figure
    saving: float | None
    configurations: tuple[str, ...]
    proxy_errors: tuple[float, ...]
    target_errors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FilterResult:
    """The filters of one size.

    Attributes:
        size_name: size, and fit and rule if they are not the defaults.
        comparison: differences of all pairs.
        sentence: the conclusion with its numbers.
    """

    size_name: str
    comparison: FilterComparison
    sentence: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the runs of a study show.

    Attributes:
        rows: the runs.
        swept: the recipe fields in which they differ.
        pairs: proxies and targets, judged.
        responses: error against learning rate.
        shifts: how far the best learning rate moves.
        costs: cost and error of each configuration.
        anytime: error against the cost of a search.
        spent: cost and best error of each variant.
        filters: filters against each other.
    """

    rows: list[Row]
    swept: tuple[str, ...]
    pairs: list[JudgedPair]
    responses: list[ResponseCurve]
    shifts: list[Shift]
    costs: list[ConfigurationCost]
    anytime: list[AnytimeCurve]
    spent: list[VariantCost]
    filters: list[FilterResult]

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants of all runs, by size."""
        return tuple(dict.fromkeys(row.recipe.variant for row in self.rows))

    @property
    def summary(self) -> str:
        """The number of runs in each status."""
        counts = Counter(row.state for row in self.rows)
        listed = ", ".join(f"{number} {status}" for status, number in counts.items())
        return f"{count(len(self.rows), 'run')}: {listed}."

    @property
    def main_sentences(self) -> list[str]:
        """The verdicts in words: on pairs with the largest size, learning rates and filters."""
        return [
            *(pair.sentence for pair in self.pairs if self._is_main(pair)),
            *_learning_rate_sentences(self.shifts),
            *(comparison.sentence for comparison in self.filters),
        ] or [NOTHING]

    @property
    def other_sentences(self) -> list[str]:
        """The verdicts on all other pairs: of smaller sizes, and of widths."""
        return [pair.sentence for pair in self.pairs if not self._is_main(pair)]

    def _is_main(self, pair: JudgedPair) -> bool:
        # Pairs are sorted, the largest target first.
        sizes = [Variant.parse(p.verdict.target).size for p in self.pairs if p.kind == "size"]
        return pair.kind == "size" and Variant.parse(pair.verdict.target).size == sizes[0]


def analyse(rows: list[Row], bearable: float | None = None) -> Analysis:
    """Compute everything that a report shows.

    Args:
        rows: the runs.
        bearable: regret that does not matter, a share; None for the default of `judge`.
    """
    swept = swept_fields(rows)
    curves, points = responses(rows, swept), costs(rows, swept)
    return Analysis(
        rows=rows,
        swept=swept,
        pairs=judged_pairs(rows, swept, bearable),
        responses=curves,
        shifts=shifts(curves),
        costs=points,
        anytime=anytime_curves(rows),
        spent=spent(rows, points),
        filters=filter_results(rows, swept),
    )


def judged_pairs(
    rows: Sequence[Row], swept: Sequence[str], bearable: float | None = None
) -> list[JudgedPair]:
    """Judge all pairs of sizes of one filter, and all widths against the widest.

    Sizes come first, those with the largest target before the others; then the nearest proxy.
    """
    finished = [row for row in rows if row.finished]
    by_variant = _grouped(finished, lambda row: row.variant)
    found: list[JudgedPair | None] = []
    names = fields_but(swept, "variant")
    pairs = sorted(
        combinations(sorted(by_variant), 2), key=lambda pair: (pair[1].size, pair[0].size)
    )
    for proxy, target in reversed(pairs):
        alike = (proxy.filter, proxy.fit, proxy.rule) == (target.filter, target.fit, target.rule)
        if alike and proxy.size < target.size:
            sides = by_variant[proxy], by_variant[target]
            found.append(_judged("size", sides, (str(proxy), str(target)), names, 1, bearable))
    names = fields_but(swept, "variant", "width")
    for variant, of_variant in sorted(by_variant.items())[::-1]:
        by_width = _grouped(of_variant, lambda row: row.recipe.width)
        *narrower, widest = sorted(by_width)
        for width in narrower[::-1]:
            called = f"{variant} width {width:g}", f"width {widest:g}"
            sides = by_width[width], by_width[widest]
            found.append(_judged("width", sides, called, names, FEWEST_OF_WIDTHS, bearable))
    return [pair for pair in found if pair is not None]


def _grouped(rows: Sequence[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def _judged(
    kind: Literal["size", "width"],
    sides: tuple[Sequence[Row], Sequence[Row]],
    called: tuple[str, str],
    names: Sequence[str],
    fewest: int,
    bearable: float | None,
) -> JudgedPair | None:
    """Judge a pair; None if fewer than `fewest` configurations were run on both sides."""
    proxy, target = (_grouped(rows, lambda row: label(row.recipe, names)) for rows in sides)
    if len(proxy.keys() & target.keys()) < fewest:
        return None
    pair = pair_up(_cells(proxy), _cells(target))
    common = [str(key) for key in pair.configurations]
    recipes = [target[key][0].recipe for key in common]
    verdict = judge(
        pair.proxy,
        pair.target,
        called,
        axes=[[_on_axis(getattr(recipe, name)) for recipe in recipes] for name in names],
        bearable=bearable,
    )
    in_words = tuple(key or "the only one" for key in common)
    saving = _saving(proxy, target, common, verdict)
    return JudgedPair(
        kind,
        verdict,
        _pair_sentence(verdict, in_words, saving),
        rank_correlation(pair.proxy, pair.target, "kendall"),
        ceiling(pair.target, "kendall"),
        saving,
        in_words,
        tuple(mean_errors(pair.proxy).tolist()),
        tuple(mean_errors(pair.target).tolist()),
    )


def _on_axis(value: object) -> float | str:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain else str(value)  # type: ignore[arg-type]


def _saving(
    proxy: dict[str, list[Row]],
    target: dict[str, list[Row]],
    common: Sequence[str],
    verdict: Verdict,
) -> float | None:
    """Return how many times fewer operations the proxy's search took than the target's would."""
    if verdict.choice is None or not verdict.answer.endswith("stands in"):
        return None
    spent = [row.flops for key in common for row in proxy[key]]
    one = {key: [row.flops for row in target[key]] for key in common}
    known = [flops for flops in (*spent, *(f for of in one.values() for f in of)) if flops]
    if len(known) < len(spent) + sum(map(len, one.values())):
        return None
    each = {key: mean([flops or 0.0 for flops in of]) for key, of in one.items()}
    by_proxy = sum(flops or 0.0 for flops in spent) + each[common[verdict.choice]]
    return sum(each[key] * len(proxy[key]) for key in common) / by_proxy


def _pair_sentence(verdict: Verdict, names: Sequence[str], saving: float | None) -> str:
    choice, rival = ("" if row is None else names[row] for row in (verdict.choice, verdict.rival))
    parts = [verdict.sentence(choice, rival)]
    if saving is not None:
        parts.append(f"Its search takes {saving:.1f} times fewer operations.")
    if not verdict.sure:
        seeds = max(2, verdict.seeds[0] + 1)
        parts.append(f"Next: repeat the same lowres study command with --seeds {seeds}.")
    return " ".join(parts)


def _cells(groups: dict[str, list[Row]]) -> Iterator[tuple[str, int, float]]:
    """Return configuration, seed and error of each run; repeated seeds are numbered."""
    for key, rows in groups.items():
        seeds = [row.recipe.seed for row in rows]
        numbers = seeds if len(set(seeds)) == len(seeds) else range(len(seeds))
        for number, row in zip(numbers, rows, strict=True):
            yield key, number, row.error


def filter_results(rows: Sequence[Row], swept: Sequence[str]) -> list[FilterResult]:
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
    results = []
    for name, filters in sizes.items():
        if len(filters) < 2:
            continue
        cells = dict.fromkeys(cell for errors in filters.values() for cell in errors)
        configurations = list(dict.fromkeys(key for key, _ in cells))
        seeds = sorted({seed for _, seed in cells})
        table = np.full((len(filters), len(configurations), len(seeds)), np.nan)
        for place, errors in enumerate(filters.values()):
            for (key, seed), error in errors.items():
                table[place, configurations.index(key), seeds.index(seed)] = error
        comparison = compare_filters(table, list(filters))
        results.append(FilterResult(name, comparison, _filter_sentence(name, comparison)))
    return results


def _filter_sentence(size_name: str, comparison: FilterComparison) -> str:
    """Say which filter is worse than all, and how far apart the others can be."""
    names = comparison.names
    opening = f"Filters at {size_name}"
    if comparison.reason:
        return f"{opening}: undecided ({comparison.reason})"
    worse = [name for name in names if worse_than_all(comparison, name)]
    others = [name for name in names if name not in worse]
    parts = [f"{name} is worse than all others" for name in worse]
    within = equal_within(comparison, others)
    if within is not None:
        listed = " and ".join(others)
        if len(others) != 2:
            listed = f"{'the other' if worse else 'all'} {len(others)}"
        parts.append(f"{listed} differ by at most {100 * within:.1f} points")
    units = count(comparison.units, f"paired {comparison.unit}")
    return f"{opening}: {'; '.join(parts)} ({units}, 95 % for all pairs at once)"


def _learning_rate_sentences(moves: Sequence[Shift]) -> list[str]:
    """Return a sentence for each pair of sizes, over all settings of the other fields."""
    groups: dict[tuple[str, str], list[Shift]] = defaultdict(list)
    for move in moves:
        groups[move.first, move.second].append(move)
    return [_learning_rate_sentence(*pair, of) for pair, of in groups.items()]


def _learning_rate_sentence(first: str, second: str, moves: Sequence[Shift]) -> str:
    fitted = [move.decades for move in moves if move.decades.value is not None]
    values = sorted(10**figure.value for figure in fitted if figure.value is not None)
    parts = []
    if not values:
        parts.append(f"undecided ({moves[0].decades.reason})")
    elif len(values) == 1 and (interval := fitted[0].interval) is not None:
        ends = f"[{10**interval.low:.2g}, {10**interval.high:.2g}]"
        parts.append(f"moves by a factor of {values[0]:.2g} {ends}")
    else:
        factors = dict.fromkeys((f"{values[0]:.2g}", f"{values[-1]:.2g}"))
        where = (
            f" in {len(fitted)} of {len(moves)} settings" if len(moves) > 1 else " (no interval)"
        )
        parts.append(f"moves by a factor of {' to '.join(factors)}{where}")
    known = [move.overlap for move in moves if move.overlap is not None]
    if known:
        where = f" in {sum(known)} of {len(known)} settings" if len(known) > 1 else ""
        do = f"overlap{where}" if any(known) else "do not overlap"
        parts.append(f"those within a standard error of the best {do}")
    return f"Best learning rate from {first} to {second}: {'; '.join(parts)}"
