"""How large a network is and what its training costs.

The paper's networks have formulas (`shape.py`). Any other is made once and counted; only this needs
torch, which is imported then.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Self

from lowres.networks.shape import TRAINING_PASSES, Shape
from lowres.recipe import Recipe


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """How large a recipe's network is.

    Attributes:
        name: such as WRN-28-2; or the model as the recipe names it.
        parameters: number of trainable parameters.
        macs: multiply-adds of the forward pass of one image.
    """

    name: str
    parameters: int
    macs: int

    @classmethod
    def of(cls, recipe: Recipe, classes: int) -> Self:
        """Compute the size of a recipe's network; only a network without a formula is made.

        Raises:
            RunError: the network cannot be made.
            MissingExtraError: the network is one of timm, which is not installed.
        """
        if recipe.model != "wrn":
            return cls(recipe.model, *_counted(recipe.model, recipe.size, classes))
        shape = Shape.of(recipe, classes)
        return cls(shape.name, shape.parameters(), shape.macs())


@cache
def _counted(model: str, size: int, classes: int) -> tuple[int, int]:
    """Count parameters and multiply-adds of a network by making it, once in a process."""
    from lowres.networks.make import make_network

    made = make_network(Recipe(variant=f"{size}-box", model=model), classes)
    return made.parameters, made.macs


def training_macs(recipe: Recipe, images: int, classes: int) -> int:
    """Count the multiply-adds of a whole training, forward and backward.

    A run that does not diverge has this number as `train_macs` in its `result.json`.

    Args:
        recipe: what is trained.
        images: number of images in train.
        classes: number of classes.

    Raises:
        RunError: the network cannot be made.
        MissingExtraError: the network is one of timm, which is not installed.
    """
    macs = NetworkSize.of(recipe, classes).macs
    return TRAINING_PASSES * macs * recipe.steps(images) * recipe.batch_size
