"""The least error that any training has reached by a cost, along all trainings, with intervals.

A point is a configuration after an epoch: its mean cost and mean error over seeds. The front has
the points that no point with the same or a smaller cost beats. A point in the middle of a training
has not seen the end of its schedule: a training planned to be that short may do better.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from lowres.errors import StudyError
from lowres.statistics.error_tables import Array, Interval, Places

DRAWS = 1_000
"""Resamples of the seeds behind a probability."""

MOST_RIVALS = 40
"""Configurations that compete in the resamples: those that come nearest to the front."""

MOST_EPOCHS = 100
"""Epochs of a configuration that are read, evenly spaced, the last one among them."""


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """A configuration after an epoch, with the least mean error of all that cost no more.

    Attributes:
        configuration: its place.
        epoch: from 1.
        cost: mean over seeds, in any unit.
        error: mean over seeds, a share.
        interval: of the error, 95 %; None if no configuration has two seeds.
        p: probability that this configuration, or another of its group, has the least error by
            this cost; None likewise.
    """

    configuration: int
    epoch: int
    cost: float
    error: float
    interval: Interval | None
    p: float | None


def anytime_front(
    costs: Sequence[ArrayLike],
    errors: Sequence[ArrayLike],
    groups: Sequence[Hashable] = (),
    *,
    seed: int = 0,
) -> list[FrontPoint]:
    """Return the front along trainings, the cheapest point first.

    The noise of a run after an epoch is pooled over all configurations with as many epochs. The
    interval is a t interval with it. Probabilities are by resampling whole curves of residuals.

    Args:
        costs: of each configuration `(epochs,)`, above 0 and rising.
        errors: of each configuration `(seeds, epochs)`, shares. A configuration with a value that
            is not finite diverged, and is left out.
        groups: of each configuration what it is an instance of, such as a network at one of several
            learning rates; a probability is that of any configuration of the group. Default: each
            is its own.
        seed: of the resamples.

    Raises:
        StudyError: costs and errors do not fit.
    """
    tables = [
        (np.asarray(cost, np.float64), np.asarray(error, np.float64))
        for cost, error in zip(costs, errors, strict=True)
    ]
    for cost, error in tables:
        if error.ndim != 2 or error.shape[1:] != cost.shape:
            raise StudyError(
                f"errors must be (seeds, epochs) for costs (epochs,), were {error.shape} for "
                f"{cost.shape}"
            )
    kept = [n for n, (_, error) in enumerate(tables) if error.size and np.isfinite(error).all()]
    read = {n: _epochs_read(len(tables[n][0])) for n in kept}
    of_point = np.array([(n, epoch) for n in kept for epoch in read[n]], np.intp).reshape(-1, 2)
    if not len(of_point):
        return []
    cost = np.array([tables[n][0][epoch] for n, epoch in of_point])
    mean = np.array([tables[n][1][:, epoch].mean() for n, epoch in of_point])
    by_cost = np.lexsort((mean, cost))
    of_point, cost, mean = of_point[by_cost], cost[by_cost], mean[by_cost]
    least = np.minimum.accumulate(mean)
    falls = np.flatnonzero(mean < np.concatenate([[np.inf], least[:-1]]))
    pools = _residuals([tables[n][1] for n in kept])
    if not pools:
        return [
            FrontPoint(int(n), int(epoch) + 1, float(cost[at]), float(mean[at]), None, None)
            for at in falls
            for n, epoch in [of_point[at]]
        ]
    nearest = np.full(len(tables), np.inf)
    np.minimum.at(nearest, of_point[:, 0], mean - least)
    rivals = np.argsort(nearest, kind="stable")[:MOST_RIVALS]
    competing = np.isin(of_point[:, 0], rivals)
    holders = _holders(tables, of_point[competing], mean[competing], pools, seed)
    named = {group: place for place, group in enumerate(groups)}
    group_of = np.array([named[group] for group in groups] or range(len(tables)), np.intp)
    by_cost_of_each = np.searchsorted(cost[competing], cost, side="right") - 1
    found = []
    for at in falls:
        n, epoch = (int(value) for value in of_point[at])
        seeds, epochs = tables[n][1].shape
        interval = None
        if epochs in pools:
            pool, freedom = pools[epochs]
            deviation = math.sqrt(float((pool[:, epoch] ** 2).mean()) / seeds)
            half = float(stdtrit(freedom, 0.975)) * deviation
            interval = Interval(float(mean[at]) - half, float(mean[at]) + half)
        p = float((group_of[holders[:, by_cost_of_each[at]]] == group_of[n]).mean())
        found.append(FrontPoint(n, epoch + 1, float(cost[at]), float(mean[at]), interval, p))
    return found


def _epochs_read(epochs: int) -> list[int]:
    count = min(epochs, MOST_EPOCHS)
    return sorted({round((n + 1) * epochs / count) - 1 for n in range(count)})


def _residuals(tables: Sequence[Array]) -> dict[int, tuple[Array, int]]:
    """Pool the residual curves by their number of epochs, with the degrees of freedom.

    Each is scaled so that its mean square is the variance of a run.
    """
    groups: dict[int, list[Array]] = defaultdict(list)
    freedom: dict[int, int] = defaultdict(int)
    for table in tables:
        seeds, epochs = table.shape
        if seeds > 1:
            groups[epochs].append((table - table.mean(axis=0)) * math.sqrt(seeds / (seeds - 1)))
            freedom[epochs] += seeds - 1
    return {epochs: (np.concatenate(of), freedom[epochs]) for epochs, of in groups.items()}


def _holders(
    tables: Sequence[tuple[Array, Array]],
    of_point: Places,
    mean: Array,
    pools: dict[int, tuple[Array, int]],
    seed: int,
) -> Array:
    """Return `(DRAWS, points)` which configuration has the least error by the cost of each point.

    A configuration whose noise is unknown, because no other has as many epochs, stays at its mean.
    """
    random = np.random.default_rng(seed)
    drawn = np.broadcast_to(mean, (DRAWS, len(mean))).copy()
    for n in np.unique(of_point[:, 0]).tolist():
        seeds, epochs = tables[n][1].shape
        if epochs in pools:
            pool, _ = pools[epochs]
            here = of_point[:, 0] == n
            chosen = random.integers(len(pool), size=(DRAWS, seeds))
            read = pool[:, of_point[here, 1]]
            drawn[:, here] += read[chosen].mean(axis=1)
    least = np.minimum.accumulate(drawn, axis=1)
    places = np.where(drawn <= least, np.arange(len(mean)), 0)
    return np.asarray(of_point[np.maximum.accumulate(places, axis=1), 0])
