"""Read our own runs as a table of results, with the curves of their trainings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lowres.errors import StoreError, StudyError
from lowres.recipe import FIELDS, Recipe
from lowres.store.manifest import Manifest
from lowres.study.results_table import SEED, Point, ResultsTable, Row, Value
from lowres.study.runs import read_runs
from lowres.study.values import PARTS
from lowres.text import command, is_number, value as setting_text
from lowres.training.run import Run, RunSummary
from lowres.variant import Variant

CURVE_METRICS = ("top5_error", "eval_loss", "train_loss")
"""Other metrics of our own runs."""


def of_runs(folder: Path) -> ResultsTable:
    """Read the finished runs in a folder, at any depth, with the curves of their trainings.

    Damaged runs are left out. Columns: the recipe fields, the parts of the variant, and where the
    runs are of several stores the store, its train images and its classes. Cost is in multiply-adds
    of training.

    Raises:
        StudyError: it holds no finished run.
    """
    found, _ = read_runs(folder, lambda run, one: (run, one))
    runs = [(run, one) for run, one in found if one.finished]
    if not runs:
        raise StudyError(f"{folder} holds no finished run: run {command('status', folder)}")
    stores = _stores(run for run, _ in runs)
    rows = []
    for run, one in runs:
        decided = {**decisions(one.recipe), **stores[run.store_digest]}
        seed = decided.pop(SEED)
        rows.append(replace(_row(one, decided, seed), path=run.path))
    return ResultsTable(folder, tuple(rows), "epochs")


def _row(one: RunSummary, decided: Mapping[str, Value], seed: Value) -> Row:
    cost = float(one.result.get("train_macs", math.nan))
    metrics = {name: _metric(one.result.get(name)) for name in CURVE_METRICS}
    error = _share(one.result["top1_error"])
    curve = _Curve(one.history, cost / one.recipe.epochs)
    return Row(decided, error, seed, cost, curve.seconds or math.nan, metrics, curve)


class _Curve(Mapping[float, Point]):
    """The epochs of one of our runs; a point is made when it is asked for."""

    def __init__(self, history: Sequence[Mapping[str, Any]], epoch_cost: float) -> None:
        self.history, self.epoch_cost = history, epoch_cost

    def __len__(self) -> int:
        return len(self.history)

    def __iter__(self) -> Iterator[float]:
        return (float(number) for number in range(1, len(self.history) + 1))

    def __getitem__(self, place: float) -> Point:
        if not (float(place).is_integer() and 1 <= place <= len(self.history)):
            raise KeyError(place)
        epoch = self.history[int(place) - 1]
        return Point(
            _share(epoch.get("top1_error")),
            self.epoch_cost * place,
            self._until(int(place)),
            {name: _metric(epoch.get(name)) for name in CURVE_METRICS},
        )

    @property
    def seconds(self) -> float:
        """Seconds of training and evaluation of all epochs."""
        return self._until(len(self.history))

    def _until(self, epochs: int) -> float:
        names = "train_s", "eval_s"
        return sum(float(epoch.get(name) or 0) for epoch in self.history[:epochs] for name in names)


def _share(value: float | None) -> float:
    return math.inf if value is None else float(value)


def _metric(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _stores(runs: Iterable[Run]) -> dict[str, dict[str, Value]]:
    """Return what distinguishes the stores of runs, by digest; nothing if there is one store."""
    paths = {run.store_digest: run.store_path for run in runs}
    if len(paths) == 1:
        return {digest: {} for digest in paths}
    found: dict[str, dict[str, Value]] = {}
    names = [path.name for path in paths.values()]
    for digest, path in paths.items():
        unique = names.count(path.name) == 1
        found[digest] = {"store": path.name if unique else f"{path.name} {digest[:8]}"}
        try:
            manifest = Manifest.read(path)
        except StoreError:  # the store has moved; its runs are judged without it
            continue
        if manifest.digest == digest:
            found[digest]["images"] = float(manifest.splits["train"])
            found[digest]["classes"] = float(len(manifest.classes))
    everywhere = set.intersection(*(set(values) for values in found.values()))
    return {
        digest: {name: value for name, value in values.items() if name in everywhere}
        for digest, values in found.items()
    }


def decisions(recipe: Recipe) -> dict[str, Value]:
    """Return the fields of a recipe, and the parts of its variant, as cells of a table."""
    variant = Variant.parse(recipe.variant)
    values = {part: getattr(variant, part) for part in PARTS}
    values |= {name: getattr(recipe, name) for name in FIELDS if name != "variant"}
    return {
        name: float(value) if is_number(value) else setting_text(value)
        for name, value in values.items()
    }
