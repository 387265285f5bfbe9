"""The runs in a folder: each with its summary, or all as a table for pandas and notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, TypeVar

from lowres.errors import LowresError, StudyError
from lowres.recipe import FIELDS, Recipe
from lowres.study.study_file import study_directory
from lowres.study.values import PARTS
from lowres.text import percent, value as value_text
from lowres.training.run import Run, RunState, RunSummary
from lowres.variant import Variant

Taken = TypeVar("Taken")

MOST_SHOWN = 50
"""Rows of a table that a notebook shows."""

RESULTS = (
    "top1_error", "top5_error", "test_top1_error", "test_top5_error", "eval_loss", "train_loss",
    "train_s", "eval_s", "train_macs", "parameters", "images_per_s", "network", "eval_split",
    "precision",
)  # fmt: skip
"""What a row takes from the result of a finished run; a name that the recipe has, too, gets the
prefix `result_`."""

MEASURED = ("lr", "train_loss", "train_s", "top1_error", "top5_error", "eval_loss", "eval_s")
"""What a row takes from the record of an epoch; its learning rate is `epoch_lr`."""


class Runs(list[dict[str, Any]]):
    """A table as a list of dictionaries with equal keys: `pandas.DataFrame(runs)` takes it.

    Errors are shares from 0 to 1, times in seconds; None if a run has no such value.
    """

    @property
    def swept(self) -> tuple[str, ...]:
        """The recipe fields, and parts of the variant, in which the runs differ."""
        return tuple(
            name
            for name in (*PARTS, *FIELDS)
            if name != "variant" and len({row[name] for row in self}) > 1
        )

    def columns(self) -> dict[str, list[Any]]:
        """Return the table by columns, as `polars.DataFrame` and `pyarrow.table` take it."""
        return {name: [row[name] for row in self] for name in self[0]} if self else {}

    def _repr_html_(self) -> str:
        """Return the swept fields, state and error of each run as an HTML table."""
        names = [*self.swept, *(["epoch"] if self and "epoch" in self[0] else [])]
        head = "".join(f"<th>{name}</th>" for name in ("run", *names, "state", "top-1 error"))
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row, names)) + "</tr>"
            for row in self[:MOST_SHOWN]
        )
        rest = f"<p>and {len(self) - MOST_SHOWN:,} more</p>" * (len(self) > MOST_SHOWN)
        return f"<table><tr>{head}</tr>{rows}</table>{rest}"


@dataclass(frozen=True, slots=True)
class Damaged:
    """A run of which a file is damaged or missing.

    Attributes:
        path: its directory.
        reason: which file, and why.
        state: always the same.
    """

    path: Path
    reason: str
    state: RunState = RunState.DAMAGED

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.path.name


def read_runs(
    folder: Path, take: Callable[[Run, RunSummary], Taken]
) -> tuple[list[Taken], list[Damaged]]:
    """Read all runs in a folder, at any depth: of a study, a run itself, or any others.

    Args:
        folder: a study, a run, or any folder with runs below it.
        take: makes of each run what the caller keeps; a run for which it raises is damaged. The
            histories of 10,000 runs take 250 MB.

    Returns:
        What was taken of the runs, and the runs that cannot be read, each sorted by path.

    Raises:
        StudyError: there is none, all are damaged, or `study.json` is damaged.
    """
    paths = {path.parent for path in folder.glob("**/recipe.json")}
    if study_directory(folder).planned:
        paths |= {folder / "runs" / name for name in study_directory(folder).read()["runs"]}
    found, damaged = [], []
    for path in sorted(paths):
        try:
            run = Run.open(path)
            found.append(take(run, run.summary()))
        except (LowresError, OSError) as error:
            damaged.append(Damaged(path, str(error)))
    if damaged and not found:
        raise StudyError(f"{folder} holds damaged runs only; the first: {damaged[0].reason}")
    if not found:
        raise StudyError(f"{folder} holds no runs: expected a study, a run or a folder of runs")
    return found, damaged


def runs(folder: Path | str, *, epochs: bool = False) -> Runs:
    """Read the runs in a folder, at any depth, as a table; damaged ones are left out.

    Columns: `run`, `state`, `reason`; `size`, `filter`, `fit` and `rule` of the variant; every
    field of the recipe; and what was measured. Tuples are texts, as the command line takes them.

    Args:
        folder: a study, a run, or any folder with runs below it.
        epochs: one row for each epoch that was trained, with the columns `epoch` and `epoch_lr`,
            in place of one row a run.

    Raises:
        StudyError: there is no run that can be read.
    """
    taken, _ = read_runs(
        Path(folder), lambda _, found: list(_epochs(found)) if epochs else [_row(found)]
    )
    return Runs(row for rows in taken for row in rows)


def _row(found: RunSummary) -> dict[str, Any]:
    measured = {
        f"result_{name}" if name in FIELDS else name: found.result.get(name) for name in RESULTS
    }
    return {**_plan(found), "epochs_done": len(found.history), **measured}


def _epochs(found: RunSummary) -> Iterator[dict[str, Any]]:
    for record in found.history:
        measured = {f"epoch_{n}" if n == "lr" else n: record.get(n) for n in MEASURED}
        yield {**_plan(found), "epoch": record["epoch"], **measured}


def _plan(found: RunSummary) -> dict[str, Any]:
    variant = Variant.parse(found.recipe.variant)
    return {
        "run": found.name,
        "state": str(found.state),
        "reason": found.reason,
        **{part: getattr(variant, part) for part in PARTS},
        **{name: _plain(found.recipe, name) for name in FIELDS},
    }


def _plain(recipe: Recipe, name: str) -> Any:  # noqa: ANN401  as the field
    setting = getattr(recipe, name)
    if isinstance(getattr(Recipe(), name), float):
        return float(setting)
    return value_text(setting) if isinstance(setting, tuple) else setting


def _cells(row: dict[str, Any], names: list[str]) -> Iterator[str]:
    yield row["run"]
    yield from (value_text(row[name]) for name in names)
    yield row["state"]
    yield percent(row["top1_error"])
