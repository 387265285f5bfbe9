"""Measure how often the verdict on an order of optimizers decides, is right, and holds its bound.

    python bench/orders.py [--studies 300] [--out bench/orders.csv]

Studies are simulated, so their truth is known: optimizers with three learning rates of their own,
on a proxy and a target. Each optimizer has a dip over log10 learning rate whose depth, place and
least error are random; the target moves each of them. The noise of a run grows with its error.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import machine

from lowres.statistics.verdict import judge

BEARABLE = 0.01
SURE = ("does not stand in", "stands in")


@dataclass(frozen=True)
class Cell:
    """A kind of study; deviations are shares of images.

    `moved` is how far the target moves the least error of an optimizer from the proxy's.
    """

    optimizers: int = 5
    seeds: int = 2
    noise: float = 0.01
    moved: float = 0.01


CELLS = (
    *(Cell(seeds=seeds, noise=noise) for seeds in (1, 2, 3) for noise in (0.005, 0.01, 0.025)),
    Cell(optimizers=3),
    Cell(optimizers=8),
    Cell(moved=0.0),
    Cell(moved=0.04),
)


def world(cell: Cell, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw a study: optimizer and rate of each configuration, true errors on proxy and target."""
    names = np.repeat(np.arange(cell.optimizers), 3)
    centres = random.normal(-2, 0.8, cell.optimizers)
    rates = centres[names] + np.tile([-0.5, 0.0, 0.5], cell.optimizers)
    least = 0.4 + 0.03 * random.standard_normal(cell.optimizers)
    best = centres + random.normal(0, 0.2, cell.optimizers)
    depth = np.exp(random.normal(np.log(0.1), 0.4, cell.optimizers))

    def side(least: np.ndarray, best: np.ndarray) -> np.ndarray:
        away = rates - best[names]
        return least[names] + 0.5 * (1 - np.exp(-depth[names] * away**2 / 0.5))

    target = least + cell.moved * random.standard_normal(cell.optimizers)
    moved = best + random.normal(0, 0.1, cell.optimizers)
    return names, 10**rates, side(least + 0.05, best), side(target, moved)


def runs(errors: np.ndarray, cell: Cell, random: np.random.Generator) -> np.ndarray:
    """Run every configuration with every seed: `(configurations, seeds)`."""
    growing = cell.noise * (1 + 7 * (errors - errors.min()))
    noise = random.standard_normal((len(errors), cell.seeds))
    return np.clip(errors[:, None] + growing[:, None] * noise, 0, 1)


def measured(cell: Cell, studies: int) -> dict[str, object]:
    """Judge the order of optimizers in many studies of a kind."""
    random = np.random.default_rng(20_28)
    rows, pairs = [], []
    for number in range(studies):
        names, rates, proxy, target = world(cell, random)
        words = [f"optimizer {name}" for name in names]
        tables = runs(proxy, cell, random), runs(target, cell, random)
        began = time.process_time()
        axes = {"optimizer": words, "lr": rates.tolist()}
        [order] = judge(*tables, axes=axes, bearable=BEARABLE, seed=number).orders
        took = time.process_time() - began
        true = np.array([target[np.array(words) == value].min() for value in order.values])
        first, second = np.triu_indices(len(true), 1)
        loss = max(0.0, float((true[first] - true[second]).max()))
        inside = [
            ends.low <= one <= ends.high for ends, one in zip(order.intervals, true, strict=True)
        ]
        rows.append((order.answer, loss <= BEARABLE, loss <= order.most + 1e-12, took))
        pairs.append((*order.pairs, np.mean(inside)))
    answers = np.array([row[0] for row in rows])
    bearable, held = (np.array([row[place] for row in rows]) for place in (1, 2))
    wrong = ((answers == SURE[1]) & ~bearable) | ((answers == SURE[0]) & bearable)
    sure = np.isin(answers, SURE)
    every, agree, reverse, inside = np.array(pairs).T
    return {
        "optimizers": cell.optimizers, "rates": 3, "seeds": cell.seeds,
        "noise_points": 100 * cell.noise, "moved_points": 100 * cell.moved, "studies": studies,
        "bearable_percent": f"{100 * bearable.mean():.1f}",
        "right_sure_percent": f"{100 * (sure & ~wrong).mean():.1f}",
        "wrong_sure_percent": f"{100 * wrong.mean():.2f}",
        "at_most_held_percent": f"{100 * held.mean():.1f}",
        "best_error_held_percent": f"{100 * inside.mean():.1f}",
        "pairs_sure_percent": f"{100 * ((agree + reverse) / every).mean():.1f}",
        "cpu_ms": f"{1e3 * np.mean([row[3] for row in rows]):.1f}",
    }  # fmt: skip


def main() -> None:
    """Measure every kind, print each row, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    given = parser.parse_args()
    table = []
    for cell in CELLS:
        table.append(measured(cell, given.studies) | machine())
        print("  ".join(f"{name} {value}" for name, value in table[-1].items()), flush=True)
    with given.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
