"""Everything that a report shows, computed once: verdicts on pairs and filters, and curves.

Page, Markdown, JSON and charts only show these numbers.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Literal, TypeVar

import numpy as np

from lowres.report.curves import (
    AnytimeCurve,
    ConfigurationCost,
    LearningCurve,
    ResponseCurve,
    Shift,
    VariantCost,
    anytime_curves,
    costs,
    learning_curves,
    responses,
    shifts,
    spent,
)
from lowres.report.reading import Row, fields_but, label, mean, swept_fields
from lowres.report.targets import TimeToError, of_rows
from lowres.statistics import (
    Comparison,
    Difference,
    Figure,
    Law,
    Verdict,
    ceiling,
    compare_values,
    judge,
    learning_rate_law,
    mean_errors,
    pair_up,
    rank_correlation,
)
from lowres.statistics.answers import BANDS
from lowres.statistics.law import FEWEST_SIZES
from lowres.study.runs import Damaged
from lowres.study.validation_images import ImageFindings, covariance, image_findings
from lowres.text import count, duration, is_number, number_or_word, value as value_text
from lowres.variant import Variant

Key = TypeVar("Key", bound=Hashable)

NOTHING = "No verdict yet: no configuration was finished on two sizes of one filter."

ONLY = "the only one"
"""What a configuration is called where nothing was swept but the size."""

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
        round_s: training time of two runs on the target, which a round of `lowres decide` adds.
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
    round_s: float


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


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the runs of a study show.

    Attributes:
        rows: the runs.
        swept: the recipe fields in which they differ.
        pairs: proxies and targets, judged.
        responses: error against learning rate.
        shifts: how far the best learning rate moves.
        learning_curves: error along the training of each variant's best configuration.
        reach: the error of `targets`, a share; None if the user named none.
        targets: how soon each configuration reaches it.
        law: how the best learning rate depends on size and width; None below three sizes.
        costs: cost and error of each configuration.
        anytime: error against the cost of a search.
        spent: cost and best error of each variant.
        filters: filters, and values of other fields in words, against each other.
        images: what single validation images say about the pair of the first screen.
        damaged: runs that are left out, because a file of theirs is damaged or missing.
    """

    rows: list[Row]
    swept: tuple[str, ...]
    pairs: list[JudgedPair]
    responses: list[ResponseCurve]
    shifts: list[Shift]
    learning_curves: list[LearningCurve]
    reach: float | None
    targets: list[TimeToError]
    law: Law | None
    costs: list[ConfigurationCost]
    anytime: list[AnytimeCurve]
    spent: list[VariantCost]
    filters: list[FieldResult]
    images: ImageFindings | None
    damaged: Sequence[Damaged] = ()

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants of all runs, by size."""
        return tuple(dict.fromkeys(row.recipe.variant for row in self.rows))

    @property
    def summary(self) -> str:
        """The number of runs in each status."""
        runs: list[Row | Damaged] = [*self.rows, *self.damaged]
        counts = Counter(run.state for run in runs)
        listed = ", ".join(f"{number} {status}" for status, number in counts.items())
        return f"{count(len(runs), 'run')}: {listed}."

    @property
    def main_sentences(self) -> list[str]:
        """The verdicts in words: on pairs with the largest size, learning rates and filters."""
        return [
            *(pair.sentence for pair in self.pairs if self._is_main(pair)),
            *self.learning_rate_sentences,
            *(comparison.sentence for comparison in self.filters),
            *(self.images.sentences if self.images else ()),
        ] or [NOTHING]

    @property
    def learning_rate_sentences(self) -> list[str]:
        """How far the best learning rate moves, for each pair of sizes."""
        return [
            *_learning_rate_sentences(self.shifts),
            *([self.law.sentence()] if self.law else []),
        ]

    @property
    def other_sentences(self) -> list[str]:
        """The verdicts on all other pairs: of smaller sizes, and of widths."""
        return [pair.sentence for pair in self.pairs if not self._is_main(pair)]

    def _is_main(self, pair: JudgedPair) -> bool:
        # Pairs are sorted, the largest target first.
        sizes = [Variant.parse(p.verdict.target).size for p in self.pairs if p.kind == "size"]
        return pair.kind == "size" and Variant.parse(pair.verdict.target).size == sizes[0]


def analyse(
    rows: list[Row],
    bearable: float | None = None,
    damaged: Sequence[Damaged] = (),
    study: str = "",
    reach: float | None = None,
) -> Analysis:
    """Compute everything that a report shows.

    Args:
        rows: the runs.
        bearable: regret that does not matter, a share; None for the default of `judge`.
        damaged: runs that are shown with their reason, and left out of everything else.
        study: the folder that `lowres decide` can add runs to; empty if it is no study.
        reach: an error, a share; None to ask for none.
    """
    swept = swept_fields(rows)
    curves, points = responses(rows, swept), costs(rows, swept)
    pairs = judged_pairs(rows, swept, bearable, study)
    first, images = main_pair(pairs), None
    if first and first.kind == "size":
        images = _image_findings(rows, swept, first)
    return Analysis(
        rows=rows,
        swept=swept,
        pairs=pairs,
        responses=curves,
        shifts=shifts(curves),
        law=_law(curves),
        learning_curves=learning_curves(rows, swept),
        reach=reach,
        targets=[] if reach is None else of_rows(rows, swept, reach),
        costs=points,
        anytime=anytime_curves(rows),
        spent=spent(rows, points),
        filters=field_results(rows, swept),
        damaged=damaged,
        images=images,
    )


def _law(curves: Sequence[ResponseCurve]) -> Law | None:
    """Fit the law of the best learning rate; predict it for twice the largest size."""
    known = [(Variant.parse(one.variant).size, one.width, one.optimum)
             for one in curves if one.optimum]  # fmt: skip
    if len({size for size, *_ in known}) < FEWEST_SIZES:
        return None
    sizes, widths, optima = zip(*known, strict=True)
    return learning_rate_law(
        sizes, widths, optima, [(2 * max(sizes), width) for width in sorted(set(widths))]
    )


def judged_pairs(
    rows: Sequence[Row], swept: Sequence[str], bearable: float | None = None, study: str = ""
) -> list[JudgedPair]:
    """Judge all pairs of sizes of one filter, and all widths against the widest.

    Sizes come first, those with the largest target before the others; then the nearest proxy.
    """
    finished = [row for row in rows if row.finished]
    by_variant = _grouped(finished, lambda row: row.variant)
    found: list[JudgedPair | None] = []
    decide = partial(decide_command, study, rows) if study else None
    names = fields_but(swept, "variant")
    pairs = sorted(
        combinations(sorted(by_variant), 2), key=lambda pair: (pair[1].size, pair[0].size)
    )
    for proxy, target in reversed(pairs):
        alike = (proxy.filter, proxy.fit, proxy.rule) == (target.filter, target.fit, target.rule)
        if alike and proxy.size < target.size:
            sides = by_variant[proxy], by_variant[target]
            found.append(
                _judged("size", sides, (str(proxy), str(target)), names, 1, bearable, decide)
            )
    names = fields_but(swept, "variant", "width")
    for variant, of_variant in sorted(by_variant.items())[::-1]:
        by_width = _grouped(of_variant, lambda row: row.recipe.width)
        *narrower, widest = sorted(by_width)
        for width in narrower[::-1]:
            called = f"{variant} width {width:g}", f"width {widest:g}"
            sides = by_width[width], by_width[widest]
            found.append(_judged("width", sides, called, names, FEWEST_OF_WIDTHS, bearable, decide))
    return [pair for pair in found if pair is not None]


def _image_findings(
    rows: Sequence[Row], swept: Sequence[str], pair: JudgedPair
) -> ImageFindings | None:
    names, verdict = fields_but(swept, "variant"), pair.verdict
    runs = _grouped(
        [row for row in rows if row.finished],
        lambda row: (row.recipe.variant, label(row.recipe, names) or ONLY),
    )
    proxy, target = (
        [runs[side, one] for one in pair.configurations] for side in (verdict.proxy, verdict.target)
    )
    called = "" if verdict.choice is None else pair.configurations[verdict.choice]
    return image_findings((verdict.proxy, verdict.target), proxy, target, verdict.choice, called)


def main_pair(pairs: Sequence[JudgedPair]) -> JudgedPair | None:
    """Return the pair that a reader wants first.

    Of the pairs of sizes with the largest target, it is the smallest proxy that stands in; if none
    does, the one with the largest probability.
    """
    sizes = [pair for pair in pairs if pair.kind == "size"]
    if not sizes:
        return max(pairs, key=lambda pair: pair.verdict.p_bearable, default=None)
    largest = max(Variant.parse(pair.verdict.target).size for pair in sizes)
    of_largest = [pair for pair in sizes if Variant.parse(pair.verdict.target).size == largest]

    def rank(pair: JudgedPair) -> tuple[bool, float, float]:
        stands_in = pair.verdict.answer == BANDS[0][1]
        size = Variant.parse(pair.verdict.proxy).size
        # Of two filters, the one with less error.
        return stands_in, -size if stands_in else pair.verdict.p_bearable, -min(pair.target_errors)

    return max(of_largest, key=rank)


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
    decide: Callable[[Verdict], str] | None,
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
        axes={
            name: [number_or_word(getattr(recipe, name)) for recipe in recipes] for name in names
        },
        bearable=bearable,
        image_covariance=covariance([target[key] for key in common]),
    )
    in_words = tuple(key or ONLY for key in common)
    saving = _saving(proxy, target, common, verdict)
    round_s = 2 * mean([row.seconds for row in sides[1]])
    return JudgedPair(
        kind,
        verdict,
        _pair_sentence(verdict, in_words, saving, decide, round_s),
        rank_correlation(pair.proxy, pair.target, "kendall"),
        ceiling(pair.target, "kendall"),
        saving,
        in_words,
        tuple(mean_errors(pair.proxy).tolist()),
        tuple(mean_errors(pair.target).tolist()),
        round_s,
    )


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


def _pair_sentence(
    verdict: Verdict,
    names: Sequence[str],
    saving: float | None,
    decide: Callable[[Verdict], str] | None,
    round_s: float,
) -> str:
    choice, rival = ("" if row is None else names[row] for row in (verdict.choice, verdict.rival))
    parts = [verdict.sentence(choice, rival)]
    if saving is not None:
        parts.append(f"Its search takes {saving:.1f} times fewer operations.")
    if not verdict.sure and decide:
        parts.append(f"Next: 2 runs, about {duration(round_s)}: {decide(verdict)}")
    elif not verdict.sure:
        seeds = max(2, verdict.seeds[0] + 1)
        parts.append(f"Next: repeat the same lowres study command with --seeds {seeds}.")
    return " ".join(parts)


def decide_command(study: str, rows: Sequence[Row], verdict: Verdict) -> str:
    """Return the command that adds runs to a study until the answer on a pair is sure."""
    several = len({row.variant.filter for row in rows}) > 1
    proxy, of_width, width = verdict.proxy.partition(" width ")

    def side(name: str, width: str) -> str:
        variant = Variant.parse(name)
        of_filter = f",filter={variant.filter}" if several else ""
        return f"size={variant.size}{of_filter}" + (f",width={width}" if of_width else "")

    # A pair of widths is named `16-box width 1`, `width 2`.
    widest = verdict.target.removeprefix("width ")
    sides = side(proxy, width), side(proxy if of_width else verdict.target, widest)
    return shlex.join(["lowres", "decide", study, "--proxy", sides[0], "--target", sides[1]])


def _cells(groups: dict[str, list[Row]]) -> Iterator[tuple[str, int, float]]:
    """Return configuration, seed and error of each run; repeated seeds are numbered."""
    for key, rows in groups.items():
        seeds = [row.recipe.seed for row in rows]
        numbers = seeds if len(set(seeds)) == len(seeds) else range(len(seeds))
        for number, row in zip(numbers, rows, strict=True):
            yield key, number, row.error


def field_results(rows: Sequence[Row], swept: Sequence[str]) -> list[FieldResult]:
    """Compare the filters of each size, and the values of each other swept field in words."""
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
        if len(values) < 2:
            continue
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
