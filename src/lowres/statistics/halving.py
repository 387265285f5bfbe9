"""Successive halving, read off a table of finished runs: what it would pay and lose.

The question is about a new search of this kind, whose runs have other seeds. The runs on file alone
do not answer it: with one seed they are one search. So the runs of a rung are drawn anew, from the
posterior of its true errors and its noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lowres.errors import StudyError
from lowres.statistics.answers import SURE
from lowres.statistics.error_tables import Array, checked, has_runs
from lowres.statistics.posterior import Posterior, posterior
from lowres.statistics.verdict import Axes
from lowres.text import points

REPEATS, FEWEST_REPEATS = 1000, 100
"""Simulated searches: each draws a truth, and one new run of each configuration on each rung. Above
2,000 configurations they are fewer, so that an array takes 16 MB."""

MOST_DRAWN = 2_000_000
"""Runs that are drawn for a rung, unless the fewest repeats draw more."""


@dataclass(frozen=True, slots=True)
class Halving:
    """A search by successive halving with one new run of a configuration on a rung.

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
            f"runs of one seed{paid}, and lost {points(self.expected, 1)} points on average "
            f"(at most {points(self.most, 1)}, 95 %)."
        )


def halving(
    rungs: Sequence[ArrayLike],
    found: Posterior,
    bearable: float,
    *,
    axes: Axes = (),
    costs: Sequence[float] = (),
    whole: float = math.nan,
    one_in: float = 3.0,
    seed: int = 0,
) -> Halving:
    """Simulate searches by halving with what finished runs show of each rung.

    Each repeat draws the true errors of each rung from their posterior, and from them one run of
    each configuration. It diverges as often as the runs on file. All start on the first rung; the
    best of a rung continue. The choice is the best on the last rung.

    Args:
        rungs: for each rung `(configurations, seeds)` errors, shares, inf for diverged, nan for
            missing; the last one is the target.
        found: draws of the target's true errors.
        axes: the values of each swept field, one a configuration, as for `judge`.
        bearable: regret that does not matter, a share.
        costs: of one run on each rung, in any unit; none if they are unknown. If runs continue from
            rung to rung, what each rung adds.
        whole: cost of one run on the target from its start.
        one_in: the best one in `one_in` configurations continues, at least one.
        seed: of the draws.

    Raises:
        StudyError: there is one rung, or rungs and axes differ in their configurations.
    """
    tables = [checked(rung, f"rung {number}") for number, rung in enumerate(rungs, 1)]
    columns = list(axes.values()) if isinstance(axes, Mapping) else list(axes)
    if len(tables) < 2 or len({len(values) for values in (*tables, *columns)}) > 1:
        raise StudyError(
            "halving needs two or more rungs with the same configurations, had rungs of "
            f"{[len(table) for table in tables]} and axes of {[len(values) for values in columns]}"
        )
    if one_in <= 1:
        raise StudyError(f"one_in must be above 1, was {one_in:g}")
    complete = np.logical_and.reduce([has_runs(table) for table in tables])
    rows = np.flatnonzero(complete)
    if not len(rows):
        raise StudyError("halving needs a configuration with a run on every rung")
    random = np.random.default_rng(seed)
    repeats = max(FEWEST_REPEATS, min(REPEATS, MOST_DRAWN // len(tables[-1])))
    truth = _truths(tables[-1], found, repeats, random)
    alive = np.broadcast_to(rows, (repeats, len(rows)))
    runs = []
    for place, table in enumerate(tables, 1):
        runs.append(alive.shape[1])
        last = place == len(tables)
        of_rung = found if last else posterior(table, columns, alike=tables[-1], seed=seed)
        drawn = truth.copy() if last else _truths(table, of_rung, repeats, random)
        if of_rung is not None:
            drawn += of_rung.noise * random.standard_normal(drawn.shape)
        present = np.maximum((~np.isnan(table)).sum(axis=1), 1)
        diverged = np.isinf(table).sum(axis=1) / present
        drawn[random.random(drawn.shape) < diverged] = np.inf
        drawn = np.take_along_axis(drawn, alive, axis=1)
        kept = 1 if last else max(1, math.ceil(alive.shape[1] / one_in))
        alive = np.take_along_axis(alive, drawn.argsort(axis=1, kind="stable")[:, :kept], axis=1)
    modelled = truth[:, found.places]
    chosen = truth[np.arange(repeats), alive[:, 0]]
    # Beyond the modelled ones lie the worst configurations, and those that diverged.
    beyond = ~np.isin(alive[:, 0], found.places)
    regrets = np.where(beyond, modelled.max(axis=1), chosen) - modelled.min(axis=1)
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


def _truths(
    table: Array, found: Posterior | None, repeats: int, random: np.random.Generator
) -> Array:
    """Draw true errors: `(repeats, configurations)`; as observed where they are not modelled."""
    trained = np.isfinite(table)
    totals = np.where(trained, table, 0.0).sum(axis=1)
    means = np.where(trained.any(axis=1), totals / np.maximum(trained.sum(axis=1), 1), np.inf)
    errors = np.tile(means, (repeats, 1))
    if found is not None:
        drawn = random.integers(0, len(found.errors), repeats)
        errors[:, found.places] = found.errors[drawn]
    return errors
