"""A study's plan as a TOML file, for studies that do not fit on a command line (docs/studies.md).

::

    recipe = "paper"                    # a named recipe
    seeds = 2                           # or a list
    [base]                              # fields of the recipe, or parts of its variant
    epochs = 10
    [axes]                              # lists or ranges; every combination is a run
    lr = "log:0.001:0.1:7"
    size = [8, 16, 32]
    [[together]]                        # these vary together
    width = [1, 2, 4]
    batch_size = [64, 128, 256]
    [[together]]
    optimizer = ["momentum", "muon"]
    lr = [[0.02, 0.06, 0.2], [0.01, 0.04]]   # each optimizer with rates of its own
    [[runs]]                            # one more run
    lr = 0.3
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from lowres.errors import LowresError, StudyError, nearest
from lowres.study.axes import Axis, Together, refuse_mixture
from lowres.study.values import check_field, from_text, from_toml, is_list

KEYS = ("recipe", "seeds", "base", "axes", "together", "runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """What a plan file says.

    Attributes:
        recipe: name of a recipe; None if the file names none.
        base: what all runs have in common, as changes of that recipe.
        axes: every combination of their values is a run.
        points: further runs, as changes of the base.
        seeds: how many seeds each combination is run with; None if the file does not say.
    """

    recipe: str | None = None
    base: Mapping[str, Any] = field(default_factory=dict)
    axes: tuple[Axis | Together, ...] = ()
    points: tuple[Mapping[str, Any], ...] = ()
    seeds: int | None = None


def read_plan(path: Path) -> PlanFile:
    """Read a plan file.

    Raises:
        StudyError: the file is missing, is not TOML, or has an unknown key or a wrong value.
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
            hint = nearest(key, KEYS, f"known keys are {', '.join(KEYS)}")
            raise StudyError(f"there is no key {key!r}; {hint}")
    recipe = table.get("recipe")
    if not isinstance(recipe, str | None):
        raise StudyError(f"recipe must be a name, was {recipe!r}")
    axes: list[Axis | Together] = [
        Axis(name, tuple(dict.fromkeys(_values_of("axes", name, listed))))
        for name, listed in _table("axes", table).items()
    ]
    seeds = table.get("seeds")
    if isinstance(seeds, list):
        axes.append(Axis("seed", tuple(dict.fromkeys(_values_of("seeds", "seed", seeds)))))
    elif type(seeds) not in (int, type(None)):
        raise StudyError(f"seeds must be a whole number or a list of them, was {seeds!r}")
    for group in _tables("together", table):
        columns = _unfolded(group)
        axes.append(
            Together(tuple(Axis(n, _values_of("together", n, v)) for n, v in columns.items()))
        )
    return PlanFile(
        recipe=recipe,
        base=_changes("base", _table("base", table)),
        axes=tuple(axes),
        points=tuple(_changes("runs", point) for point in _tables("runs", table)),
        seeds=None if isinstance(seeds, list) else seeds,
    )


def _table(where: str, table: dict[str, Any]) -> dict[str, Any]:
    found = table.get(where, {})
    if not isinstance(found, dict):
        raise StudyError(f"[{where}] must be a table, was {found!r}")
    return found


def _tables(where: str, table: dict[str, Any]) -> list[dict[str, Any]]:
    found = table.get(where, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) and one for one in found):
        raise StudyError(f"[[{where}]] must be tables that are not empty, was {found!r}")
    return found


def _unfolded(group: dict[str, Any]) -> dict[str, Any]:
    """Repeat each place of a group for every value of a list within it.

    `optimizer = ["a", "b"]` with `lr = [[1, 2], [3]]` is `["a", "a", "b"]` with `[1, 2, 3]`. Lists
    in several fields of a place are combined. A field whose values are lists is not unfolded.
    """
    nested = [
        name
        for name, listed in group.items()
        if isinstance(listed, list)
        and any(isinstance(one, list) for one in listed)
        and not is_list(name)
    ]
    if not nested or not all(isinstance(listed, list) for listed in group.values()):
        return group
    for name, listed in group.items():
        if len(listed) != len(group[nested[0]]):
            raise StudyError(
                f"in together: {name} has {len(listed)} values and {nested[0]} has "
                f"{len(group[nested[0]])}; fields that vary together need equally many"
            )
        if name in nested and [] in listed:
            raise StudyError(f"in together: {name} must have one or more values in each list")
    columns: dict[str, Any] = {name: [] for name in group}
    for place in range(len(group[nested[0]])):
        choices = [
            group[name][place] if name in nested and isinstance(group[name][place], list)
            else [group[name][place]]
            for name in group
        ]  # fmt: skip
        for combination in product(*choices):
            for name, value in zip(group, combination, strict=True):
                columns[name].append(value)
    return columns


def _changes(where: str, fields: dict[str, Any]) -> dict[str, Any]:
    try:
        refuse_mixture(fields)
        return {name: from_toml(name, value) for name, value in fields.items()}
    except LowresError as error:
        raise StudyError(f"in {where}: {error}") from error


def _values_of(where: str, name: str, listed: object) -> tuple[Any, ...]:
    """Read a list of values, or text as on the command line."""
    try:
        check_field(name)
        if isinstance(listed, str):
            return from_text(name, listed)
        if not isinstance(listed, list) or not listed:
            raise StudyError(
                f"{name} must be a list with one or more values, or a range such as "
                f'"log:0.001:0.1:7"; was {listed!r}'
            )
        return tuple(from_toml(name, value) for value in listed)
    except LowresError as error:
        raise StudyError(f"in {where}: {error}") from error
