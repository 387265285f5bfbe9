"""The best learning rate: its value, its shift between sizes, and the rates that are as good."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import ArrayLike

from lowres.errors import StudyError, require
from lowres.statistics.error_tables import (
    TAILS,
    Array,
    Figure,
    Interval,
    checked,
    counts_of,
    mean_errors,
)

special = require("scipy.special", "study")

REACH, REACH_DECADES = 2, 0.76
"""A fit sees this number of learning rates on either side of the best one, and all within this
number of decades, a factor of 5.7. With one on either side the lean of the curve is not visible;
farther away no curve is a parabola. Two steps of a finer grid show too little of its curvature."""

LEAN = 0.6
"""How much a curve may lean, in curvatures a decade: the standard deviation of the cubic
coefficient over the quadratic one. Curves rise faster where training becomes unstable, by an
unknown amount; with 0, intervals of leaning curves contain their optima in few studies."""

MISFIT = 0.4
"""How far a fit may miss the optimum of a curve that is no cubic, in spacings of the grid, or in
halves of the reach of the fit if these are larger. More seeds do not help. With 1/3, 88 % of
intervals contain the optimum of a saturating dip whose right side is 0.64 as wide as the left, with
five learning rates."""

LEAST_VARIANCE = 1e-10
"""Of a run's error, so that errors without noise have a weight: (half an image of 50,000)^2."""

FARTHEST = 10.0
"""Decades from the optimum beyond which an interval's end means nothing."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best learning rate of a curve.

    Attributes:
        lr: the fitted optimum; None if there is none, for the reason in `reason`.
        interval: its 95 % interval; None if there is none.
        best_lr: the learning rate of the grid with the least mean error.
        at_edge: whether that is the first or last one that trained.
        reason: why lr or interval is missing; empty if neither is.
    """

    lr: float | None
    interval: Interval | None
    best_lr: float
    at_edge: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """Learning rates that are as good as the best.

    Attributes:
        low: the smallest.
        high: the largest.
        learning_rates: all of the grid between them.
        bar: their largest allowed mean error: the least one plus its standard error.
    """

    low: float
    high: float
    learning_rates: tuple[float, ...]
    bar: float


@dataclass(frozen=True, slots=True)
class _Curve:
    """The good part of a curve: log10 learning rates less their mean, errors, numbers of runs."""

    x: Array
    means: Array
    counts: Array
    centre: float


def optimum(learning_rates: ArrayLike, errors: ArrayLike) -> Optimum:
    """Fit the optimum of error over log10 learning rate.

    The estimate is of the learning rate with the least true error (mean over all seeds). A parabola
    that may lean is fitted to the best learning rate, two neighbours on either side, and all within
    a factor of 5.7: a cubic whose last coefficient is normal around 0, `LEAN` times the curvature.
    The interval contains all learning rates whose slope does not differ from 0 significantly
    (Fieller), with t for the noise pooled over all learning rates that trained; with one seed, for
    the residuals of a parabola. Its ends then move away in quadrature by `MISFIT` spacings of the
    grid or halves of the fit's reach, because no curve is a cubic.

    Args:
        learning_rates: `(L,)`, above 0, rising.
        errors: `(L, seeds)`, shares, inf for diverged, nan for missing.

    Raises:
        StudyError: the arrays do not fit, or no learning rate trained.
    """
    rates, table = _curve(learning_rates, errors)
    best = int(mean_errors(table).argmin())
    best_lr = float(rates[best])
    if not 0 < best < len(rates) - 1:
        end = "smallest" if best == 0 else "largest"
        reason = f"the best learning rate is the {end} that trained; the optimum may lie beyond it"
        return Optimum(None, None, best_lr, True, reason)
    distance = np.abs(np.log10(rates / best_lr))
    close = np.abs(np.arange(len(rates)) - best) <= REACH
    window = close | (distance <= REACH_DECADES)
    x = np.log10(rates[window])
    centre = float(x.mean())  # without it the powers of x are collinear
    near = _Curve(x - centre, mean_errors(table[window]), counts_of(table[window]), centre)
    if _parabola(near)[2] <= 0:
        reason = "the curve around the best learning rate is not convex"
        return Optimum(None, None, best_lr, False, reason)
    variance, freedom = _noise(near, table)
    slope, spread = _slope(near, max(variance, LEAST_VARIANCE))
    vertex = _vertex(slope, near)
    if vertex is None:
        reason = "the fitted optimum lies outside the learning rates it was fitted to"
        return Optimum(None, None, best_lr, False, reason)
    lr = 10 ** (near.centre + vertex)
    if not freedom:
        reason = "one seed and three learning rates: the noise is unknown"
        return Optimum(lr, None, best_lr, False, reason)
    found = _not_significant(slope, spread, vertex, freedom)
    if found is None:
        reason = "noise hides the curvature: the optimum may lie anywhere"
        return Optimum(lr, None, best_lr, False, reason)
    spacing = float(distance[[best - 1, best + 1]].max())
    reach = float(distance[window & ~close].max(initial=0.0))  # beyond two steps
    misfit = MISFIT * max(spacing, reach / REACH)
    low, high = (math.hypot(end - vertex, misfit) for end in found)
    return Optimum(lr, Interval(lr / 10**low, lr * 10**high), best_lr, False)


def shift(first: Optimum, second: Optimum) -> Figure:
    """Estimate how far the optimum moves from one curve to another, in decades of learning rate.

    Positive if the second is larger. The interval combines those of the two curves (MOVER: the
    method of variance estimates recovery), which are independent: they share no run.
    """
    if first.lr is None or second.lr is None:
        return Figure(None, None, first.reason if first.lr is None else second.reason)
    one, other = math.log10(first.lr), math.log10(second.lr)
    moved = other - one
    if first.interval is None or second.interval is None:
        lacking = first if first.interval is None else second
        return Figure(moved, None, lacking.reason)
    low = math.hypot(other - math.log10(second.interval.low), math.log10(first.interval.high) - one)
    high = math.hypot(
        math.log10(second.interval.high) - other, one - math.log10(first.interval.low)
    )
    return Figure(moved, Interval(moved - low, moved + high))


def region(learning_rates: ArrayLike, errors: ArrayLike) -> Region | None:
    """Return the learning rates around the best whose mean error is within its standard error.

    The standard error is of the noise pooled over all learning rates that trained. The region ends
    at the first worse learning rate on either side. None with one seed: there is no standard
    error.

    Args:
        learning_rates: `(L,)`, above 0, rising.
        errors: `(L, seeds)`, shares, inf for diverged, nan for missing.

    Raises:
        StudyError: the arrays do not fit, or no learning rate trained.
    """
    rates, table = _curve(learning_rates, errors)
    variance, freedom = _pooled(table)
    if not freedom:
        return None
    means = mean_errors(table)
    best = int(means.argmin())
    bar = float(means[best] + math.sqrt(variance / counts_of(table)[best]))
    low = high = best
    while low > 0 and means[low - 1] <= bar:
        low -= 1
    while high < len(rates) - 1 and means[high + 1] <= bar:
        high += 1
    inside = tuple(float(rate) for rate in rates[low : high + 1])
    return Region(inside[0], inside[-1], inside, bar)


def overlap(first: Region, second: Region) -> bool:
    """Return whether two regions have a learning rate in common."""
    return max(first.low, second.low) <= min(first.high, second.high)


def _curve(learning_rates: ArrayLike, errors: ArrayLike) -> tuple[Array, Array]:
    """Check a curve and drop learning rates that diverged or are missing."""
    rates = checked_rates(learning_rates)
    table = checked(errors, "errors")
    if len(rates) != len(table):
        raise StudyError(
            f"errors must have a row for each of {len(rates)} learning rates, had {len(table)}"
        )
    trained = np.isfinite(mean_errors(table))
    if not trained.any():
        raise StudyError("no learning rate trained: all errors are inf or nan")
    return rates[trained], table[trained]


def checked_rates(learning_rates: ArrayLike) -> Array:
    """Return learning rates as float64.

    Raises:
        StudyError: they are not above 0 and rising.
    """
    rates = np.asarray(learning_rates, dtype=np.float64)
    if rates.ndim != 1 or not rates.size or not rates[0] > 0 or not (np.diff(rates) > 0).all():
        raise StudyError(f"learning rates must be above 0 and rising, were {rates.tolist()}")
    return rates


def _pooled(table: Array) -> tuple[float, int]:
    """Pool the variance of a run over all learning rates, with its degrees of freedom."""
    freedom = int((counts_of(table) - 1).sum())
    squares = np.nansum((table - mean_errors(table)[:, None]) ** 2)
    return (float(squares / freedom), freedom) if freedom else (0.0, 0)


def _parabola(curve: _Curve) -> Array:
    """Fit the coefficients of a parabola, the constant one first."""
    return np.asarray(polynomial.polyfit(curve.x, curve.means, 2, w=np.sqrt(curve.counts)))


def _noise(near: _Curve, table: Array) -> tuple[float, int]:
    """Return the variance of a run and its degrees of freedom."""
    variance, freedom = _pooled(table)
    if freedom or len(near.x) <= 3:
        return variance, freedom
    left = near.means - polynomial.polyval(near.x, _parabola(near))
    freedom = len(near.x) - 3
    return float((near.counts * left**2).sum() / freedom), freedom


def _slope(near: _Curve, variance: float) -> tuple[Array, Array]:
    """Fit a parabola that may lean: its slope, and the variance of that, as polynomials of x.

    Returns:
        `(3,)` and `(5,)` coefficients, the constant one first.
    """
    powers = np.vander(near.x, 4, increasing=True)
    weighted = powers.T * (near.counts / variance)
    precision = weighted @ powers
    precision[3, 3] += 1 / (LEAN * _parabola(near)[2]) ** 2
    covariance = np.linalg.inv(precision)
    factors = np.array([1.0, 2.0, 3.0])  # of 1, x and x^2 in the slope
    slope = factors * (covariance @ weighted @ near.means)[1:]
    each = np.outer(factors, factors) * covariance[1:, 1:]
    spread = np.array([np.fliplr(each).trace(2 - power) for power in range(5)])
    return np.asarray(slope), spread


def _vertex(slope: Array, near: _Curve) -> float | None:
    """Find where the slope rises through 0; None if that is outside the rates of the fit."""
    constant, linear, square = slope.tolist()
    under_root = linear**2 - 4 * square * constant
    below = linear + math.sqrt(max(0.0, under_root))
    if under_root < 0 or below <= 0:
        return None
    vertex = -2 * constant / below  # this form is valid without a lean, too
    return vertex if near.x[0] <= vertex <= near.x[-1] else None


def _not_significant(
    slope: Array, spread: Array, vertex: float, freedom: int
) -> tuple[float, float] | None:
    """Find the ends of where |slope| is at most t standard errors; None if there is no end."""
    t = float(special.stdtrit(freedom, TAILS[1]))
    roots = polynomial.polyroots(np.convolve(slope, slope) - t**2 * spread)
    ends = [float(root.real) for root in roots if abs(root.imag) < 1e-9]
    below = [end for end in ends if vertex - FARTHEST < end < vertex]
    above = [end for end in ends if vertex < end < vertex + FARTHEST]
    return (max(below), min(above)) if below and above else None
