"""Pairs of a proxy and a target in a study, judged: sizes of one filter, and widths."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Literal

from lowres.recipe import Recipe
from lowres.report.reading import Row, fields_but, grouped, label, mean
from lowres.statistics import (
    Figure,
    Halving,
    Verdict,
    ceiling,
    halving,
    judge,
    mean_errors,
    pair_up,
    rank_correlation,
)
from lowres.statistics.answers import BANDS
from lowres.statistics.posterior import FEW
from lowres.study.validation_images import covariance
from lowres.text import command, duration, number_or_word
from lowres.variant import Variant

ONLY = "the only one"
"""What a configuration is called where nothing was swept but the size."""

FEWEST_OF_WIDTHS = 3
"""Configurations below which two widths are not compared at all: every study has such pairs."""

FEWEST_TO_HALVE = 4
"""Configurations below which halving is not worth a sentence."""


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

    @property
    def target_variant(self) -> str:
        """The variant of the target; a pair of widths is named `16-box width 1`, `width 2`."""
        return (self.verdict.target if self.kind == "size" else self.verdict.proxy).split()[0]

    @property
    def too_few(self) -> bool:
        """Whether the answer is not sure only because there are too few configurations."""
        return too_few(self.verdict)


@dataclass(frozen=True, slots=True)
class HalvedSizes:
    """Successive halving with the sizes of a study as rungs.

    Attributes:
        sizes: in pixels, the target last.
        halving: what it would have paid and lost.
        sentence: the same in words.
    """

    sizes: tuple[int, ...]
    halving: Halving
    sentence: str


def judged_pairs(
    rows: Sequence[Row], swept: Sequence[str], bearable: float | None = None, study: str = ""
) -> list[JudgedPair]:
    """Judge all pairs of sizes of one filter, and all widths against the widest.

    Sizes come first, those with the largest target before the others; then the nearest proxy.
    """
    finished = [row for row in rows if row.finished]
    by_variant = grouped(finished, lambda row: row.variant)
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
        by_width = grouped(of_variant, lambda row: row.recipe.width)
        *narrower, widest = sorted(by_width)
        for width in narrower[::-1]:
            called = f"{variant} width {width:g}", f"width {widest:g}"
            sides = by_width[width], by_width[widest]
            found.append(_judged("width", sides, called, names, FEWEST_OF_WIDTHS, bearable, decide))
    return [pair for pair in found if pair is not None]


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
    proxy, target = (grouped(rows, lambda row: label(row.recipe, names)) for rows in sides)
    if len(proxy.keys() & target.keys()) < fewest:
        return None
    pair = pair_up(_cells(proxy), _cells(target))
    common = [str(key) for key in pair.configurations]
    recipes = [target[key][0].recipe for key in common]
    verdict = judge(
        pair.proxy,
        pair.target,
        called,
        axes=_axes(recipes, names),
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


def _axes(recipes: Sequence[Recipe], names: Sequence[str]) -> dict[str, list[float | str]]:
    """Return the values of the swept fields, one a configuration."""
    return {name: [number_or_word(getattr(recipe, name)) for recipe in recipes] for name in names}


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
    if too_few(verdict):
        parts.append(f"Next: run {FEW} configurations or more on both sides.")
    elif not verdict.sure and decide:
        parts.append(f"Next: 2 runs, about {duration(round_s)}: {decide(verdict)}")
    elif not verdict.sure:
        seeds = max(2, verdict.seeds[0] + 1)
        parts.append(f"Next: repeat the same lowres study command with --seeds {seeds}.")
    return " ".join(parts)


def too_few(verdict: Verdict) -> bool:
    """Return whether more configurations would make an answer sure, and more seeds would not."""
    return verdict.few and not verdict.sure and verdict.configurations > 0


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
    return command("decide", study, "--proxy", sides[0], "--target", sides[1])


def _cells(groups: dict[str, list[Row]]) -> Iterator[tuple[str, int, float]]:
    """Return configuration, seed and error of each run; repeated seeds are numbered."""
    for key, rows in groups.items():
        seeds = [row.recipe.seed for row in rows]
        numbers = seeds if len(set(seeds)) == len(seeds) else range(len(seeds))
        for number, row in zip(numbers, rows, strict=True):
            yield key, number, row.error


def halved_sizes(
    rows: Sequence[Row], swept: Sequence[str], pair: JudgedPair | None
) -> HalvedSizes | None:
    """Halve over all sizes up to the target of a pair, with the runs that are finished.

    Returns:
        None if the pair is not of sizes, or fewer than `FEWEST_TO_HALVE` configurations were run
        on the smallest size and on the target.
    """
    if pair is None or pair.kind != "size":
        return None
    target, names = Variant.parse(pair.verdict.target), fields_but(swept, "variant")
    kind = target.filter, target.fit, target.rule
    by_size = grouped(
        [row for row in rows if row.finished and row.variant.size <= target.size
         and (row.variant.filter, row.variant.fit, row.variant.rule) == kind],
        lambda row: row.variant.size,
    )  # fmt: skip
    cells = {
        size: grouped(by_size[size], lambda row: label(row.recipe, names))
        for size in sorted(by_size)
    }
    smallest, on_target = cells[min(cells)], cells[target.size]
    common = [key for key in pair.configurations if key in smallest and key in on_target]
    common += [key for key in smallest if key in on_target and key not in common]
    if len(common) < FEWEST_TO_HALVE:
        return None
    sizes = [size for size in cells if all(key in cells[size] for key in common)]
    rungs = [{key: cells[size][key] for key in common} for size in sizes]
    tables = [pair_up(_cells(rung), _cells(rungs[-1])).proxy for rung in rungs]
    axes = _axes([rungs[-1][key][0].recipe for key in common], names)
    limit, found = pair.verdict.bearable, pair.verdict.draws
    if tuple(common) != pair.configurations:
        found = judge(tables[0], tables[-1], axes=axes, bearable=limit).draws
    if found is None:
        return None
    costs = [mean([row.flops or math.inf for key in common for row in rung[key]]) for rung in rungs]
    halved = halving(tables, found, limit, axes=axes, costs=costs, whole=costs[-1])
    listed = ", ".join(map(str, sizes))
    return HalvedSizes(tuple(sizes), halved, halved.sentence(f"{listed} px"))
