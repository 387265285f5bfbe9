"""The cost until a training reaches an error, over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def time_to_error(costs: Sequence[float]) -> Figure:
    """Estimate the cost of reaching an error from the costs of runs that differ in their seed.

    Args:
        costs: of each run, in any unit; inf if it never reached the error.

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
    logs = np.log(found)
    mean = float(logs.mean())
    if len(logs) < 2:
        return Figure(math.exp(mean), None, "one run has no interval")
    if not logs.std():
        return Figure(math.exp(mean), None, "all runs have the same cost")
    half = float(stdtrit(len(logs) - 1, 0.975) * logs.std(ddof=1) / math.sqrt(len(logs)))
    return Figure(math.exp(mean), Interval(math.exp(mean - half), math.exp(mean + half)))
