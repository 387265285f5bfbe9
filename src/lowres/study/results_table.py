"""Results of any origin as a table: one row a run, judged as our own studies are.

Columns: `error` (share from 0 to 1; `inf` or an empty cell is a run that diverged), `seed`
(optional) and `cost` (optional, any unit). The columns that name the proxy and the target set the
two sides apart. Every other column is an axis: a decision that was swept.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lowres.errors import StudyError, nearest
from lowres.recipe import FIELDS, Recipe
from lowres.statistics.error_tables import Array
from lowres.statistics.verdict import Verdict, judge
from lowres.study.study import read_runs
from lowres.study.values import PARTS
from lowres.text import value as setting_text
from lowres.variant import Variant

ERROR, SEED, COST = "error", "seed", "cost"
MORE_RUNS = 2
"""Runs that are proposed where the answer is not sure: one of the choice, one of its rival."""

Value = float | str
Side = Mapping[str, Value]
Configuration = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class ResultsTable:
    """Runs of any origin.

    Attributes:
        path: where they were read.
        rows: the columns of each run, numbers as numbers.
        errors: error of each run, a share; inf where it diverged.
    """

    path: Path
    rows: tuple[dict[str, Value], ...]
    errors: tuple[float, ...]

    @classmethod
    def read(cls, path: Path) -> ResultsTable:
        """Read a CSV file with a header.

        Raises:
            StudyError: the file cannot be read, lacks the column `error`, or holds an error that is
                no share.
        """
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                names = [name.strip() for name in reader.fieldnames or ()]
                reader.fieldnames = names
                lines = list(reader)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise StudyError(f"{path} cannot be read as a CSV table: {error}") from error
        if ERROR not in names:
            raise StudyError(
                f"{path} must have a column {ERROR} with shares from 0 to 1, has "
                f"{', '.join(names) or 'no columns'}"
            )
        rows, errors = [], []
        for number, line in enumerate(lines, 2):
            if None in line or None in line.values():
                raise StudyError(f"{path}, line {number}: it must have {len(names)} cells")
            cells = {name: _value(cell) for name, cell in line.items()}
            errors.append(_error(cells.pop(ERROR), f"{path}, line {number}"))
            rows.append(cells)
        if not rows:
            raise StudyError(f"{path} holds no runs: it has a header and no line below it")
        return cls(path, tuple(rows), tuple(errors))

    @classmethod
    def of_runs(cls, folder: Path) -> ResultsTable:
        """Read the finished runs in a folder, at any depth; damaged ones are left out.

        Columns: the recipe fields and the parts of the variant that differ between runs, size in
        any case; seed; and cost, in multiply-adds of training.

        Raises:
            StudyError: it holds no finished run.
        """
        runs = [one for _, one in read_runs(folder)[0] if one.finished]
        if not runs:
            raise StudyError(f"{folder} holds no finished run: run lowres status {folder}")
        rows = [decisions(one.recipe) for one in runs]
        swept = {name for name in rows[0] if len({row[name] for row in rows}) > 1}
        kept = {"size", SEED, *swept}
        errors = [one.result["top1_error"] for one in runs]
        return cls(
            folder,
            tuple(
                {name: value for name, value in row.items() if name in kept}
                | {COST: float(one.result.get("train_macs", math.nan))}
                for row, one in zip(rows, runs, strict=True)
            ),
            tuple(math.inf if error is None else float(error) for error in errors),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns without `error`."""
        return tuple(self.rows[0])

    def side(self, text: str, flag: str) -> dict[str, Value]:
        """Read a side, such as `size=16` or `size=16,epochs=10`.

        Raises:
            StudyError: it is not of that form, names no column, or no run is on that side.
        """
        side: dict[str, Value] = {}
        for part in text.split(","):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or not name:
                raise StudyError(f"{flag} must be COLUMN=VALUE, such as size=16, was {text!r}")
            if name not in self.columns or name in (SEED, COST):
                known = [column for column in self.columns if column not in (SEED, COST)]
                hint = nearest(name, known)
                raise StudyError(
                    f"{flag} {text}: {self.path} has no column {name!r} to set sides apart; it has "
                    f"{', '.join(known)}{'; ' * bool(hint)}{hint}"
                )
            side[name] = _value(value)
        if not any(_is_of(row, side) for row in self.rows):
            values = {name: _listed({row[name] for row in self.rows}) for name in side}
            seen = "; ".join(f"{name}: {listed}" for name, listed in values.items())
            raise StudyError(f"{flag} {text}: no run of {self.path} has that ({seen})")
        return side


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a table.

    Attributes:
        verdict: the figures.
        choice: axes of the proxy's choice; None where nothing trained on it.
        rival: axes of its strongest rival on the target.
        next_step: what to run where the answer is not sure; empty where it is.
    """

    verdict: Verdict
    choice: dict[str, Value] | None
    rival: dict[str, Value] | None
    next_step: str

    def sentence(self) -> str:
        """Return the answer in words."""
        return self.verdict.sentence(_words(self.choice), _words(self.rival))

    def to_record(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
        found = self.verdict
        first = found.shortlists[0] if found.shortlists else None
        return {
            "proxy": found.proxy,
            "target": found.target,
            "answer": found.answer,
            "p_bearable": found.p_bearable,
            "bearable_points": 100 * found.bearable,
            "most_points": _points(first.most if first else None),
            "expected_points": _points(first.expected if first else None),
            "observed_points": _points(first.observed if first else None),
            "choice": self.choice,
            "rival": self.rival,
            "next": self.next_step,
            "configurations": found.configurations,
            "seeds": list(found.seeds),
            "ranks": {"pairs": found.pairs[0], "alike": found.pairs[1]},
            "noise_points": _points(found.noise),
            "shortlists": [
                {
                    "k": one.k,
                    "p_bearable": one.p_bearable,
                    "most_points": _points(one.most),
                    "observed_points": _points(one.observed),
                }
                for one in found.shortlists
            ],
            "reason": found.reason,
            "sentence": self.sentence(),
        }


def judge_table(
    table: ResultsTable,
    proxy: str,
    target: str,
    *,
    bearable: float | None = None,
    images: int | None = None,
) -> Judgement:
    """Judge whether one side of a table stands in for the other.

    Args:
        table: the runs.
        proxy: the cheap side, such as `size=16`.
        target: the side that matters, such as `size=64`.
        bearable: regret that does not matter, a share; see `judge`.
        images: validation images that each error was measured on, which bounds a run's noise.

    Raises:
        StudyError: a side is not there, both are the same, a run is there twice, or the sides have
            no configuration in common.
    """
    sides = table.side(proxy, "--proxy"), table.side(target, "--target")
    if sides[0] == sides[1]:
        raise StudyError(f"--proxy and --target must differ, were both {proxy}")
    apart = set(sides[0]) | set(sides[1])
    names = [name for name in table.columns if name not in (*apart, SEED, COST)]
    cells = [_cells(table, side, names) for side in sides]
    common = [key for key in cells[0] if key in cells[1]]
    if not common:
        raise StudyError(
            f"{table.path}: no configuration ({', '.join(names) or 'no further column'}) has runs "
            f"of both {proxy} and {target}: {len(cells[0])} have some of the one, {len(cells[1])} "
            "of the other"
        )
    first, second = (_array([one[key] for key in common]) for one in cells)
    finite = second[np.isfinite(second)]
    least = float(finite.min()) if finite.size else 0.0
    verdict = judge(
        first,
        second,
        (proxy, target),
        axes=[[key[place] for key in common] for place in range(len(names))],
        bearable=bearable,
        floor=least * (1 - least) / (2 * images) if images else 0.0,
    )
    choice, rival = (
        None if row is None else dict(zip(names, common[row], strict=True))
        for row in (verdict.choice, verdict.rival)
    )
    return Judgement(verdict, choice, rival, _next(table, verdict, choice, rival, sides[1]))


def decisions(recipe: Recipe) -> dict[str, Value]:
    """Return the fields of a recipe, and the parts of its variant, as cells of a table."""
    variant = Variant.parse(recipe.variant)
    values = {part: getattr(variant, part) for part in PARTS}
    values |= {name: getattr(recipe, name) for name in FIELDS if name != "variant"}
    plain = {
        name: isinstance(value, int | float) and not isinstance(value, bool)
        for name, value in values.items()
    }
    return {
        name: float(value) if plain[name] else setting_text(value) for name, value in values.items()
    }


def _next(
    table: ResultsTable,
    verdict: Verdict,
    choice: Side | None,
    rival: Side | None,
    target: Side,
) -> str:
    if verdict.sure:
        return ""
    if table.path.is_dir():
        sides = f"--proxy {verdict.proxy} --target {verdict.target}"
        return f"lowres decide {table.path} {sides}"
    if verdict.reason or choice is None or rival is None:
        what = "run at least 5 configurations with 2 seeds on both sides"
        return f"{what}, add their rows to {table.path}, and run this command again"
    costs = [
        float(row[COST])
        for row in table.rows
        if _is_of(row, target) and isinstance(row.get(COST), float)
    ]
    price = f" (cost about {MORE_RUNS * float(np.mean(costs)):.3g})" if costs else ""
    return (
        f"run {_words(choice)} and {_words(rival)} at {verdict.target} with one more seed "
        f"each{price}, add the rows to {table.path}, and run this command again"
    )


def _cells(
    table: ResultsTable, side: Side, names: Sequence[str]
) -> dict[Configuration, dict[Value, float]]:
    """Group the errors of a side by configuration and seed; runs without a seed are numbered."""
    cells: dict[Configuration, dict[Value, float]] = {}
    for row, error in zip(table.rows, table.errors, strict=True):
        if not _is_of(row, side):
            continue
        runs = cells.setdefault(tuple(row[name] for name in names), {})
        seed = row.get(SEED, float(len(runs)))
        if seed in runs:
            listed = ", ".join(f"{name} {_text(row[name])}" for name in names)
            raise StudyError(
                f"{table.path} has {listed or 'one configuration'} with seed {_text(seed)} twice "
                "on one side: each run must have a seed of its own"
            )
        runs[seed] = error
    return cells


def _array(runs: Sequence[Mapping[Value, float]]) -> Array:
    seeds = sorted({seed for one in runs for seed in one}, key=str)
    return np.array([[one.get(seed, math.nan) for seed in seeds] for one in runs])


def _is_of(row: Mapping[str, Value], side: Side) -> bool:
    return all(row[name] == value for name, value in side.items())


def _value(cell: str) -> Value:
    """Read a number where the cell holds one, else a word."""
    text = cell.strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return text if math.isnan(number) else number


def _error(value: Value, where: str) -> float:
    if value == "" or (isinstance(value, str) and value.lower() == "nan"):
        return math.inf
    if isinstance(value, str) or not (0 <= value <= 1 or value == math.inf):
        hint = "; divide percentages by 100" if isinstance(value, float) and value > 1 else ""
        raise StudyError(
            f"{where}: error must be a share from 0 to 1, or inf or empty for a run that diverged, "
            f"was {_text(value)}{hint}"
        )
    return value


def _points(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else value


def _words(configuration: Side | None) -> str:
    if configuration is None:
        return ""
    parts = (f"{name} {_text(value)}" for name, value in configuration.items())
    return ", ".join(parts) or "the only one"


def _listed(values: set[Value]) -> str:
    shown = sorted(map(_text, values))
    more = f", and {len(shown) - 10} more" if len(shown) > 10 else ""
    return ", ".join(shown[:10]) + more
