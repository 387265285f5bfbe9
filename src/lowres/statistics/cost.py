"""Cost: error against seconds or FLOPs, and the Pareto front.

A cost is in any unit, the same throughout a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lowres.errors import StudyError
from lowres.statistics.error_tables import Array


@dataclass(frozen=True, slots=True)
class Curve:
    """Best error reached by a cost: a step curve.

    Attributes:
        cost: the costs at which the best error falls, rising; the last one is the total cost.
        error: best error from that cost on, share; at the last cost the same as before it.
    """

    cost: tuple[float, ...]
    error: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Traces:
    """Cost and error of several runs after each epoch, one run behind the other.

    Attributes:
        cost: `(epochs of all runs,)` costs from the start of its run, rising within a run.
        error: the same for errors, shares; inf if not measured or diverged.
        ends: `(runs,)` where each run ends in these.
    """

    cost: Array
    error: Array
    ends: NDArray[np.intp]

    @classmethod
    def of(cls, costs: Sequence[ArrayLike], errors: Sequence[ArrayLike]) -> Self:
        """Join the runs; see `anytime`.

        Raises:
            StudyError: costs and errors do not fit, or costs fall.
        """
        if len(costs) != len(errors):
            raise StudyError(f"{len(costs)} runs have costs and {len(errors)} have errors")
        runs = [_trace(*each, n) for n, each in enumerate(zip(costs, errors, strict=True))]
        cost, error = (
            np.concatenate([run[side] for run in runs]) if runs else np.zeros(0) for side in (0, 1)
        )
        ends = np.cumsum([len(run[0]) for run in runs], dtype=np.intp)
        return cls(cost, np.where(np.isnan(error), np.inf, error), ends)

    def curve(self, order: Sequence[int] | NDArray[np.integer[Any]] | None = None) -> Curve | None:
        """Return the best error by each cost if the runs are made in this order, else as given."""
        places = np.arange(len(self.ends)) if order is None else np.asarray(order, dtype=np.intp)
        sizes = np.diff(self.ends, prepend=0)
        places = places[sizes[places] > 0]
        if not len(places):
            return None
        taken = sizes[places]
        behind = np.cumsum(taken)
        first = np.repeat(self.ends[places] - taken - (behind - taken), taken)
        rows = first + np.arange(behind[-1])
        totals = self.cost[self.ends[places] - 1]
        spent = np.cumsum(totals)
        cost = self.cost[rows] + np.repeat(spent - totals, taken)
        best = np.minimum.accumulate(self.error[rows])
        falls = best < np.concatenate([[np.inf], best[:-1]])
        if not falls.any():
            return None
        steps, reached = cost[falls].tolist(), best[falls].tolist()
        if steps[-1] < spent[-1]:
            steps, reached = [*steps, float(spent[-1])], [*reached, reached[-1]]
        return Curve(tuple(steps), tuple(reached))


def anytime(costs: Sequence[ArrayLike], errors: Sequence[ArrayLike]) -> Curve | None:
    """Return the best error reached by each cost if runs are made one after another.

    Args:
        costs: of each run, its cost from its start to the end of each epoch, rising.
        errors: of each run, its error after each of these epochs; inf if it diverged, nan if it
            was not measured.

    Returns:
        The curve; None if no error was measured.

    Raises:
        StudyError: costs and errors do not fit, or costs fall.
    """
    return Traces.of(costs, errors).curve()


def best_by(curve: Curve, cost: float) -> float | None:
    """Return the best error that a curve has reached by a cost; None before its first."""
    place = int(np.searchsorted(curve.cost, cost, side="right"))
    return curve.error[place - 1] if place else None


def pareto_front(costs: ArrayLike, errors: ArrayLike) -> NDArray[np.bool_]:
    """Mark the points that no other point beats: as cheap and as good, and better in one.

    Args:
        costs: `(N,)`.
        errors: `(N,)`; points that diverged or are missing are never on the front.

    Raises:
        StudyError: the arrays differ in shape.
    """
    cost, error = _points(costs, errors)
    as_good = (cost[:, None] <= cost) & (error[:, None] <= error)
    better = (cost[:, None] < cost) | (error[:, None] < error)
    return np.asarray(np.isfinite(error) & ~(as_good & better).any(axis=0))


def _trace(costs: ArrayLike, errors: ArrayLike, number: int) -> tuple[Array, Array]:
    at, value = np.asarray(costs, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if at.shape != value.shape or at.ndim != 1:
        raise StudyError(
            f"run {number} must have an error for each cost, had {at.shape} and {value.shape}"
        )
    if not np.isfinite(at).all() or (at < 0).any() or (np.diff(at) < 0).any():
        raise StudyError(f"costs of run {number} must rise from 0 or more, were {at.tolist()}")
    return at, value


def _points(costs: ArrayLike, errors: ArrayLike) -> tuple[Array, Array]:
    cost, error = np.asarray(costs, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if cost.shape != error.shape or cost.ndim != 1:
        raise StudyError(
            f"costs and errors must be two rows of one length, were {cost.shape} and {error.shape}"
        )
    if not np.isfinite(cost).all():
        raise StudyError("costs must be finite")
    return cost, error
