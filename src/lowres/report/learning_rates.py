"""Error against learning rate: a curve for each variant and each setting of the other fields."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowres.report.reading import Row, fields_but, label
from lowres.statistics import Figure, Optimum, Region, optimum, overlap, region, shift
from lowres.variant import Variant

FEWEST = 3
"""Learning rates below which a curve has no optimum inside it, and is not drawn."""


@dataclass(frozen=True, slots=True)
class Response:
    """One curve.

    Attributes:
        variant: what was trained on.
        setting: the other swept fields, in words; empty where there are none.
        learning_rates: rising.
        errors: of each learning rate, the errors of its runs, inf where one diverged.
        optimum: the fitted one; None where nothing trained.
        region: learning rates within a standard error of the best; None with one seed.
    """

    variant: str
    setting: str
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
        setting: as in `Response`.
        decades: how far, positive where it is larger at the largest size.
        overlap: whether the regions as good as the best overlap; None where one is not known.
    """

    first: str
    second: str
    setting: str
    decades: Figure
    overlap: bool | None


def responses(rows: Sequence[Row], swept: Sequence[str]) -> list[Response]:
    """Group finished runs into curves of three learning rates or more."""
    names = fields_but(swept, "variant", "lr")
    curves: dict[tuple[Variant, str], dict[float, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in rows:
        if row.finished:
            curves[row.variant, label(row.recipe, names)][row.recipe.lr].append(row.error)
    return [
        _response(str(variant), setting, dict(sorted(points.items())))
        for (variant, setting), points in curves.items()
        if len(points) >= FEWEST
    ]


def _response(variant: str, setting: str, points: dict[float, list[float]]) -> Response:
    most = max(map(len, points.values()))
    table = np.full((len(points), most), np.nan)
    for place, errors in enumerate(points.values()):
        table[place, : len(errors)] = errors
    rates = list(points)
    # A learning rate counts as trained only if all of its seeds did.
    trained = any(all(map(math.isfinite, errors)) for errors in points.values())
    return Response(
        variant,
        setting,
        tuple(rates),
        tuple(map(tuple, points.values())),
        optimum(rates, table) if trained else None,
        region(rates, table) if trained else None,
    )


def shifts(curves: Sequence[Response]) -> list[Shift]:
    """Compare each curve with that of the largest size of the same filter and setting."""
    families: dict[tuple[str, ...], list[Response]] = defaultdict(list)
    for curve in curves:
        variant = Variant.parse(curve.variant)
        families[curve.setting, variant.filter, variant.fit, variant.rule].append(curve)
    found = []
    for family in families.values():
        *smaller, largest = sorted(family, key=lambda curve: Variant.parse(curve.variant).size)
        found += [_shift(curve, largest) for curve in smaller]
    return found


def _shift(first: Response, second: Response) -> Shift:
    if first.optimum is None or second.optimum is None:
        decades = Figure(None, None, "all runs of one curve diverged")
    else:
        decades = shift(first.optimum, second.optimum)
    known = first.region is not None and second.region is not None
    both = overlap(first.region, second.region) if known else None  # type: ignore[arg-type]
    return Shift(first.variant, second.variant, first.setting, decades, both)
