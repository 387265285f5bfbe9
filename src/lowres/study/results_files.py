"""Read results of any origin as a table: CSV, TSV, Parquet, Optuna's journal, folders of timm."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from lowres.errors import StudyError, nearest, reason, require
from lowres.study.results_of_runs import of_runs
from lowres.study.results_table import (
    COST,
    SEED,
    ErrorUnit,
    Point,
    ResultsTable,
    Row,
    Value,
    decision_of,
    unified,
    value_of,
)
from lowres.text import count, value as setting_text

if TYPE_CHECKING:
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import FrozenTrial

ERROR = "error"
FIRST_JOURNAL_BYTES = b'{"op_code"'
PARQUET_BYTES = b"PAR1"
TIMM_SUMMARY, TIMM_ARGUMENTS = "summary.csv", "args.yaml"
TIMM_COLUMNS = ("epoch", "eval_top1")
TIMM_NO_DECISIONS = (
    "output", "experiment", "log_interval", "recovery_interval", "checkpoint_hist", "workers",
    "save_images", "pin_mem", "no_prefetcher", "eval_metric", "log_wandb", "local_rank", "device",
    "resume", "no_resume_opt", "data_dir", "wandb_project", "wandb_tags", "rank", "world_size",
    "distributed", "prefetcher", "start_epoch",
)  # fmt: skip
"""Arguments of timm's train.py that do not change what is trained, or only where it is."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a foreign table mean.

    Attributes:
        error: name of the column of errors; None for `error`, or the one that a format has.
        unit: what it holds; None for a share, or what a format has.
        metrics: columns that are other metrics.
        axes: columns that were swept; empty for all that have no other meaning.
        sides: columns that set the sides apart, kept beside `axes`.
    """

    error: str | None = None
    unit: ErrorUnit | None = None
    metrics: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.unit not in (None, *get_args(ErrorUnit)):
            raise StudyError(
                f"--unit must be one of {', '.join(get_args(ErrorUnit))}, was {self.unit!r}"
            )

    def kept(self, path: Path, known: Sequence[str], taken: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the columns that are decisions: `axes` and `sides`, or all that are not taken.

        Raises:
            StudyError: there is no such column.
        """
        for name in (*self.metrics, *self.axes):
            if name not in known:
                hint = nearest(name, known) or f"it has {', '.join(known)}"
                raise StudyError(f"{path} has no column {name!r}; {hint}")
        if not self.axes:
            return tuple(name for name in known if name not in taken)
        sides = (name for name in self.sides if name in known)
        return tuple(dict.fromkeys((*sides, *self.axes)))


def read_results(path: Path, columns: Columns = Columns()) -> ResultsTable:
    """Read results of any origin; the contents decide the format.

    A folder holds runs of lowres, or outputs of timm's train.py. A file is Optuna's journal,
    Parquet, or text with commas, semicolons or tabs between its columns.

    Raises:
        StudyError: it cannot be read, or its columns do not say what an error is.
        RunError: a run is damaged.
        MissingExtraError: the package that reads the format is missing.
    """
    if path.is_dir():
        if _is_of_timm(path):
            return _of_timm(path, columns)
        if columns.error or columns.unit or columns.axes:
            raise StudyError(
                f"{path} holds runs of lowres, whose errors and axes are known: --error, --unit and"
                " --axes are for results of others"
            )
        return of_runs(path)
    try:
        with path.open("rb") as file:
            data = file.read(len(FIRST_JOURNAL_BYTES))
            if data != FIRST_JOURNAL_BYTES and not data.startswith(PARQUET_BYTES):
                data += file.read()  # at once, because a pipe is read once
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {reason(error)}") from error
    if data == FIRST_JOURNAL_BYTES:
        return _of_journal(path, columns)
    if data.startswith(PARQUET_BYTES):
        return _of_lines(path, *_parquet_lines(path), columns)
    names, lines = _text_lines(path, data)
    if set(TIMM_COLUMNS) <= set(names) and columns.error is None:
        raise StudyError(
            f"{path} is the summary of one run of timm's train.py: name the folder that holds the "
            f"outputs of all runs, each with its {TIMM_ARGUMENTS} and {TIMM_SUMMARY}"
        )
    return _of_lines(path, names, lines, columns)


def read_both(
    proxy: Path, target: Path, columns: Columns = Columns()
) -> tuple[ResultsTable, ResultsTable]:
    """Read the results of both sides. What `columns` says of errors is of the foreign ones.

    Raises:
        StudyError, RunError, MissingExtraError: as `read_results`.
    """
    own = [path.is_dir() and not _is_of_timm(path) for path in (proxy, target)]
    one, other = (
        read_results(path, Columns() if known and not all(own) else columns)
        for path, known in zip((proxy, target), own, strict=True)
    )
    return one, other


def _is_of_timm(folder: Path) -> bool:
    return any(folder.glob(f"**/{TIMM_SUMMARY}")) and not any(folder.glob("**/recipe.json"))


def share_of(value: Value, unit: ErrorUnit, where: str) -> float:
    """Return an error as a share; inf where the cell is empty, nan or inf.

    Raises:
        StudyError: it is outside the range of its unit.
    """
    if value == "" or (isinstance(value, str) and value.lower() == "nan") or value == math.inf:
        return math.inf
    most = 100.0 if "percent" in unit else 1.0
    if isinstance(value, str) or not 0 <= value <= most:
        what = "error" if unit in ("share", "percent") else "accuracy"
        raise StudyError(
            f"{where}: {what} must be from 0 to {most:g}, or inf or empty for a run that diverged, "
            f"was {setting_text(value)}; {_unit_hint(value, unit)}"
        )
    share = value / most
    return 1 - share if unit.startswith("accuracy") else share


def _unit_hint(value: Value, unit: ErrorUnit) -> str:
    if isinstance(value, str) and value.endswith("%"):
        return "remove the % signs and add --unit percent"
    if isinstance(value, str):
        return "write a number with a decimal point, or leave the cell empty if the run diverged"
    if unit in ("share", "accuracy") and 1 < value <= 100:
        return (
            "if these are errors in percent, add --unit percent; if they are accuracies in percent,"
            " add --unit accuracy-percent"
        )
    return "name the column of errors with --error COLUMN and what it holds with --unit"


def _text_lines(path: Path, data: bytes) -> tuple[list[str], list[dict[str, Any]]]:
    """Read a text table; the separator is the one of comma, semicolon and tab in its header."""
    try:
        text = data.decode("utf-8-sig")
        header = re.split("[\r\n]", text, maxsplit=1)[0]
        separator = max(",;\t", key=header.count)
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except (UnicodeDecodeError, csv.Error) as error:
        raise StudyError(
            f"{path} cannot be read as a table of text: {reason(error)}; it must be CSV or TSV in "
            "UTF-8, Parquet, or Optuna's journal"
        ) from error
    names = [name.strip() for name in lines[0]] if lines else []
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise StudyError(f"{path} has the column {min(twice)!r} twice")
    found = []
    for number, cells in enumerate(lines[1:], 2):
        if cells and len(cells) != len(names):
            raise StudyError(
                f"{path}, line {number}: it must have {count(len(names), 'cell')} as the header in "
                f"line 1, has {len(cells)}"
            )
        if cells:
            found.append(dict(zip(names, cells, strict=True)))
    return names, found


def _parquet_lines(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    arrow, parquet = (require(name, "parquet") for name in ("pyarrow", "pyarrow.parquet"))
    try:
        table = parquet.read_table(path)
    except (OSError, arrow.ArrowException) as error:
        raise StudyError(f"{path} cannot be read as Parquet: {error}") from error
    return table.column_names, table.to_pylist()


def _of_lines(
    path: Path, names: Sequence[str], lines: Sequence[Mapping[str, Any]], columns: Columns
) -> ResultsTable:
    """Make a table of lines that have a cell for each column."""
    # The index that pandas writes has no name in text, and this one in Parquet.
    index = [name for name in names if not name or name.startswith(("__index_level_", "Unnamed: "))]
    known = [name for name in names if name not in index]
    error = columns.error or ERROR
    if error not in known:
        hint = nearest(error, known) if columns.error else ""
        raise StudyError(
            f"{path} must have a column {error} with the error of each run, has "
            f"{', '.join(known) or 'no columns'}{'; ' * bool(hint)}{hint}; name it with "
            "--error COLUMN and say what it holds with --unit"
        )
    unit = _unit_of(path, error, columns)
    axes = columns.kept(path, known, (error, SEED, COST, *columns.metrics))
    rows = []
    for number, line in enumerate(lines, 2):
        where = f"{path}, line {number}"
        rows.append(
            Row(
                {name: decision_of(line[name]) for name in axes},
                share_of(value_of(line[error]), unit, where),
                _seed(line.get(SEED)),
                _cost(line.get(COST), f"{where}: {COST}"),
                metrics={name: _number(line[name], f"{where}: {name}") for name in columns.metrics},
            )
        )
    if not rows:
        raise StudyError(f"{path} holds no runs: it has a header and no line below it")
    return ResultsTable(path, unified(rows))


def _unit_of(path: Path, error: str, columns: Columns) -> ErrorUnit:
    """Return what a column holds; a name that does not say so is not guessed."""
    if columns.unit is None and "err" not in error.lower():
        raise StudyError(
            f"{path}: lowres does not guess what column {error} holds: add --unit share or percent "
            "if it is an error, --unit accuracy or accuracy-percent if it is an accuracy"
        )
    return columns.unit or "share"


def _seed(cell: object) -> Value | None:
    seed = value_of(cell)
    return None if seed == "" else seed


def _cost(cell: object, where: str) -> float:
    cost = _number(cell, where)
    if cost < 0:
        raise StudyError(f"{where} must be 0 or more, was {cost:g}")
    return cost


def _number(cell: object, where: str) -> float:
    value = value_of(cell)
    if isinstance(value, float):
        return value
    if value == "" or value.lower() == "nan":
        return math.nan
    raise StudyError(f"{where} must be a number or empty, was {value!r}")


def _of_journal(path: Path, columns: Columns) -> ResultsTable:
    """Read the trials of Optuna's journal; intermediate values are curves over `step`."""
    optuna = require("optuna", "study")
    storages = require("optuna.storages.journal", "study")
    rows: list[Row] = []
    left_out: Counter[str] = Counter()
    try:
        storage = optuna.storages.JournalStorage(storages.JournalFileBackend(str(path)))
        studies = storage.get_all_studies()
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise StudyError(f"{path} cannot be read as a journal of Optuna: {error!r}") from error
    for study in studies:
        unit = _unit_of_study(path, study, columns)
        trials = storage.get_all_trials(study._study_id)  # the storage has no public name for it
        left_out.update(trial.state.name.lower() for trial in trials)
        name = study.study_name if len(studies) > 1 else ""
        rows += (
            _of_trial(f"{path}, trial {trial.number}", name, trial, unit, columns)
            for trial in trials
            if trial.state.name == "COMPLETE"
            or (trial.state.name == "PRUNED" and trial.intermediate_values)
        )
    if not rows:
        raise StudyError(f"{path} holds no finished trial")
    del left_out["complete"]
    notes = []
    if left_out:
        listed = ", ".join(f"{number} {state}" for state, number in left_out.items())
        notes.append(
            f"{path}: trials that were pruned have their steps only, and others that did not "
            f"complete are left out ({listed})"
        )
    return ResultsTable(path, tuple(_same_columns(path, rows, columns)), "step", tuple(notes))


def _unit_of_study(path: Path, study: FrozenStudy, columns: Columns) -> ErrorUnit:
    """Return what the value of Optuna's trials is; a value that is maximised is no error."""
    if columns.error:
        return _unit_of(path, columns.error, columns)
    if len(study.directions) > 1:
        raise StudyError(
            f"{path}: study {study.study_name} has several objectives: name the user attribute "
            "that holds the error with --error"
        )
    if columns.unit is None and study.directions[0].name == "MAXIMIZE":
        raise StudyError(
            f"{path}: study {study.study_name} maximises its value, which is no error: add "
            "--unit accuracy or --unit accuracy-percent if the value is an accuracy"
        )
    return columns.unit or "share"


def _of_trial(where: str, study: str, trial: FrozenTrial, unit: ErrorUnit, columns: Columns) -> Row:
    """Make a row of a trial; one that was pruned has a curve and no error."""
    decided = {name: decision_of(value) for name, value in trial.params.items()}
    seed = decided.pop(SEED, None)
    if study:
        decided["study"] = study
    attributes = trial.user_attrs
    curve = {
        float(step): Point(share_of(value_of(value), unit, where))
        for step, value in trial.intermediate_values.items()
        if not columns.error
    }
    if trial.state.name == "PRUNED":
        error = math.nan
    elif columns.error:
        error = share_of(value_of(attributes.get(columns.error)), unit, where)
    else:
        error = share_of(value_of(trial.value), unit, where)
    metrics = {name: _number(attributes.get(name), f"{where}: {name}") for name in columns.metrics}
    return Row(decided, error, seed, metrics=metrics, curve=curve)


def _same_columns(path: Path, rows: Sequence[Row], columns: Columns) -> list[Row]:
    """Return rows with the same columns; a decision that a run has not is an empty word."""
    every = tuple(dict.fromkeys(name for row in rows for name in row.decisions))
    names = replace(columns, metrics=()).kept(path, every)

    def filled(row: Row) -> Row:
        return replace(row, decisions={name: row.decisions.get(name, "") for name in names})

    return [filled(row) for row in rows]


def _of_timm(folder: Path, columns: Columns) -> ResultsTable:
    """Read outputs of timm's train.py: arguments, and accuracies in percent after each epoch.

    A run's error is that of its last epoch. The best epoch would be chosen by what it is judged by.
    """
    yaml = require("yaml", "study")
    runs = []
    for summary in sorted(folder.glob(f"**/{TIMM_SUMMARY}")):
        arguments = summary.with_name(TIMM_ARGUMENTS)
        try:
            values = yaml.safe_load(arguments.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise StudyError(
                f"{arguments}, which says how a run was trained, cannot be read: {error}"
            ) from error
        if not isinstance(values, dict):
            raise StudyError(f"{arguments} must hold the arguments of a run, name by name")
        runs.append((summary, values))
    names = dict.fromkeys(name for _, values in runs for name in values)
    alike = [
        name
        for name in names
        if len({json.dumps(values.get(name), default=str) for _, values in runs}) == 1
    ]
    swept = replace(columns, metrics=()).kept(
        folder, tuple(names), (*TIMM_NO_DECISIONS, SEED, *alike)
    )
    rows = []
    for summary, values in runs:
        decisions = {name: decision_of(_flat(values.get(name))) for name in (*swept, "epochs")}
        seed = value_of(values[SEED]) if SEED in values else None
        curve = {}
        try:
            data = summary.read_bytes()
        except OSError as error:
            raise StudyError(f"{summary} cannot be read: {reason(error)}") from error
        for number, line in enumerate(_text_lines(summary, data)[1], 2):
            if line["epoch"] == "epoch":  # the header again, by a run that was resumed
                continue
            where = f"{summary}, line {number}"
            cells = {name: value_of(cell) for name, cell in line.items()}
            lost = isinstance(cells.get("eval_loss"), str)  # nan
            accuracy: Value = "" if lost else cells.get(columns.error or "eval_top1", "")
            wrong = share_of(accuracy, columns.unit or "accuracy-percent", where)
            metrics = {name: _number(cells.get(name), where) for name in columns.metrics}
            epoch = 1 + _number(cells["epoch"], where)  # timm counts from 0
            curve[epoch] = Point(wrong, epoch, metrics=metrics)
        if curve:
            last = curve[max(curve)]
            rows.append(Row(decisions, last.error, seed, last.cost, math.nan, last.metrics, curve))
    if not rows:
        raise StudyError(f"{folder} holds no {TIMM_SUMMARY} with an epoch")
    note = "the error of a run of timm is that of its last epoch, in the unit of eval_top1"
    return ResultsTable(folder, tuple(rows), "epochs", (note,))


def _flat(value: object) -> object:
    return setting_text(value) if isinstance(value, list | tuple) else value
