"""Judge a table of results: answer, fields, other metrics, halving, law and next step."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from lowres.errors import StudyError, nearest, require
from lowres.statistics.error_tables import Array
from lowres.statistics.halving import Halving, halving
from lowres.statistics.law import FEWEST_SIZES, Law, learning_rate_law
from lowres.statistics.optimum import optimum
from lowres.statistics.posterior import in_logarithms
from lowres.statistics.power import MORE_RUNS, chances_of_an_answer
from lowres.statistics.verdict import Verdict, judge
from lowres.study.judgement import Decisions, Judgement, MetricVerdict
from lowres.study.results_table import (
    SOURCE,
    Chosen,
    ResultsTable,
    Row,
    Value,
    in_words,
    is_of,
    mean_of,
    text_of,
)
from lowres.study.validation_images import covariance, image_findings
from lowres.text import duration

ROUND = 2
"""Runs that are proposed where the answer is not sure: one of the choice, one of its rival."""

LIKELY = 0.8
"""Chance of an answer whose number of further runs is stated."""

MOST_RUNGS = 6
LEARNING_RATES = ("lr", "learning_rate")

Configuration: TypeAlias = tuple[Value, ...]


def judge_table(
    table: ResultsTable,
    proxy: str,
    target: str,
    *,
    bearable: float | None = None,
    images: int | None = None,
    metrics: Sequence[str] = (),
) -> Judgement:
    """Judge whether one side of a table stands in for the other.

    A column that has one value on each side, and differs between them, belongs to the sides.

    Args:
        table: the runs.
        proxy: the cheap side, such as `size=16`.
        target: the side that matters, such as `size=64`.
        bearable: regret that does not matter, a share; see `judge`.
        images: validation images that each error was measured on, which bounds a run's noise.
        metrics: other metrics by which the proxy may choose, such as `eval_loss`; `max:NAME` where
            larger is better.

    Raises:
        StudyError: a side or a metric is not there, both sides are the same, a run is there twice,
            the sides have no configuration in common, or a metric falls where the error rises.
    """
    sides = table.side(proxy, "--proxy"), table.side(target, "--target")
    if sides[0].side == sides[1].side:
        raise StudyError(f"--proxy and --target must differ, were both {proxy}")
    names, notes = _axes(table, sides)
    cells = [_cells(table, side, names) for side in sides]
    common = [key for key in cells[0] if key in cells[1]]
    if not common:
        raise StudyError(
            f"{table.path}: no configuration ({', '.join(names) or 'no further column'}) has runs "
            f"of both {proxy} and {target}: {len(cells[0])} have some of the one, {len(cells[1])} "
            f"of the other; if a column is no decision that was swept, name those that are with "
            "--axes, such as --axes lr,width"
        )
    lost = [len(one) - len(common) for one in cells]
    if any(lost):
        notes.append(
            f"{len(common)} configurations have runs of both sides; {lost[0]} have runs of {proxy} "
            f"only and {lost[1]} of {target} only, which are left out"
        )
    errors = [_array([one[key] for key in common], lambda row: row.error) for one in cells]
    of_choice = errors[0][np.isfinite(errors[0])]
    if len(common) > 1 and of_choice.size > 1 and np.ptp(of_choice) == 0:
        notes.append(f"all runs of {proxy} have the same error, so its choice is an arbitrary one")
    finite = errors[1][np.isfinite(errors[1])]
    least = float(finite.min()) if finite.size else 0.0
    axes = {name: [key[place] for key in common] for place, name in enumerate(names)}
    of_proxy = [cells[0][key] for key in common]
    on_proxy, on_target = ([list(one[key].values()) for key in common] for one in cells)
    of_images = covariance(on_target)

    def judged(scores: Array | None) -> Verdict:
        return judge(
            errors[0],
            errors[1],
            (proxy, target),
            axes=axes,
            scores=scores,
            bearable=bearable,
            floor=least * (1 - least) / (2 * images) if images else 0.0,
            image_covariance=of_images,
        )

    def of_row(row: int | None) -> Decisions | None:
        return None if row is None else dict(zip(names, common[row], strict=True))

    verdict = judged(None)
    by_metric = []
    for text in metrics:
        name, scores = _scores(table, text, of_proxy, errors[0])
        other = judged(scores)
        by_metric.append(MetricVerdict(name, other, of_row(other.choice)))
    rungs, halved = _halving(table, sides, names, common, verdict)
    chances: tuple[float, ...] = ()
    if (
        verdict.draws is not None
        and verdict.choice is not None
        and not (verdict.sure or verdict.few)
    ):
        chances = chances_of_an_answer(verdict.draws, verdict.choice, verdict.bearable)
    choice, rival = of_row(verdict.choice), of_row(verdict.rival)
    step, seconds, price = _next(table, sides, verdict, choice, rival, chances)
    return Judgement(
        verdict,
        choice,
        rival,
        tuple(by_metric),
        rungs,
        halved,
        _law(table, sides[1]),
        chances,
        step,
        seconds,
        price,
        (*table.notes, *notes),
        image_findings((proxy, target), on_proxy, on_target, verdict.choice, in_words(choice)),
    )


def _axes(table: ResultsTable, sides: Sequence[Chosen]) -> tuple[list[str], list[str]]:
    """Return the names of the axes, and notes on what else sets the sides apart."""
    apart = {name for side in sides for name in side.side}
    names: list[str] = []
    also: dict[str, str] = {}
    notes: list[str] = []
    for name in table.columns:
        first, second = ({row.decisions[name] for row in side.rows} for side in sides)
        if name in apart or len(first | second) == 1:
            continue
        if len(first) == len(second) == 1:
            also[name] = f"{name} ({text_of(*first)}, {text_of(*second)})"
        else:
            names.append(name)
    if also and not names:  # nothing was swept on either side
        return list(also), notes
    if also:
        notes.append(f"the sides also differ in {', '.join(also.values())}")
    cut = [side for side in sides if side.cut]
    if cut:
        notes.append(
            f"{' and '.join(side.name for side in cut)} is read from the curves of longer runs; "
            "with a schedule of their own, runs that short may rank differently"
        )
        rest = [
            {name: value for name, value in side.side.items() if name != table.fidelity}
            for side in sides
        ]
        if rest[0] == rest[1]:
            notes.append(
                "both sides are read from the same runs: a run that is lucky early tends to be "
                "lucky late, which favours the proxy"
            )
    return names, notes


def _cells(
    table: ResultsTable, side: Chosen, names: Sequence[str]
) -> dict[Configuration, dict[Value, Row]]:
    """Group the runs of a side by configuration and seed; runs without a seed are numbered."""
    cells: dict[Configuration, dict[Value, Row]] = {}
    for row in side.rows:
        runs = cells.setdefault(tuple(row.decisions[name] for name in names), {})
        seed = f"run {len(runs)}" if row.seed is None else row.seed
        if seed in runs:
            decided = {name: row.decisions[name] for name in names}
            configuration = in_words(decided) if decided else "a run"
            free = [
                name
                for name, value in row.decisions.items()
                if name not in (*names, *side.side) and value != runs[seed].decisions[name]
            ]
            do = (
                f"name {free[0]}, too"
                if free
                else "each run must have a seed of its own; if a column sets these runs apart, add "
                "it to --axes"
            )
            raise StudyError(
                f"{table.path} has {configuration} with seed {text_of(seed)} twice on side "
                f"{side.name}: {do}"
            )
        runs[seed] = row
    return cells


def _array(runs: Sequence[Mapping[Value, Row]], of: Callable[[Row], float]) -> Array:
    seeds = sorted({seed for one in runs for seed in one}, key=str)
    return np.array(
        [[of(one[seed]) if seed in one else math.nan for seed in seeds] for one in runs]
    )


def _scores(
    table: ResultsTable, text: str, of_proxy: Sequence[Mapping[Value, Row]], errors: Array
) -> tuple[str, Array]:
    """Return the name of a metric and its values on the proxy, smaller is better.

    Raises:
        StudyError: there is no such metric, or its direction is not clear and not given.
    """
    before, colon, after = text.partition(":")
    direction, name = (before, after) if colon and before in ("min", "max") else ("", text)
    if name not in table.metrics:
        known = ", ".join(table.metrics) or "none"
        raise StudyError(
            f"--metric {text}: {table.path} has no metric {name!r}; it has {known}. "
            f"{nearest(name, table.metrics)}".rstrip()
        )
    values = _array(of_proxy, lambda row: row.metrics.get(name, math.nan))
    if not (np.isfinite(values) & np.isfinite(errors)).any():
        raise StudyError(f"--metric {text}: no run of the proxy has a value of {name}")
    both = np.isfinite(values) & np.isfinite(errors)
    if len(values) > 1 and np.ptp(values[both]) == 0:
        raise StudyError(f"--metric {text}: {name} is {values[both][0]:g} in all runs of the proxy")
    stats = require("scipy.stats", "study")  # imported only here: it takes a second
    alike = stats.kendalltau(values[both], errors[both]).statistic  # nan where all are equal
    if not direction and alike < 0:
        raise StudyError(
            f"--metric {text}: {name} falls where the error rises. If larger is better, write "
            f"max:{name}; if smaller is better, min:{name}"
        )
    values = -values if direction == "max" else values
    return name, np.where(np.isinf(errors) & ~np.isnan(errors), np.inf, values)


def _halving(
    table: ResultsTable,
    sides: Sequence[Chosen],
    names: Sequence[str],
    common: Sequence[Configuration],
    verdict: Verdict,
) -> tuple[tuple[Value, ...], Halving | None]:
    """Halve over the values between proxy and target of the one number that sets them apart."""
    apart = [name for name in sides[1].side if sides[0].side.get(name) != sides[1].side[name]]
    if verdict.draws is None or len(apart) != 1 or set(sides[0].side) != set(sides[1].side):
        return (), None
    name = apart[0]
    low, high = sides[0].side[name], sides[1].side[name]
    if isinstance(low, str) or isinstance(high, str) or not low < high:
        return (), None
    cut = any(side.cut for side in sides)
    if cut:
        values = [low * 3.0**power for power in range(MOST_RUNGS)]
        values = [value for value in values if 2 * value <= high]
    else:
        every = {row.decisions.get(name) for row in table.rows}
        values = sorted(v for v in every if isinstance(v, float) and low <= v < high)
        values = values[-MOST_RUNGS:]
    rungs, tables, costs, before = [], [], [], 0.0
    for value in (*values, high):
        try:
            rung = table.chosen({**sides[1].side, name: value}, f"{name}={value:g}", "rung")
            cells = _cells(table, rung, names)
        except StudyError:  # no run has it
            continue
        if not all(key in cells for key in common):
            continue
        cost = mean_of(rung.rows, lambda row: row.cost)
        costs.append(cost - before)
        before = cost if cut else 0.0  # a run that continues pays the rest only
        rungs.append(value)
        tables.append(_array([cells[key] for key in common], lambda row: row.error))
    if len(rungs) < 2 or rungs[-1] != high:
        return (), None
    whole = mean_of(sides[1].rows, lambda row: row.cost)
    axes = [[key[place] for key in common] for place in range(len(names))]
    limit = verdict.bearable
    found = halving(tables, verdict.draws, limit, axes=axes, costs=costs, whole=whole)
    return tuple(rungs), found


def _law(table: ResultsTable, target: Chosen) -> Law | None:
    """Fit the law of the learning rate to the curves of all sizes; None below three sizes."""
    rate = next((name for name in LEARNING_RATES if name in table.columns), None)
    if rate is None or "size" not in table.columns or SOURCE in table.columns:
        return None
    rest = {name: value for name, value in target.side.items() if name != "size"}
    groups: dict[Configuration, dict[Value, list[float]]] = {}
    for row in table.rows:
        if is_of(row.decisions, rest):
            key = tuple(value for name, value in row.decisions.items() if name != rate)
            groups.setdefault(key, {}).setdefault(row.decisions[rate], []).append(row.error)
    names = [name for name in table.columns if name != rate]
    sizes, widths, optima = [], [], []
    for key, by_rate in groups.items():
        decided = dict(zip(names, key, strict=True))
        size, width = decided["size"], decided.get("width", 1.0)
        rates = sorted(value for value in by_rate if isinstance(value, float) and value > 0)
        if isinstance(size, str) or isinstance(width, str) or len(rates) < 3:
            continue
        most = max(len(by_rate[value]) for value in rates)
        errors = np.array([by_rate[v] + [math.nan] * (most - len(by_rate[v])) for v in rates])
        if in_logarithms(rates) and np.isfinite(errors).any():
            sizes.append(size)
            widths.append(width)
            optima.append(optimum(rates, errors))
    if len(set(sizes)) < FEWEST_SIZES:
        return None
    wanted = [(2 * max(sizes), width) for width in sorted(set(widths))]
    return learning_rate_law(sizes, widths, optima, wanted)


def _next(
    table: ResultsTable,
    sides: Sequence[Chosen],
    verdict: Verdict,
    choice: Decisions | None,
    rival: Decisions | None,
    chances: Sequence[float],
) -> tuple[str, float | None, str]:
    """Return what to run next, its seconds if they are known, and its price in words."""
    if verdict.sure:
        return "", None, ""
    target = sides[1]
    of_study = (table.path / "study.json").exists()
    if verdict.reason or verdict.few or choice is None or rival is None:
        what = "at least 5 configurations with 2 seeds on both sides"
        return _then(f"run {what}", table), None, "more configurations are needed"
    of_pair = [
        row for row in target.rows if is_of(row.decisions, choice) or is_of(row.decisions, rival)
    ]
    seconds = ROUND * mean_of(of_pair, lambda row: row.seconds)
    cost = ROUND * mean_of(of_pair, lambda row: row.cost)
    price = f"{ROUND} runs on {target.name}"
    if math.isfinite(seconds):
        price += f", about {duration(seconds)}"
    elif math.isfinite(cost):
        price += f", cost about {cost:.3g}"
    price += _chance_in_words(chances)
    if of_study and not any(side.cut or SOURCE in side.side for side in sides):
        words = ["lowres", "decide", str(table.path)]
        words += ["--proxy", verdict.proxy, "--target", verdict.target]
        words += ["--bearable", f"{100 * verdict.bearable:g}"] if verdict.given else []
        step = shlex.join(words)
    else:
        runs = f"run {in_words(choice)} and {in_words(rival)} on {target.name}"
        step = _then(f"{runs} with one more seed each", table)
    return step, seconds if math.isfinite(seconds) else None, price


def _then(what: str, table: ResultsTable) -> str:
    again = "" if table.path.is_dir() else f", add their rows to {table.path}"
    return f"{what}{again}, and run this command again"


def _chance_in_words(chances: Sequence[float]) -> str:
    if not chances:
        return ""
    for runs, chance in zip(MORE_RUNS, chances, strict=True):
        if chance >= LIKELY:
            return f"; {runs} runs give a sure answer with probability {chance:.2f}"
    return f"; even {MORE_RUNS[-1]} runs give one with probability {chances[-1]:.2f} only"
