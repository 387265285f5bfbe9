"""Rank correlations of a proxy with a target, and their ceiling: the most that seed noise allows.

Both coefficients are written for weighted configurations, so that all resamples of a bootstrap are
one matrix product. With whole weights they equal SciPy's coefficients on a sample in which each
configuration is repeated as often as its weight says.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lowres.errors import StudyError
from lowres.statistics.error_tables import (
    Array,
    Figure,
    Interval,
    checked,
    counts_of,
    mean_errors,
    on_both,
    quantile_interval,
)

Coefficient = Literal["kendall", "spearman"]

RESAMPLES = 2_000
"""At 2,000 the ends of an interval move by a hundredth from one bootstrap seed to another."""

FEWEST = 5
"""Configurations below which there is no interval: of 4, one in 24 orders is right by chance."""

TURNED = 3
"""An interval reaches at least as far as the figure would move if this many more pairs had the
other order. A bootstrap of configurations in perfect order has no width at all; by the rule of
three, an event that never happened in n tries may have a probability of 3 / n."""

MOST_SPLITS = 64
"""Splits of the seeds in halves that a ceiling averages; if there are more, a random choice."""


def rank_correlation(
    proxy: ArrayLike,
    target: ArrayLike,
    coefficient: Coefficient = "kendall",
    *,
    seed: int = 0,
) -> Figure:
    """Correlate the ranks of mean errors on a proxy with those on a target.

    The estimate is of the coefficient's mean over studies like this one: as many configurations
    from the same population, as many seeds. Seed noise is part of it, as it is of `ceiling`.

    The interval is a percentile bootstrap over configurations, each with all its seeds and so with
    their noise. Drawing the seeds again within it would add that noise a second time: measured in
    docs/statistics.md.

    Args:
        proxy: `(configurations, seeds)` errors, shares, inf for diverged, nan for missing.
        target: the same configurations on the target, with any number of seeds.
        coefficient: kendall (tau-b) or spearman.
        seed: of the bootstrap.

    Raises:
        StudyError: the tables do not fit.
    """
    x, y = (mean_errors(table) for table in on_both(proxy, target))
    reason = _no_ranks(x, "proxy") or _no_ranks(y, "target")
    if reason:
        return Figure(None, None, reason)
    value = float(weighted(coefficient, np.ones((1, len(x))), x, y)[0])
    if len(x) < FEWEST:
        return Figure(value, None, f"{len(x)} configurations are too few for an interval")
    draws = weighted(coefficient, resampled(len(x), seed), x, y)
    return Figure(value, _widened(quantile_interval(draws), value, coefficient, len(x)))


def ceiling(
    target: ArrayLike,
    coefficient: Coefficient = "kendall",
    *,
    seeds: float | None = None,
    seed: int = 0,
) -> Figure:
    """Estimate the correlation that seed noise alone allows.

    It is the mean rank correlation between the target's mean errors and those of an independent
    repetition of the target: same configurations, other seeds, `seeds` of them on either side. A
    proxy that orders configurations exactly as the target does, with equal noise, reaches this.

    The seeds are split into two halves in every way, and the coefficient between halves is
    averaged. A half of S seeds has m = floor(S / 2) seeds, so the figure is extrapolated from m to
    `seeds` by Spearman and Brown's formula, r' = k r / (1 + (k - 1) r) with k = seeds / m, on the
    normal correlation r of the coefficient: sin(pi tau / 2), or 2 sin(pi rho / 6).

    Args:
        target: `(configurations, seeds)` errors; configurations with a single run are omitted.
        coefficient: kendall (tau-b) or spearman.
        seeds: seeds on each side of the comparison that it limits; by default as many as the
            target has (the harmonic mean, if that differs between configurations).
        seed: of the bootstrap over configurations.

    Raises:
        StudyError: target is not a table of errors, or `seeds` is below 1.
    """
    table = checked(target, "target errors")
    if seeds is not None and not seeds >= 1:
        raise StudyError(f"seeds of a ceiling must be 1 or more, was {seeds}")
    table = table[counts_of(table) > 1]
    if len(table) < 2:
        return Figure(None, None, "one seed: the noise of the target is unknown")
    reason = _no_ranks(mean_errors(table), "target")
    if reason:
        return Figure(None, None, reason)
    halves, size = _halves(table, seed)
    per_side = seeds or float(len(table) / np.sum(1 / counts_of(table)))
    everything = np.vstack([np.ones(len(table)), resampled(len(table), seed)])
    between = [weighted(coefficient, everything, *half) for half in halves]
    draws = np.mean(between, axis=0)
    if not math.isfinite(draws[0]):
        return Figure(None, None, "with half of the seeds all errors of the target are equal")
    value = _extrapolated(draws[0], coefficient, per_side / size)
    if len(table) < FEWEST:
        return Figure(value, None, f"{len(table)} configurations are too few for an interval")
    found = _widened(quantile_interval(draws[1:]), float(draws[0]), coefficient, len(table))
    low, high = (
        _extrapolated(end, coefficient, per_side / size) for end in (found.low, found.high)
    )
    return Figure(value, Interval(low, high))


@lru_cache(maxsize=4)  # all figures of a pair use the same samples
def resampled(configurations: int, seed: int) -> Array:
    """Draw how often each bootstrap sample has each configuration: `(resamples, count)`."""
    random = np.random.default_rng(seed)
    share = np.full(configurations, 1 / configurations)
    weights = random.multinomial(configurations, share, size=RESAMPLES).astype(np.float64)
    weights.flags.writeable = False
    return weights


def weighted(coefficient: Coefficient, weights: Array, x: Array, y: Array) -> Array:
    """Correlate ranks of weighted configurations.

    Args:
        coefficient: kendall (tau-b) or spearman.
        weights: `(samples, configurations)`, 0 or more.
        x: `(configurations,)` errors, inf allowed.
        y: the same.

    Returns:
        `(samples,)`; nan if all of x or all of y in a sample are equal.
    """
    if coefficient == "kendall":
        return _weighted_kendall(weights, x, y)
    if coefficient == "spearman":
        return _weighted_spearman(weights, x, y)
    raise StudyError(f"coefficient must be kendall or spearman, was {coefficient!r}")


def _order(values: Array) -> Array:
    """Compare every value with every other: 1 above, -1 below, 0 equal."""
    above = values[:, None] > values[None, :]
    return np.asarray(above.astype(np.float64) - above.T)


def _weighted_kendall(weights: Array, x: Array, y: Array) -> Array:
    first, second = _order(x), _order(y)
    agreement = ((weights @ (first * second)) * weights).sum(axis=1)
    return _divided(agreement, np.sqrt(_untied(weights, first) * _untied(weights, second)))


def _untied(weights: Array, order: Array) -> Array:
    """Count the pairs with an order in each sample, twice."""
    pairs = order * order
    if pairs.sum() == len(order) ** 2 - len(order):  # no tie: the usual case, without a product
        return np.asarray(weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1))
    return np.asarray(((weights @ pairs) * weights).sum(axis=1))


def _weighted_spearman(weights: Array, x: Array, y: Array) -> Array:
    share = weights / weights.sum(axis=1, keepdims=True)
    first, second = (share @ _order(values).T for values in (x, y))  # twice the centred ranks

    def covariance(a: Array, b: Array) -> Array:
        return np.asarray((share * a * b).sum(axis=1))

    spread = np.sqrt(covariance(first, first) * covariance(second, second))
    return _divided(covariance(first, second), spread)


def _divided(above: Array, below: Array) -> Array:
    # Rounding turns a spread of 0 into one of about 1e-16.
    found = np.full(len(above), np.nan)
    np.divide(above, below, out=found, where=below > 1e-12)
    return np.asarray(np.clip(found, -1.0, 1.0))


def _no_ranks(means: Array, name: str) -> str:
    """Return why there is no ranking; an empty text if there is one."""
    if len(means) < 2:
        have = "1 configuration has" if len(means) else "no configuration has"
        return f"{have} runs on both sides, and a ranking needs two"
    if np.isinf(means).all():
        return f"all runs on the {name} diverged"
    if (means == means[0]).all():
        return f"all configurations have the same error on the {name}"
    return ""


def _widened(
    interval: Interval, value: float, coefficient: Coefficient, configurations: int
) -> Interval:
    """Widen an interval to where `TURNED` pairs in the other order would move the figure."""
    if coefficient == "kendall":
        away = 4 * TURNED / (configurations**2 - configurations)
    else:  # most if all are pairs of one configuration, which then moves as many places
        away = 6 * (TURNED**2 + TURNED) / (configurations**3 - configurations)
    low, high = value - away, value + away
    return Interval(max(-1.0, min(interval.low, low)), min(1.0, max(interval.high, high)))


def _halves(table: Array, seed: int) -> tuple[list[tuple[Array, Array]], int]:
    """Split the seeds into disjoint halves in every way; return their mean errors and size."""
    fewest = int(counts_of(table).min())
    # Seeds are exchangeable, so runs can move to the front of their row.
    packed = np.take_along_axis(table, np.argsort(np.isnan(table), axis=1, kind="stable"), axis=1)
    size = fewest // 2
    splits = _splits(fewest, size, seed)
    means = [tuple(mean_errors(packed[:, list(half)]) for half in split) for split in splits]
    return [(first, second) for first, second in means], size


def _splits(count: int, size: int, seed: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    if math.comb(count, size) * math.comb(count - size, size) // 2 > MOST_SPLITS:
        random = np.random.default_rng(seed)
        orders = [random.permutation(count).tolist() for _ in range(MOST_SPLITS)]
        return [(tuple(order[:size]), tuple(order[size : 2 * size])) for order in orders]
    every = combinations(range(count), size)
    pairs = ((one, other) for one, other in combinations(every, 2))
    return [(one, other) for one, other in pairs if not set(one) & set(other)]


def _extrapolated(value: float, coefficient: Coefficient, factor: float) -> float:
    """Extrapolate a coefficient between two halves to `factor` times as many seeds."""
    value = max(0.0, value)  # its true value is not negative; noise can make it so
    normal = math.sin(math.pi * value / 2)
    if coefficient == "spearman":
        normal = 2 * math.sin(math.pi * value / 6)
    more = min(1.0, factor * normal / (1 + (factor - 1) * normal))
    if coefficient == "spearman":
        return 6 / math.pi * math.asin(more / 2)
    return 2 / math.pi * math.asin(more)
