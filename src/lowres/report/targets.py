"""Epochs and seconds until the runs of each configuration reach an error."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lowres.errors import StudyError
from lowres.report.reading import Row, fields_but, label, read_rows, swept_fields
from lowres.statistics import Figure
from lowres.statistics.time_to_error import first_at_most, pooled_spread, time_to_error
from lowres.variant import Variant


@dataclass(frozen=True, slots=True)
class TimeToError:
    """How soon the runs of a configuration reach an error.

    Attributes:
        configuration: in words.
        variant: what it was trained on.
        runs: its runs that ended.
        reached: those of them that reached the error after any epoch.
        epochs: geometric mean of the first epochs that reach it.
        seconds: the same of seconds of training, without evaluation.
        words: the values of the swept fields in words, by field: its optimizer, for one.
    """

    configuration: str
    variant: str
    runs: int
    reached: int
    epochs: Figure
    seconds: Figure
    words: Mapping[str, str]


def times_to_error(folder: Path | str, error: float) -> list[TimeToError]:
    """Return how soon each configuration of a study reaches a top-1 error, the soonest first.

    Intervals use the scatter of seeds that is pooled over all configurations whose runs all reach
    the error.

    Args:
        folder: a study, a run, or any folder with runs below it.
        error: a share from 0 to 1.

    Raises:
        StudyError: the folder holds no run that can be read, or the error is no share.
    """
    rows, _ = read_rows(Path(folder))
    return of_rows(rows, swept_fields(rows), error)


def of_rows(rows: Sequence[Row], swept: Sequence[str], error: float) -> list[TimeToError]:
    """Return the same for rows that are read, by the recipe fields in which they differ.

    Raises:
        StudyError: the error is no share.
    """
    if not 0 <= error <= 1:
        raise StudyError(f"the error to reach must be a share from 0 to 1, was {error:g}")
    names = fields_but(swept) or ("variant",)
    worded = [
        name
        for name in fields_but(swept, "variant")
        if isinstance(getattr(rows[0].recipe, name), str)
    ]
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.finished:
            groups[label(row.recipe, names)].append(row)
    firsts = {
        name: tuple(zip(*(_first(row, error) for row in of), strict=True))
        for name, of in groups.items()
    }
    spreads = [pooled_spread([first[unit] for first in firsts.values()]) for unit in (0, 1)]
    found = []
    for name, (epochs, seconds) in firsts.items():
        recipe = groups[name][0].recipe
        found.append(
            TimeToError(
                name,
                recipe.variant,
                len(epochs),
                int(np.isfinite(epochs).sum()),
                time_to_error(epochs, spreads[0]),
                time_to_error(seconds, spreads[1]),
                {field: getattr(recipe, field) for field in worded},
            )
        )

    def soonest(one: TimeToError) -> tuple[float, float]:
        value = one.seconds.value
        return (math.inf if value is None else value), -one.reached / one.runs

    return sorted(found, key=soonest)


def soonest_of_each(times: Sequence[TimeToError], field: str) -> list[TimeToError]:
    """Return the soonest configuration of each value of a field, by variant and in epochs.

    Within a variant the rates of an optimizer differ in epochs, and in seconds only by what else
    the machine did. A configuration of which a run never reached the error comes last.

    Args:
        times: as `times_to_error` returns them.
        field: a swept field in words, such as optimizer.
    """

    def place(one: TimeToError) -> tuple[int, float, float]:
        epochs = math.inf if one.epochs.value is None else one.epochs.value
        return Variant.parse(one.variant).size, epochs, -one.reached / one.runs

    first: dict[tuple[str, str], TimeToError] = {}
    for one in sorted(times, key=place):
        if field in one.words:
            first.setdefault((one.variant, one.words[field]), one)
    return list(first.values())


def _first(row: Row, error: float) -> tuple[float, float]:
    """Return the first epoch that reaches an error and its seconds; inf if none does."""
    place = first_at_most(row.epochs.get("top1_error", ()), error)
    if place is None:
        return math.inf, math.inf
    return place + 1.0, float(np.sum(row.epochs["train_s"][: place + 1]))
