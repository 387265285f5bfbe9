"""Cost: error against seconds or FLOPs, the Pareto front, and how much a proxy saves.

A cost is in any unit, the same throughout a call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lowres.errors import StudyError
from lowres.statistics.error_tables import SAME, has_runs, mean_errors, on_both
from lowres.statistics.estimate import Array

DIVERGED_ERROR = 1.0
"""Error of a diverged configuration in a mean over choices: it classifies no image."""


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
class SpeedUp:
    """The cost of a search on the target over that of a search on the proxy with equal regret.

    Attributes:
        regret: target error of the proxy's choice less the least, by mean errors; a share.
        proxy_cost: every configuration once on the proxy, and the choice once on the target.
        target_runs: configurations to try on the target, in random order, for that regret.
        target_cost: their cost.
        ratio: target_cost / proxy_cost; None if `reason` says why.
        reason: why there is no ratio.
    """

    regret: float | None
    proxy_cost: float | None
    target_runs: float | None
    target_cost: float | None
    ratio: float | None
    reason: str = ""


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
    if len(costs) != len(errors):
        raise StudyError(f"{len(costs)} runs have costs and {len(errors)} have errors")
    spent, best = 0.0, math.inf
    steps: list[tuple[float, float]] = []
    for number, (cost, error) in enumerate(zip(costs, errors, strict=True)):
        at, value = _trace(cost, error, number)
        for here, reached in zip(at.tolist(), value.tolist(), strict=True):
            if reached < best:
                best = reached
                steps.append((spent + here, best))
        spent += float(at[-1]) if len(at) else 0.0
    if not steps:
        return None
    if steps[-1][0] < spent:
        steps.append((spent, best))
    return Curve(tuple(cost for cost, _ in steps), tuple(error for _, error in steps))


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


def hypervolume(
    costs: ArrayLike,
    errors: ArrayLike,
    reference: tuple[float, float],
    *,
    log_cost: bool = False,
) -> float:
    """Measure the area between a front and a reference point: more is better.

    Args:
        costs: `(N,)`, above 0 with `log_cost`.
        errors: `(N,)`, shares.
        reference: cost and error that bound the area from above; points beyond add nothing.
        log_cost: measure cost in decades, log10.

    Returns:
        The area, in cost (or decades) times share of error.

    Raises:
        StudyError: the arrays differ in shape, or a cost has no logarithm.
    """
    cost, error = _points(costs, errors)
    limit, worst = reference
    if log_cost:
        if not (cost > 0).all() or not limit > 0:
            raise StudyError("costs and the reference's cost must be above 0 for log_cost")
        cost, limit = np.log10(cost), math.log10(limit)
    inside = (cost < limit) & (error < worst)
    area = 0.0
    for here, reached in sorted(zip(cost[inside].tolist(), error[inside].tolist(), strict=True)):
        if reached < worst:
            area += (limit - here) * (worst - reached)
            worst = reached
    return area


def speed_up(
    proxy: ArrayLike, target: ArrayLike, proxy_costs: ArrayLike, target_costs: ArrayLike
) -> SpeedUp:
    """Compare the cost of searching on the target with searching on the proxy, at equal regret.

    The proxy's search runs every configuration once on the proxy and its choice once on the
    target. The target's search runs configurations in random order and keeps the best. Its regret
    after m of n runs is a mean over all orders, in closed form, with linear interpolation between
    whole m. Mean errors count as true on both sides, so luck of the best flatters both; there is
    no interval.

    Args:
        proxy: `(configurations, seeds)` errors, shares, inf for diverged, nan for missing.
        target: the same configurations on the target.
        proxy_costs: `(configurations,)` cost of a run of each.
        target_costs: the same on the target, in the same unit.

    Raises:
        StudyError: the arrays do not fit, or a cost is not above 0.
    """
    first, second = on_both(proxy, target)
    cheap, costly = (_run_costs(costs, proxy, target) for costs in (proxy_costs, target_costs))
    if len(first) < 2:
        return SpeedUp(None, None, None, None, None, "fewer than 2 configurations on both sides")
    x, y = mean_errors(first), mean_errors(second)
    if np.isinf(x).all() or np.isinf(y).all():
        return SpeedUp(None, None, None, None, None, "all runs of one side diverged")
    chosen = int(x.argmin())
    proxy_cost = float(cheap.sum() + costly[chosen])
    truth = np.sort(np.minimum(y, DIVERGED_ERROR))
    regret = float(min(y[chosen], DIVERGED_ERROR) - truth[0])
    # The number of random configurations after which the expected regret is as small.
    regrets = np.round(expected_best(truth) - truth[0], SAME)
    # np.interp needs rising values; of equal regrets the fewest runs count.
    values, first_runs = np.unique(regrets, return_index=True)
    runs = float(np.interp(regret, values, first_runs + 1.0))
    target_cost = runs * float(costly.mean())
    return SpeedUp(regret, proxy_cost, runs, target_cost, target_cost / proxy_cost)


def expected_best(sorted_errors: Array) -> Array:
    """Return the mean of the least of m errors drawn without repeats, m from 1 to n: `(n,)`."""
    count = len(sorted_errors)
    means = []
    for drawn in range(1, count + 1):
        ways = [math.comb(count - 1 - place, drawn - 1) for place in range(count)]
        means.append(float(np.dot(ways, sorted_errors)) / math.comb(count, drawn))
    return np.array(means)


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


def _run_costs(costs: ArrayLike, proxy: ArrayLike, target: ArrayLike) -> Array:
    """Check costs and keep those of configurations with runs on both sides."""
    cost = np.asarray(costs, dtype=np.float64)
    both = has_runs(proxy) & has_runs(target)
    if cost.shape != both.shape or not (cost[both] > 0).all():
        raise StudyError(
            f"costs must be above 0, one for each of {len(both)} configurations; were "
            f"{cost.tolist()}"
        )
    return cost[both]
