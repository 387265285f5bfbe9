"""Numbers as text: percent, durations, counts, and columns for a terminal.

A missing or infinite number is written as a dash.
"""

from __future__ import annotations

import csv
import io
import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeGuard

QUOTED = re.compile(r"(?<=['\"])~?/[^'\"\n]*(?=/[^'\"/\n]+['\"])")
"""The folders of an absolute path in quotation marks, which may have blanks in its name."""

FOLDERS = re.compile(r"(?<![\w.:/~…])~?(?:/[^\s/'\",;:<>|]+)+(?=/[^\s/'\",;:<>|])")
"""The folders of any other absolute path."""

CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Characters that move a cursor, reorder text or cannot be written; not tab and line feed."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With these a cell begins that a spreadsheet would compute."""

MISSING = "\N{EN DASH}"


def number(value: float | None, digits: int) -> str:
    """Return a number with a fixed count of decimals: `1,234.50`."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{round(value, digits) + 0.0:,.{digits}f}"  # -0.0 becomes 0.0


def short(value: float | None) -> str:
    """Return a number with three significant digits and without an exponent above 1: `12,300`."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:.3g}"
    return f"{float(text):,.0f}" if "e+" in text else text


def points(share: float | None, digits: int = 2) -> str:
    """Return a share as percent without the sign, for a column whose heading has the unit."""
    return number(None if share is None else 100 * share, digits)


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share as percent: `12.34 %`."""
    text = points(share, digits)
    return text if text == MISSING else f"{text} %"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it: `0.5 s`, `42 s`, `7 min`, `2.5 h`, `4.2 days`."""
    if 0 < seconds < 1:
        return f"{seconds:.1g} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 86_400:.1f} days"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number of things: `1 run`, `1,200 runs`, `2 classes`.

    Args:
        number: how many.
        noun: what, in the singular.
        plural: its plural; `noun` with an s if empty.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def counts(numbers: Mapping[str, int]) -> str:
    """Return how many there are of each name: `1,200 train, 50 val`."""
    return ", ".join(f"{number:,} {name}" for name, number in numbers.items())


def value(setting: object, digits: int = 6) -> str:
    """Return the value of a recipe field as it is written on the command line: `0.25+0.5`.

    Args:
        setting: a number, a text, a truth value, None, or a tuple or list of these.
        digits: significant digits of a float.
    """
    if isinstance(setting, tuple | list):
        return "+".join(map(str, setting)) or "none"
    return f"{setting:.{digits}g}" if isinstance(setting, float) else str(setting)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number; a truth value is a word."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number_or_word(value: object) -> float | str:
    """Return a value of an axis: a number as a float, anything else as text."""
    return float(value) if is_number(value) else str(value)


def command(*words: object) -> str:
    """Return a command of lowres to copy: words that a shell would split or change are quoted."""
    return shlex.join(("lowres", *map(str, words)))


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Return rows of cells as lines with aligned columns, two spaces apart.

    Args:
        rows: all with the same number of cells; the first one may be headings.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.rjust, row, widths)).rstrip()


def visible(text: str) -> str:
    r"""Return a text for a terminal: control characters as `\u001b`; tab and line feed stay.

    Names of files and classes may hold them, and a terminal would obey.
    """
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def csv_bytes(rows: Iterable[Iterable[object]]) -> bytes:
    """Return a CSV file in UTF-8; a text that would be a formula begins with an apostrophe."""

    def cell(value: object) -> object:
        return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value

    def line(row: Iterable[object]) -> str:
        file = io.StringIO(newline="")
        csv.writer(file).writerow(map(cell, row))  # with another end it leaves \r without quotes
        return file.getvalue().removesuffix("\r\n") + "\n"

    return "".join(map(line, rows)).encode(errors="backslashreplace")


def without_folders(text: str, known: Iterable[str] = ()) -> str:
    """Return a text with `…/name` for absolute paths, for pages that are shared.

    Args:
        text: such as the message of an error.
        known: folders that occur in it; they may have blanks in their names.
    """
    for folder in sorted(known, key=len, reverse=True):
        text = text.replace(f"{folder}/", "…/") if folder.count("/") > 1 else text
    return FOLDERS.sub("…", QUOTED.sub("…", text))


def shortened(text: str, most: int = 400) -> str:
    """Return a text, cut to `most` characters."""
    return text if len(text) <= most else f"{text[:most]}…"
