"""What training on a store costs, in multiply-adds (`lowres.networks.shape`)."""

from __future__ import annotations

from lowres.networks import shape
from lowres.recipe import Recipe
from lowres.store.store import Store

Size = shape.NetworkSize


def steps_of_epoch(images: int, recipe: Recipe) -> int:
    """Count the steps of an epoch over `images` images."""
    return images * (2 if recipe.flip == "both" else 1) // recipe.batch_size


def training_macs(recipe: Recipe, store: Store) -> int:
    """Count the multiply-adds of training a recipe on a store to its end.

    Raises:
        RunError: the recipe's network cannot be made.
    """
    return shape.training_macs(recipe, store.splits["train"], len(store.classes))
