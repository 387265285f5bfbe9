"""The table that `build.py` writes: a row for each figure, with its bar and the machine."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from machine import machine
from measuring import Corpus, Turns


class Bar(NamedTuple):
    """What a value must keep to."""

    limit: float
    least: bool = False

    def kept(self, value: float) -> bool:
        """Compare."""
        return value >= self.limit if self.least else value <= self.limit

    def __str__(self) -> str:
        return f"at {'least' if self.least else 'most'} {self.limit:g}"


class Row(NamedTuple):
    """A figure: its values, one a round, and how they came about."""

    what: str
    values: Sequence[float]
    unit: str
    bar: Bar | None
    corpus: Corpus
    turns: Turns

    def record(self) -> dict[str, object]:
        """Give the columns that differ from figure to figure."""
        value = median(self.values)
        kept = "" if self.bar is None else ("yes" if self.bar.kept(value) else "no")
        return {
            "what": self.what,
            "value": f"{value:.4g}",
            "unit": self.unit,
            "bar": str(self.bar or ""),
            "kept": kept,
            "min": f"{min(self.values):.4g}",
            "max": f"{max(self.values):.4g}",
            "rounds": len(self.values),
            "images": self.corpus.images,
            "mean_bytes": round(self.corpus.mean_bytes),
            "load_before": f"{self.turns.load:.2f}",
            "others": f"{self.turns.others:.3f}",
        }


def merge(
    table: Path, corpus: str, claim: str, rows: Sequence[Row], command: str, order: Sequence[str]
) -> None:
    """Write the rows of a claim in place of those that the table has of it for this corpus."""
    kept: list[dict[str, object]] = []
    if table.exists():
        with table.open(newline="") as file:
            kept = [dict(row) for row in csv.DictReader(file)]
    kept = [row for row in kept if (row["corpus"], row["claim"]) != (corpus, claim)]
    key, common = {"corpus": corpus, "claim": claim}, {**machine(), "command": command}
    lines = [*kept, *({**key, **row.record(), **common} for row in rows)]
    lines.sort(key=lambda line: (line["corpus"], order.index(str(line["claim"]))))
    partial = table.with_suffix(".partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    partial.replace(table)
