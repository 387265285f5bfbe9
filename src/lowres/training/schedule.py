"""The learning rate over a run."""

from __future__ import annotations

from lowres.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Give the learning rate of a step: warm-up, drops and cool-down multiply.

    Warm-up and cool-down are lines through the middles of steps, so that no step stands still.

    Args:
        recipe: gives `lr`, `warmup`, `lr_drop`, `lr_drop_at` and `cooldown`.
        step: number of the step, from 0.
        steps: number of steps in the whole run.
    """
    drops = sum(step >= fraction * steps for fraction in recipe.lr_drop_at)
    rate = recipe.lr * recipe.lr_drop**drops
    middle = (step + 0.5) / steps
    if middle < recipe.warmup:
        rate *= middle / recipe.warmup
    if 1 - middle < recipe.cooldown:
        rate *= (1 - middle) / recipe.cooldown
    return float(rate)
