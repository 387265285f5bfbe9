"""Results of any origin as a table: one row a run, and the two sides that are judged.

A row holds the decisions that were swept, an error, and where they are known its seed, its cost,
its seconds, other metrics and the curve of its training. The columns that name the proxy and the
target set the two sides apart. Every other column is an axis: a decision that was swept.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NoReturn, TypeAlias

from lowres.call import one_spelling, split_at_commas
from lowres.errors import StudyError, nearest
from lowres.text import is_number

SEED, COST = "seed", "cost"
SOURCE = "source"
"""The column that names the table of a row where two tables are judged."""

Value: TypeAlias = float | str
Side: TypeAlias = dict[str, Value]

ErrorUnit = Literal["share", "percent", "accuracy", "accuracy-percent"]
"""What the column of errors holds. share: error from 0 to 1. percent: error from 0 to 100.
accuracy: the share that is right. accuracy-percent: the same from 0 to 100."""


@dataclass(frozen=True, slots=True)
class Point:
    """A run at an earlier point of its training; the attributes are those of `Row`."""

    error: float
    cost: float = math.nan
    seconds: float = math.nan
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One run, or one run up to a point of its training.

    Attributes:
        decisions: the values of the columns, numbers as numbers.
        error: top-1 error, a share; inf where it diverged, nan where it was ended early.
        seed: its seed; None where it has none.
        cost: in any unit, the same throughout a table; nan where it is unknown.
        seconds: of training and evaluation; nan where they are unknown.
        metrics: other metrics of the run, in any unit; nan where they are missing.
        curve: the run at earlier points of its training, by epoch or step.
        path: directory of a run of our own at its end; None for others.
    """

    decisions: Mapping[str, Value]
    error: float
    seed: Value | None = None
    cost: float = math.nan
    seconds: float = math.nan
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[float, Point] = field(default_factory=dict)
    path: Path | None = None

    def at(self, fidelity: str, place: float) -> Row:
        """Return the run as it was at a point of its curve."""
        point = self.curve[place]
        decided = {**self.decisions, fidelity: place}
        return Row(decided, point.error, self.seed, point.cost, point.seconds, point.metrics)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The runs of one side.

    Attributes:
        name: what the user wrote.
        side: the columns that set it apart, and their values.
        rows: its runs.
        cut: whether these are curves cut at an earlier point.
    """

    name: str
    side: Side
    rows: tuple[Row, ...]
    cut: bool


@dataclass(frozen=True, slots=True)
class ResultsTable:
    """Runs of any origin.

    Attributes:
        path: where they were read.
        rows: one for each run.
        fidelity: the name by which a side asks for a point of the curves, such as epochs; empty
            where there are no curves.
        notes: what was left out or assumed, one sentence each.
    """

    path: Path
    rows: tuple[Row, ...]
    fidelity: str = ""
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the decisions."""
        return tuple(self.rows[0].decisions)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the other metrics."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.metrics))

    def side(self, text: str, flag: str) -> Chosen:
        """Return the runs of a side, such as `size=16` or `size=16,epochs=10`.

        If no run has the value of the fidelity as a decision of its own, curves are cut there.

        Raises:
            StudyError: it is not of that form, names no column, or no run is on that side.
        """
        return self.chosen(self._parsed(text, flag), text, flag)

    def chosen(self, side: Side, text: str, flag: str) -> Chosen:
        """Return the runs of a side that is read already; see `side`."""
        rows = [
            row for row in self.rows if is_of(row.decisions, side) and not math.isnan(row.error)
        ]
        if rows:
            return Chosen(text, side, tuple(rows), cut=False)
        point = side.get(self.fidelity, "")
        rest = {name: value for name, value in side.items() if name != self.fidelity}
        of_rest = [row for row in self.rows if is_of(row.decisions, rest)]
        cut = []
        if isinstance(point, float):
            cut = [row.at(self.fidelity, point) for row in of_rest if point in row.curve]
        if not cut:
            self._refuse(side, of_rest if self.fidelity in side else (), f"{flag} {text}")
        return Chosen(text, side, tuple(cut), cut=True)

    def _parsed(self, text: str, flag: str) -> Side:
        side: Side = {}
        known = list(dict.fromkeys((*self.columns, *([self.fidelity] if self.fidelity else ()))))
        for part in split_at_commas(text):
            name, equals, written = (piece.strip() for piece in part.partition("="))
            if not equals or not name:
                raise StudyError(f"{flag} must be COLUMN=VALUE, such as size=16, was {text!r}")
            if name not in known:
                hint = nearest(name, known)
                raise StudyError(
                    f"{flag} {text}: {self.path} has no column {name!r} to set sides apart; it has "
                    f"{', '.join(known)}{'; ' * bool(hint)}{hint}"
                )
            side[name] = decision_of(one_spelling(written))
        return side

    def _refuse(self, side: Side, of_rest: Iterable[Row], asked: str) -> NoReturn:
        seen = []
        for name in side:
            values = {row.decisions[name] for row in self.rows if name in row.decisions}
            if name == self.fidelity:
                values |= {point for row in of_rest for point in row.curve}
            seen.append(f"{name}: {_listed(values)}")
        raise StudyError(f"{asked}: no run of {self.path} has these values ({'; '.join(seen)})")


def joined(
    first: ResultsTable, second: ResultsTable, sides: Sequence[str] = ()
) -> tuple[ResultsTable, str, str]:
    """Join the runs of two tables, and name the table of each in the column `source`.

    Args:
        first: the table of the proxy.
        second: the table of the target.
        sides: columns that set the sides apart, of which a table may lack some.

    Returns:
        The table, and the names of the first and of the second side. Other columns that one of the
        two lacks are left out, with a note.

    Raises:
        StudyError: they have no column in common, or both are the same.
    """
    if first.path.resolve() == second.path.resolve():
        raise StudyError(f"the two results must differ, were both {first.path}")
    if SOURCE in first.columns and SOURCE in second.columns:
        raise StudyError(
            f"{first.path} and {second.path} have a column {SOURCE}, which lowres uses to name the "
            "two: rename theirs, or leave it out with --axes"
        )
    names = [table.path.stem if table.path.is_file() else table.path.resolve().name
             for table in (first, second)]  # fmt: skip
    if decision_of(names[0]) == decision_of(names[1]):
        names = [str(first.path), str(second.path)]
    common = [name for name in first.columns if name in second.columns]
    if not common:
        raise StudyError(
            f"{first.path} and {second.path} have no column in common: the one has "
            f"{', '.join(first.columns)}, the other {', '.join(second.columns)}"
        )
    notes = [*first.notes, *second.notes]
    for one, other in ((first, second), (second, first)):
        lost = [name for name in one.columns if name not in other.columns]
        lost = [name for name in lost if name not in sides]
        lost = [name for name in lost if len({row.decisions[name] for row in one.rows}) > 1]
        if lost:
            notes.append(f"{other.path} has no column {', '.join(lost)}, which is left out")

    def of(row: Row, name: str) -> Row:
        kept = {column: row.decisions[column] for column in common}
        apart = {column: row.decisions.get(column, "") for column in sides if column not in kept}
        return replace(row, decisions={**kept, **apart, SOURCE: decision_of(name)})

    rows = [
        of(row, name)
        for table, name in zip((first, second), names, strict=True)
        for row in table.rows
    ]
    fidelity = first.fidelity if first.fidelity == second.fidelity else ""
    table = ResultsTable(second.path, unified(rows), fidelity, tuple(notes))
    sides = [f"{SOURCE}={_quoted(name)}" for name in names]
    return table, sides[0], sides[1]


def _quoted(name: str) -> str:
    """Return a name as a side takes it: in quotes if it has commas of its own."""
    quote = "'" if '"' in name else '"'
    return name if split_at_commas(name) == [name] else f"{quote}{name}{quote}"


def is_of(decisions: Mapping[str, Value], side: Mapping[str, Value]) -> bool:
    """Return whether a run is on a side; words are compared without their case.

    A number equals one that was stored in single precision.
    """
    return all(name in decisions and _same(decisions[name], value) for name, value in side.items())


def value_of(cell: object) -> Value:
    """Read a number where a cell holds one, else a word; None is an empty word."""
    if cell is None:
        return ""
    if is_number(cell):
        return "" if math.isnan(cell) else float(cell)
    text = str(cell).strip()
    try:
        number = math.nan if "_" in text else float(text)  # 2_8 is a name, only Python reads 28
    except ValueError:
        return text
    return text if math.isnan(number) else number


def decision_of(cell: object) -> Value:
    """Read the value of a decision; a number that is not finite is a word, such as clip=inf."""
    value = value_of(cell)
    return value if isinstance(value, str) or math.isfinite(value) else text_of(value)


def unified(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Replace numbers of single precision by those that they stand for elsewhere in a column.

    A learning rate of 0.1 that one tool stored in single precision is 0.10000000149.
    """
    spelled: dict[str, dict[Value, Value]] = {}
    for name in rows[0].decisions if rows else ():
        numbers = {value for row in rows if isinstance(value := row.decisions[name], float)}
        exact = {single(value): value for value in numbers if single(value) != value}
        spelled[name] = {value: exact[value] for value in numbers if value in exact}
    if not any(spelled.values()):
        return tuple(rows)
    return tuple(
        replace(row, decisions={n: spelled[n].get(v, v) for n, v in row.decisions.items()})
        for row in rows
    )


def single(number: float) -> float:
    """Return the nearest number of single precision; nan where there is none."""
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:
        return math.nan


def in_words(decisions: Mapping[str, Value] | None) -> str:
    """Return decisions for a sentence: `lr 0.1, width 2`."""
    if decisions is None:
        return ""
    parts = (f"{name} {text_of(value)}" for name, value in decisions.items())
    return ", ".join(parts) or "the only one"


def text_of(value: Value) -> str:
    """Return a value as text: `0.1`; whole numbers with all of their digits."""
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:g}"


def mean_of(rows: Sequence[Row], quantity: Callable[[Row], float]) -> float:
    """Return the mean of a quantity over the runs that have it; nan where none has."""
    known = [value for value in map(quantity, rows) if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.casefold() == other.casefold()
    if isinstance(one, float) and isinstance(other, float):
        return one == other or single(one) == other or one == single(other)
    return False


def _listed(values: set[Value]) -> str:
    numbers = sorted(value for value in values if isinstance(value, float))
    shown = [*map(text_of, numbers), *sorted(v for v in values if isinstance(v, str))]
    more = f", and {len(shown) - 10} more" if len(shown) > 10 else ""
    return (", ".join(shown[:10]) + more) or "nothing"
