"""Filters against each other: paired differences of error, with simultaneous intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from lowres.errors import StudyError, require
from lowres.statistics.error_tables import CONFIDENCE, Array, Interval, checked
from lowres.text import count

stats = require("scipy.stats", "study")

POWER = 0.8
"""Probability of finding a difference of the size called detectable."""

DRAWS = 4_000
"""Draws of the largest of all t values; the 95 % quantile then moves by 1 or 2 %."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Error of one filter less that of another.

    Attributes:
        first: a filter.
        second: the filter whose error is subtracted.
        mean: mean difference, share; positive if `first` is worse.
        interval: 95 % interval, simultaneous with those of all other pairs.
        p_value: probability of a difference as large in any pair if all filters are equal.
        detectable: smallest difference that a study like this finds with probability 0.8.
    """

    first: str
    second: str
    mean: float
    interval: Interval
    p_value: float
    detectable: float


@dataclass(frozen=True, slots=True)
class FilterComparison:
    """All differences between some filters.

    Attributes:
        names: the filters.
        reference: the filter that all others are compared with; None if all pairs are compared.
        differences: one for each pair; empty if `reason` says why there are none.
        units: number of paired differences behind each mean.
        unit: configuration, or seed if there is a single configuration.
        left_out: units without a run of every filter, or with a diverged one; they are omitted.
        reason: why there are no differences.
    """

    names: tuple[str, ...]
    reference: str | None
    differences: tuple[Difference, ...]
    units: int
    unit: str
    left_out: int
    reason: str = ""


def compare_filters(
    errors: ArrayLike, names: Sequence[str], *, reference: str | None = None, seed: int = 0
) -> FilterComparison:
    """Compare filters by the errors of the same configurations and seeds.

    The estimate is of the difference of mean error over configurations like these. Differences are
    averaged over the seeds of a configuration, so configurations are the units; if there is one
    configuration, seeds are. Intervals are mean +/- q standard errors. q is the 95 % quantile of
    the largest |t| among all pairs in normal draws of such a study, with the correlations of these
    filters and no difference (max-t).

    Args:
        errors: `(filters, configurations, seeds)`, shares, inf for diverged, nan for missing. Only
            cells that every filter has are used, so that missing runs favour no filter.
        names: of the filters.
        reference: compare all others with this one, instead of all pairs.
        seed: of the draws.

    Raises:
        StudyError: the names do not fit the errors, or there are fewer than two filters.
    """
    table = checked(errors, "errors of filters", dimensions=3)
    if len(names) != len(table) or len(set(names)) != len(names) or len(names) < 2:
        raise StudyError(
            f"names must be {len(table)} different ones, at least two, as errors has filters; were "
            f"{', '.join(names)}"
        )
    pairs = list(combinations(range(len(names)), 2))
    if reference is not None:
        if reference not in names:
            raise StudyError(f"reference must be one of {', '.join(names)}, was {reference!r}")
        place = list(names).index(reference)
        pairs = [(other, place) for other in range(len(names)) if other != place]
    whole = np.asarray(np.isfinite(table).all(axis=0))  # (configurations, seeds)
    unit = "configuration" if table.shape[1] > 1 else "seed"
    if unit == "seed":
        values = table[:, 0, whole[0]]  # (filters, units)
    else:
        kept = whole.any(axis=1)
        sums = np.where(whole[kept], table[:, kept], 0.0).sum(axis=2)
        values = np.asarray(sums / whole[kept].sum(axis=1))
    left_out = (table.shape[1] if unit == "configuration" else table.shape[2]) - values.shape[1]
    label = tuple(names), reference
    if values.shape[1] < 2:
        reason = f"{count(values.shape[1], f'whole {unit}')}, and differences need two"
        return FilterComparison(*label, (), values.shape[1], unit, left_out, reason)
    found = _differences(values, pairs, tuple(names), seed)
    return FilterComparison(*label, found, values.shape[1], unit, left_out)


def worse_than_all(comparison: FilterComparison, name: str) -> bool:
    """Return whether a filter is significantly worse than every filter it was compared with.

    Raises:
        StudyError: the filter was not compared.
    """
    _known(comparison, [name])
    lows = [
        difference.interval.low if difference.first == name else -difference.interval.high
        for difference in comparison.differences
        if name in (difference.first, difference.second)
    ]
    return bool(lows) and min(lows) > 0


def equal_within(comparison: FilterComparison, names: Sequence[str]) -> float | None:
    """Return the largest difference between any of some filters that the intervals allow, a share.

    None if two of them were not compared with each other.

    Raises:
        StudyError: a filter was not compared.
    """
    _known(comparison, names)
    bounds = [
        max(abs(difference.interval.low), abs(difference.interval.high))
        for difference in comparison.differences
        if difference.first in names and difference.second in names
    ]
    wanted = len(set(names)) * (len(set(names)) - 1) // 2
    return max(bounds) if bounds and len(bounds) == wanted else None


def _known(comparison: FilterComparison, names: Sequence[str]) -> None:
    for name in names:
        if name not in comparison.names:
            raise StudyError(f"filter must be one of {', '.join(comparison.names)}, was {name!r}")


def _differences(
    values: Array, pairs: list[tuple[int, int]], names: tuple[str, ...], seed: int
) -> tuple[Difference, ...]:
    paired = np.array([values[first] - values[second] for first, second in pairs])
    units = values.shape[1]
    means = paired.mean(axis=1)
    errors = paired.std(axis=1, ddof=1) / np.sqrt(units)
    largest = _largest_t(values, pairs, seed)
    q = float(np.quantile(largest, CONFIDENCE))
    reach = q * errors
    detectable = reach + stats.t.ppf(POWER, units - 1) * errors
    found = []
    for row, (first, second) in enumerate(pairs):
        mean, error = float(means[row]), float(errors[row])
        extreme = (largest >= abs(mean) / error).sum() if error else 0
        p_value = float((extreme + 1) / (len(largest) + 1)) if mean else 1.0
        interval = Interval(float(mean - reach[row]), float(mean + reach[row]))
        sizes = p_value, float(detectable[row])
        found.append(Difference(names[first], names[second], mean, interval, *sizes))
    return tuple(found)


def _largest_t(values: Array, pairs: list[tuple[int, int]], seed: int) -> Array:
    """Draw the largest |t| of all pairs in studies without any difference: `(draws,)`.

    Whole studies are drawn, so each pair has a standard error of its own, as in the real study.
    """
    units = values.shape[1]
    deviations = (values - values.mean(axis=0)).T  # the part that filters share cancels
    deviations -= deviations.mean(axis=0)
    scale = np.abs(deviations).max()
    if scale == 0:
        return np.zeros(DRAWS)
    root = np.linalg.qr(deviations / scale, mode="r")  # (rank, filters): a root of the covariance
    random = np.random.default_rng(seed)
    drawn = random.standard_normal((DRAWS, units, len(root))) @ root
    largest = np.zeros(DRAWS)
    for first, second in pairs:
        paired = drawn[:, :, first] - drawn[:, :, second]
        error = paired.std(axis=1, ddof=1) / np.sqrt(units)
        t = np.divide(paired.mean(axis=1), error, out=np.zeros(DRAWS), where=error > 0)
        np.maximum(largest, np.abs(t), out=largest)
    return largest
