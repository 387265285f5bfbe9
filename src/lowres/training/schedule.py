"""The learning rate over a run."""

from __future__ import annotations

from lowres.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Give the learning rate of a step: dropped once for each fraction of the run that is over.

    Args:
        recipe: gives `lr`, `lr_drop` and `lr_drop_at`.
        step: number of the step, from 0.
        steps: number of steps in the whole run.
    """
    drops = sum(step >= fraction * steps for fraction in recipe.lr_drop_at)
    return float(recipe.lr * recipe.lr_drop**drops)
