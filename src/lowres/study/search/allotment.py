"""What the plan of a search comes to on a store: configurations of each size, within the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lowres.errors import StudyError
from lowres.recipe import Recipe
from lowres.store.store import Store
from lowres.study.costs import steps_of_epoch, training_macs
from lowres.study.search.plan import FILE_NAME, SearchPlan, read_record, refuse_changes
from lowres.study.search.rungs import counts_within
from lowres.study.search.space import combinations, sample
from lowres.training.run import eval_split


@dataclass(frozen=True, slots=True)
class Allotment:
    """What a plan comes to on a store.

    Attributes:
        run_macs: multiply-adds of training a configuration at each rung, the mean over the space.
        counts: configurations of each rung.
    """

    run_macs: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, plan: SearchPlan, store: Store) -> Self:
        """Share the budget of a plan out among its rungs.

        Raises:
            StudyError: the space holds what cannot be trained on the store, or the budget is too
                small.
            StoreError: the store lacks a variant.
        """
        drawn = sample(plan.space)
        means = []
        for rung in range(len(plan.sizes)):
            recipes = [plan.recipe(labels, rung) for labels in drawn]
            _check_trainable(recipes, store)
            means.append(sum(training_macs(recipe, store) for recipe in recipes) / len(recipes))
        most = combinations(plan.space)
        return cls(tuple(means), counts_within(plan.budget, means, plan.one_in, most))


def begin(path: Path, store: Store, plan: SearchPlan) -> Allotment:
    """Write the record of a search, or go on with the one that is there.

    Raises:
        StudyError: the directory holds something else, or a search that was planned otherwise.
        StoreError: the store lacks a variant.
    """
    if path.exists() and not path.is_dir():
        raise StudyError(f"search {path} must be a directory, and is a file")
    if (path / FILE_NAME).exists():
        earlier = read_record(path)
        refuse_changes(path, earlier, plan, store.manifest.digest)
        return Allotment.of(plan, store)
    if path.exists() and any(child.name != f"{FILE_NAME}.tmp" for child in path.iterdir()):
        raise StudyError(
            f"{path} is neither empty nor a search: choose another directory with --out"
        )
    allotment = Allotment.of(plan, store)  # refuses before anything is written
    path.mkdir(parents=True, exist_ok=True)
    return allotment


def record(store: Store, plan: SearchPlan, allotment: Allotment) -> dict[str, Any]:
    """Give the record of a search."""
    return {
        "store": {"path": str(store.path.resolve()), "digest": store.manifest.digest},
        **plan.to_record(),
        "run_macs": list(allotment.run_macs),
        "counts": list(allotment.counts),
    }


def _check_trainable(recipes: Sequence[Recipe], store: Store) -> None:
    """Refuse recipes that the store has no images for."""
    for variant in dict.fromkeys(recipe.variant for recipe in recipes):
        store.images("train", variant)
    most = max(recipes, key=lambda recipe: recipe.batch_size)
    if not steps_of_epoch(store.splits["train"], most):
        raise StudyError(
            f"train has {store.splits['train']} images, fewer than a batch of "
            f"{most.batch_size}: choose a smaller --batch-size"
        )
    split = eval_split(store, recipes[0])
    if split not in store.splits:
        raise StudyError(
            f"{store.path} has no split {split} to measure errors on (it has "
            f"{', '.join(store.splits)}): build it with --val-fraction, or choose --eval-split"
        )
