"""The best run of a study: its errors, its worst classes and the classes that it confuses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lowres.imagenet import with_word
from lowres.report.pairs import JudgedPair
from lowres.report.reading import Row, grouped, mean
from lowres.text import percent

MOST_NAMED = 3
"""Classes, and pairs of classes, in a sentence; the tables have all of `result.json`."""

FEWEST_RATES = 3
"""Learning rates below which an end of them is no surprise."""


@dataclass(frozen=True, slots=True)
class ClassErrors:
    """Images of a class that a run has wrong.

    Attributes:
        name: the class.
        taken_for: the class that they were taken for; empty for any.
        wrong: how many.
        images: all of the class.
    """

    name: str
    taken_for: str
    wrong: int
    images: int

    def __str__(self) -> str:
        what = f" taken for {self.taken_for}" if self.taken_for else ""
        return f"{self.name}{what} ({self.wrong} of {self.images})"


@dataclass(frozen=True, slots=True)
class BestRun:
    """The best run of the best recipe.

    Attributes:
        row: the run.
        mean_error: of all runs of its recipe, a share.
        test_error: the same on `test`; None without one.
        runs: how many these are.
        edge: largest or smallest, if its learning rate is that of the rates tried; empty if not.
        worst: the classes with the largest errors; empty if an older lowres trained the run.
        confused: the pairs of classes that it confuses most.
    """

    row: Row
    mean_error: float
    test_error: float | None
    runs: int
    edge: str
    worst: tuple[ClassErrors, ...]
    confused: tuple[ClassErrors, ...]

    @property
    def split(self) -> str:
        """The split that its errors were measured on."""
        return str(self.row.result.get("eval_split", "the split for errors"))

    @property
    def sentences(self) -> list[str]:
        """Its classes in words."""
        result, found = self.row.result, list[str]()
        balanced = result.get("balanced_error")
        if balanced is not None and percent(balanced, 1) != percent(self.row.error, 1):
            found.append(
                f"Balanced error of the best run on {self.split}: {percent(balanced, 1)}, with "
                f"equal weight for each class; over all images {percent(self.row.error, 1)}."
            )
        if self.worst:
            found.append(f"Classes with most errors in the best run: {_listed(self.worst)}.")
        if self.confused:
            found.append(f"Classes that the best run confuses: {_listed(self.confused)}.")
        return found

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON values, with the name of the run; errors are shares."""
        return {
            "run": self.row.name,
            "split": self.split,
            "runs": self.runs,
            "mean_error": self.mean_error,
            "test_error": self.test_error,
            "learning_rate_at_edge": self.edge,
            "balanced_error": self.row.result.get("balanced_error"),
            "worst": [asdict(one) for one in self.worst],
            "confused": [asdict(one) for one in self.confused],
        }


def _listed(classes: Sequence[ClassErrors]) -> str:
    return ", ".join(map(str, classes[:MOST_NAMED]))


def best_run(rows: Sequence[Row], pair: JudgedPair | None) -> BestRun | None:
    """Return the best run of the recipe with the least mean error.

    Args:
        rows: the runs.
        pair: the pair of the first screen: only runs of its target count, if any trained.

    Returns:
        None if no run trained.
    """
    trained = [row for row in rows if row.finished and math.isfinite(row.error)]
    if pair:
        of_target = [row for row in trained if row.recipe.variant == pair.target_variant]
        trained = of_target or trained
    if not trained:
        return None
    recipes = grouped(trained, lambda row: replace(row.recipe, seed=0))
    best = min(recipes.values(), key=lambda of: mean([row.error for row in of]))
    row = min(best, key=lambda one: one.error)
    worst = [
        ClassErrors(with_word(one["class"]), "", round(one["error"] * one["images"]), one["images"])
        for one in row.result.get("worst_classes", ())
    ]
    confused = [
        ClassErrors(
            with_word(one["class"]),
            with_word(one["taken_for"]),
            one["images"],
            round(one["images"] / one["share"]),
        )
        for one in row.result.get("confused_classes", ())
        if one["share"]
    ]
    on_test: list[Any] = [one.result.get("test_top1_error") for one in best]
    return BestRun(
        row,
        mean([one.error for one in best]),
        None if None in on_test else mean(on_test),
        len(best),
        _edge(row, rows),
        tuple(one for one in worst if one.wrong),
        tuple(confused),
    )


def _edge(best: Row, rows: Sequence[Row]) -> str:
    """Return at which end of the learning rates of its variant the best run is, if at one."""
    variant = best.recipe.variant
    tried = {row.recipe.lr for row in rows if row.finished and row.recipe.variant == variant}
    if len(tried) < FEWEST_RATES:
        return ""
    return {max(tried): "largest", min(tried): "smallest"}.get(best.recipe.lr, "")
