"""The best learning rate: where it is, how far it moves between sizes, what is as good."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lowres.errors import StudyError, require
from lowres.study.transfer.errors_table import checked, counts_of, mean_errors
from lowres.study.transfer.records import TAILS, Array, Figure, Interval

stats = require("scipy.stats", "study")

REACH = 2
"""Learning rates on either side of the best one that the parabola is fitted to. One on either side
leaves nothing to see the noise by; farther away no curve is a parabola."""

SKEWED_P = 0.2
"""A parabola fits if noise alone misses it by as much with at least this probability. Large, as a
lean that is overlooked spoils the interval, and one seen in vain only widens it a little."""


FARTHEST = 10.0
"""Decades beyond the learning rates of the fit where an interval's end says nothing any more."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best learning rate of a curve.

    Attributes:
        lr: the fitted optimum; None where there is none, which `reason` explains.
        interval: its 95 % interval; None where there is none.
        best_lr: the learning rate of the grid with the least mean error.
        at_edge: whether that is the first or last one that trained.
        skewed: whether the curve leans, so that the interval had to allow for it.
        reason: why something is missing; empty where nothing is.
    """

    lr: float | None
    interval: Interval | None
    best_lr: float
    at_edge: bool
    skewed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """Learning rates that are as good as the best.

    Attributes:
        low: the smallest.
        high: the largest.
        learning_rates: all of the grid between them.
        bar: mean error up to which they count: the least one plus its standard error.
    """

    low: float
    high: float
    learning_rates: tuple[float, ...]
    bar: float


@dataclass(frozen=True, slots=True)
class _Parabola:
    vertex: float
    low: float
    high: float


def optimum(learning_rates: ArrayLike, errors: ArrayLike) -> Optimum:
    """Fit the optimum of error over log10 learning rate.

    Estimated is the vertex of the least-squares parabola through the true errors (means over all
    seeds) of the best learning rate and up to two neighbours on either side. The interval is
    Fieller's for -b / 2c, exact for normal noise around a parabola; noise is pooled over all
    learning rates that trained, or with one seed what the parabola leaves. Where a test of fit says
    that the curve leans, the vertex is that of the parabola through the best and its two
    neighbours, and the interval is widened by the distance between the two vertices.

    Args:
        learning_rates: `(L,)`, above 0, rising.
        errors: `(L, seeds)`, shares, inf for diverged, nan for missing.

    Raises:
        StudyError: the arrays do not fit, or no learning rate trained.
    """
    rates, table = _curve(learning_rates, errors)
    means = mean_errors(table)
    best = int(means.argmin())
    if not 0 < best < len(rates) - 1:
        end = "smallest" if best == 0 else "largest"
        reason = f"the best learning rate is the {end} that trained: the optimum may lie beyond"
        return Optimum(None, None, float(rates[best]), True, False, reason)
    wide = slice(max(0, best - REACH), best + REACH + 1)
    near = slice(best - 1, best + 2)
    x = np.log10(rates)
    variance, freedom = _noise(x[wide], table, wide)
    fitted = _fit(x[wide], table[wide], variance, freedom)
    skewed = _leans(x[wide], table[wide], variance, freedom)
    if skewed:
        fitted = _allowing(_fit(x[near], table[near], variance, freedom), fitted)
    return _told(fitted, x[wide], float(rates[best]), skewed, freedom)


def shift(first: Optimum, second: Optimum) -> Figure:
    """Tell how far the optimum moves from one curve to another, in decades of learning rate.

    Positive where the second is larger. The interval joins those of the two curves (MOVER: the
    method of variance estimates recovery), which are independent: they share no run.
    """
    if first.lr is None or second.lr is None:
        return Figure(None, None, first.reason or second.reason)
    one, other = math.log10(first.lr), math.log10(second.lr)
    moved = other - one
    if first.interval is None or second.interval is None:
        return Figure(moved, None, first.reason or second.reason)
    low = math.hypot(other - math.log10(second.interval.low), math.log10(first.interval.high) - one)
    high = math.hypot(
        math.log10(second.interval.high) - other, one - math.log10(first.interval.low)
    )
    return Figure(moved, Interval(moved - low, moved + high))


def region(learning_rates: ArrayLike, errors: ArrayLike) -> Region | None:
    """Give the learning rates around the best whose mean error is within its standard error.

    The standard error is of the noise pooled over all learning rates that trained. The region ends
    where the first learning rate on either side is worse. None with one seed: there is no
    standard error.

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
    """Tell whether a learning rate is in both regions."""
    return max(first.low, second.low) <= min(first.high, second.high)


def _curve(learning_rates: ArrayLike, errors: ArrayLike) -> tuple[Array, Array]:
    """Check a curve and leave out learning rates that diverged or are missing."""
    rates = checked_rates(learning_rates)
    table = checked(errors, "errors")
    if len(rates) != len(table):
        raise StudyError(
            f"errors must have a row for each of {len(rates)} learning rates, had {len(table)}"
        )
    trained = np.isfinite(mean_errors(table))
    if not trained.any():
        raise StudyError("errors must hold a learning rate that trained; all diverged or missing")
    return rates[trained], table[trained]


def checked_rates(learning_rates: ArrayLike) -> Array:
    """Give learning rates as float64.

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


def _noise(x: Array, table: Array, window: slice) -> tuple[float, int]:
    variance, freedom = _pooled(table)
    if freedom or len(x) <= 3:
        return variance, freedom
    means, counts = mean_errors(table[window]), counts_of(table[window])
    left = means - _design(x) @ _coefficients(x, means, counts)
    return float((left**2).sum() / (len(x) - 3)), len(x) - 3


def _design(x: Array) -> Array:
    # Around its middle, or the powers are too alike to be told apart.
    return np.vander(x - x.mean(), 3, increasing=True)


def _coefficients(x: Array, means: Array, counts: Array) -> Array:
    design = _design(x)
    gram, moments = design.T @ (counts[:, None] * design), design.T @ (counts * means)
    return np.asarray(np.linalg.solve(gram, moments), dtype=np.float64)


def _fit(x: Array, table: Array, variance: float, freedom: int) -> _Parabola | None:
    """Fit a parabola; None where it is not convex. Its ends are infinite where noise hides that."""
    counts = counts_of(table)
    _, slope, curvature = _coefficients(x, mean_errors(table), counts)
    if curvature <= 0:
        return None
    vertex = float(x.mean() - slope / (2 * curvature))
    if not freedom:
        return _Parabola(vertex, -math.inf, math.inf)
    design = _design(x)
    spread = np.linalg.inv(design.T @ (counts[:, None] * design)) * variance
    t = stats.t.ppf(TAILS[1], freedom)
    # Fieller: all v with (slope + 2 curvature v)^2 <= t^2 times the variance of that sum.
    square = 4 * (curvature**2 - t**2 * spread[2, 2])
    linear = 4 * (slope * curvature - t**2 * spread[1, 2])
    constant = slope**2 - t**2 * spread[1, 1]
    if square <= 0:
        return _Parabola(vertex, -math.inf, math.inf)
    middle = x.mean() - linear / (2 * square)
    half = math.sqrt(max(0.0, linear**2 - 4 * square * constant)) / (2 * square)
    return _Parabola(vertex, float(middle - half), float(middle + half))


def _leans(x: Array, table: Array, variance: float, freedom: int) -> bool:
    """Test whether noise between seeds explains what a parabola misses."""
    counts = counts_of(table)
    if len(x) <= 3 or counts.max() < 2 or not variance:
        return False
    means = mean_errors(table)
    left = means - _design(x) @ _coefficients(x, means, counts)
    ratio = (counts * left**2).sum() / (len(x) - 3) / variance
    return bool(stats.f.sf(ratio, len(x) - 3, freedom) < SKEWED_P)


def _allowing(narrow: _Parabola | None, wide: _Parabola | None) -> _Parabola | None:
    if narrow is None or wide is None:
        return None
    apart = abs(narrow.vertex - wide.vertex)
    return _Parabola(narrow.vertex, narrow.low - apart, narrow.high + apart)


def _told(
    fitted: _Parabola | None, x: Array, best_lr: float, skewed: bool, freedom: int
) -> Optimum:
    if fitted is None:
        reason = "the curve around the best learning rate is not convex"
        return Optimum(None, None, best_lr, False, skewed, reason)
    if not x[0] <= fitted.vertex <= x[-1]:
        reason = "the fitted optimum lies outside the learning rates it was fitted to"
        return Optimum(None, None, best_lr, False, skewed, reason)
    lr = 10**fitted.vertex
    if not freedom:
        reason = "one seed and three learning rates: the noise is not known"
        return Optimum(lr, None, best_lr, False, skewed, reason)
    if fitted.low < x[0] - FARTHEST or fitted.high > x[-1] + FARTHEST:
        reason = "noise hides the curvature: the optimum may lie anywhere"
        return Optimum(lr, None, best_lr, False, skewed, reason)
    return Optimum(lr, Interval(10**fitted.low, 10**fitted.high), best_lr, False, skewed)
