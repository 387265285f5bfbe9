"""The learning rate of each step, by the recipe's schedule or by a function of the user's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from lowres.errors import RunError
from lowres.networks.imported import imported
from lowres.recipe import Recipe

Rates: TypeAlias = Callable[[int], float]
"""Returns the learning rate of a step, by its number from 0."""


def learning_rates(recipe: Recipe, steps: int) -> Rates:
    """Return the learning rates of a run of a number of steps.

    A schedule of yours is called with the step's number, the number of steps and its arguments. It
    must depend on nothing else, so that a run resumes, and a CUDA graph reads what it returned.

    Raises:
        RunError: `schedule` cannot be called, or (from the returned function) raises an error or
            returns no factor of 0 or more.
    """
    if ":" not in recipe.schedule:
        return lambda step: recipe.learning_rate(step, steps)
    function = imported(recipe.schedule, "schedule")

    def rate(step: int) -> float:
        try:
            factor = float(function(step, steps))
        except Exception as error:
            raise RunError(
                f"schedule {recipe.schedule} failed at step {step} of {steps}: {error!r}"
            ) from error
        if not (math.isfinite(factor) and factor >= 0):
            raise RunError(
                f"schedule {recipe.schedule} must return a factor on lr of 0 or more, returned "
                f"{factor} at step {step} of {steps}"
            )
        return recipe.learning_rate(step, steps, factor)

    return rate
