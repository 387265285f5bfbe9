"""Axes: swept recipe fields, and the recipes they span."""

from __future__ import annotations

import itertools
import types
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from lowres.errors import RecipeError, StudyError
from lowres.recipe import Recipe, check_field


@dataclass(frozen=True, slots=True)
class Axis:
    """A recipe field and the values it takes.

    Attributes:
        name: name of the field.
        values: its values, in the order given, without repeats.
    """

    name: str
    values: tuple[Any, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `FIELD=VALUE,VALUE,...`, such as `lr=0.01,0.05`.

        A value of a field that is itself a list joins its parts with `+`: `lr_drop_at=0.5+0.75`.

        Raises:
            StudyError: it has another form.
            RecipeError: the field is unknown or a value is not of its type.
        """
        name, equals, listed = text.partition("=")
        name = name.strip().replace("-", "_")
        values = [value.strip() for value in listed.split(",")]
        if not equals or not all(values):
            raise StudyError(
                f"an axis is written FIELD=VALUE,VALUE, such as lr=0.01,0.05; was {text!r}"
            )
        check_field(name)
        hint = get_type_hints(Recipe)[name]
        parsed = (_convert(name, value, hint) for value in values)
        return cls(name, tuple(dict.fromkeys(parsed)))


def expand(base: Recipe, axes: Sequence[Axis]) -> list[Recipe]:
    """Give a recipe for each combination of values, the last axis changing fastest.

    Raises:
        StudyError: a field is swept twice.
        RecipeError: a value is outside its range.
    """
    names = [axis.name for axis in axes]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise StudyError(f"axis {min(twice)} is given twice; join its values with commas")
    return [
        replace(base, **dict(zip(names, values, strict=True)))
        for values in itertools.product(*(axis.values for axis in axes))
    ]


def _convert(name: str, text: str, hint: Any) -> Any:  # noqa: ANN401  any field's type
    """Turn text into a value of a field's type."""
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):  # T | None
        if text.lower() == "none":
            return None
        return _convert(name, text, get_args(hint)[0])
    if origin is tuple:
        return tuple(_convert(name, part, get_args(hint)[0]) for part in text.split("+"))
    try:
        if hint is bool:
            return {"true": True, "yes": True, "false": False, "no": False}[text.lower()]
        if origin is Literal:
            return text  # the recipe checks it
        return hint(text)
    except (ValueError, KeyError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[hint]
        raise RecipeError(f"{name} must be {wanted}, was {text!r}") from None
