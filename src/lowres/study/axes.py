"""Axes: swept recipe fields or parts of a variant, and the recipes they span."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from lowres.errors import StudyError
from lowres.recipe import Recipe
from lowres.study.values import PARTS, from_text
from lowres.variant import Variant

MAX_RUNS = 10_000
"""As many as a folder and a table still hold with ease; more are a mistake, most of the time."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A recipe field or a part of a variant, and the values it takes.

    Attributes:
        name: name of the field, or size, filter, fit or rule, which change the recipe's variant.
        values: its values, one or more, in the order given, without repeats.

    Raises:
        StudyError: it has no values.
    """

    name: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise StudyError(f"axis {self.name} must have a value or more, and has none")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `FIELD=VALUE,VALUE,...`, such as `lr=0.01,0.05` or `lr=log:0.001:0.1:7`.

        A value of a field that is itself a list joins its parts with `+`: `lr_drop_at=0.5+0.75`.

        Raises:
            StudyError: it has another form.
            RecipeError: the field is unknown or a value is not of its type.
        """
        name, equals, listed = text.partition("=")
        if not equals or not all(value.strip() for value in listed.split(",")):
            raise StudyError(
                f"an axis is written FIELD=VALUE,VALUE, such as lr=0.01,0.05; was {text!r}"
            )
        name = name.strip().replace("-", "_")
        return cls(name, tuple(dict.fromkeys(from_text(name, listed))))

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Itself, as `Together.axes`."""
        return (self,)

    def changes(self) -> list[dict[str, Any]]:
        """Give what each of its points changes."""
        return [{self.name: value} for value in self.values]


@dataclass(frozen=True, slots=True)
class Together:
    """Axes that vary together: the first values of all, then the second values of all.

    Attributes:
        axes: each with the same number of values; here values may repeat.

    Raises:
        StudyError: their numbers differ.
    """

    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        if len({len(axis.values) for axis in self.axes}) > 1:
            counts = ", ".join(f"{axis.name} has {len(axis.values)}" for axis in self.axes)
            raise StudyError(f"what varies together must have as many values each: {counts}")

    def changes(self) -> list[dict[str, Any]]:
        """Give what each of its points changes."""
        names = [axis.name for axis in self.axes]
        rows = zip(*(axis.values for axis in self.axes), strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]


def changed(base: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Change fields of a recipe and parts of its variant.

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
    """Refuse a variant beside a part of it, for which of them holds is not clear.

    Raises:
        StudyError: there are both.
    """
    given = set(names)
    parts = [part for part in PARTS if part in given]
    if parts and "variant" in given:
        raise StudyError(
            f"variant and its part {parts[0]} cannot both be given or swept: use variant=8-box,"
            "16-box or size=8,16 with filter=box"
        )


def expand(
    base: Recipe,
    axes: Sequence[Axis | Together],
    points: Sequence[Mapping[str, Any]] = (),
) -> list[Recipe]:
    """Give a recipe for each combination of values, the last axis changing fastest; then points.

    Args:
        base: what the axes leave as it is.
        axes: what is combined.
        points: further recipes, as changes of `base`; each is done for every value of the axis
            seed, unless it has a seed itself.

    Raises:
        StudyError: a field is swept twice, or beside its part, or there are too many runs.
        RecipeError, VariantError: a value is outside its range.
    """
    _check_names([axis.name for one in axes for axis in one.axes])
    factors = [one.changes() for one in axes]
    # Without axes there is one combination, the base itself; but not beside points alone.
    spread = [axis.name for one in axes for axis in one.axes if axis.name != "seed"]
    grid = itertools.product(*factors) if spread or not points else ()
    seeds = next((one.values for one in axes if isinstance(one, Axis) and one.name == "seed"), ())
    _check_count((math.prod(map(len, factors)) if grid else 0) + len(points) * max(1, len(seeds)))
    combined = [{k: v for change in changes for k, v in change.items()} for changes in grid]
    recipes = [changed(base, changes) for changes in (*combined, *_seeded(points, seeds))]
    return list(dict.fromkeys(recipes))


def _seeded(points: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    for point in points:
        if "seed" in point or not seeds:
            yield dict(point)
        else:
            yield from ({**point, "seed": seed} for seed in seeds)


def _check_names(names: Sequence[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise StudyError(f"axis {min(twice)} is given twice; join its values with commas")
    refuse_mixture(names)


def _check_count(count: int) -> None:
    if count > MAX_RUNS:
        raise StudyError(
            f"a study has {MAX_RUNS:,} runs at most, and these axes span {count:,}: leave values "
            "out, or make several studies"
        )
