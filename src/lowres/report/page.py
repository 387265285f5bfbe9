"""The report: one HTML file that opens offline, and the same numbers as CSV and JSON beside it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lowres.errors import require
from lowres.manifest import write_bytes, write_json
from lowres.recipe import FIELDS, Recipe
from lowres.report.tables import (
    Row,
    Transfer,
    costs,
    label,
    read_rows,
    responses,
    swept_fields,
    transfers,
)

RESULT_COLUMNS = (
    "network",
    "parameters",
    "macs",
    "epochs",
    "eval_split",
    "top1_error",
    "top5_error",
    "eval_loss",
    "train_loss",
    "train_s",
    "eval_s",
    "images_per_s",
    "precision",
    "weights_sha256",
)


def write_report(folder: Path) -> tuple[Path, list[Transfer]]:
    """Write `report.html`, `runs.csv` and `report.json` for all runs in a folder, into it.

    Returns:
        The path of the page, and the comparisons of variants on it.

    Raises:
        StudyError: the folder holds no runs.
        MissingExtraError: matplotlib, jinja2 or SciPy is not installed.
    """
    for module in ("matplotlib", "jinja2", "scipy"):
        require(module, "report")
    rows = read_rows(folder)
    found = transfers(rows)
    write_bytes(folder / "runs.csv", _csv(rows).encode())
    write_json(folder / "report.json", _record(rows, found))
    page = folder / "report.html"
    write_bytes(page, _html(folder, rows, found).encode())
    return page, found


def _csv(rows: Sequence[Row]) -> str:
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


def _record(rows: Sequence[Row], found: Sequence[Transfer]) -> dict[str, Any]:
    """Give all numbers of the page as JSON values."""
    return {
        "transfers": [asdict(transfer) | {"verdict": transfer.verdict} for transfer in found],
        "responses": [
            {
                "label": response.label,
                "variant": response.variant,
                "points": [
                    {"lr": lr, "mean_error": seeds.mean, **asdict(seeds)}
                    for lr, seeds in response.points.items()
                ],
            }
            for response in responses(rows)
        ],
        "costs": [asdict(cost) for cost in costs(rows)],
        "runs": [
            {
                "name": row.name,
                "status": row.status,
                "reason": row.reason,
                "recipe": row.recipe.to_record(),
                "result": row.result,
                "epochs": row.epochs,
            }
            for row in rows
        ],
    }


def _html(folder: Path, rows: Sequence[Row], found: Sequence[Transfer]) -> str:
    import jinja2
    from markupsafe import Markup

    from lowres.report import plots

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lowres.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": _number, "percent": _percent, "field": _field}
    curves, points = responses(rows), costs(rows)
    text: str = environment.get_template("page.html").render(
        title=f"lowres study: {folder.resolve().name}",
        summary=_summary(rows),
        rows=rows,
        swept=swept_fields(rows),
        transfers=found,
        any_diverged=any(row.status == "diverged" for row in rows),
        response_svg=Markup(plots.response_figure(curves)) if curves else None,
        cost_svg=Markup(plots.cost_figure(points)) if points else None,
        transfer_svgs=[Markup(plots.transfer_figure(transfer)) for transfer in found],
        provenance=_provenance(rows),
    )
    return text


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"  # noqa: RUF001  an en dash is meant


def _percent(value: float | None) -> str:
    return _number(None if value is None else 100 * value, 2)


def _field(recipe: Recipe, name: str) -> str:
    value = getattr(recipe, name)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _summary(rows: Sequence[Row]) -> str:
    counts = Counter(row.status for row in rows)
    parts = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"{len(rows)} runs: {parts}."


def _provenance(rows: Sequence[Row]) -> list[str]:
    """Say with what and on what the runs were made."""
    finished = [row.result for row in rows if row.result]
    swept = swept_fields(rows)
    constant = [name for name in FIELDS if name not in swept]
    lines = [f"Recipe common to all runs: {label(rows[0].recipe, constant)}"]
    for title, values in (
        ("Hardware", [_join(result["hardware"]) for result in finished]),
        ("Software", [_join(result["versions"]) for result in finished]),
        ("Numbers in the network", [result["precision"] for result in finished]),
        ("Errors measured on", [result["eval_split"] for result in finished]),
    ):
        if values:
            lines.append(f"{title}: {'; '.join(dict.fromkeys(values))}")
    return lines


def _join(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
