"""The plan of a search: what is searched, at which sizes, for how much training.

The plan is recorded in `search.json`. A search keeps the plan that it started with; another plan is
another search. Its rungs are successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943)
with the size of the images as the resource: all configurations are trained at the smallest size,
the best of them at the next size, and the best of these at the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, get_args

from lowres.errors import RecipeError, RunBusyError, StudyError, VariantError
from lowres.networks.size import training_macs
from lowres.recipe import Recipe
from lowres.study.axes import MAX_RUNS, changed
from lowres.study.search.space import (
    Dimension,
    Plain,
    changes,
    combinations,
    parse_space,
    sample,
)
from lowres.work.directory import WorkDirectory
from lowres.work.records import Amount, Count, RecordError, StorePlace, typed

if TYPE_CHECKING:
    from lowres.store.store import Store

Sampler = Literal["tpe", "gp", "qmc", "random"]

TOLERANCE = 1e-9
"""Fraction of a budget that rounding may exceed it by."""


class Planned(TypedDict):
    """What `search.json` holds."""

    store: StorePlace
    base: dict[str, Any]
    sizes: list[int]
    space: dict[str, str]
    budget: Amount
    rung_epochs: list[int]
    one_in: int
    sampler: str
    sampler_seed: int
    carry_weights: bool
    run_macs: list[Amount]
    counts: list[Count]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """What is searched, at which sizes, for how much training.

    Sizes may be given in any order, with their epochs in the same order; the plan sorts them.

    Raises:
        StudyError: a value is outside its range.
        RecipeError, VariantError: one of the recipe's is.
    """

    base: Recipe
    """What all configurations have in common; its size and epochs become those of the last rung."""
    sizes: tuple[int, ...] = ()
    """Sizes of the images in pixels: all configurations are trained at the smallest size, the best
    at the largest. The store must have them."""
    space: tuple[str, ...] = ()
    """What is searched: lr=log:0.001:1 or momentum=lin:0.5:0.99 for an interval, width=0.5,1,2 for
    values to choose from. May be repeated."""
    budget: float | None = None
    """How much to train, in runs at the largest size. It is counted in multiply-adds; if
    configurations differ in cost, a run is one of average cost."""
    rung_epochs: tuple[int, ...] = ()
    """Epochs at each of the sizes. Default: those of the recipe."""
    one_in: int = 3
    """Of each size, one configuration in this many is trained at the next size."""
    sampler: Sampler = "tpe"
    """Which of Optuna's samplers chooses configurations. tpe and gp learn from the errors at the
    smallest size; qmc is Sobol's sequence."""
    sampler_seed: int = 0
    """Seed of the sampler."""
    carry_weights: bool = False
    """Start at each size with the weights of the size before, where the network has tensors of the
    same names and shapes."""

    def __post_init__(self) -> None:
        sizes, epochs = tuple(self.sizes), tuple(self.rung_epochs)
        if not sizes:
            raise StudyError("a search needs sizes: add --sizes, such as --sizes 8 16 32")
        if len(set(sizes)) < len(sizes):
            raise StudyError(f"--sizes must be different sizes, were {' '.join(map(str, sizes))}")
        if epochs and len(epochs) != len(sizes):
            raise StudyError(
                f"--rung-epochs must be as many numbers as --sizes, {len(sizes)}, were "
                f"{len(epochs)}"
            )
        if self.budget is None:
            raise StudyError(
                "a search needs a budget: add --budget 10 to train as much as 10 runs at the "
                "largest size do"
            )
        rungs = sorted(zip(sizes, epochs or (self.base.epochs,) * len(sizes), strict=True))
        least = min(count for _, count in rungs)
        samplers, seed = get_args(Sampler), self.sampler_seed
        for flag, given, holds, expected in (
            ("rung-epochs", least, least >= 1, "whole numbers above 0"),
            ("budget", self.budget, 0 < self.budget < math.inf, "above 0"),
            ("one-in", self.one_in, self.one_in >= 1, "at least 1"),
            ("sampler", self.sampler, self.sampler in samplers, f"one of {', '.join(samplers)}"),
            ("sampler-seed", seed, 0 <= seed < 2**32, "at least 0 and below 2^32"),
        ):
            if not holds:
                raise StudyError(f"--{flag} must be {expected}, was {given}")
        if self.carry_weights and len(sizes) == 1:
            raise StudyError("--carry-weights carries from size to size: give two --sizes or more")
        for size, _ in rungs:
            changed(self.base, {"size": size})
        last_size, last_epochs = rungs[-1]
        for name, value in {
            "base": changed(self.base, {"size": last_size, "epochs": last_epochs}),
            "sizes": tuple(size for size, _ in rungs),
            "rung_epochs": tuple(count for _, count in rungs),
            "space": tuple(f"{one.name}={one.spec}" for one in parse_space(self.space)),
        }.items():
            object.__setattr__(self, name, value)

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The fields that are searched."""
        return _parsed(self.space)

    def recipe(self, labels: Mapping[str, Plain], rung: int) -> Recipe:
        """Return the recipe of a configuration at a rung.

        Raises:
            StudyError: the configuration is no recipe.
        """
        chosen = changes(self.dimensions, labels)
        fidelity = {"size": self.sizes[rung], "epochs": self.rung_epochs[rung]}
        try:
            return changed(self.base, {**chosen, **fidelity})
        except (RecipeError, VariantError) as error:
            listed = ", ".join(f"{name} {value}" for name, value in chosen.items())
            raise StudyError(f"the space holds {listed}, which is no recipe: {error}") from error

    def to_record(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            **{one.name: getattr(self, one.name) for one in fields(self)},
            "base": self.base.to_record(),
            "space": {dimension.name: dimension.spec for dimension in self.dimensions},
            "sizes": list(self.sizes),
            "rung_epochs": list(self.rung_epochs),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read the plan from JSON values of the types of `Planned`."""
        values = {one.name: record[one.name] for one in fields(cls)}
        values["base"] = Recipe.from_record(record["base"])
        values["space"] = tuple(f"{name}={spec}" for name, spec in record["space"].items())
        return cls(**values)


_parsed = cache(parse_space)


def work_directory(path: Path) -> WorkDirectory:
    """Return the directory of a search, which `search.json` plans and `result.json` finishes."""
    return WorkDirectory(
        path,
        kind="search",
        plan_name="search.json",
        result_name="result.json",
        error=StudyError,
        busy_error=RunBusyError,
        # Where the store is may change; the last two follow from the plan.
        ignored=frozenset({"path", "run_macs", "counts"}),
        locks_plan=True,
        check=_checked,
    )


def _checked(record: dict[str, Any]) -> dict[str, Any]:
    """Validate `search.json`."""
    plan = typed(record, Planned)
    if not len(plan["counts"]) == len(plan["run_macs"]) == len(plan["sizes"]):
        raise RecordError("sizes, counts and run_macs must be equally long")
    return {**plan, **SearchPlan.from_record(plan).to_record()}


@dataclass(frozen=True, slots=True)
class Allotment:
    """How a plan spends its budget on a store.

    Attributes:
        run_macs: multiply-adds of training a configuration at each rung, the mean over the space.
        counts: configurations of each rung.
    """

    run_macs: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, plan: SearchPlan, store: Store) -> Self:
        """Share the budget of a plan among its rungs.

        Raises:
            StudyError: the space holds what is no recipe, or the budget is too small.
            RecipeError: the store has too few images, or no split to measure errors on.
            StoreError: the store lacks a variant or has no labels.
        """
        store.require_labels()
        means = []
        for rung in range(len(plan.sizes)):
            recipes = [plan.recipe(labels, rung) for labels in sample(plan.dimensions)]
            for variant in dict.fromkeys(recipe.variant for recipe in recipes):
                store.images("train", variant)
            for recipe in recipes:
                recipe.check_splits(store.splits)
            means.append(sum(macs_on_store(recipe, store) for recipe in recipes) / len(recipes))
        most = combinations(plan.dimensions)
        return cls(tuple(means), counts_within(plan.budget or 0.0, means, plan.one_in, most))


def macs_on_store(recipe: Recipe, store: Store) -> int:
    """Count the multiply-adds of training a recipe on a store to its end.

    Raises:
        RunError: the recipe's network cannot be made.
    """
    return training_macs(recipe, store.splits["train"], len(store.classes))


def counts_from(first: int, rungs: int, one_in: int) -> tuple[int, ...]:
    """Return the configurations of each rung: one in `one_in` of the rung before, at least one."""
    return tuple(max(1, first // one_in**rung) for rung in range(rungs))


def counts_within(
    budget: float, costs: Sequence[float], one_in: int, most: int | None
) -> tuple[int, ...]:
    """Return the configurations of each rung such that as many as possible start.

    If a part of the budget is left, more configurations are promoted, first to the last rung.

    Args:
        budget: in runs at the last rung's cost.
        costs: mean cost of a run at each rung, in any unit.
        one_in: one configuration in this many is promoted.
        most: number of different configurations; None if it is not finite.

    Raises:
        StudyError: the budget is too small for one configuration, or starts more than `MAX_RUNS`.
    """
    least = sum(costs) / costs[-1]
    if budget < least * (1 - TOLERANCE):
        enough = math.ceil(1000 * least - TOLERANCE) / 1000
        raise StudyError(
            f"--budget must be at least {enough:.3f}, which takes one configuration through all "
            f"sizes, was {budget:g}: it is counted in runs at the largest size"
        )
    limit = budget * costs[-1] * (1 + TOLERANCE)

    def fits(counts: Sequence[int]) -> bool:
        return sum(count * cost for count, cost in zip(counts, costs, strict=True)) <= limit

    first = 1
    while first < (most or MAX_RUNS + 1) and fits(counts_from(first + 1, len(costs), one_in)):
        first += 1
    if first > MAX_RUNS:
        raise StudyError(
            f"--budget {budget:g} starts more than {MAX_RUNS:,} configurations: choose a smaller "
            "budget, or fewer --sizes"
        )
    # One more is promoted to a rung, the last one that has room, until nothing more fits.
    counts, rung = list(counts_from(first, len(costs), one_in)), len(costs) - 1
    while rung:
        counts[rung] += 1
        if counts[rung] <= counts[rung - 1] and fits(counts):
            rung = len(costs) - 1
        else:
            counts[rung] -= 1
            rung -= 1
    return tuple(counts)


def promoted(
    errors: Mapping[int, float],
    counts: Sequence[int],
    cost: Callable[[int, int], float],
    left: float,
) -> list[int]:
    """Return the configurations that are promoted, best first, within the budget that is left.

    If configurations differ in cost, fewer may be promoted than planned, but at least one. Each
    later rung then loses the same fraction of its places, as nearly as whole numbers allow.

    Args:
        errors: error of each candidate, by its number; of equal errors, the lower number is better.
        counts: configurations of each later rung, the next one first.
        cost: cost of a configuration, by its number, at a later rung, 0 for the next one.
        left: of the budget.
    """
    best_first = sorted(errors, key=lambda number: (errors[number], number))
    planned = [min(count, len(best_first)) for count in counts]
    places = list(planned)

    def needed() -> float:
        return sum(
            cost(number, rung) for rung, count in enumerate(places) for number in best_first[:count]
        )

    while max(places) > 1 and needed() > left * (1 + TOLERANCE):
        shares = [n / of if n > 1 else 0.0 for n, of in zip(places, planned, strict=True)]
        # Of equal shares the last rung: its configurations cost most.
        fullest = max(range(len(places)), key=lambda rung: (shares[rung], rung))
        places[fullest] -= 1
    return best_first[: places[0]]
