"""The numbers of a report as CSV, a line for each run, and as JSON, everything."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lowres.recipe import FIELDS
from lowres.report.analysis import Analysis
from lowres.report.reading import Row

RESULT_COLUMNS = (
    "network",
    "parameters",
    "macs",
    "train_macs",
    "epochs",
    "eval_split",
    "top1_error",
    "top5_error",
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
"""Digits kept of the numbers of epochs; `metrics.jsonl` has all."""


def to_csv(rows: Sequence[Row]) -> str:
    """Give a table with a line for each run; empty cells where an older lowres kept no value."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("run", "status", *FIELDS, *RESULT_COLUMNS, "reason"))
    for row in rows:
        recipe = row.recipe.to_record()
        values = (row.result.get(name) for name in RESULT_COLUMNS)
        writer.writerow(
            (row.name, row.status, *(recipe[name] for name in FIELDS), *values, row.reason)
        )
    return buffer.getvalue()


def to_record(analysis: Analysis) -> dict[str, Any]:
    """Give all numbers as JSON values; null stands for what diverged or is not known."""
    record = {
        "summary": analysis.summary,
        "verdicts": [*analysis.main_sentences, *analysis.other_sentences],
        "swept": analysis.swept,
        "pairs": [asdict(pair) for pair in analysis.pairs],
        "responses": [asdict(curve) for curve in analysis.responses],
        "shifts": [asdict(move) for move in analysis.shifts],
        "costs": [asdict(cost) for cost in analysis.costs],
        "anytime": [asdict(curve) for curve in analysis.anytime],
        "spent": [asdict(spent) for spent in analysis.spent],
        "filters": [asdict(found) for found in analysis.filters],
        "runs": [_run(row) for row in analysis.rows],
    }
    plain: dict[str, Any] = _plain(record)
    return plain


def _run(row: Row) -> dict[str, Any]:
    names = dict.fromkeys(name for epoch in row.epochs for name in epoch)
    return {
        "name": row.name,
        "status": row.status,
        "reason": row.reason,
        "recipe": row.recipe.to_record(),
        "result": row.result,
        "store": dict(zip(("path", "digest"), row.store, strict=True)),
        "epochs": {name: [_rounded(epoch.get(name)) for epoch in row.epochs] for name in names},
    }


def _rounded(value: object) -> object:
    return float(f"{value:.{EPOCH_DIGITS}g}") if isinstance(value, float) else value


def _plain(value: Any) -> Any:  # noqa: ANN401  any JSON value
    """Turn tuples into lists, and numbers that JSON lacks into null."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
