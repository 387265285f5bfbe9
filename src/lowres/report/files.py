"""Write a report: runs are read and analysed once, and every file shows the same numbers.

The page is made in page.py, images of charts in png.py. Modules that need an extra are imported
after one check of all of them.
"""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lowres.comparing.contact_sheet import reopen_store
from lowres.errors import StudyError, require
from lowres.recipe import FIELDS
from lowres.report.reading import Row, provenance, read_rows
from lowres.study.runs import Damaged
from lowres.text import csv_bytes
from lowres.work.files import json_bytes, write_bytes

if TYPE_CHECKING:
    from lowres.report.analysis import Analysis
    from lowres.report.tables import Table

Format = Literal["html", "md", "csv", "json", "png"]
"""html: report.html, one page that opens offline. md: report.md. csv: runs.csv, a line for each
run. json: report.json, all numbers. png: an image of each chart in report-figures/."""

FORMATS: tuple[Format, ...] = ("html", "csv", "json")
FIGURES = "report-figures"

RESULT_COLUMNS = (
    "network",
    "parameters",
    "macs",
    "train_macs",
    "epochs",
    "eval_split",
    "top1_error",
    "top5_error",
    "test_top1_error",
    "test_top5_error",
    "eval_loss",
    "train_loss",
    "train_s",
    "eval_s",
    "compile_s",
    "images_per_s",
    "precision",
    "compiled",
    "processes",
    "weights_sha256",
)

EPOCH_DIGITS = 6
"""Significant digits of the numbers of epochs; `metrics.jsonl` has all digits."""


@dataclass(frozen=True, slots=True)
class Report:
    """The files that were written, and their verdicts.

    Attributes:
        files: the paths, in the order of the formats asked for.
        sentences: the main verdicts in words: on the largest size, learning rates and filters.
    """

    files: tuple[Path, ...]
    sentences: tuple[str, ...]


def write_report(
    folder: Path | str,
    formats: Sequence[Format] = FORMATS,
    *,
    bearable: float | None = None,
    reach: float | None = None,
    without: Path | None = None,
) -> Report:
    """Write the report of all runs in a folder, at any depth, into that folder.

    Args:
        folder: a study, a run, or a folder of runs.
        formats: any of html, md, csv, json and png.
        bearable: error that a choice may cost, a share from 0 to 1. Default: for each pair the
            larger of 0.01 and the standard deviation of a run on its target.
        reach: an error, a share: a table says how soon each configuration reaches it.
        without: what `lowres check --out` wrote: errors are shown without its images of val that
            equal or resemble one of train, too. Or a CSV file with the columns `row` and `split`.

    Returns:
        The files written and the verdicts in words. Errors in files of numbers are shares from 0
        to 1, times are seconds.

    Raises:
        StudyError: the folder holds no run that can be read, a format is unknown, `bearable` is no
            share, or `without` does not list images of the runs' store.
        MissingExtraError: jinja2, SciPy, or for png matplotlib, is not installed.
    """
    for name in formats:
        if name not in get_args(Format):
            raise StudyError(f"format must be one of {', '.join(get_args(Format))}, was {name!r}")
    for module in ("jinja2", "scipy", *(("matplotlib",) if "png" in formats else ())):
        require(module, "report")
    from lowres.report.analysis import analyse

    folder = Path(folder)
    study = folder.name if (folder / "study.json").exists() else ""
    rows, damaged = read_rows(folder)
    analysis = analyse(rows, bearable, damaged, study, reach, without)
    numbers = {}
    if {"html", "csv", "json"} & set(formats):
        numbers = {"runs.csv": to_csv(analysis), "report.json": to_record(analysis)}
    paths: dict[Format, list[Path]] = {name: [] for name in formats}
    for name in sorted(paths, key="html".__eq__):  # the page last: it frees the large files
        for path, data in _files(name, folder.resolve(), analysis, numbers):
            (folder / path).parent.mkdir(exist_ok=True)
            write_bytes(folder / path, data)
            paths[name].append(folder / path)
    return Report(tuple(itertools.chain(*paths.values())), tuple(analysis.main_sentences))


def _files(
    name: Format, folder: Path, analysis: Analysis, numbers: dict[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    """Make the files of a format: path below the folder, contents."""
    title = f"lowres {'run' if analysis.alone else 'study'}: {folder.name}"
    if name == "html":
        from lowres.report import page
        from lowres.report.headline import headline

        first = headline(analysis, folder.name, (folder / "study.json").exists())
        large = [file for file, data in numbers.items() if len(data) > page.MOST_INSIDE]
        for file in large:
            del numbers[file]
        yield "report.html", page.to_html(title, analysis, first, numbers, large).encode()
    elif name == "md":
        yield "report.md", to_markdown(title, analysis).encode()
    elif name in ("csv", "json"):
        path = {"csv": "runs.csv", "json": "report.json"}[name]
        yield path, numbers[path]
    else:
        from lowres.report import png
        from lowres.report.study_charts import all_charts

        for chart in all_charts(analysis):
            yield f"{FIGURES}/{chart.slug}.png", png.draw(chart)


def to_csv(analysis: Analysis) -> bytes:
    """Return a table with a line for each run; a spreadsheet computes none of its cells.

    Columns are unique: a value of a result that is named as a field of the recipe has the prefix
    `result_`. A cell is empty if an older lowres did not record the value.
    """
    results = [f"result_{name}" if name in FIELDS else name for name in RESULT_COLUMNS]
    clean = analysis.without.by_run if analysis.without else None
    more = [] if clean is None else ["top1_error_without"]
    lines: list[list[object]] = [["run", "status", *FIELDS, *results, *more, "reason"]]
    for row in analysis.rows:
        recipe = row.recipe.to_record()
        values = (row.result.get(name) for name in RESULT_COLUMNS)
        without = [] if clean is None else [clean.get(row.name)]
        fields = (recipe[name] for name in FIELDS)
        lines.append([row.name, row.state, *fields, *values, *without, row.reason])
    for run in analysis.damaged:
        empty = [None] * (len(FIELDS) + len(results) + len(more))
        lines.append([run.name, run.state, *empty, run.reason])
    return csv_bytes(lines)


def to_record(analysis: Analysis) -> bytes:
    """Return all numbers as JSON, a line for each run; null: diverged, or an unknown value."""
    record = {
        "summary": analysis.summary,
        "verdicts": [*analysis.main_sentences, *analysis.other_sentences],
        "swept": analysis.swept,
        "pairs": [asdict(pair, dict_factory=_without_draws) for pair in analysis.pairs],
        "responses": [asdict(curve) for curve in analysis.responses],
        "shifts": [asdict(move) for move in analysis.shifts],
        "learning_curves": [asdict(curve) for curve in analysis.learning_curves],
        "reach": analysis.reach,
        "targets": [asdict(one) for one in analysis.targets],
        "law": asdict(analysis.law) if analysis.law else None,
        "costs": [asdict(cost) for cost in analysis.costs],
        "anytime": [asdict(curve) for curve in analysis.anytime],
        "front": [asdict(stretch) for stretch in analysis.front],
        "spent": [asdict(spent) for spent in analysis.spent],
        "filters": [asdict(result) for result in analysis.filters],
        "images": analysis.images.to_record() if analysis.images else None,
        "best": analysis.best.to_record() if analysis.best else None,
        "halving": asdict(analysis.halved) if analysis.halved else None,
        "without": asdict(analysis.without) if analysis.without else None,
    }
    whole = io.BytesIO()
    whole.write(json_bytes(_plain(record)).removesuffix(b"\n}\n"))
    runs: list[Row | Damaged] = [*analysis.rows, *analysis.damaged]
    for place, run in enumerate(runs):
        whole.write(b",\n" if place else b',\n  "runs": [\n')
        whole.write(_run_line(run))
    whole.write(b"\n  ]\n}\n")
    return whole.getvalue()


def _without_draws(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in items if name != "draws"}


def _run_line(run: Row | Damaged) -> bytes:
    record: dict[str, Any] = {"name": run.name, "status": run.state, "reason": run.reason}
    if not isinstance(run, Damaged):
        record |= {
            "recipe": run.recipe.to_record(),
            "result": run.result,
            "store": {"name": Path(run.store[0]).name, "digest": run.store[1]},
            "epochs": {name: _rounded(values) for name, values in run.epochs.items()},
        }
    return json.dumps(record, ensure_ascii=False, allow_nan=False).encode()


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    """Round to `EPOCH_DIGITS` significant digits; None for nan and inf."""
    known = np.isfinite(values)
    sizes = np.abs(np.where(known & (values != 0), values, 1.0))
    # Powers of ten from 0 on are exact, so that each result is the nearest to its decimals.
    digits = EPOCH_DIGITS - 1 - np.floor(np.log10(sizes)).astype(np.int64)
    up, down = 10.0 ** np.clip(digits, 0, 300), 10.0 ** np.maximum(-digits, 0)
    rounded = np.round(np.where(known, values, 0.0) / down * up) / up * down
    return [value if here else None for value, here in zip(rounded.tolist(), known, strict=True)]


def _plain(value: object) -> object:
    """Return a value with lists for tuples, and null for numbers that JSON lacks."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_markdown(title: str, analysis: Analysis) -> str:
    """Return the report as Markdown: the page's sentences and tables, for a README.

    Errors are in percent, times in seconds, intervals of 95 % in brackets.
    """
    from lowres.report import tables

    sentences = [*analysis.main_sentences, *analysis.other_sentences]
    parts = [
        f"# {_inline(title)}",
        _inline(analysis.summary),
        _bullets(sentences),
        "Intervals, in brackets, are of 95 %; regret and differences in points of top-1 error.",
    ]
    for heading, table in (
        ("Proxies and targets", tables.pair_table(analysis)),
        ("What carries over", tables.carried_table(analysis)),
        ("Whether an order holds", tables.order_table(analysis)),
        ("Best learning rates", tables.optimum_table(analysis)),
        ("How far the best learning rate moves", tables.shift_table(analysis)),
        ("Error along a training", tables.learning_curve_table(analysis)),
        (f"Time to an error of {analysis.reach_text}", tables.target_table(analysis)),
        (f"Soonest of each value to {analysis.reach_text}", tables.soonest_table(analysis)),
        ("Cost", tables.spent_table(analysis)),
        ("Least error by a cost, along all trainings", tables.training_front_table(analysis)),
        ("Pareto front of training time and error", tables.front_table(analysis)),
        ("Filters", tables.filter_table(analysis)),
        ("Classes from the target to the proxy", tables.class_table(analysis)),
        ("Classes with most errors in the best run", tables.worst_table(analysis)),
        ("Classes that the best run confuses", tables.confused_table(analysis)),
        ("Without some images", tables.without_table(analysis)),
        ("Runs without an error", tables.unfinished_table(analysis)),
    ):
        if table.rows:
            parts += [f"## {heading}", _markdown_table(table)]
            parts += [f"Remark on all rows: {_inline(table.note)}"] if table.note else []
    store, _ = reopen_store(*analysis.rows[0].store)
    made = provenance(analysis.rows, analysis.swept, store)
    parts += ["## How it was made", _bullets([f"{name}: {text}" for name, text in made])]
    return "\n\n".join(parts) + "\n"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_inline(line)}" for line in lines)


def _markdown_table(table: Table) -> str:
    rows = [f"| {' | '.join(map(_inline, cells))} |" for cells in (table.headings, *table.rows)]
    rule = "|".join(["---"] * len(table.headings))
    return "\n".join([rows[0], f"|{rule}|", *rows[1:]])


def _inline(text: str) -> str:
    """Escape what would be read as HTML, a table's border or emphasis."""
    plain = escape(" ".join(text.split()), quote=False)
    for sign in "\\`*_|":
        plain = plain.replace(sign, f"\\{sign}")
    return plain.replace("](", "]\\(")
