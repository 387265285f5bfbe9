"""Filters, or values of another field in words, compared in blocks with simultaneous intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lowres.errors import StudyError, require
from lowres.statistics.error_tables import CONFIDENCE, Array, Interval, Mask, checked
from lowres.text import count

special = require("scipy.special", "study")

POWER = 0.8
"""Probability of finding a difference of the size called detectable."""

DRAWS = 20_000
"""Draws of the largest of all t values; the 95 % quantile then moves by 1 %."""

OWN_SCATTER = 4
"""Units from which on the scatter of a difference itself is known well enough to widen it."""

OTHERS = "mean of the others"


@dataclass(frozen=True, slots=True)
class Difference:
    """Error of one value less that of another, or less the mean of all others.

    Attributes:
        first: a value, such as a filter.
        second: the value whose error is subtracted, or `OTHERS`.
        mean: mean difference, share; positive if `first` is worse.
        interval: 95 % interval, simultaneous with those of all differences of its kind.
        p_value: probability of a difference as large anywhere if all values are equal.
        detectable: smallest difference that a study like this finds with probability 0.8.
    """

    first: str
    second: str
    mean: float
    interval: Interval
    p_value: float
    detectable: float

    @property
    def sure(self) -> bool:
        """Whether the interval is on one side of 0."""
        return self.interval.low > 0 or self.interval.high < 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences between some values of a field.

    Attributes:
        names: the values.
        differences: one for each pair; empty if `reason` says why there are none.
        from_others: each value less the mean of the others; empty if there are two values.
        blocks: configurations and seeds that every value was trained with.
        configurations: different configurations among the blocks.
        omitted: blocks without a run of every value, or with a diverged one.
        noise: what the intervals take as noise: configurations, or blocks.
        reason: why there are no differences.
    """

    names: tuple[str, ...]
    differences: tuple[Difference, ...]
    from_others: tuple[Difference, ...]
    blocks: int
    configurations: int
    omitted: int
    noise: Literal["configurations", "blocks"]
    reason: str = ""

    @property
    def main(self) -> tuple[Difference, ...]:
        """The differences to show first: from the mean of the others, or between two values."""
        return self.from_others or self.differences

    @property
    def findings(self) -> tuple[Difference, ...]:
        """The sure ones of `main`, the largest first.

        One bad value makes each other one better than the mean of its others. So a value counts
        only if it also differs surely from more than half of the others, one by one.
        """
        if not self.from_others:
            return tuple(pair for pair in self.differences if pair.sure)
        sure = [pair for pair in self.differences if pair.sure]
        found = [
            each
            for each in self.from_others
            if each.sure
            and 2 * sum(each.first in (pair.first, pair.second) for pair in sure)
            > len(self.names) - 1
        ]
        return tuple(sorted(found, key=lambda each: -abs(each.mean)))


def compare_values(errors: ArrayLike, names: Sequence[str]) -> Comparison:
    """Compare filters, or other values of a field, by errors of the same configurations and seeds.

    A block is a configuration and a seed; only blocks that every value was trained with are used,
    so that missing runs favour no value. The estimate is of the difference of mean error over
    configurations like these, each with the same weight. With one configuration it is of this
    one alone.

    The seeds of a configuration share the effects that its values have there and nowhere else. If
    these effects are visible, which means that mean errors of configurations scatter more than
    those of seeds explain, configurations are the units; if not, blocks are. The scatter is that
    of all values together; a difference whose own units scatter more, if there are at least
    `OWN_SCATTER` of them, has its own standard error. Intervals are mean +/- q standard errors. q
    is the 95 % quantile of the largest |t| in draws without any difference (max-t), for all pairs
    at once, and for all values against the mean of the others at once.

    Args:
        errors: `(values, configurations, seeds)`, shares, inf for diverged, nan for missing.
        names: of the values.

    Raises:
        StudyError: the names do not fit the errors, or there are fewer than two values.
    """
    table = checked(errors, "errors of values", dimensions=3)
    if len(names) != len(table) or len(set(names)) != len(names) or len(names) < 2:
        raise StudyError(
            f"names must be {len(table)} different ones, at least two, as errors has values; were "
            f"{', '.join(names)}"
        )
    whole = np.asarray(np.isfinite(table).all(axis=0))  # (configurations, seeds)
    blocks, configurations = int(whole.sum()), int(whole.any(axis=1).sum())
    tried = int((~np.isnan(table)).any(axis=0).sum())
    counts = blocks, configurations, tried - blocks
    if blocks < 2:
        reason = f"{count(blocks, 'block')} with a run of every value, and differences need two"
        return Comparison(tuple(names), (), (), *counts, "blocks", reason)
    units, variance, freedom, noise = _scatter(table, whole)
    pairs = _differences(units, variance, freedom, names, against_others=False)
    others = _differences(units, variance, freedom, names, against_others=True)
    return Comparison(tuple(names), pairs, others if len(names) > 2 else (), *counts, noise)


def _scatter(
    table: Array, whole: Mask
) -> tuple[Array, float, int, Literal["configurations", "blocks"]]:
    """Return the units' errors, and the variance of a mean less what all values share.

    Returns:
        `(values, units)` errors of seeds, or mean errors of configurations if there are several;
        the variance, its degrees of freedom, and its source.
    """
    kept = whole.any(axis=1)
    seeds = whole[kept].sum(axis=1)  # (configurations,)
    errors = np.where(whole[kept], table[:, kept], 0.0)
    units = errors.sum(axis=2) / seeds  # (values, configurations)
    inside = np.where(whole[kept], errors - units[:, :, None], 0.0)
    inside -= inside.mean(axis=0)
    degrees = len(table) - 1
    freedom = degrees * int((seeds - 1).sum())
    # Variances of a configuration's mean: what its seeds explain, and what is seen.
    explained = float((inside**2).sum() / freedom * (1 / seeds).mean()) if freedom else 0.0
    if len(seeds) == 1:
        return table[:, whole], explained, freedom, "blocks"
    between = units - units.mean(axis=1, keepdims=True)
    between -= between.mean(axis=0)
    free = degrees * (len(seeds) - 1)
    seen = float((between**2).sum() / free)
    if seen > explained:
        return units, seen / len(seeds), free, "configurations"
    pooled = (free * seen + freedom * explained) / (free + freedom)
    return units, pooled / len(seeds), free + freedom, "blocks"


def _differences(
    units: Array, variance: float, freedom: int, names: Sequence[str], *, against_others: bool
) -> tuple[Difference, ...]:
    contrasts = _contrasts(len(names), against_others)
    labels = [(name, OTHERS) for name in names] if against_others else combinations(names, 2)
    differences = contrasts @ units
    variances = variance * (contrasts**2).sum(axis=1)
    if units.shape[1] >= OWN_SCATTER:
        own = differences.var(axis=1, ddof=1) / units.shape[1]
        variances = np.maximum(variances, own)
    largest = _largest_t(len(names), freedom, against_others)
    q = float(np.quantile(largest, CONFIDENCE))
    power = float(special.stdtrit(freedom, POWER))
    found = []
    means, errors = differences.mean(axis=1).tolist(), np.sqrt(variances).tolist()
    for (first, second), mean, error in zip(labels, means, errors, strict=True):
        extreme = int((largest >= abs(mean) / error).sum()) if error else 0
        p_value = (extreme + 1) / (DRAWS + 1) if mean else 1.0
        interval = Interval(mean - q * error, mean + q * error)
        found.append(Difference(first, second, mean, interval, p_value, (q + power) * error))
    return tuple(found)


def _contrasts(values: int, against_others: bool) -> Array:
    """Return the weights of the means in each difference: `(differences, values)`."""
    own = np.eye(values)
    if against_others:
        return np.asarray(own - (1 - own) / (values - 1))
    return np.array([own[first] - own[second] for first, second in combinations(range(values), 2)])


@lru_cache(maxsize=64)
def _largest_t(values: int, freedom: int, against_others: bool) -> Array:
    """Draw the largest |t| of all differences in studies without any difference: `(DRAWS,)`."""
    random = np.random.default_rng(0)
    contrasts = _contrasts(values, against_others)
    contrasts /= np.linalg.norm(contrasts, axis=1)[:, None]
    largest = np.abs(random.standard_normal((DRAWS, values)) @ contrasts.T).max(axis=1)
    return np.asarray(largest / np.sqrt(random.chisquare(freedom, DRAWS) / freedom))
