"""A study's plan as a TOML file, for what does not fit on a command line (docs/studies.md).

::

    recipe = "paper"                    # a recipe by its name
    seeds = 2                           # or a list
    [base]                              # fields of the recipe, or parts of its variant
    epochs = 10
    [axes]                              # lists or ranges; every combination is run
    lr = "log:0.001:0.1:7"
    size = [8, 16, 32]
    [[together]]                        # these vary together
    width = [1, 2, 4]
    batch_size = [64, 128, 256]
    [[runs]]                            # and one run more
    lr = 0.3
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowres.errors import LowresError, StudyError, nearest
from lowres.study.axes import Axis, Together, refuse_mixture
from lowres.study.values import check_name, from_text, from_toml

KEYS = ("recipe", "seeds", "base", "axes", "together", "runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """What a plan says.

    Attributes:
        recipe: the name of a recipe, if it has one.
        base: what all runs have, as changes of that recipe.
        axes: what is combined.
        points: further runs, as changes of the base.
        seeds: how many seeds each combination is run with, if it says so.
    """

    recipe: str | None = None
    base: Mapping[str, Any] = field(default_factory=dict)
    axes: tuple[Axis | Together, ...] = ()
    points: tuple[Mapping[str, Any], ...] = ()
    seeds: int | None = None


def read_plan(path: Path) -> PlanFile:
    """Read a plan.

    Raises:
        StudyError: it is missing, no TOML, or has a key or a value that does not fit.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"plan {path} cannot be read: {error}") from error
    try:
        return _parsed(table)
    except LowresError as error:
        raise StudyError(f"plan {path}: {error}") from error


def _parsed(table: dict[str, Any]) -> PlanFile:
    for key in table:
        if key not in KEYS:
            hint = nearest(key, KEYS, f"it may have {', '.join(KEYS)}")
            raise StudyError(f"there is no key {key!r}; {hint}")
    recipe = table.get("recipe")
    if not isinstance(recipe, str | None):
        raise StudyError(f"recipe must be a name, was {recipe!r}")
    axes = [_axis(name, given) for name, given in _table("axes", table.get("axes", {})).items()]
    together = [_together(group) for group in _tables("together", table)]
    seeds = table.get("seeds")
    if isinstance(seeds, list):
        axes.append(_axis("seed", seeds))
    elif type(seeds) not in (int, type(None)):
        raise StudyError(f"seeds must be a whole number or a list of them, was {seeds!r}")
    return PlanFile(
        recipe=recipe,
        base=_values("base", _table("base", table.get("base", {}))),
        axes=(*axes, *together),
        points=tuple(_values("runs", point) for point in _tables("runs", table)),
        seeds=None if isinstance(seeds, list) else seeds,
    )


def _table(where: str, given: object) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise StudyError(f"[{where}] must be a table, was {given!r}")
    return given


def _tables(where: str, table: dict[str, Any]) -> list[dict[str, Any]]:
    given = table.get(where, [])
    if not isinstance(given, list) or not all(isinstance(one, dict) and one for one in given):
        raise StudyError(f"[[{where}]] must be tables with something in them, was {given!r}")
    return given


def _values(where: str, given: dict[str, Any]) -> dict[str, Any]:
    try:
        refuse_mixture(given)
        return {name: from_toml(name, value) for name, value in given.items()}
    except LowresError as error:
        raise StudyError(f"in {where}: {error}") from error


def _axis(name: str, given: object) -> Axis:
    return Axis(name, tuple(dict.fromkeys(_listed("axes", name, given))))


def _together(group: dict[str, Any]) -> Together:
    return Together(
        tuple(Axis(name, _listed("together", name, given)) for name, given in group.items())
    )


def _listed(where: str, name: str, given: object) -> tuple[Any, ...]:
    """Read a list of values, or a text as on the command line."""
    try:
        check_name(name)
        if isinstance(given, str):
            return from_text(name, given)
        if not isinstance(given, list) or not given:
            raise StudyError(
                f"{name} must be a list with a value or more, or a range such as "
                f'"log:0.001:0.1:7"; was {given!r}'
            )
        return tuple(from_toml(name, value) for value in given)
    except LowresError as error:
        raise StudyError(f"in {where}: {error}") from error
