"""Rank correlations of a proxy with a target, and the most that seed noise lets them be.

Both coefficients are written for weighted configurations, so that all resamples of a bootstrap are
one matrix product. With whole weights they are the coefficients of SciPy on a sample in which each
configuration is repeated so often.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lowres.errors import StudyError
from lowres.statistics.estimate import Array, Figure, Interval, quantile_interval
from lowres.statistics.tables import checked, counts_of, mean_errors, on_both

Coefficient = Literal["kendall", "spearman"]

RESAMPLES = 2_000
"""At 2,000 the ends of an interval move by a hundredth from one bootstrap seed to another."""

FEWEST = 5
"""Configurations below which no interval is given: of 4, one in 24 orders is right by chance."""

TURNED = 3
"""An interval reaches at least as far as this many more pairs in the other order could take the
figure. A bootstrap of configurations in perfect order has no width at all; by the rule of three,
what never happened in n tries may have a probability of 3 / n."""

MOST_SPLITS = 64
"""Splits of the seeds in halves that a ceiling averages; beyond that many, a random choice."""


def rank_correlation(
    proxy: ArrayLike,
    target: ArrayLike,
    coefficient: Coefficient = "kendall",
    *,
    seed: int = 0,
) -> Figure:
    """Correlate the ranks of mean errors on a proxy with those on a target.

    Estimated is the coefficient's mean over studies like this one: as many configurations from the
    same population, as many seeds. Noise of the seeds is part of it, as it is of `ceiling`.

    The interval is a percentile bootstrap over configurations, each of which takes its seeds, and
    with them their noise, along. Drawing the seeds again within it would add that noise a second
    time: measured in docs/statistics.md.

    Args:
        proxy: `(configurations, seeds)` errors, shares, inf for diverged, nan for missing.
        target: the same configurations on the target, with as many seeds as there are.
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
    """Estimate the correlation that noise of the seeds alone allows.

    That is: the mean rank correlation between the target's mean errors and those of an independent
    repetition of it, same configurations, other seeds, `seeds` of them on either side. A proxy that
    orders configurations just as the target does, with noise as large, reaches this and no more.

    The seeds are split into two halves in every way, and the coefficient between halves averaged.
    A half of S seeds has m = floor(S / 2), so the figure is carried from m to `seeds` by
    Spearman and Brown's formula, r' = k r / (1 + (k - 1) r) with k = seeds / m, on the normal
    correlation r that belongs to the coefficient: sin(pi tau / 2), or 2 sin(pi rho / 6).

    Args:
        target: `(configurations, seeds)` errors; configurations with a single run are left out.
        coefficient: kendall (tau-b) or spearman.
        seeds: seeds on each side of the comparison it is a ceiling for; if not given, as many as
            the target has (the harmonic mean, where that differs between configurations).
        seed: of the bootstrap over configurations.

    Raises:
        StudyError: target is no table of errors, or `seeds` is below 1.
    """
    table = checked(target, "target errors")
    if seeds is not None and not seeds >= 1:
        raise StudyError(f"seeds of a ceiling must be 1 or more, was {seeds}")
    table = table[counts_of(table) > 1]
    if len(table) < 2:
        return Figure(None, None, "one seed: how far it repeats itself is not known")
    reason = _no_ranks(mean_errors(table), "target")
    if reason:
        return Figure(None, None, reason)
    halves, size = _halves(table, seed)
    per_side = seeds or float(len(table) / np.sum(1 / counts_of(table)))
    everything = np.vstack([np.ones(len(table)), resampled(len(table), seed)])
    between = [weighted(coefficient, everything, *half) for half in halves]
    draws = np.mean(between, axis=0)
    if not math.isfinite(draws[0]):
        return Figure(None, None, "the target's errors are all alike with half of the seeds")
    value = _carried(draws[0], coefficient, per_side / size)
    if len(table) < FEWEST:
        return Figure(value, None, f"{len(table)} configurations are too few for an interval")
    found = _widened(quantile_interval(draws[1:]), float(draws[0]), coefficient, len(table))
    low, high = (_carried(end, coefficient, per_side / size) for end in (found.low, found.high))
    return Figure(value, Interval(low, high))


@lru_cache(maxsize=4)  # all figures of a pair are of the same samples
def resampled(configurations: int, seed: int) -> Array:
    """Draw how often each configuration is in each bootstrap sample: `(resamples, count)`."""
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
        `(samples,)`; nan where all of x or all of y in a sample are one value.
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
    agreement, untied_x, untied_y = (
        ((weights @ pairs) * weights).sum(axis=1)
        for pairs in (first * second, first * first, second * second)
    )
    return _divided(agreement, np.sqrt(untied_x * untied_y))


def _weighted_spearman(weights: Array, x: Array, y: Array) -> Array:
    share = weights / weights.sum(axis=1, keepdims=True)
    first, second = (share @ _order(values).T for values in (x, y))  # twice the centred ranks

    def covariance(a: Array, b: Array) -> Array:
        return np.asarray((share * a * b).sum(axis=1))

    spread = np.sqrt(covariance(first, first) * covariance(second, second))
    return _divided(covariance(first, second), spread)


def _divided(above: Array, below: Array) -> Array:
    # What is left of a spread of 0 after rounding is of the order of 1e-16.
    found = np.full(len(above), np.nan)
    np.divide(above, below, out=found, where=below > 1e-12)
    return np.asarray(np.clip(found, -1.0, 1.0))


def _no_ranks(means: Array, name: str) -> str:
    """Say why there is nothing to rank; empty where there is."""
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
    """Let an interval reach as far as `TURNED` pairs in the other order can take it."""
    if coefficient == "kendall":
        away = 4 * TURNED / (configurations**2 - configurations)
    else:  # most where they are of one configuration, which so moves as many places
        away = 6 * (TURNED**2 + TURNED) / (configurations**3 - configurations)
    low, high = value - away, value + away
    return Interval(max(-1.0, min(interval.low, low)), min(1.0, max(interval.high, high)))


def _halves(table: Array, seed: int) -> tuple[list[tuple[Array, Array]], int]:
    """Split the seeds into disjoint halves in every way: mean errors of each, and their size."""
    fewest = int(counts_of(table).min())
    # Seeds are exchangeable, so those that are there can move to the front of their row.
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


def _carried(value: float, coefficient: Coefficient, factor: float) -> float:
    """Carry a coefficient between two halves over to `factor` times as many seeds."""
    value = max(0.0, value)  # it is a mean of squares, whatever noise makes of it
    normal = math.sin(math.pi * value / 2)
    if coefficient == "spearman":
        normal = 2 * math.sin(math.pi * value / 6)
    more = min(1.0, factor * normal / (1 + (factor - 1) * normal))
    if coefficient == "spearman":
        return 6 / math.pi * math.asin(more / 2)
    return 2 / math.pi * math.asin(more)
