"""The space of a search: the fields that are searched, and their values or intervals.

A list of values is a choice without an order; `lr=log:0.001:1` is an interval with both its ends.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lowres.errors import StudyError
from lowres.study.values import RANGE_KINDS, from_text, number_type

NOT_SEARCHED = {
    "variant": "choose sizes with --sizes; filter, fit and rule can be searched one by one",
    "size": "choose sizes with --sizes",
    "epochs": "choose epochs with --epochs, or with --rung-epochs for each size",
    "seed": "the seed with the least error is only the luckiest: choose one with --seed",
    "eval_split": "errors on several splits cannot be compared: choose one with --eval-split",
}
"""Fields that cannot be searched, and what to do instead."""

SAMPLE = 256
"""Configurations that represent a larger space when means over it are taken."""

Plain = None | bool | int | float | str
"""What Optuna stores as a choice."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A field and the values to choose from.

    Attributes:
        name: a recipe field, or a part of its variant except the size.
        spec: the text that was read.
        values: without repeats.
    """

    name: str
    spec: str
    values: tuple[Any, ...]

    @property
    def labels(self) -> tuple[Plain, ...]:
        """Each value as Optuna stores it: the value itself, or a list's parts joined with `+`."""
        return tuple("+".join(map(str, v)) if isinstance(v, tuple) else v for v in self.values)

    def value(self, label: Plain) -> object:
        return self.values[self.labels.index(label)]

    def draw(self, source: random.Random) -> Plain:
        return source.choice(self.labels)


@dataclass(frozen=True, slots=True)
class Interval:
    """A field and the interval to choose a number from.

    Attributes:
        name: a recipe field that is a number.
        spec: the text that was read.
        low: its least value, above 0 if `log`.
        high: its largest.
        log: equal factors have equal probability, not equal differences.
        whole: only whole numbers.
    """

    name: str
    spec: str
    low: float
    high: float
    log: bool
    whole: bool

    @property
    def labels(self) -> Sequence[int] | None:
        """Each whole number; None if not all numbers are whole."""
        return range(int(self.low), int(self.high) + 1) if self.whole else None

    def value(self, label: Plain) -> object:
        return label

    def draw(self, source: random.Random) -> Plain:
        if self.log:
            drawn = math.exp(source.uniform(math.log(self.low), math.log(self.high)))
        else:
            drawn = source.uniform(self.low, self.high)
        drawn = min(max(drawn, self.low), self.high)
        return round(drawn) if self.whole else drawn


Dimension = Choice | Interval


def parse_dimension(text: str) -> Dimension:
    """Read `FIELD=VALUE,VALUE` or `FIELD=log:FIRST:LAST` or `FIELD=lin:FIRST:LAST`.

    A range with a count, `log:0.001:0.1:7`, is a list of values, as for an axis.

    Raises:
        StudyError: the text has another form, or the field cannot be searched.
        RecipeError: the field is unknown or a value is not of its type.
    """
    name, equals, spec = (part.strip() for part in text.partition("="))
    name = name.replace("-", "_")
    if name in NOT_SEARCHED:
        raise StudyError(f"--space {name} cannot be searched: {NOT_SEARCHED[name]}")
    kind, *ends = spec.split(":")
    if equals and kind in RANGE_KINDS and len(ends) == 2 and "," not in spec:
        return _interval(name, spec, kind, ends)
    if not equals or not spec:
        raise StudyError(
            "--space is written FIELD=VALUE,VALUE or FIELD=log:FIRST:LAST or FIELD=lin:FIRST:LAST, "
            f"such as lr=log:0.001:1; was {text!r}"
        )
    return Choice(name, spec, tuple(dict.fromkeys(from_text(name, spec))))


def parse_space(texts: Sequence[str]) -> tuple[Dimension, ...]:
    """Read all dimensions of a space.

    Raises:
        StudyError: there are none, one has another form, or a field is there twice.
        RecipeError: a field is unknown or a value is not of its type.
    """
    found = tuple(map(parse_dimension, texts))
    if not found:
        raise StudyError("a search needs a space: add --space, such as --space lr=log:0.001:1")
    names = [dimension.name for dimension in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise StudyError(f"--space {twice[0]} is there twice: join its values with commas")
    return found


def _interval(name: str, spec: str, kind: str, ends: Sequence[str]) -> Interval:
    def refuse(fault: str) -> NoReturn:
        raise StudyError(f"--space {name}: interval {spec!r} {fault}, such as log:0.001:1")

    number = number_type(name)
    if number is None:
        refuse("is for numbers: list the values of this field with commas")
    try:
        low, high = map(float, ends)
    except ValueError:
        refuse("must have two numbers")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        refuse("must have finite ends, the lower one first")
    if kind == "log" and low <= 0:
        refuse("must have ends above 0, because it has equal factors")
    whole = number is int
    if whole and not (low.is_integer() and high.is_integer()):
        refuse(f"must begin and end with whole numbers, as {name} is one")
    return Interval(name, spec, low, high, kind == "log", whole)


def changes(space: Sequence[Dimension], labels: Mapping[str, Plain]) -> dict[str, Any]:
    """Return the fields and values of a configuration, from its labels."""
    return {one.name: one.value(labels[one.name]) for one in space}


def combinations(space: Sequence[Dimension]) -> int | None:
    """Count the configurations of a space; None if it has a real interval."""
    total = 1
    for one in space:
        if one.labels is None:
            return None
        total *= len(one.labels)
    return total


def every(space: Sequence[Dimension]) -> Iterator[dict[str, Plain]]:
    """Return the labels of every configuration of a finite space."""
    names = [dimension.name for dimension in space]
    for row in itertools.product(*(one.labels or () for one in space)):
        yield dict(zip(names, row, strict=True))


def sample(space: Sequence[Dimension]) -> list[dict[str, Plain]]:
    """Return configurations that represent the space: all, or 256 that are always the same.

    The ends of each interval are among them.
    """
    count = combinations(space)
    if count is not None and count <= SAMPLE:
        return list(every(space))
    source = random.Random(0)
    drawn = [{one.name: one.draw(source) for one in space} for _ in range(SAMPLE)]
    for one in space:
        if isinstance(one, Interval):
            low, high = (int(end) if one.whole else end for end in (one.low, one.high))
            drawn[0][one.name], drawn[1][one.name] = low, high
    return drawn
