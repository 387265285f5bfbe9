"""Curves of error: against learning rate, and against the cost of a run or of a search."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, get_args

import numpy as np

from lowres.report.reading import Row, fields_but, label, mean
from lowres.statistics import (
    Figure,
    Optimum,
    Region,
    Traces,
    best_by,
    optimum,
    overlap,
    pareto_front,
    region,
    shift,
)
from lowres.statistics.anytime_front import FrontPoint, anytime_front
from lowres.statistics.error_tables import Array
from lowres.training.run import RunState
from lowres.variant import Variant

Unit = Literal["seconds", "flops"]
UNITS: tuple[Unit, ...] = get_args(Unit)

FEWEST_RATES = 3
"""Learning rates below which a curve has no optimum inside it, and is not drawn."""

ORDERS = 100
"""Random orders of the runs behind an anytime curve: one order alone would depend on luck."""

STEPS = 40
"""Costs at which an anytime curve is read."""


@dataclass(frozen=True, slots=True)
class ResponseCurve:
    """Error against learning rate, for one variant and one setting of the other fields.

    Attributes:
        variant: the variant that was trained on.
        setting: the other swept fields, in words; empty if there are none.
        width: of its network.
        learning_rates: rising.
        errors: for each learning rate the errors of its runs, inf if one diverged.
        optimum: the fitted one; None if nothing trained.
        region: learning rates within a standard error of the best; None with one seed.
    """

    variant: str
    setting: str
    width: float
    learning_rates: tuple[float, ...]
    errors: tuple[tuple[float, ...], ...]
    optimum: Optimum | None
    region: Region | None

    @property
    def label(self) -> str:
        """Variant and setting."""
        return f"{self.variant}, {self.setting}" if self.setting else self.variant


@dataclass(frozen=True, slots=True)
class Shift:
    """How far the optimum moves from a smaller size to the largest, in one setting.

    Attributes:
        first: the smaller variant.
        second: the largest variant.
        setting: as in `ResponseCurve`.
        decades: log10 of the factor, positive if the optimum is larger at the largest size.
        overlap: whether the regions as good as the best overlap; None if one is unknown.
    """

    first: str
    second: str
    setting: str
    decades: Figure
    overlap: bool | None


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Error after each epoch of the best configuration of a variant, mean over its runs.

    Attributes:
        variant: the variant.
        label: the configuration.
        errors: (epochs,) top-1 errors, shares.
    """

    variant: str
    label: str
    errors: tuple[float, ...]

    @property
    def quarters(self) -> tuple[float, ...]:
        """Errors after each quarter of the epochs; empty if there are fewer than 4."""
        count = len(self.errors)
        return tuple(self.errors[n * count // 4 - 1] for n in (1, 2, 3, 4)) if count > 3 else ()


@dataclass(frozen=True, slots=True)
class ConfigurationCost:
    """One configuration at the end of its training; means over its runs that trained.

    Attributes:
        label: the fields that distinguish it.
        variant: its variant.
        seconds: training time.
        flops: operations of training; None if they were not counted.
        error: top-1 error.
        on_front: the units of cost in which it is on the Pareto front.
    """

    label: str
    variant: str
    seconds: float
    flops: float | None
    error: float
    on_front: tuple[Unit, ...] = ()


@dataclass(frozen=True, slots=True)
class AnytimeCurve:
    """Best error that a search on one variant has reached by a cost.

    Attributes:
        variant: the variant.
        unit: of the costs.
        costs: rising.
        median: best error at each cost, median over random orders of the runs.
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
class FrontStretch:
    """A range of costs by which one configuration has the least error of all trainings.

    Attributes:
        label: the configuration.
        variant: its variant.
        unit: of the costs.
        points: after its epochs in this range, the cheapest first.
    """

    label: str
    variant: str
    unit: Unit
    points: tuple[FrontPoint, ...]


@dataclass(frozen=True, slots=True)
class VariantCost:
    """Cost and best error of all finished runs on one variant.

    Attributes:
        variant: the variant.
        runs: how many finished.
        best: label of the best configuration; empty if none trained.
        error: its mean error.
        seconds: training time of all runs.
        flops: operations of all runs; None if they were not counted.
    """

    variant: str
    runs: int
    best: str
    error: float | None
    seconds: float
    flops: float | None


def responses(rows: Sequence[Row], swept: Sequence[str]) -> list[ResponseCurve]:
    """Group finished runs into curves of three or more learning rates."""
    names = fields_but(swept, "variant", "lr")
    groups: dict[tuple[Variant, str, float], dict[float, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in rows:
        if row.finished:
            curve = row.variant, label(row.recipe, names), row.recipe.width
            groups[curve][row.recipe.lr].append(row.error)
    curves = []
    for (variant, setting, width), errors in groups.items():
        if len(errors) < FEWEST_RATES:
            continue
        rates = sorted(errors)
        table = np.full((len(rates), max(map(len, errors.values()))), np.nan)
        for place, rate in enumerate(rates):
            table[place, : len(errors[rate])] = errors[rate]
        # A learning rate counts as trained only if all of its seeds did.
        trained = any(all(map(math.isfinite, of_rate)) for of_rate in errors.values())
        curves.append(
            ResponseCurve(
                str(variant),
                setting,
                width,
                tuple(rates),
                tuple(tuple(errors[rate]) for rate in rates),
                optimum(rates, table) if trained else None,
                region(rates, table) if trained else None,
            )
        )
    return curves


def shifts(curves: Sequence[ResponseCurve]) -> list[Shift]:
    """Compare each curve with that of the largest size of the same filter and setting."""
    families: dict[tuple[str, ...], list[ResponseCurve]] = defaultdict(list)
    for curve in curves:
        variant = Variant.parse(curve.variant)
        families[curve.setting, variant.filter, variant.fit, variant.rule].append(curve)
    found = []
    for family in families.values():
        *smaller, largest = sorted(family, key=lambda curve: Variant.parse(curve.variant).size)
        for curve in smaller:
            if curve.optimum is None or largest.optimum is None:
                decades = Figure(None, None, "all runs of one curve diverged")
            else:
                decades = shift(curve.optimum, largest.optimum)
            both = None
            if curve.region is not None and largest.region is not None:
                both = overlap(curve.region, largest.region)
            found.append(Shift(curve.variant, largest.variant, curve.setting, decades, both))
    return found


def costs(rows: Sequence[Row], swept: Sequence[str]) -> list[ConfigurationCost]:
    """Return time, operations and error of each configuration, and the Pareto fronts among them."""
    names = fields_but(swept) or ("variant",)
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.state is RunState.TRAINED:
            groups[label(row.recipe, names)].append(row)
    points = [
        ConfigurationCost(
            name,
            of[0].recipe.variant,
            mean([row.seconds for row in of]),
            _known_mean([row.flops for row in of]),
            mean([row.error for row in of]),
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
    return [replace(point, on_front=front[point.label]) for point in points]


def learning_curves(rows: Sequence[Row], swept: Sequence[str]) -> list[LearningCurve]:
    """Return the curve of the best configuration of each variant, the least error first."""
    names = fields_but(swept) or ("variant",)
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.finished:
            groups[row.recipe.variant, label(row.recipe, names)].append(row)
    best: dict[str, tuple[float, str]] = {}
    for (variant, name), of in groups.items():
        error = mean([row.error for row in of])
        if error < best.get(variant, (math.inf, ""))[0]:
            best[variant] = error, name
    found = []
    for variant, (_, name) in sorted(best.items(), key=lambda item: item[1]):
        traces = [row.epochs.get("top1_error", np.zeros(0)) for row in groups[variant, name]]
        if min(map(len, traces)) == max(map(len, traces)) > 1:
            found.append(LearningCurve(variant, name, tuple(np.mean(traces, axis=0).tolist())))
    return found


def _known_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known and len(known) == len(values) else None


def anytime_curves(rows: Sequence[Row]) -> list[AnytimeCurve]:
    """Return a curve for each variant and each unit in which all of its runs have a cost."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.finished and len(row.epochs.get("top1_error", ())):
            groups[row.recipe.variant].append(row)
    found = (_anytime(variant, unit, of) for unit in UNITS for variant, of in groups.items())
    return [curve for curve in found if curve is not None]


def _anytime(variant: str, unit: Unit, rows: Sequence[Row]) -> AnytimeCurve | None:
    traces = [_trace(row, unit) for row in rows]
    known = [trace for trace in traces if trace is not None]
    if len(known) < len(rows):
        return None
    random = np.random.default_rng(0)
    joined = Traces.of([cost for cost, _ in known], [error for _, error in known])
    orders = (random.permutation(len(known)) for _ in range(ORDERS))
    drawn = [curve for curve in map(joined.curve, orders) if curve is not None]
    if not drawn:
        return None
    total = math.fsum(cost[-1] for cost, _ in known)
    # From the first cost by which every order has reached an error.
    at = np.geomspace(max(curve.cost[0] for curve in drawn), total, STEPS)
    table = np.array([[best_by(curve, cost) for cost in at] for curve in drawn], dtype=np.float64)
    low, median, high = np.quantile(table, (0.25, 0.5, 0.75), axis=0).tolist()
    return AnytimeCurve(variant, unit, tuple(at.tolist()), tuple(median), tuple(low), tuple(high))


def training_front(rows: Sequence[Row], swept: Sequence[str]) -> list[FrontStretch]:
    """Return the least error by each cost along all trainings, for each unit of cost.

    Configurations with a run that diverged, or whose runs have a different number of epochs, are
    left out, and so is a unit in which a run has no cost. Learning rates of one setting count as
    one in the probabilities.
    """
    names = fields_but(swept) or ("variant",)
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.finished and len(row.epochs.get("top1_error", ())):
            groups[label(row.recipe, names)].append(row)
    equally_long = {
        name: of
        for name, of in groups.items()
        if len({len(row.epochs["top1_error"]) for row in of}) == 1
    }
    networks = [label(of[0].recipe, fields_but(names, "lr")) for of in equally_long.values()]
    found = []
    for unit in UNITS:
        traces = [[_trace(row, unit) for row in of] for of in equally_long.values()]
        known = [[one for one in of if one is not None] for of in traces]
        if not known or list(map(len, known)) != list(map(len, traces)):
            continue
        costs, errors = ([np.array([one[side] for one in of]) for of in known] for side in (0, 1))
        points = anytime_front([cost.mean(axis=0) for cost in costs], errors, networks)
        for place, stretch in groupby(points, key=lambda point: point.configuration):
            name = list(equally_long)[place]
            variant = equally_long[name][0].recipe.variant
            found.append(FrontStretch(name, variant, unit, tuple(stretch)))
    return found


def _trace(row: Row, unit: Unit) -> tuple[Array, Array] | None:
    """Return cost and error of a run after each epoch; None if the cost was not counted."""
    errors = row.epochs["top1_error"]
    if unit == "seconds":
        return np.cumsum(row.epochs["train_s"]), errors
    if row.flops is None:
        return None
    return row.flops * np.arange(1, len(errors) + 1) / len(errors), errors


def spent(rows: Sequence[Row], points: Sequence[ConfigurationCost]) -> list[VariantCost]:
    """Add up the cost of the runs on each variant, and find its best configuration."""
    finished = [row for row in rows if row.finished]
    found = []
    for variant in dict.fromkeys(row.recipe.variant for row in finished):
        of = [row for row in finished if row.recipe.variant == variant]
        mine = [point for point in points if point.variant == variant]
        best = min(mine, key=lambda point: point.error, default=None)
        flops = _known_mean([row.flops for row in of])
        found.append(
            VariantCost(
                variant,
                len(of),
                best.label if best else "",
                best.error if best else None,
                math.fsum(row.seconds for row in of),
                flops * len(of) if flops is not None else None,
            )
        )
    return found
