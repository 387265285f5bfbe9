"""Values of recipe fields and of the parts of a variant, read from text and from TOML.

On the command line values have commas between them (`0.01,0.05`); a range such as `log:0.001:0.1:7`
or `lin:1:4:4` stands for its values, rounded to few digits.
"""

from __future__ import annotations

import math
import types
from dataclasses import fields
from functools import cache
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from lowres.call import split_at_commas
from lowres.errors import RecipeError, StudyError, nearest
from lowres.recipe import FIELDS, Recipe
from lowres.variant import Variant

PARTS = tuple(field.name for field in fields(Variant))
"""The parts of a variant: size, filter, fit, rule."""

NAMES = (*FIELDS, *PARTS)
"""What an axis can sweep."""

EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}

RANGE_KINDS = ("lin", "log")

RANGE_DIGITS = 3
"""Significant digits of a range's inner values, as long as no two become equal."""

MAX_RANGE_DIGITS = 15
MAX_RANGE_VALUES = 1000


def check_field(name: str) -> None:
    """Refuse a name that is neither a field of the recipe nor a part of a variant.

    Raises:
        RecipeError: with the nearest name.
    """
    if name not in NAMES:
        listed = f"fields are {', '.join(FIELDS)}, and of its variant {', '.join(PARTS)}"
        raise RecipeError(f"the recipe has no field {name!r}; {nearest(name, NAMES, listed)}")


def from_text(name: str, text: str) -> tuple[Any, ...]:
    """Read values with commas between them; each may be a range if the field is a number.

    The parts of a value that is itself a list have `+` between them: `0.5+0.75`. Commas in
    brackets or quotes belong to a value: `my.nets:cell(depth=3, arch='a,b')`.

    Raises:
        StudyError: a value is missing, or a range has another form.
        RecipeError: the field is unknown or a value is not of its type.
    """
    check_field(name)
    hint, values = _hints()[name], split_at_commas(text)
    if not all(values):
        raise StudyError(f"{name} must have values with commas between them, was {text!r}")
    found: list[Any] = []
    for value in values:
        if hint in (int, float) and value.partition(":")[0] in RANGE_KINDS:
            found += _range(name, value, whole=hint is int)
        else:
            found.append(_convert(name, value, hint))
    return tuple(found)


def number_type(name: str) -> type[int] | type[float] | None:
    """Return int or float for a field that holds a number, None for any other.

    Raises:
        RecipeError: the field is unknown.
    """
    check_field(name)
    hint = _hints()[name]
    return hint if hint in (int, float) else None


def is_list(name: str) -> bool:
    """Return whether a value of a field is itself a list, as those of `lr_drop_at` are.

    Raises:
        RecipeError: the field is unknown.
    """
    check_field(name)
    return get_origin(_hints()[name]) is tuple


def from_toml(name: str, value: object) -> object:
    """Check a value that was read from TOML, where `"none"` stands for None.

    Raises:
        RecipeError: the field is unknown or the value is not of its type.
    """
    check_field(name)
    return _checked(name, value, _hints()[name])


@cache
def _hints() -> dict[str, Any]:
    return {**get_type_hints(Variant), **get_type_hints(Recipe)}


def _convert(name: str, text: str, hint: object) -> object:
    """Return text as a value of a field's type."""
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):  # T | None
        return None if text.lower() == "none" else _convert(name, text, get_args(hint)[0])
    if origin is tuple:
        return tuple(_convert(name, part, get_args(hint)[0]) for part in text.split("+"))
    if not isinstance(hint, type):
        return text  # a Literal: the recipe or the variant checks it
    try:
        if hint is bool:
            return {"true": True, "yes": True, "false": False, "no": False}[text.lower()]
        return hint(text)
    except (ValueError, KeyError):
        raise RecipeError(f"{name} must be {EXPECTED[hint]}, was {text!r}") from None


def _checked(name: str, value: object, hint: object) -> object:
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):
        return None if value == "none" else _checked(name, value, get_args(hint)[0])
    if origin is tuple:
        if not isinstance(value, list):
            raise RecipeError(f"{name} must be a list, was {value!r}")
        return tuple(_checked(name, part, get_args(hint)[0]) for part in value)
    if hint is float and type(value) is int:
        return float(value)
    expected = hint if isinstance(hint, type) else str  # a Literal holds text
    if type(value) is not expected:  # not isinstance: True is an int, too
        raise RecipeError(f"{name} must be {EXPECTED[expected]}, was {value!r}")
    return value


def _range(name: str, text: str, *, whole: bool) -> tuple[Any, ...]:
    """Return the values of a range `KIND:FIRST:LAST:COUNT`; both ends are kept exactly.

    Args:
        name: of the field, for errors.
        text: lin for equal steps, log for equal factors; LAST may be below FIRST.
        whole: round to whole numbers, for a field that takes no others.

    Raises:
        StudyError: the text has another form, or fewer than COUNT values differ.
    """
    kind, *rest = text.split(":")
    if len(rest) != 3:
        _refuse_range(name, text, "must be written lin:FIRST:LAST:COUNT or log:FIRST:LAST:COUNT")
    try:
        first, last, count = float(rest[0]), float(rest[1]), int(rest[2])
    except ValueError:
        _refuse_range(name, text, "must have two numbers and a whole number of values")
    _check_range(name, text, kind, first, last, count)
    if whole and not (first.is_integer() and last.is_integer()):
        _refuse_range(name, text, f"must begin and end with whole numbers, as {name} is one")
    shares = [place / (count - 1) for place in range(1, count - 1)]
    if kind == "lin":
        inner = [first * (1 - share) + last * share for share in shares]
    else:
        a, b = math.log(first), math.log(last)
        inner = [math.exp(a * (1 - share) + b * share) for share in shares]
    values = [first, *inner, last][:count]
    found = tuple(map(round, values)) if whole else _rounded(values)
    if len(set(found)) < count:
        what = "whole numbers" if whole else "numbers"
        _refuse_range(name, text, f"has only {len(set(found))} different {what}: ask for fewer")
    return found


def _check_range(name: str, text: str, kind: str, first: float, last: float, count: int) -> None:
    if not (math.isfinite(first) and math.isfinite(last)):
        _refuse_range(name, text, "must have finite ends")
    if kind == "log" and not (first > 0 and last > 0):
        _refuse_range(name, text, "must have ends above 0, because it has equal factors")
    if not 1 <= count <= MAX_RANGE_VALUES:
        _refuse_range(name, text, f"must have 1 to {MAX_RANGE_VALUES} values")
    if (count == 1) != (first == last):
        _refuse_range(name, text, "must have two or more values between two ends, or one end alone")


def _refuse_range(name: str, text: str, fault: str) -> NoReturn:
    raise StudyError(f"{name}: range {text!r} {fault}, such as log:0.001:0.1:7")


def _rounded(values: list[float]) -> tuple[float, ...]:
    """Round inner values to as few digits as keep all values different."""
    for digits in range(RANGE_DIGITS, MAX_RANGE_DIGITS + 1):
        inner = [float(f"{value:.{digits}g}") + 0.0 for value in values[1:-1]]  # no -0
        found = (values[0], *inner, *values[1:][-1:])
        if len(set(found)) == len(values):
            break
    return found
