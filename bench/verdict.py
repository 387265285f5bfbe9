"""Measure how often the verdict decides, how often it is right, and whether its bounds hold.

    python bench/verdict.py [--studies 1000] [--out bench/verdict.csv]
    python bench/verdict.py --until-told [--studies 200] [--out bench/until_told.csv]
    python bench/verdict.py --halving [--studies 400] [--out bench/halving.csv]

Studies are simulated, so their truth is known: learning rates x widths x seeds on a proxy and a
target. The error of a configuration is a dip over log10 learning rate, skewed, saturating, with an
optimum that depends on the width; the proxy has another optimum, depth and gain by width. Each
configuration may have a deviation of its own, on both sides or on the target alone. The noise of a
run grows with its error, but in one cell, and may be shared by all runs of a seed. Nothing here is
code of the package but the verdict.

Until told: a study begins with one run of each configuration on the target, and adds runs of the
choice and of its strongest rival, two at a time, until the answer is sure. Beside how often it is,
the table has the chance of that which `lowres decide --dry-run` states at the start.

Halving: three rungs, the middle one halfway between proxy and target. What `halving` states is
compared with ten searches of new runs a study.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from machine import machine

from lowres.statistics.halving import halving
from lowres.statistics.power import MORE_RUNS, chances_of_an_answer
from lowres.statistics.verdict import judge

BEARABLE = 0.01
SURE = ("does not stand in", "stands in")


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
    growth: float = 7.0
    proxy_own: float | None = None

    @property
    def own_of_proxy(self) -> float:
        """Own deviation of a configuration on the proxy."""
        return self.own if self.proxy_own is None else self.proxy_own


CELLS = (
    *(Cell(seeds=seeds, noise=noise) for seeds in (1, 2, 3) for noise in (0.005, 0.01, 0.025)),
    Cell(rates=8, widths=3),
    Cell(own=0.006),
    Cell(own=0.03),
    Cell(heavy=True),
    Cell(unrelated=True),
    *(Cell(seeds=4, shared=shared) for shared in (0.0, 0.4, 0.7)),
    Cell(growth=0.0),
    Cell(own=0.03, proxy_own=0.0),
    Cell(rates=8, widths=3, own=0.01),
    Cell(noise=0.025, unrelated=True),
)


def world(cell: Cell, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw a study: learning rates, widths, and true errors on proxy and target."""
    grid = np.meshgrid(
        np.linspace(-2.3, -0.3, cell.rates), np.arange(cell.widths, dtype=float), indexing="ij"
    )
    lr, width = (axis.ravel() for axis in grid)

    def side(
        best: float, depth: float, skew: float, gain: float, tilt: float, own: float = cell.own
    ) -> np.ndarray:
        away = lr - best - tilt * width
        away = np.where(away > 0, away / skew, away)
        rise = 0.5 * (1 - np.exp(-depth * away**2 / 0.5))  # errors saturate
        return 0.4 + rise - gain * width + random.normal(0, own, len(lr))

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
        tilt += random.normal(0, 0.05)
        proxy = side(moved, deeper, skew, other_gain, tilt, cell.own_of_proxy)
    return 10**lr, 2**width, proxy, target


def runs(errors: np.ndarray, cell: Cell, random: np.random.Generator) -> np.ndarray:
    """Run every configuration with every seed: `(configurations, seeds)`."""
    shape = (len(errors), cell.seeds)
    noise = random.standard_t(3, shape) / np.sqrt(3) if cell.heavy else random.normal(size=shape)
    noise = np.sqrt(1 - cell.shared) * noise + np.sqrt(cell.shared) * random.normal(size=cell.seeds)
    growing = 1 + cell.growth * (errors - errors.min())
    return np.clip(errors[:, None] + cell.noise * growing[:, None] * noise, 0, 1)


def measured(cell: Cell, studies: int) -> dict[str, object]:
    """Judge many studies of a kind."""
    random = np.random.default_rng(20_26)
    rows, fields = [], []
    for number in range(studies):
        lr, width, proxy, target = world(cell, random)
        tables = runs(proxy, cell, random), runs(target, cell, random)
        began = time.process_time()
        found = judge(
            *tables, axes=(lr.tolist(), width.tolist()), bearable=BEARABLE, seed=number
        )  # fmt: skip
        took = time.process_time() - began
        first = found.shortlists[0]
        truth = target[first.rows[0]] - target.min()
        rows.append((found.answer, truth <= BEARABLE, truth <= first.most + 1e-12, took))
        for field, values in zip(found.fields, (lr, width), strict=True):
            regret = target[values == field.value].min() - target.min()
            fields.append((field.answer, regret <= BEARABLE, regret <= field.most + 1e-12))
    answers = np.array([row[0] for row in rows])
    bearable, held = (np.array([row[place] for row in rows]) for place in (1, 2))
    yes, no = answers == "stands in", answers == "does not stand in"
    wrong = (yes & ~bearable) | (no & bearable)
    sure = yes | no
    field_wrong = [answer == SURE[not truly] for answer, truly, _ in fields]
    record: dict[str, object] = {
        "rates": cell.rates, "widths": cell.widths, "seeds": cell.seeds,
        "noise_points": 100 * cell.noise, "own_points": 100 * cell.own,
        "heavy_tails": cell.heavy, "unrelated": cell.unrelated, "shared_noise": cell.shared,
        "noise_growth": cell.growth, "proxy_own_points": 100 * cell.own_of_proxy,
        "studies": studies,
        "bearable_percent": f"{100 * bearable.mean():.1f}",
        "right_sure_percent": f"{100 * (sure & ~wrong).mean():.1f}",
        "wrong_sure_percent": f"{100 * wrong.mean():.2f}",
        "wrong_of_sure_percent": f"{100 * wrong.sum() / max(sure.sum(), 1):.2f}",
        "at_most_held_percent": f"{100 * held.mean():.1f}",
        "fields_sure_percent": f"{100 * np.mean([one[0] in SURE for one in fields]):.1f}",
        "fields_wrong_sure_percent": f"{100 * np.mean(field_wrong):.2f}",
        "fields_at_most_held_percent": f"{100 * np.mean([one[2] for one in fields]):.1f}",
        "cpu_ms": f"{1e3 * np.mean([row[3] for row in rows]):.1f}",
    }  # fmt: skip
    for answer in ("stands in", "probably stands in", "cannot tell yet",
                   "probably does not stand in", "does not stand in"):  # fmt: skip
        of = answers == answer
        share = f"{100 * bearable[of].mean():.0f} of {of.sum()}" if of.any() else ""
        record[f"bearable_percent_where_{answer.replace(' ', '_')}"] = share
    return record


UNTIL_TOLD = (Cell(), Cell(noise=0.025))
MOST_ADDED = MORE_RUNS[-1]


def decided(cell: Cell, random: np.random.Generator) -> tuple[int | None, bool, tuple[float, ...]]:
    """Add runs until the answer is sure.

    Returns:
        How many further runs it took, None if more than the most; whether it was wrong; and the
        chances that were stated before the first.
    """
    lr, width, proxy, target = world(cell, random)
    of_proxy = runs(proxy, cell, random)
    all_runs = runs(target, replace(cell, seeds=MOST_ADDED // 2 + 1), random)
    table = np.full(all_runs.shape, np.nan)
    table[:, 0] = all_runs[:, 0]
    stated: tuple[float, ...] = ()
    for added in range(0, MOST_ADDED + 1, 2):
        axes = lr.tolist(), width.tolist()
        found = judge(of_proxy, table, axes=axes, bearable=BEARABLE, seed=added)
        if added == 0 and found.draws is not None and found.choice is not None:
            stated = chances_of_an_answer(found.draws, found.choice, BEARABLE)
        if found.sure:
            bearable = target[found.choice] - target.min() <= BEARABLE
            return added, bearable != (found.answer == "stands in"), stated
        for row in (found.choice, found.rival):
            if row is not None:
                seed = int(np.isnan(table[row]).argmax())
                table[row, seed] = all_runs[row, seed]
    return None, False, stated


def until_told(cell: Cell, studies: int) -> dict[str, object]:
    """Decide many studies of a kind."""
    random = np.random.default_rng(20_27)
    found = [decided(cell, random) for _ in range(studies)]
    after = np.array([np.inf if added is None else added for added, *_ in found])
    told, wrong = np.isfinite(after), np.array([wrong for _, wrong, _ in found])
    grid = cell.rates * cell.widths
    record: dict[str, object] = {
        "rates": cell.rates, "widths": cell.widths, "proxy_seeds": cell.seeds,
        "noise_points": 100 * cell.noise, "own_points": 100 * cell.own, "studies": studies,
        "wrong_of_decided_percent": f"{100 * wrong.sum() / max(told.sum(), 1):.1f}",
        "median_target_runs": f"{grid + np.median(after):.0f}",
    }  # fmt: skip
    for runs_on_target in (12, 16, 20, 24, 36, 60):
        share = (after <= runs_on_target - grid).mean()
        record[f"decided_by_{runs_on_target}_percent"] = f"{100 * share:.1f}"
    for place, more in enumerate(MORE_RUNS):
        chance = np.mean([stated[place] for *_, stated in found if stated])
        record[f"stated_by_{more}_more_percent"] = f"{100 * chance:.1f}"
        record[f"decided_by_{more}_more_percent"] = f"{100 * (after <= more).mean():.1f}"
    return record


HALVING = (
    *(Cell(seeds=seeds, noise=noise) for noise in (0.01, 0.025) for seeds in (1, 2, 3)),
    Cell(rates=8, widths=3),
    Cell(own=0.03),
    Cell(heavy=True),
)
SEARCHES, ONE_IN = 10, 3


def halved(cell: Cell, studies: int) -> dict[str, object]:
    """Compare what halving states with what new searches lose."""
    random = np.random.default_rng(20_28)
    rows = []
    for number in range(studies):
        lr, width, proxy, target = world(cell, random)
        truths = (proxy, (proxy + target) / 2, target)
        tables = [runs(errors, cell, random) for errors in truths]
        axes = lr.tolist(), width.tolist()
        draws = judge(tables[0], tables[-1], axes=axes, bearable=BEARABLE, seed=number).draws
        stated = halving(tables, draws, BEARABLE, axes=axes, one_in=ONE_IN, seed=number)
        lost = [
            target[searched(truths, cell, random)] - target.min() for _ in range(SEARCHES)
        ]  # fmt: skip
        held, bearable = (np.mean([x <= most for x in lost]) for most in (stated.most, BEARABLE))
        rows.append(
            (held, stated.expected, np.mean(lost), stated.p_bearable, bearable, stated.most)
        )
    names = ("at_most_held_percent", "stated_points", "lost_points", "stated_bearable_percent",
             "bearable_percent", "at_most_points")  # fmt: skip
    return {
        "rates": cell.rates, "widths": cell.widths, "seeds": cell.seeds,
        "noise_points": 100 * cell.noise, "own_points": 100 * cell.own,
        "heavy_tails": cell.heavy, "studies": studies,
        **{name: f"{100 * x:.2f}" for name, x in zip(names, np.mean(rows, axis=0), strict=True)},
    }  # fmt: skip


def searched(truths: tuple[np.ndarray, ...], cell: Cell, random: np.random.Generator) -> int:
    """Search by halving with new runs; return the row of the choice."""
    alive = np.arange(len(truths[0]))
    for errors in truths:
        seen = runs(errors, replace(cell, seeds=1), random)[alive, 0]
        alive = alive[seen.argsort()][: -(-len(alive) // ONE_IN)]
    return int(alive[0])


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kind = parser.add_mutually_exclusive_group()
    for flag in ("--until-told", "--halving"):
        kind.add_argument(flag, dest="kind", action="store_const", const=flag)
    parser.add_argument("--studies", type=int)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    kinds, measure, usual, name = {
        None: (CELLS, measured, 1000, "verdict.csv"),
        "--until-told": (UNTIL_TOLD, until_told, 200, "until_told.csv"),
        "--halving": (HALVING, halved, 400, "halving.csv"),
    }[arguments.kind]
    studies = arguments.studies or usual
    flag = f"{arguments.kind} " if arguments.kind else ""
    about = {**machine(), "command": f"python bench/verdict.py {flag}--studies {studies}"}
    with (arguments.out or Path(__file__).with_name(name)).open("w", newline="") as file:
        writer = None
        for cell in kinds:
            record = {**measure(cell, studies), **about}
            writer = writer or csv.DictWriter(file, record, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(record)
            file.flush()
            print(" | ".join(str(value) for value in list(record.values())[:24]), flush=True)


if __name__ == "__main__":
    main()
