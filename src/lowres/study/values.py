"""Values of recipe fields and of parts of a variant, from text and from TOML."""

from __future__ import annotations

import types
from dataclasses import fields
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lowres.errors import RecipeError, StudyError, nearest
from lowres.recipe import FIELDS, Recipe
from lowres.study.ranges import is_range, numbers
from lowres.variant import Variant

PARTS = tuple(field.name for field in fields(Variant))
"""The parts of a variant: size, filter, fit, rule."""

NAMES = (*FIELDS, *PARTS)
"""What can be swept."""

WANTED = {bool: "true or false", int: "a whole number", float: "a number"}


def check_name(name: str) -> None:
    """Refuse a name that is neither a field of the recipe nor a part of a variant.

    Raises:
        RecipeError: with the nearest name.
    """
    if name not in NAMES:
        listed = f"fields are {', '.join(FIELDS)}, and of its variant {', '.join(PARTS)}"
        raise RecipeError(f"the recipe has no field {name!r}; {nearest(name, NAMES, listed)}")


def from_text(name: str, text: str) -> tuple[Any, ...]:
    """Read values with commas between them: `0.01,0.05`, or a range such as `log:0.001:0.1:7`.

    A value of a field that is itself a list joins its parts with `+`: `0.5+0.75`.

    Raises:
        StudyError: a value is missing, or a range has another form.
        RecipeError: the field is unknown or a value is not of its type.
    """
    check_name(name)
    hint, values = _hints()[name], [value.strip() for value in text.split(",")]
    if not all(values):
        raise StudyError(f"{name} must have values with commas between them, was {text!r}")
    found: list[Any] = []
    for value in values:
        if hint in (int, float) and is_range(value):
            found += numbers(name, value, whole=hint is int)
        else:
            found.append(_convert(name, value, hint))
    return tuple(found)


def number_type(name: str) -> type[int] | type[float] | None:
    """Give the type of a field that holds a number, or None where it holds something else.

    Raises:
        RecipeError: the field is unknown.
    """
    check_name(name)
    hint = _hints()[name]
    return hint if hint in (int, float) else None


def from_toml(name: str, value: object) -> Any:  # noqa: ANN401  any field's type
    """Check a value that TOML gave, for which `none` stands for none.

    Raises:
        RecipeError: the field is unknown or the value is not of its type.
    """
    check_name(name)
    return _checked(name, value, _hints()[name])


@cache
def _hints() -> dict[str, Any]:
    return {**get_type_hints(Variant), **get_type_hints(Recipe)}


def _convert(name: str, text: str, hint: Any) -> Any:  # noqa: ANN401  any field's type
    """Turn text into a value of a field's type."""
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):  # T | None
        return None if text.lower() == "none" else _convert(name, text, get_args(hint)[0])
    if origin is tuple:
        return tuple(_convert(name, part, get_args(hint)[0]) for part in text.split("+"))
    try:
        if hint is bool:
            return {"true": True, "yes": True, "false": False, "no": False}[text.lower()]
        if origin is Literal:
            return text  # the recipe or the variant checks it
        return hint(text)
    except (ValueError, KeyError):
        raise RecipeError(f"{name} must be {WANTED[hint]}, was {text!r}") from None


def _checked(name: str, value: object, hint: Any) -> Any:  # noqa: ANN401
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):
        return None if value == "none" else _checked(name, value, get_args(hint)[0])
    if origin is tuple:
        if not isinstance(value, list):
            raise RecipeError(f"{name} must be a list, was {value!r}")
        return tuple(_checked(name, part, get_args(hint)[0]) for part in value)
    if hint is float and type(value) is int:
        return float(value)
    wanted = str if origin is Literal else hint
    if type(value) is not wanted:  # not isinstance: true is no number
        raise RecipeError(f"{name} must be {WANTED.get(wanted, 'a text')}, was {value!r}")
    return value
