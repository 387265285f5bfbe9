"""Train a study of docs/results.md, and write the errors of its runs to bench/results.

    python bench/questions.py STUDY SOURCE [--seeds N] [--work FOLDER] [--jobs N] [--out FILE]

| STUDY | what | SOURCE | runs |
|---|---|---|---|
| clothing-10-filters | six filters at 16 px | clothing-10 | 330 |
| cifar-10-law | best learning rates over size and width | CIFAR-10, a part | 240 |
| clothing-10-proxies | four proxies of equal cost | clothing-10 | 180 |
| cifar-10-proxies | the same | CIFAR-10, a part | 180 |
| tiny-imagenet-20-rates | learning rates above 0.16 | Tiny ImageNet-20 | 4 |

SOURCE is a folder with `train/CLASS` and `val/CLASS` or `test/CLASS`, or for Tiny ImageNet that of
its authors.

Stores and runs are in the folder --work. After an interrupt, run the same command again: it
resumes. The table then has a row a run: what was swept, seed, error, cost in multiply-adds, and
the hardware.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from machine import processor

from lowres.progress import shown
from lowres.recipe import Recipe, named_recipe
from lowres.store.build import build
from lowres.store.options import BuildOptions
from lowres.store.store import open_store
from lowres.study.axes import Axis
from lowres.study.results_of_runs import decisions
from lowres.study.study import Study
from lowres.text import value as value_text
from lowres.variant import FILTERS
from lowres.work.processes import LocalProcesses

RATES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)


@dataclass(frozen=True)
class Side:
    """The runs on one store, all combinations of some axes.

    Attributes:
        base: what they have in common.
        every: the store has every n-th image of each class, by split; splits not named are whole.
    """

    base: Recipe
    every: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A study of the page.

    Attributes:
        store: what to build.
        axes: what every side sweeps; their names are columns of the table.
        seeds: of each combination.
        sides: by their names; the table has a column `side` if there are several.
    """

    store: BuildOptions
    axes: tuple[Axis, ...]
    seeds: int
    sides: Mapping[str, Side]


SHORT = Recipe(blocks=1, flip="random", shift_px=0)
DECAYED = replace(SHORT, variant="16-box", width=1, batch_size=32, cooldown=0.9)
TENTH = {"train": 10, "test": 5}
"""Of CIFAR-10: 500 training and 200 test images of each class."""
TWENTIETH = {"train": 20, "test": 5}


def proxies(target: Recipe, every: dict[str, int], narrow_epochs: int, short_epochs: int) -> Plan:
    """Return the study of a target and of four proxies, each of about a quarter of its cost."""
    return Plan(
        BuildOptions(size=(8, 16)),
        (Axis("lr", RATES), Axis("weight_decay", (0.001, 0.01))),
        3,
        {
            "target": Side(target, every),
            "size": Side(replace(target, variant="8-box"), every),
            "width": Side(replace(target, width=0.5, epochs=narrow_epochs), every),
            "epochs": Side(replace(target, epochs=short_epochs), every),
            "images": Side(target, every | {"train": 4 * every.get("train", 1)}),
        },
    )


PLANS = {
    "clothing-10-filters": Plan(
        BuildOptions(size=(16,), filter=FILTERS),
        (Axis("filter", FILTERS), Axis("lr", (0.014, 0.02, 0.028, 0.04, 0.056))),
        11,
        {
            "all": Side(
                replace(
                    named_recipe("fast"), variant="16-box", width=0.5, blocks=1, epochs=12,
                    batch_size=32,
                )
            )
        },
    ),
    "cifar-10-law": Plan(
        BuildOptions(size=(8, 16, 32)),
        (Axis("size", (8, 16, 32)), Axis("width", (0.5, 1)), Axis("lr", (*RATES[2:], 0.64))),
        8,
        {"all": Side(replace(SHORT, variant="32-box", epochs=2, batch_size=64), TENTH)},
    ),
    "clothing-10-proxies": proxies(replace(DECAYED, epochs=11), {}, 8, 3),
    "cifar-10-proxies": proxies(replace(DECAYED, epochs=8), TWENTIETH, 6, 2),
    "tiny-imagenet-20-rates": Plan(
        BuildOptions(size=(16,)),
        (Axis("size", (16,)), Axis("lr", (0.32, 0.64))),
        2,
        {"all": Side(Recipe(variant="16-box", width=1, blocks=1, epochs=10))},
    ),
}  # fmt: skip


def main() -> None:
    """Train the study, and write its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("study", choices=PLANS)
    parser.add_argument("source", type=Path)
    parser.add_argument("--work", type=Path, default=Path("questions"))
    parser.add_argument("--seeds", type=int, help="of each combination; default: as on the page")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    out = given.out or Path("bench/results") / f"{given.study}.csv"
    plan, folder = PLANS[given.study], given.work / given.study
    rows = []
    for name, side in plan.sides.items():
        store = made_store(given.source, given.work, plan.store, side.every)
        axes = (*plan.axes, Axis("seed", tuple(range(given.seeds or plan.seeds))))
        study = Study.plan(folder / name, open_store(store), side.base, axes)
        summary = study.finish(
            LocalProcesses(given.jobs, 1),
            ("--device", given.device, "--together", "auto"),
            workers=given.jobs,
            track=shown,
        )
        if summary.failed:
            raise SystemExit(f"{name}: {summary.failed}")
        shown_side = {"side": name} if len(plan.sides) > 1 else {}
        rows += [shown_side | row for row in table_of(study, [axis.name for axis in axes])]
    hardware = processor() + (", 1 thread" if given.device == "cpu" else ", GPU")
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "hardware"])
        writer.writeheader()
        writer.writerows(row | {"hardware": hardware} for row in rows)
    print(f"{out}: {len(rows)} runs")


def made_store(source: Path, work: Path, options: BuildOptions, every: Mapping[str, int]) -> Path:
    """Build a store of a class folder, or of every n-th image of each class; return its path."""
    part = "".join(f"-{split}-{step}" for split, step in every.items() if step > 1)
    made = f"{''.join(f'-{size}' for size in options.size)}-{len(options.filter or ('box',))}"
    store = work / f"store-{source.name}{part}{made}"
    if not (store / "manifest.json").exists():
        if part:
            chosen = work / f"{source.name}{part}"
            for kind in sorted(source.glob("*/*/")):
                copies = chosen / kind.relative_to(source)
                copies.mkdir(parents=True, exist_ok=True)
                for image in sorted(kind.iterdir())[:: every.get(kind.parent.name, 1)]:
                    shutil.copy(image, copies / image.name)
            source = chosen
        build(source, store, options)
    return store


def table_of(study: Study, columns: list[str]) -> list[dict[str, object]]:
    """Return a row for each run, in the order of the columns."""
    rows = []
    runs = [(decisions(one.recipe), one) for one in study.summaries()]
    for known, one in sorted(runs, key=lambda run: [run[0][name] for name in columns]):
        row: dict[str, object] = {name: value_text(known[name]) for name in columns}
        error = one.result["top1_error"]
        row["error"] = math.inf if error is None else round(error, 6)
        row["cost"] = one.result["train_macs"]
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
