"""Error against cost: of single configurations, and of a search that makes run after run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, get_args

import numpy as np

from lowres.report.reading import Row, fields_but, label, mean
from lowres.statistics import anytime, best_by, hypervolume, pareto_front

Unit = Literal["seconds", "flops"]
UNITS: tuple[Unit, ...] = get_args(Unit)

ORDERS = 100
"""Random orders of the runs behind an anytime curve: one order alone would be a matter of luck."""

STEPS = 40
"""Costs at which an anytime curve is read."""

BEYOND = 2.0
"""Where the hypervolume's reference lies, in costs of the costliest: at 1 that one adds nothing."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One configuration at the end of its training; means over its runs that trained.

    Attributes:
        label: what sets it apart.
        variant: its variant.
        seconds: training time.
        flops: operations of training; None where they were not counted.
        error: top-1 error.
        on_front: the units of cost in which nothing is as cheap and as good, and better in one.
    """

    label: str
    variant: str
    seconds: float
    flops: float | None
    error: float
    on_front: tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class Anytime:
    """Best error that a search on one variant has reached by a cost.

    Attributes:
        variant: which.
        unit: of the costs.
        costs: rising.
        median: best error by then, median over random orders of the runs.
        low: the lower quartile.
        high: the upper quartile.
    """

    variant: str
    unit: Unit
    costs: tuple[float, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Spent:
    """What all finished runs on one variant took and gave.

    Attributes:
        variant: which.
        runs: how many finished.
        best: label of the best configuration; empty where none trained.
        error: its mean error.
        seconds: training time of all.
        flops: operations of all; None where they were not counted.
        covered: hypervolume: area between the front of its configurations and twice the seconds of
            the costliest, the error of the worst of all; in decades times share of error.
    """

    variant: str
    runs: int
    best: str
    error: float | None
    seconds: float
    flops: float | None
    covered: float


def costs(rows: Sequence[Row], swept: Sequence[str]) -> list[Cost]:
    """Give time, operations and error of each configuration, and the Pareto fronts among them."""
    names = fields_but(swept) or ("variant",)
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.status == "trained":
            groups[label(row.recipe, names)].append(row)
    points = [
        Cost(
            name,
            of[0].recipe.variant,
            mean([row.seconds for row in of]),
            _known_mean([row.flops for row in of]),
            mean([row.error for row in of]),
            (),
        )
        for name, of in groups.items()
    ]
    front: dict[str, tuple[Unit, ...]] = defaultdict(tuple)
    for unit in UNITS:
        counted = [point for point in points if getattr(point, unit) is not None]
        at = np.array([getattr(point, unit) for point in counted], dtype=np.float64)
        marks = pareto_front(at, [point.error for point in counted])
        for point, marked in zip(counted, marks, strict=True):
            front[point.label] += (unit,) * bool(marked)
    return [Cost(p.label, p.variant, p.seconds, p.flops, p.error, front[p.label]) for p in points]


def _known_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known and len(known) == len(values) else None


def anytime_curves(rows: Sequence[Row]) -> list[Anytime]:
    """Draw the curves of each variant whose runs have a cost in a unit."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.finished and row.epochs:
            groups[row.recipe.variant].append(row)
    found = (_anytime(variant, unit, of) for unit in UNITS for variant, of in groups.items())
    return [curve for curve in found if curve is not None]


def _anytime(variant: str, unit: Unit, rows: Sequence[Row]) -> Anytime | None:
    traces = [_trace(row, unit) for row in rows]
    known = [trace for trace in traces if trace is not None]
    if len(known) < len(rows):
        return None
    random = np.random.default_rng(0)
    orders = [random.permutation(len(known)) for _ in range(ORDERS)]
    curves = [
        anytime([known[place][0] for place in order], [known[place][1] for place in order])
        for order in orders
    ]
    drawn = [curve for curve in curves if curve is not None]
    if not drawn:
        return None
    total = sum(cost[-1] for cost, _ in known)
    # From the cost by which every order has reached some error.
    at = np.geomspace(max(curve.cost[0] for curve in drawn), total, STEPS)
    table = np.array([[best_by(curve, cost) for cost in at] for curve in drawn], dtype=np.float64)
    low, median, high = np.quantile(table, (0.25, 0.5, 0.75), axis=0).tolist()
    return Anytime(variant, unit, tuple(at.tolist()), tuple(median), tuple(low), tuple(high))


def _trace(row: Row, unit: Unit) -> tuple[list[float], list[float]] | None:
    """Give cost and error of a run after each epoch; None where the cost was not counted."""
    errors = [epoch.get("top1_error") for epoch in row.epochs]
    values = [math.inf if error is None else float(error) for error in errors]
    if unit == "seconds":
        return list(accumulate(float(epoch["train_s"]) for epoch in row.epochs)), values
    if row.flops is None:
        return None
    count = len(row.epochs)
    return [row.flops * epoch / count for epoch in range(1, count + 1)], values


def spent(rows: Sequence[Row], points: Sequence[Cost]) -> list[Spent]:
    """Add up what the runs on each variant took, and find the best."""
    finished = [row for row in rows if row.finished]
    limit = BEYOND * max((point.seconds for point in points), default=1.0)
    worst = max((point.error for point in points), default=1.0)
    found = []
    for variant in dict.fromkeys(row.recipe.variant for row in finished):
        of = [row for row in finished if row.recipe.variant == variant]
        mine = [point for point in points if point.variant == variant]
        best = min(mine, key=lambda point: point.error, default=None)
        flops = _known_mean([row.flops for row in of])
        area = hypervolume(
            [point.seconds for point in mine],
            [point.error for point in mine],
            (limit, worst),
            log_cost=True,
        )
        found.append(
            Spent(
                variant,
                len(of),
                best.label if best else "",
                best.error if best else None,
                math.fsum(row.seconds for row in of),
                flops * len(of) if flops is not None else None,
                area,
            )
        )
    return found
