"""Measure how often the 95 % intervals of `lowres.statistics` hold the truth.

    python bench/interval_coverage.py [--studies 1000] [--processes 1] [--only curves filters pairs]

Simulates studies of every design below, computes each figure with its interval, and counts: how
often the interval held the truth, lay above it, lay below it, and how often there was none. Truths
of correlations and ceilings are means over a large number of simulated studies, all others are
known. `kendall, seeds drawn again` is a bootstrap of two levels, which lowres does not use. A part
that is not measured (--only) keeps its rows in the table.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
from machine import installed, processor
from simulated import LEARNING_RATES, Design, learning_curve, runs, true_errors

from lowres import statistics as transfer
from lowres.statistics.error_tables import mean_errors
from lowres.statistics.ranking import resampled, weighted

DESIGNS = [
    Design(population, configurations, seeds, noise)
    for population in ("normal", "curve")
    for configurations, seeds in ((6, 2), (12, 2), (12, 3), (24, 2), (24, 3))
    for noise in (0.1, 0.3, 1.0)
]
TRUTH_STUDIES = 4_000
LEVELS_DRAWS = 400
PARTS = ("curves", "filters", "pairs")
SIX = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
PENALTIES = np.array([0.02, 0.0, 0.0, 0.002, 0.0, 0.0])
"""True errors of the six filters above the best."""
FILTER_SPREADS = {
    "six filters, alike everywhere": (0.0, 1),
    "six filters": (0.003, 1),
    "six filters, nearest varies 3 times as much": (0.003, 3),
}
"""How far a filter's effect differs between configurations (standard deviation), and how many times
as far that of nearest does. The noise of a run is 0.004."""
FILTER_STUDIES = ((1, 3), (2, 1), (2, 2), (2, 3), (4, 2), (6, 1), (6, 2), (12, 2), (24, 1), (24, 2))

Held = tuple[float, transfer.Interval | None]
"""A truth and the interval for it."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    given = parser.parse_args()
    began = time.perf_counter()
    rows = kept(given.out, given.only)
    for row in measure(given.studies, given.processes, given.only):
        print(*row.values(), f"{time.perf_counter() - began:.0f} s", flush=True)
        rows.append(row | machine(given.studies))
    with given.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: PARTS.index(str(row["part"]))))


def kept(table: Path, only: Sequence[str]) -> list[dict[str, object]]:
    """Read the rows of parts that are not measured now."""
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return [dict(row) for row in csv.DictReader(file) if row["part"] not in only]


def machine(studies: int) -> dict[str, object]:
    """Describe what was measured on and with."""
    versions = {name: installed(name) for name in ("numpy", "scipy", "lowres")}
    command = f"python bench/interval_coverage.py --studies {studies}"
    return {"processor": processor(), "cores": os.cpu_count(), **versions, "command": command}


def measure(studies: int, processes: int, only: Sequence[str]) -> Iterator[dict[str, object]]:
    """Give a row for each figure and design."""
    curves = [
        Design(shape, count, seeds, noise)
        for shape in ("parabola", "skewed", "dip 0.86", "dip 0.64", "morse")
        for count in LEARNING_RATES
        for seeds in (1, 2, 3)
        for noise in (0.1, 0.25)
    ]
    filters = [
        Design(population, configurations, seeds, 0.1)
        for population in FILTER_SPREADS
        for configurations, seeds in FILTER_STUDIES
    ]
    with ProcessPoolExecutor(processes) as pool:
        for part, function, designs in (
            ("curves", curve_rows, curves),
            ("filters", filter_rows, filters),
            ("pairs", pair_rows, DESIGNS),
        ):
            for rows in pool.map(function, designs if part in only else (), repeat(studies)):
                yield from ({"part": part} | row for row in rows)


def tallied(figure: str, design: Design, studies: list[Held]) -> dict[str, object]:
    """Count how often intervals held the truth."""
    told = [(truth, interval) for truth, interval in studies if interval is not None]
    held = sum(interval.low <= truth <= interval.high for truth, interval in told)
    above = sum(interval.low > truth for truth, interval in told)
    lengths = [interval.high - interval.low for _, interval in told]
    share = 100 / max(1, len(told))
    return {
        "figure": figure,
        "population": design.population,
        "configurations": design.configurations,
        "seeds": design.seeds,
        "noise_over_spread": design.noise,
        "studies": len(studies),
        "without_interval": len(studies) - len(told),
        "held_percent": round(share * held, 1),
        "above_truth_percent": round(share * above, 1),
        "below_truth_percent": round(share * (len(told) - held - above), 1),
        "mean_truth": round(float(np.mean([truth for truth, _ in studies])), 4),
        "median_length": round(float(np.median(lengths)), 4) if lengths else "",
    }


def pair_rows(design: Design, studies: int) -> list[dict[str, object]]:
    """Simulate pairs of proxy and target, and measure what is told about them."""
    truths = correlations(design)
    held: dict[str, list[Held]] = {}
    random = np.random.default_rng(1)
    for number in range(studies):
        first, second = true_errors(design.population, (design.configurations,), random)
        proxy, target = runs(first, design, random), runs(second, design, random)
        found = {
            name: (truths[name], interval)
            for name, interval in intervals(proxy, target, number).items()
        }
        for name, pair in found.items():
            held.setdefault(name, []).append(pair)
    return [tallied(name, design, pairs) for name, pairs in held.items()]


def intervals(
    proxy: np.ndarray, target: np.ndarray, seed: int
) -> dict[str, transfer.Interval | None]:
    """Compute the intervals of correlations and ceilings of a study."""
    found = {}
    for coefficient in ("kendall", "spearman"):
        told = transfer.rank_correlation(proxy, target, coefficient, seed=seed)
        found[coefficient] = told.interval
        limit = transfer.ceiling(target, coefficient, seed=seed)
        found[f"{coefficient} ceiling"] = limit.interval
    if len(proxy) == 12:  # slow, and one size shows it
        found["kendall, seeds drawn again"] = two_levels(proxy, target, seed)
    return found


def two_levels(proxy: np.ndarray, target: np.ndarray, seed: int) -> transfer.Interval:
    """Bootstrap configurations, and then the seeds within each."""
    random = np.random.default_rng(seed)
    weights = resampled(len(proxy), seed)[:LEVELS_DRAWS]
    orders = []
    for table in (proxy, target):
        picked = random.integers(0, table.shape[1], (LEVELS_DRAWS, *table.shape))
        means = np.take_along_axis(table[None], picked, axis=2).mean(axis=2)
        orders.append(np.sign(means[:, :, None] - means[:, None, :]))
    together = weights[:, :, None] * weights[:, None, :]
    agree = (together * orders[0] * orders[1]).sum(axis=(1, 2))
    untied = np.prod([(together * order**2).sum(axis=(1, 2)) for order in orders], axis=0)
    draws = agree / np.sqrt(np.maximum(untied, 1e-12))
    return transfer.Interval(*np.quantile(draws, (0.025, 0.975)).tolist())


def correlations(design: Design) -> dict[str, float]:
    """Average the coefficients over many studies of a design."""
    random = np.random.default_rng(2)
    values: dict[str, list[float]] = {}
    whole = np.ones((1, design.configurations))
    for _ in range(TRUTH_STUDIES):
        first, second = true_errors(design.population, (design.configurations,), random)
        proxy, target, again = (
            mean_errors(runs(errors, design, random)) for errors in (first, second, second)
        )
        for coefficient in ("kendall", "spearman"):
            for name, other in ((coefficient, proxy), (f"{coefficient} ceiling", again)):
                value = weighted(coefficient, whole, other, target)[0]
                values.setdefault(name, []).append(value)
    truths = {name: float(np.mean(each)) for name, each in values.items()}
    return truths | {"kendall, seeds drawn again": truths["kendall"]}


def curve_rows(design: Design, studies: int) -> list[dict[str, object]]:
    """Simulate learning curves of two sizes and measure optimum and shift."""
    rates = LEARNING_RATES[design.configurations]
    random = np.random.default_rng(3)
    optima: list[Held] = []
    shifts: list[Held] = []
    for _ in range(studies):
        places = random.uniform(-2.2, -0.8) + np.array([0.0, random.uniform(-0.4, 0.4)])
        fitted = []
        for place in places:
            errors = runs(learning_curve(design.population, place, rates), design, random)
            fitted.append(transfer.optimum(rates, errors))
        optima.append((float(places[0]), in_decades(fitted[0].interval)))
        moved = transfer.shift(*fitted)
        shifts.append((float(places[1] - places[0]), moved.interval))
    return [
        tallied("optimum, decades", design, optima),
        tallied("shift, decades", design, shifts),
    ]


def in_decades(interval: transfer.Interval | None) -> transfer.Interval | None:
    """Take logarithms of the ends."""
    if interval is None:
        return None
    return transfer.Interval(math.log10(interval.low), math.log10(interval.high))


def filter_rows(design: Design, studies: int) -> list[dict[str, object]]:
    """Simulate comparisons of six filters; the truth is held if that of all differences is.

    What is tallied is the worst difference: how far outside its interval the truth lies, if at all.
    With one configuration, the truth is that of this configuration.
    """
    random = np.random.default_rng(4)
    spread, more = FILTER_SPREADS[design.population]
    spreads = spread * np.where(np.arange(len(SIX)) == 0, more, 1)
    worst: dict[str, list[Held]] = {"pairs": [], "from the mean of the others": []}
    count = design.configurations
    for _ in range(studies):
        base = true_errors("curve", (count,), random)[1] + PENALTIES[:, None]
        effects = spreads[:, None] * random.standard_normal((len(SIX), count))
        compared = transfer.compare_values(runs(base + effects, design, random), SIX)
        truth = PENALTIES + (effects[:, 0] if count == 1 else 0.0)
        for each, found in zip(
            worst.values(), (compared.differences, compared.from_others), strict=True
        ):
            each.append(max((placed(one, truth) for one in found), key=outside))
    return [tallied(f"filters, {name}", design, held) for name, held in worst.items()]


def placed(difference: transfer.Difference, truth: np.ndarray) -> Held:
    """Return a true difference and its interval."""
    first = SIX.index(difference.first)
    if difference.second in SIX:
        other = truth[SIX.index(difference.second)]
    else:
        other = np.delete(truth, first).mean()
    return float(truth[first] - other), difference.interval


def outside(pair: Held) -> float:
    """Return how far outside its interval a truth lies; negative within."""
    truth, interval = pair
    assert interval is not None
    return max(interval.low - truth, truth - interval.high)


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
