"""The cost until a training reaches an error, over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from lowres.errors import StudyError
from lowres.statistics.error_tables import Figure, Interval


def first_at_most(errors: ArrayLike, target: float) -> int | None:
    """Return the place of the first error that is at most the target; None if there is none.

    Args:
        errors: (epochs,), shares from 0 to 1; nan or inf where a run diverged.
        target: a share.
    """
    reached = np.flatnonzero(np.asarray(errors, np.float64) <= target)
    return int(reached[0]) if len(reached) else None


@dataclass(frozen=True, slots=True)
class Spread:
    """How runs that differ in their seed alone scatter, in the logarithm of their cost.

    Attributes:
        deviation: standard deviation of one run.
        freedom: its degrees of freedom, 1 or more.
    """

    deviation: float
    freedom: int


def pooled_spread(groups: Iterable[Sequence[float]]) -> Spread | None:
    """Pool the scatter of several configurations, which is steadier than that of a few seeds.

    Args:
        groups: costs of the runs of each configuration; inf if a run never reached the error. Only
            configurations count of which two or more runs and all did.

    Returns:
        None if no configuration counts.
    """
    logs = [np.log(one) for one in groups if len(one) > 1 and np.isfinite(one).all()]
    freedom = sum(len(one) - 1 for one in logs)
    if not freedom:
        return None
    squares = math.fsum(float(((one - one.mean()) ** 2).sum()) for one in logs)
    return Spread(math.sqrt(squares / freedom), freedom)


def time_to_error(costs: Sequence[float], spread: Spread | None = None) -> Figure:
    """Estimate the cost of reaching an error from the costs of runs that differ in their seed.

    Args:
        costs: of each run, in any unit; inf if it never reached the error.
        spread: scatter of a run; None for that of these runs alone.

    Returns:
        The geometric mean with its 95 % interval by Student's t on logarithms. It has no value if a
        run never reached the error: the mean of the others would be too small.

    Raises:
        StudyError: a cost is not above 0.
    """
    found = np.asarray(costs, np.float64)
    if found.ndim != 1 or not (found > 0).all():
        raise StudyError(f"costs must be one number above 0 for each run, was {costs}")
    reached = int(np.isfinite(found).sum())
    if not len(found) or reached < len(found):
        return Figure(None, None, f"{reached} of {len(found)} runs reach it")
    mean = float(np.log(found).mean())
    spread = spread or pooled_spread([costs])
    if spread is None:
        return Figure(math.exp(mean), None, "one run has no interval")
    if not spread.deviation:
        return Figure(math.exp(mean), None, "all runs have the same cost")
    half = float(stdtrit(spread.freedom, 0.975)) * spread.deviation / math.sqrt(len(found))
    return Figure(math.exp(mean), Interval(math.exp(mean - half), math.exp(mean + half)))
