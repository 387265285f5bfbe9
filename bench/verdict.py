"""Measure how often the verdict decides, how often it is right, and whether its bounds hold.

    python bench/verdict.py [--studies 1000] [--out bench/verdict.csv]

Studies are simulated, so their truth is known: learning rates x widths x seeds on a proxy and a
target. The error of a configuration is a dip over log10 learning rate, skewed, saturating, with an
optimum that depends on the width; the proxy has another optimum, depth and gain by width. Each
configuration may have a deviation of its own. The noise of a run grows with its error and may be
shared by all runs of a seed. Nothing here is code of the package but the verdict.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from table import machine

from lowres.statistics.verdict import judge

BEARABLE = 0.01


@dataclass(frozen=True)
class Cell:
    """A kind of study; deviations are shares of images."""

    rates: int = 6
    widths: int = 2
    seeds: int = 2
    noise: float = 0.01
    own: float = 0.0
    heavy: bool = False
    unrelated: bool = False
    shared: float = 0.0


CELLS = (
    *(Cell(seeds=seeds, noise=noise) for seeds in (1, 2, 3) for noise in (0.005, 0.01, 0.025)),
    Cell(rates=8, widths=3),
    Cell(own=0.006),
    Cell(own=0.03),
    Cell(heavy=True),
    Cell(unrelated=True),
    *(Cell(seeds=4, shared=shared) for shared in (0.0, 0.4, 0.7)),
)


def world(cell: Cell, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw a study: learning rates, widths, and true errors on proxy and target."""
    grid = np.meshgrid(
        np.linspace(-2.3, -0.3, cell.rates), np.arange(cell.widths, dtype=float), indexing="ij"
    )
    lr, width = (axis.ravel() for axis in grid)

    def side(best: float, depth: float, skew: float, gain: float, tilt: float) -> np.ndarray:
        away = lr - best - tilt * width
        away = np.where(away > 0, away / skew, away)
        rise = 0.5 * (1 - np.exp(-depth * away**2 / 0.5))  # errors saturate
        return 0.4 + rise - gain * width + random.normal(0, cell.own, len(lr))

    best, tilt = random.normal(-1.2, 0.35), random.normal(0, 0.1)
    depth, skew = np.exp(random.normal(np.log(0.1), 0.5)), np.exp(random.normal(np.log(0.75), 0.2))
    gain = abs(random.normal(0.03, 0.02))
    target = side(best, depth, skew, gain, tilt)
    if cell.unrelated:
        best, depth = random.normal(-1.2, 0.6), np.exp(random.normal(np.log(0.1), 0.5))
        proxy = side(best, depth, 1.0, random.normal(0, 0.03), random.normal(0, 0.2))
    else:
        moved, deeper = best + random.normal(0.1, 0.25), depth * np.exp(random.normal(0, 0.3))
        other_gain = gain * np.exp(random.normal(0, 0.4))
        proxy = side(moved, deeper, skew, other_gain, tilt + random.normal(0, 0.05))
    return 10**lr, 2**width, proxy, target


def runs(errors: np.ndarray, cell: Cell, random: np.random.Generator) -> np.ndarray:
    """Run every configuration with every seed: `(configurations, seeds)`."""
    shape = (len(errors), cell.seeds)
    noise = random.standard_t(3, shape) / np.sqrt(3) if cell.heavy else random.normal(size=shape)
    noise = np.sqrt(1 - cell.shared) * noise + np.sqrt(cell.shared) * random.normal(size=cell.seeds)
    growing = 1 + 7 * (errors - errors.min())
    return np.clip(errors[:, None] + cell.noise * growing[:, None] * noise, 0, 1)


def measured(cell: Cell, studies: int) -> dict[str, object]:
    """Judge many studies of a kind."""
    random = np.random.default_rng(20_26)
    rows = []
    for number in range(studies):
        lr, width, proxy, target = world(cell, random)
        tables = runs(proxy, cell, random), runs(target, cell, random)
        began = time.perf_counter()
        found = judge(
            *tables, axes=(lr.tolist(), width.tolist()), bearable=BEARABLE, seed=number
        )  # fmt: skip
        took = time.perf_counter() - began
        first = found.shortlists[0]
        truth = target[first.rows[0]] - target.min()
        rows.append((found.answer, truth <= BEARABLE, truth <= first.most + 1e-12, took))
    answers = np.array([row[0] for row in rows])
    bearable, held = (np.array([row[place] for row in rows]) for place in (1, 2))
    yes, no = answers == "stands in", answers == "does not stand in"
    wrong = (yes & ~bearable) | (no & bearable)
    sure = yes | no
    record: dict[str, object] = {
        "rates": cell.rates, "widths": cell.widths, "seeds": cell.seeds,
        "noise_points": 100 * cell.noise, "own_points": 100 * cell.own,
        "heavy_tails": cell.heavy, "unrelated": cell.unrelated, "shared_noise": cell.shared,
        "studies": studies,
        "bearable_percent": f"{100 * bearable.mean():.1f}",
        "right_sure_percent": f"{100 * (sure & ~wrong).mean():.1f}",
        "wrong_sure_percent": f"{100 * wrong.mean():.2f}",
        "wrong_of_sure_percent": f"{100 * wrong.sum() / max(sure.sum(), 1):.2f}",
        "at_most_held_percent": f"{100 * held.mean():.1f}",
        "ms": f"{1e3 * np.mean([row[3] for row in rows]):.1f}",
    }  # fmt: skip
    for answer in ("stands in", "probably stands in", "cannot tell yet",
                   "probably does not stand in", "does not stand in"):  # fmt: skip
        of = answers == answer
        share = f"{100 * bearable[of].mean():.0f} of {of.sum()}" if of.any() else ""
        record[f"bearable_percent_where_{answer.replace(' ', '_')}"] = share
    return record


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    arguments = parser.parse_args()
    about = {**machine(), "command": f"python bench/verdict.py --studies {arguments.studies}"}
    with arguments.out.open("w", newline="") as file:
        writer = None
        for cell in CELLS:
            record = {**measured(cell, arguments.studies), **about}
            writer = writer or csv.DictWriter(file, record, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(record)
            file.flush()
            print(" | ".join(str(value) for value in list(record.values())[:20]), flush=True)


if __name__ == "__main__":
    main()
