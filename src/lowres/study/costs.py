"""What training costs, in multiply-adds: the same on every machine."""

from __future__ import annotations

from functools import cache

from lowres.recipe import Recipe
from lowres.store import Store
from lowres.study.probe import steps_of_epoch
from lowres.wrn import Shape


def training_macs(recipe: Recipe, store: Store) -> int:
    """Count the multiply-adds of training a recipe to its end; the backward pass counts twice.

    It is what a run's `result.json` calls `train_macs`.

    Raises:
        RunError: the recipe's network cannot be made.
    """
    steps = steps_of_epoch(store.splits["train"], recipe) * recipe.epochs
    return 3 * picture_macs(recipe, len(store.classes)) * steps * recipe.batch_size


def picture_macs(recipe: Recipe, classes: int) -> int:
    """Count the multiply-adds of a recipe's network for one picture, one way.

    Raises:
        RunError: the network cannot be made.
    """
    if recipe.model == "wrn":
        return Shape(recipe.size, recipe.width, classes, recipe.blocks, recipe.conv_bias).macs()
    return _foreign_macs(recipe.model, recipe.size, classes)


@cache
def _foreign_macs(model: str, size: int, classes: int) -> int:
    """Count by making the network, once for each size."""
    from lowres.models import make_network

    return make_network(Recipe(variant=f"{size}-box", model=model), classes).macs
