"""Successive halving, read off a table of finished runs: what it would have paid and lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lowres.errors import StudyError
from lowres.statistics.answers import SURE
from lowres.statistics.error_tables import Array, checked, has_runs
from lowres.statistics.posterior import Posterior
from lowres.text import points

REPEATS = 1000
"""Simulated searches: each draws one run of each configuration on each rung."""


@dataclass(frozen=True, slots=True)
class Halving:
    """A search by successive halving on runs that exist, with one seed.

    Attributes:
        runs: configurations that run on each rung, the cheapest first.
        one_in: the best one in `one_in` configurations continues on the next rung.
        paid: its cost over that of one run of every configuration on the target; None if the costs
            are unknown.
        expected: mean of the true regret of its choice on the target, a share.
        most: that regret is at most this with probability 0.95.
        p_bearable: probability that it is at most the bearable one.
    """

    runs: tuple[int, ...]
    one_in: float
    paid: float | None
    expected: float
    most: float
    p_bearable: float

    def sentence(self, rungs: str) -> str:
        """Return what the search would have paid and lost; `rungs` lists them: `8, 16, 32 px`."""
        runs = " + ".join(map(str, self.runs))
        paid = "" if self.paid is None else f", {self.paid:.2f} of the cost of all on the target"
        return (
            f"Successive halving over {rungs}, one in {self.one_in:g} kept, would have made {runs} "
            f"runs{paid}, and lost {points(self.expected, 1)} points on average (at most "
            f"{points(self.most, 1)}, 95 %)."
        )


def halving(
    rungs: Sequence[ArrayLike],
    found: Posterior,
    bearable: float,
    *,
    costs: Sequence[float] = (),
    whole: float = math.nan,
    one_in: float = 3.0,
    seed: int = 0,
) -> Halving:
    """Repeat a search by halving with the errors of runs that are finished.

    Each repeat draws a run of each configuration on each rung, and a truth from the posterior. All
    start on the first rung; the best of a rung continue. The choice is the best on the last rung.

    Args:
        rungs: for each rung `(configurations, seeds)` errors, shares, inf for diverged, nan for
            missing; the last one is the target.
        found: draws of the target's true errors.
        bearable: regret that does not matter, a share.
        costs: of one run on each rung, in any unit; none if they are unknown. If runs continue from
            rung to rung, what each rung adds.
        whole: cost of one run on the target from its start.
        one_in: the best one in `one_in` configurations continues, at least one.
        seed: of the draws.

    Raises:
        StudyError: there is one rung, or they differ in their configurations.
    """
    tables = [checked(rung, f"rung {number}") for number, rung in enumerate(rungs, 1)]
    if len(tables) < 2 or len({len(table) for table in tables}) > 1:
        raise StudyError(
            "halving needs two or more rungs with the same configurations, had "
            f"{[len(table) for table in tables]}"
        )
    if one_in <= 1:
        raise StudyError(f"one_in must be above 1, was {one_in:g}")
    complete = np.logical_and.reduce([has_runs(table) for table in tables])
    rows = np.flatnonzero(complete)
    if not len(rows):
        raise StudyError("halving needs a configuration with a run on every rung")
    random = np.random.default_rng(seed)
    alive = np.broadcast_to(np.arange(len(rows)), (REPEATS, len(rows)))
    runs = []
    for table in tables:
        runs.append(alive.shape[1])
        drawn = np.take_along_axis(_one_run(table[rows], random), alive, axis=1)
        kept = max(1, math.ceil(alive.shape[1] / one_in)) if table is not tables[-1] else 1
        alive = np.take_along_axis(alive, drawn.argsort(axis=1, kind="stable")[:, :kept], axis=1)
    truth = found.errors[random.integers(0, len(found.errors), REPEATS)]
    errors = np.full((REPEATS, len(tables[-1])), np.inf)
    errors[:, found.places] = truth
    chosen = errors[np.arange(REPEATS), rows[alive[:, 0]]]
    # Beyond the modelled ones lie the worst configurations, and those that diverged.
    chosen = np.where(np.isfinite(chosen), chosen, truth.max(axis=1))
    regrets = chosen - truth.min(axis=1)
    paid = None
    known = len(costs) == len(tables) and all(math.isfinite(cost) for cost in costs)
    if known and whole > 0:
        spent = sum(number * cost for number, cost in zip(runs, costs, strict=True))
        paid = spent / (len(rows) * whole)
    return Halving(
        tuple(runs),
        one_in,
        paid,
        float(regrets.mean()),
        float(np.quantile(regrets, SURE)),
        float((regrets <= bearable).mean()),
    )


def _one_run(table: Array, random: np.random.Generator) -> Array:
    """Draw a run of each configuration: `(REPEATS, configurations)`.

    A complete table is drawn by seeds, because runs of one seed may share their noise.
    """
    missing = np.isnan(table)
    if not missing.any():
        return np.asarray(table.T[random.integers(0, table.shape[1], REPEATS)])
    order = np.where(missing, 2.0, random.random((REPEATS, *table.shape))).argmin(axis=2)
    return np.asarray(table[np.arange(len(table)), order])
