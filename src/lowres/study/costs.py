"""What training costs, in multiply-adds: the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Self

from lowres.networks.wrn import Shape
from lowres.recipe import Recipe
from lowres.store.store import Store


@dataclass(frozen=True, slots=True)
class Size:
    """A network and its size.

    Attributes:
        name: such as WRN-28-2.
        parameters: numbers that are trained.
        macs: multiply-adds for one image, one way.
    """

    name: str
    parameters: int
    macs: int

    @classmethod
    def of(cls, recipe: Recipe, classes: int) -> Self:
        """Tell the size of a recipe's network; one that has no formula is made for it.

        Raises:
            RunError: the network cannot be made.
        """
        if recipe.model != "wrn":
            return cls(recipe.model, *_foreign_size(recipe.model, recipe.size, classes))
        shape = Shape(recipe.size, recipe.width, classes, recipe.blocks, recipe.conv_bias)
        return cls(shape.name, shape.parameters(), shape.macs())


@cache
def _foreign_size(model: str, size: int, classes: int) -> tuple[int, int]:
    """Count parameters and multiply-adds by making the network, once for each size."""
    from lowres.networks.make import make_network

    made = make_network(Recipe(variant=f"{size}-box", model=model), classes)
    return made.parameters, made.macs


def steps_of_epoch(images: int, recipe: Recipe) -> int:
    """Count the steps of an epoch over `images` images."""
    return images * (2 if recipe.flip == "both" else 1) // recipe.batch_size


def training_macs(recipe: Recipe, store: Store) -> int:
    """Count the multiply-adds of training a recipe to its end; the backward pass counts twice.

    It is what a run's `result.json` calls `train_macs`.

    Raises:
        RunError: the recipe's network cannot be made.
    """
    steps = steps_of_epoch(store.splits["train"], recipe) * recipe.epochs
    return 3 * Size.of(recipe, len(store.classes)).macs * steps * recipe.batch_size
