"""The first screen of a page: question, answer, chart, the best recipe and the next command."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lowres.recipe import FIELDS, RECIPES, Recipe
from lowres.report.analysis import NOTHING, Analysis
from lowres.report.best import BestRun
from lowres.report.chart import Chart, Dots, Line, Scale, Series, Style
from lowres.report.pairs import JudgedPair, decide_command, main_pair
from lowres.statistics.answers import BANDS, SURE
from lowres.statistics.posterior import FEW
from lowres.statistics.verdict import LIMITS_POINTS
from lowres.text import command, count, duration, number, percent
from lowres.training.run import result_line
from lowres.variant import Variant

WORDS = {
    "stands in": "Yes",
    "probably stands in": "Probably",
    "cannot tell yet": "Unknown",
    "probably does not stand in": "Unlikely",
    "does not stand in": "No",
}
"""The answer in one word."""


@dataclass(frozen=True, slots=True)
class Headline:
    """What a page shows first.

    Attributes:
        question: about the main pair; without one about filters, or the best recipe.
        word: the answer in one word.
        answer: one of the five answers; empty where there is no pair.
        sentence: what the answer costs or why there is none.
        chart: the probability of a regret against its limit; None without a pair.
        best: the command that trains the best recipe; empty if nothing trained.
        best_note: its error, and whether larger or smaller learning rates remain to be tried.
        next_note: what the next command does.
        next_command: ready to copy.
    """

    question: str
    word: str
    answer: str
    sentence: str
    chart: Chart | None
    best: str
    best_note: str
    next_note: str
    next_command: str


def headline(analysis: Analysis, folder: str, is_study: bool) -> Headline:
    """Return the first screen of a report.

    Args:
        analysis: everything that the report shows.
        folder: name of the folder of runs.
        is_study: whether `lowres decide` can add runs to it.
    """
    pair = main_pair(analysis.pairs)
    best, best_note, recipe = "", "", analysis.rows[0].recipe
    if one := analysis.best:
        recipe = replace(one.row.recipe, seed=0)
        best = train_command(recipe, _store(analysis))
        title = "Its recipe" if analysis.alone else "Best so far"
        best_note = f"{title}: {_errors(one)} at {recipe.variant}, {count(one.runs, 'run')}"
        if one.edge:
            best_note += f". Its learning rate is the {one.edge} that was tried"
    if pair is None:
        store = _store(analysis)
        sizes = sorted({row.variant.size for row in analysis.rows})
        two = sizes if len(sizes) > 1 else sorted({sizes[0] // 2, sizes[0]})
        axes = ["--axis", f"size={','.join(map(str, two))}", "--axis", "lr=log:0.003:1:6"]
        return Headline(
            *_without_pair(analysis),
            None,
            best,
            best_note,
            "Train the same configurations on two sizes",
            command(
                "study",
                store,
                *axes,
                "--seeds",
                2,
                *recipe_flags(recipe, ("variant", "lr", "seed")),
            ),
        )
    verdict = pair.verdict
    return Headline(
        f"Can {verdict.proxy} stand in for {verdict.target}?",
        WORDS[verdict.answer],
        verdict.answer,
        _sentence(pair),
        probability_chart(pair, analysis.pairs),
        best,
        best_note,
        *_next(pair, analysis, folder, is_study, recipe),
    )


def _without_pair(analysis: Analysis) -> tuple[str, str, str, str]:
    """Return question, word, answer and sentence of a run, of filters, or of runs of one kind."""
    if alone := analysis.alone:
        error = percent(alone.mean_error, 1)
        return "What did this run reach?", error, "", f"{result_line(alone.row.result)}."
    if analysis.filters:
        first = max(analysis.filters, key=lambda field: len(field.comparison.findings))
        sure = first.comparison.findings
        word = WORDS["stands in"] if sure else WORDS["cannot tell yet"]
        return f"{first.title}: does the choice matter?", word, "", f"{first.sentence}."
    return "Which images are large enough?", WORDS["cannot tell yet"], "", NOTHING


def probability_chart(pair: JudgedPair, pairs: Sequence[JudgedPair]) -> Chart:
    """Draw the probability that a choice costs at most a limit, for each proxy of one target."""
    shown = [pair, *(p for p in pairs if p is not pair and p.verdict.target == pair.verdict.target)]
    limits = LIMITS_POINTS[1:]  # the scale is logarithmic: it has no 0
    ends = limits[0], limits[-1]
    series = [
        Series(
            "sure from 95 % and below 5 %",
            Style(None, dash="4 4"),
            tuple(Line(((ends[0], y), (ends[1], y))) for y in (100 * SURE, 100 - 100 * SURE)),
        ),
        Series(
            "acceptable here",
            Style(None, dash="1 4"),
            (Line(((100 * pair.verdict.bearable, 0), (100 * pair.verdict.bearable, 100))),),
        ),
    ]
    for place, each in enumerate(shown[:4]):
        name = each.verdict.proxy
        dots = tuple(
            (limit, 100 * p, f"{name}: at most {limit:g} points with P = {p:.2f}")
            for limit, p in zip(LIMITS_POINTS, each.verdict.probabilities, strict=True)
            if limit
        )
        marks = Line(tuple((x, y) for x, y, _ in dots)), Dots(dots)
        series.append(Series(name, Style.of(place), marks))
    return Chart(
        "probability",
        f"Probability that its choice costs at most the limit on {pair.verdict.target}",
        Scale("limit, points of top-1 error", logarithmic=True),
        Scale("probability, %"),
        tuple(series),
    )


def train_command(recipe: Recipe, store: str) -> str:
    """Return the command that trains a recipe."""
    return command("train", store, *recipe_flags(recipe))


def recipe_flags(recipe: Recipe, without: Sequence[str] = ()) -> list[str]:
    """Return the variant and the fewest flags that make a recipe, without those of some fields."""
    found = []
    for name, base in RECIPES.items():
        flags = [] if name == "paper" else ["--recipe", name]
        for field in FIELDS:
            value = getattr(recipe, field)
            shown = field == "variant" or value != getattr(base, field)
            if shown and field not in without:
                flags += _flag(field, value)
        found.append(flags)
    return min(found, key=len)


def _flag(field: str, value: object) -> list[str]:
    name = field.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value).removesuffix(".0")
    return [f"--{name}", text]


def _errors(best: BestRun) -> str:
    error = f"{percent(best.mean_error, 1)} top-1 error on {best.split}"
    return error if best.test_error is None else f"{error}, {percent(best.test_error, 1)} on test"


def _store(analysis: Analysis) -> str:
    return Path(analysis.rows[0].store[0]).name or "store"


def _sentence(pair: JudgedPair) -> str:
    verdict = pair.verdict
    if verdict.reason or verdict.choice is None:
        return f"There is no answer yet: {verdict.reason}."
    choice = pair.configurations[verdict.choice]
    limit = f"{number(100 * verdict.bearable, 1)} points"
    first = verdict.shortlists[0]
    subject = f"The best configuration on {verdict.proxy} ({choice})"
    if first.most is None or first.expected is None:
        return f"{subject} diverged on {verdict.target}."
    most = max(first.most, 0.001)  # less is no finding
    cost = f"costs at most {number(100 * most, 1)} points of error on {verdict.target}"
    if verdict.answer == BANDS[0][1]:
        saved = f", and its search takes {pair.saving:.1f} times fewer operations"
        return f"{subject} {cost} (95 % sure){saved if pair.saving else ''}."
    few = f" With fewer than {FEW} configurations no answer is sure." if pair.too_few else ""
    return (
        f"{subject} costs about {number(100 * first.expected, 1)} points of error on "
        f"{verdict.target}; the probability of at most {limit} is {100 * verdict.p_bearable:.0f} %."
        f"{few}"
    )


def _next(
    pair: JudgedPair, analysis: Analysis, folder: str, is_study: bool, best: Recipe
) -> tuple[str, str]:
    """Return what the next command does, and the command."""
    verdict, of_sizes = pair.verdict, pair.kind == "size"
    if pair.too_few:
        rates = _closer_rates({row.recipe.lr for row in analysis.rows}, best.lr)
        return "Repeat the same lowres study command with more values", f"--axis lr={rates}"
    if not verdict.sure:
        if not is_study:
            seeds = max(2, verdict.seeds[0] + 1)
            return "Repeat the same lowres study command with more seeds", f"--seeds {seeds}"
        price = f"2 at a time, about {duration(pair.round_s)}"
        note = f"Train further runs until the answer is sure, {price}"
        return note, decide_command(folder, analysis.rows, verdict)
    target = Variant.parse(pair.target_variant).size
    sizes = str(target)
    note = f"Search at {target} px itself"
    if of_sizes and verdict.answer == BANDS[0][1]:
        proxy = Variant.parse(verdict.proxy).size
        sizes, note = f"{proxy},{target}", f"Search at {proxy} px and confirm at {target} px"
    searched = ["--sizes", sizes, "--space", "lr=log:0.001:1", "--budget", "10"]
    default = best.variant == f"{best.size}-box"
    rest = recipe_flags(best, ("lr", "seed", "variant" if default else ""))
    return note, command("search", _store(analysis), *searched, *rest)


def _closer_rates(tried: Collection[float], best: float) -> str:
    """Return the learning rates tried, and two more to each side of the best, as an axis."""
    more = {float(f"{best * 10**step:.2g}") for step in (-0.5, -0.25, 0.25, 0.5)}
    return ",".join(f"{rate:g}" for rate in sorted({*tried, *more}))
