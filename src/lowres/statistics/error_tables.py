"""Tables of errors, configurations by seeds: made from rows, checked, averaged, paired.

A table is `(configurations, seeds)` float64, top-1 errors as shares from 0 to 1, +inf for a run
that diverged and nan for one that is missing. The columns of a row are exchangeable: the number of
a seed has no meaning.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lowres.errors import StudyError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Places = NDArray[np.intp]

CONFIDENCE = 0.95
"""Level of every interval of this package."""

TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval, in the unit of its figure."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate.

    Attributes:
        value: the estimate; None if there is none.
        interval: its 95 % interval; None if there is none.
        reason: why value or interval is missing; empty if neither is.
    """

    value: float | None
    interval: Interval | None
    reason: str = ""


def quantile_interval(draws: Array) -> Interval:
    """Return the middle 95 % of some draws; nan is ignored."""
    low, high = np.nanquantile(draws, TAILS)
    return Interval(float(low), float(high))


SAME = 12
"""Decimals to which mean errors are rounded: 0.1 + 0.3 and 0.2 + 0.2 are a tie."""

Row = tuple[Hashable, int, float]
"""Configuration, seed, error."""


def checked(errors: ArrayLike, name: str, *, dimensions: int = 2) -> Array:
    """Return errors as float64.

    Raises:
        StudyError: the table is empty, has other dimensions, or holds values that are not shares,
            +inf or nan.
    """
    table = np.asarray(errors, dtype=np.float64)
    if table.ndim != dimensions or 0 in table.shape:
        raise StudyError(
            f"{name} must be a table of {dimensions} dimensions and not empty, had shape "
            f"{table.shape}"
        )
    wrong = table[(table < 0) | ((table > 1) & (table < np.inf))]
    if wrong.size:
        raise StudyError(
            f"{name} must be shares from 0 to 1 (inf: diverged, nan: missing), was {wrong[0]:g}; "
            "divide percentages by 100"
        )
    return table


def mean_errors(table: Array) -> Array:
    """Average each configuration over its runs.

    Returns:
        `(configurations,)`; inf if any run diverged, nan if there is no run.
    """
    present = ~np.isnan(table)
    totals = np.where(present, table, 0.0).sum(axis=1)
    counts = present.sum(axis=1)
    means = np.full(len(table), np.nan)
    np.divide(totals, counts, out=means, where=counts > 0)
    return np.asarray(np.round(means, SAME))


def counts_of(table: Array) -> Array:
    """Count the runs of each configuration."""
    return np.asarray((~np.isnan(table)).sum(axis=1), dtype=np.float64)


def has_runs(errors: ArrayLike) -> Mask:
    """Mark the configurations that have a run."""
    return np.asarray((~np.isnan(np.asarray(errors, dtype=np.float64))).any(axis=1))


def on_both(proxy: ArrayLike, target: ArrayLike) -> tuple[Array, Array]:
    """Check a pair of tables and keep the configurations that have a run in both.

    Raises:
        StudyError: one is not a table of errors, or the numbers of rows differ.
    """
    first, second = checked(proxy, "proxy errors"), checked(target, "target errors")
    if len(first) != len(second):
        raise StudyError(
            f"proxy and target errors must have a row for each of the same configurations, had "
            f"{len(first)} and {len(second)}; make them with pair_up"
        )
    both = has_runs(first) & has_runs(second)
    return first[both], second[both]


@dataclass(frozen=True, slots=True)
class Pair:
    """Errors of the same configurations on a proxy and on a target.

    Attributes:
        configurations: those with runs on both sides, in the order of the proxy's rows.
        proxy: `(configurations, proxy seeds)` errors.
        target: `(configurations, target seeds)` errors.
        proxy_missing: cells of `proxy` without a run.
        target_missing: cells of `target` without a run.
        proxy_only: omitted configurations, because the target has no run of them.
        target_only: omitted configurations, because the proxy has no run of them.
    """

    configurations: tuple[Hashable, ...]
    proxy: Array
    target: Array
    proxy_missing: int
    target_missing: int
    proxy_only: tuple[Hashable, ...]
    target_only: tuple[Hashable, ...]


def pair_up(proxy: Iterable[Row], target: Iterable[Row]) -> Pair:
    """Make the two tables of a pair from rows (configuration, seed, error).

    Raises:
        StudyError: a configuration has a seed twice, or no configuration was run on both sides.
    """
    first, second = _cells(proxy, "proxy"), _cells(target, "target")
    on_proxy, on_target = _configurations(first), _configurations(second)
    common = tuple(key for key in on_proxy if key in on_target)
    if not common:
        raise StudyError(
            f"proxy and target have no configuration in common: {len(on_proxy)} were run on the "
            f"proxy, {len(on_target)} on the target"
        )
    tables = []
    for cells in (first, second):
        seeds = sorted({seed for key, seed in cells if key in on_proxy and key in on_target})
        rows = [[cells.get((key, seed), np.nan) for seed in seeds] for key in common]
        tables.append(np.array(rows))
    return Pair(
        configurations=common,
        proxy=tables[0],
        target=tables[1],
        proxy_missing=int(np.isnan(tables[0]).sum()),
        target_missing=int(np.isnan(tables[1]).sum()),
        proxy_only=tuple(key for key in on_proxy if key not in on_target),
        target_only=tuple(key for key in on_target if key not in on_proxy),
    )


def _cells(rows: Iterable[Row], name: str) -> dict[tuple[Hashable, int], float]:
    cells: dict[tuple[Hashable, int], float] = {}
    for key, seed, error in rows:
        if (key, seed) in cells:
            raise StudyError(f"{name} has configuration {key!r} with seed {seed} twice")
        cells[key, seed] = error
    return cells


def _configurations(cells: dict[tuple[Hashable, int], float]) -> dict[Hashable, None]:
    return dict.fromkeys(key for (key, _), error in cells.items() if not np.isnan(error))
