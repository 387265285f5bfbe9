"""Regret: the error on the target that choosing on the proxy costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lowres.errors import StudyError, require
from lowres.statistics.error_tables import counts_of, has_runs, mean_errors, on_both
from lowres.statistics.estimate import TAILS, Array, Figure, Interval, Places, quantile_interval

stats = require("scipy.stats", "study")

DRAWS = 4_000
"""Draws of the true errors; ends of intervals then move by a few hundredths of their length."""

DIVERGED_CHOICE = "the proxy's choice diverged on the target"

FEWEST = 3
"""Configurations below which their spread, and so an interval, is not estimated."""


@dataclass(frozen=True, slots=True)
class Regret:
    """The cost of the proxy's choice, in error on the target.

    Attributes:
        k: how many of the proxy's best are tried on the target.
        chosen: rows of the proxy's k best in the tables, the best first.
        regret: estimate and interval, share of images (0.01 is a point of error).
        observed: the regret if mean errors were true errors; too high if the choice is wrong,
            because the best of noisy means is lucky. None if the choice diverged.
    """

    k: int
    chosen: tuple[int, ...]
    regret: Figure
    observed: float | None


def regret(proxy: ArrayLike, target: ArrayLike, *, k: int = 1, seed: int = 0) -> Regret:
    """Estimate the target's error of the proxy's choice less the least error of all configurations.

    Both are true errors: means over all possible seeds. The choice is the one of this study, by the
    proxy's mean errors; with k above 1 it is the best on the target among the proxy's k best.

    The least of noisy means lies below the least true error (winner's curse), so the means are not
    compared directly. A true error is modelled as normal around its mean error, shrunk towards the
    mean of all by the share of noise in their spread. The noise is that of the better half of the
    configurations. 4,000 sets of true errors are drawn, with the uncertainty of noise and spread;
    the figure is their median regret, the interval their middle 95 %. True errors need not be
    normal, so the lower end is at most that of Hsu's comparison with the best, which assumes no
    population.
    Configurations that diverged on the target cannot be its best; the model omits them.

    Args:
        proxy: `(configurations, seeds)` errors, shares, inf for diverged, nan for missing.
        target: the same configurations on the target.
        k: how many of the proxy's best are tried on the target.
        seed: of the draws.

    Raises:
        StudyError: the tables do not fit, or k is not from 1 to the number of configurations.
    """
    first, second = on_both(proxy, target)
    if not 1 <= k <= max(1, len(first)):
        raise StudyError(f"k must be from 1 to {len(first)} configurations, was {k}")
    x, y = mean_errors(first), mean_errors(second)
    rows = np.flatnonzero(has_runs(proxy) & has_runs(target))
    order = np.argsort(x, kind="stable")[:k]
    chosen = tuple(int(rows[place]) for place in order)
    reason = _impossible(x, y, order)
    if reason:
        return Regret(k, chosen, Figure(None, None, reason), None)
    observed = float(y[order].min() - y.min())
    trained = np.isfinite(y)
    places = np.flatnonzero(np.isin(np.flatnonzero(trained), order))
    return Regret(k, chosen, _true_regret(second[trained], places, observed, seed), observed)


def _impossible(x: Array, y: Array, order: Places) -> str:
    if len(x) < 2:
        have = "1 configuration has" if len(x) else "no configuration has"
        return f"{have} runs on both sides, and a choice needs two"
    if np.isinf(y).all():
        return "all runs on the target diverged"
    if np.isinf(x).all():
        return "all runs on the proxy diverged"
    if np.isinf(y[order]).all():
        return DIVERGED_CHOICE
    return ""


def _true_regret(table: Array, places: Places, observed: float, seed: int) -> Figure:
    means, counts = mean_errors(table), counts_of(table)
    noise, freedom = better_half_noise(table)
    if freedom == 0:
        return Figure(observed, None, "one seed: the noise of the target is unknown")
    if len(means) < FEWEST:
        return Figure(observed, None, f"{len(means)} configurations are too few for an interval")
    truths = _draw_true_errors(means, noise / counts, freedom, np.random.default_rng(seed))
    draws = truths[:, places].min(axis=1) - truths.min(axis=1)
    found = quantile_interval(draws)
    sure = _surely_lost(means, noise / counts, freedom, places)
    return Figure(float(np.median(draws)), Interval(min(found.low, sure), found.high))


def _surely_lost(means: Array, variances: Array, freedom: int, places: Places) -> float:
    """Return by how much the chosen are surely worse than another, by Hsu's comparison."""
    comparisons = len(places) * (len(means) - 1)
    t = stats.t.ppf(1 - TAILS[0] / comparisons, freedom)
    reach = t * np.sqrt(variances[places, None] + variances)
    least = means[places, None] - means - reach
    return max(0.0, float(least.min(axis=0).max()))


def better_half_noise(table: Array) -> tuple[float, int]:
    """Pool the variance between seeds over the half of configurations with the least error.

    Noise grows with error, and regret compares good configurations. At least three are pooled.

    Returns:
        The variance of a single run, and its degrees of freedom: 0 without a repeated run.
    """
    means = mean_errors(table)
    half = np.argsort(means, kind="stable")[: max(3, len(means) // 2)]
    part = table[half]
    deviations = np.where(np.isnan(part), 0.0, part - means[half, None])
    freedom = int((counts_of(part) - 1).sum())
    return (float((deviations**2).sum() / freedom), freedom) if freedom else (0.0, 0)


def _draw_true_errors(
    means: Array, variances: Array, freedom: int, random: np.random.Generator
) -> Array:
    """Draw `(draws, configurations)` true errors given mean errors and the variance of each."""
    count = len(means)
    noise = variances * (freedom / random.chisquare(freedom, size=(DRAWS, 1)))
    total = means.var(ddof=1) * (count - 1) / random.chisquare(count - 1, size=(DRAWS, 1))
    spread = np.maximum(total - noise.mean(axis=1, keepdims=True), 0.0)
    with_noise = spread + noise
    kept = np.divide(spread, with_noise, out=np.ones_like(noise), where=with_noise > 0)
    centre = means.mean() + kept * (means - means.mean())
    return np.asarray(centre + np.sqrt(kept * noise) * random.standard_normal((DRAWS, count)))
