"""Ranges: `log:0.001:0.1:7` and `lin:1:4:4` become numbers that read well."""

from __future__ import annotations

import math
from typing import Any, NoReturn

from lowres.errors import StudyError

KINDS = ("lin", "log")
DIGITS = 3
"""Significant digits of a value between the ends, as long as no two become the same."""

MOST_DIGITS = 15
MAX_POINTS = 1000


def is_range(text: str) -> bool:
    """Tell whether a text is meant as a range."""
    return text.partition(":")[0] in KINDS


def numbers(name: str, text: str, *, whole: bool) -> tuple[Any, ...]:
    """Give the numbers of a range `KIND:FIRST:LAST:COUNT`, with both ends as they are given.

    Args:
        name: of the field, for errors.
        text: lin for equal steps, log for equal factors; LAST may be below FIRST.
        whole: give whole numbers, rounded, for a field that takes no others.

    Raises:
        StudyError: it has another form, or does not have so many different numbers.
    """
    kind, *rest = text.split(":")
    if len(rest) != 3:
        _refuse(name, text, "is written lin:FIRST:LAST:COUNT or log:FIRST:LAST:COUNT")
    try:
        first, last, count = float(rest[0]), float(rest[1]), int(rest[2])
    except ValueError:
        _refuse(name, text, "must have two numbers and a whole number of values")
    _check(name, text, kind, first, last, count)
    if whole and not (first.is_integer() and last.is_integer()):
        _refuse(name, text, f"must begin and end with whole numbers, as {name} is one")
    values = _spread(kind, first, last, count)
    found = tuple(map(round, values)) if whole else _rounded(values)
    if len(set(found)) < count:
        what = "whole numbers" if whole else "numbers"
        _refuse(name, text, f"has only {len(set(found))} different {what}: ask for fewer")
    return found


def _check(name: str, text: str, kind: str, first: float, last: float, count: int) -> None:
    if not (math.isfinite(first) and math.isfinite(last)):
        _refuse(name, text, "must have finite ends")
    if kind == "log" and not (first > 0 and last > 0):
        _refuse(name, text, "must have ends above 0, because it has equal factors")
    if not 1 <= count <= MAX_POINTS:
        _refuse(name, text, f"must have 1 to {MAX_POINTS} values")
    if (count == 1) != (first == last):
        _refuse(name, text, "must have two values or more between two ends, or one end alone")


def _refuse(name: str, text: str, fault: str) -> NoReturn:
    raise StudyError(f"{name}: range {text!r} {fault}, such as log:0.001:0.1:7")


def _spread(kind: str, first: float, last: float, count: int) -> list[float]:
    inner = [place / (count - 1) for place in range(1, count - 1)]
    if kind == "lin":
        between = [first * (1 - share) + last * share for share in inner]
    else:
        a, b = math.log(first), math.log(last)
        between = [math.exp(a * (1 - share) + b * share) for share in inner]
    return [first, *between, last][:count]


def _rounded(values: list[float]) -> tuple[float, ...]:
    """Round what is between the ends to as few digits as tell the values apart."""
    for digits in range(DIGITS, MOST_DIGITS + 1):
        between = [float(f"{value:.{digits}g}") + 0.0 for value in values[1:-1]]  # no -0
        found = (values[0], *between, *values[1:][-1:])
        if len(set(found)) == len(values):
            break
    return found
