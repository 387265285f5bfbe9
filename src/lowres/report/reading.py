"""Runs as rows: what their directories hold, and the words that tell them apart.

Errors are top-1, shares from 0 to 1; +inf stands for a run that diverged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres.recipe import FIELDS, Recipe
from lowres.study.study import find_runs
from lowres.training.run import Run
from lowres.variant import Variant

FLOPS_PER_MAC = 2
"""A multiplication and an addition."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run.

    Attributes:
        name: name of its directory.
        recipe: what was trained.
        status: a `RunState`.
        result: what `result.json` holds; empty where there is none.
        reason: why it failed or diverged; empty where it did not.
        epochs: the records of its epochs.
        store: path and digest of its store, as the run has them.
    """

    name: str
    recipe: Recipe
    status: str
    result: dict[str, Any]
    reason: str
    epochs: list[dict[str, Any]]
    store: tuple[str, str]

    @property
    def variant(self) -> Variant:
        """What it was trained on."""
        return Variant.parse(self.recipe.variant)

    @property
    def finished(self) -> bool:
        """Whether it came to an end, a good or a bad one."""
        return self.status in ("trained", "diverged")

    @property
    def error(self) -> float:
        """Top-1 error of a finished run, inf where it diverged."""
        value = self.result["top1_error"]
        return math.inf if value is None else float(value)

    @property
    def seconds(self) -> float:
        """Training time of a finished run."""
        return float(self.result["train_s"])

    @property
    def flops(self) -> float | None:
        """Operations of a finished run's training; None where an older lowres did not count."""
        macs = self.result.get("train_macs")
        return None if macs is None else float(FLOPS_PER_MAC * macs)


def read_rows(folder: Path) -> list[Row]:
    """Read all runs in a folder, at any depth, sorted by variant, width, learning rate and seed.

    Raises:
        StudyError: there is none, or a study's run is missing.
        RunError: one is damaged.
    """
    return sorted(map(_read_row, find_runs(folder)), key=_place)


def _place(row: Row) -> tuple[Variant, float, float, int, str]:
    recipe = row.recipe
    return row.variant, recipe.width, recipe.lr, recipe.seed, row.name


def _read_row(run: Run) -> Row:
    found = run.summary()
    store = str(run.store_path), run.store_digest
    return Row(
        found.name, run.recipe, found.state, found.result, found.reason, list(found.history), store
    )


def swept_fields(rows: Sequence[Row]) -> tuple[str, ...]:
    """Name the recipe fields in which the runs differ."""
    return tuple(name for name in FIELDS if len({getattr(row.recipe, name) for row in rows}) > 1)


def value_text(recipe: Recipe, name: str) -> str:
    """Write a field of a recipe: `0.05`, `0.25+0.5`."""
    value = getattr(recipe, name)
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def label(recipe: Recipe, names: Iterable[str]) -> str:
    """Describe a recipe by some of its fields: `16-box, width 2`."""
    parts = []
    for name in names:
        value = value_text(recipe, name)
        parts.append(value if name == "variant" else f"{name.replace('_', ' ')} {value}")
    return ", ".join(parts)


def fields_but(swept: Sequence[str], *names: str) -> tuple[str, ...]:
    """Give the swept fields that are none of some, nor the seed."""
    return tuple(name for name in swept if name not in (*names, "seed"))


def mean(values: Sequence[float]) -> float:
    """Average values; inf where one of them is."""
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.inf
