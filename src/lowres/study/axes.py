"""Axes: swept recipe fields or parts of a variant, and the recipes they span."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from lowres.call import split_at_commas
from lowres.errors import StudyError
from lowres.recipe import Recipe
from lowres.study.values import PARTS, from_text
from lowres.variant import Variant

MAX_RUNS = 50_000
"""Runs of one study: all 15,625 networks of NAS-Bench-201 with three seeds. More are usually a
mistake."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A recipe field or a part of a variant, and the values it takes.

    Attributes:
        name: a recipe field, or size, filter, fit or rule, which change the recipe's variant.
        values: one or more, in the order in which they were written, without repeats.

    Raises:
        StudyError: the axis has no values.
    """

    name: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise StudyError(f"axis {self.name} must have one or more values, and has none")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `FIELD=VALUE,VALUE,...`, such as `lr=0.01,0.05` or `lr=log:0.001:0.1:7`.

        The parts of a value that is itself a list have `+` between them: `lr_drop_at=0.5+0.75`.

        Raises:
            StudyError: the text has another form.
            RecipeError: the field is unknown or a value is not of its type.
        """
        name, equals, listed = text.partition("=")
        if not equals or not all(split_at_commas(listed)):
            raise StudyError(
                f"an axis is written FIELD=VALUE,VALUE, such as lr=0.01,0.05; was {text!r}"
            )
        name = name.strip().replace("-", "_")
        return cls(name, tuple(dict.fromkeys(from_text(name, listed))))

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axis itself, as `Together.axes`."""
        return (self,)

    def changes(self) -> list[dict[str, Any]]:
        """Return the changed fields of each of its points."""
        return [{self.name: value} for value in self.values]


@dataclass(frozen=True, slots=True)
class Together:
    """Axes that vary together: the first values of all, then the second values of all.

    Attributes:
        axes: all with the same number of values; these values may repeat.

    Raises:
        StudyError: the numbers of values differ.
    """

    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        if len({len(axis.values) for axis in self.axes}) > 1:
            counts = ", ".join(f"{axis.name} has {len(axis.values)}" for axis in self.axes)
            raise StudyError(f"axes that vary together must have equally many values: {counts}")

    def changes(self) -> list[dict[str, Any]]:
        """Return the changed fields of each of its points."""
        names = [axis.name for axis in self.axes]
        rows = zip(*(axis.values for axis in self.axes), strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]


def changed(base: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe with changed fields and changed parts of its variant.

    Raises:
        StudyError: `changes` has both a variant and a part of it.
        RecipeError, VariantError: a value is outside its range.
    """
    refuse_mixture(changes)
    others = {name: value for name, value in changes.items() if name not in PARTS}
    parts = {name: value for name, value in changes.items() if name in PARTS}
    if parts:
        others["variant"] = str(replace(Variant.parse(base.variant), **parts))
    return replace(base, **others)


def refuse_mixture(names: Iterable[str]) -> None:
    """Refuse a variant beside one of its parts, which could contradict each other.

    Raises:
        StudyError: both are among the names.
    """
    among = set(names)
    parts = [part for part in PARTS if part in among]
    if parts and "variant" in among:
        raise StudyError(
            f"variant and its part {parts[0]} cannot both be set or swept: use variant=8-box,"
            "16-box or size=8,16 with filter=box"
        )


def expand(
    base: Recipe,
    axes: Sequence[Axis | Together],
    points: Sequence[Mapping[str, Any]] = (),
) -> list[Recipe]:
    """Return a recipe for each combination of values, the last axis changing fastest; then points.

    Args:
        base: the recipe that the axes change.
        axes: every combination of their values is a run.
        points: further runs, as changes of `base`. Each is repeated for every value of the axis
            seed, unless it sets a seed itself.

    Raises:
        StudyError: a field is swept twice, or beside its part, or there are too many runs.
        RecipeError, VariantError: a value is outside its range.
    """
    names = [axis.name for one in axes for axis in one.axes]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise StudyError(f"axis {min(twice)} is swept twice: join its values with commas")
    refuse_mixture(names)
    factors = [one.changes() for one in axes]
    # Without axes there is one combination, the base itself; beside points there is none.
    grid = any(name != "seed" for name in names) or not points
    seeds = next((one.values for one in axes if isinstance(one, Axis) and one.name == "seed"), ())
    count = math.prod(map(len, factors)) * grid + len(points) * max(1, len(seeds))
    if count > MAX_RUNS:
        raise StudyError(
            f"a study has at most {MAX_RUNS:,} runs, and these axes span {count:,}: remove values, "
            "or make several studies"
        )
    changes: list[dict[str, Any]] = []
    if grid:
        for combination in itertools.product(*factors):
            changes.append({name: v for change in combination for name, v in change.items()})
    for point in points:
        if "seed" in point or not seeds:
            changes.append(dict(point))
        else:
            changes += ({**point, "seed": seed} for seed in seeds)
    return list(dict.fromkeys(changed(base, change) for change in changes))
