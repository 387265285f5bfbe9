"""Measure runs that share a process: packed, one by one, and in two processes.

    python bench/together.py CIFAR-10 [--images 500] [--device cuda]
        [--out bench/results/together.csv] [--quick]

CIFAR-10 is a folder with `train/CLASS` and `test/CLASS`, or a tar of it. Two parts:

- shapes: 8 runs of one epoch that differ in seed, for shapes from WRN-6-0.5 at 8 px to WRN-8-1 at
  16 px, batch 64, one thread a process: one by one, packed, and one by one in two processes.
- study: 96 runs at 8 px, 12 learning rates and 8 seeds, one epoch: a process a run, processes
  that stay, and processes that stay and pack; two at a time on a CPU.

A row has wall and CPU seconds of the commands, loading and evaluation included, runs an hour, and
the largest difference of a run's top-1 error from that of the first way. Only a machine without
other work gives wall times; CPU seconds are a fair ratio on a busy one, too.

--images takes that many images of each class. --quick takes 100, two shapes and 8 runs, and writes
nothing.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from machine import machine

from lowres.networks.shape import Shape
from lowres.recipe import Recipe
from lowres.store.build import build
from lowres.store.options import BuildOptions
from lowres.store.store import Store, open_store
from lowres.study.axes import Axis
from lowres.study.study import Study
from lowres.work.processes import LocalProcesses

SHAPES = ((8, 0.5), (8, 1.0), (16, 0.5), (16, 1.0))
"""Size and width; one block a stage."""

RUNS, BATCH, QUICK_IMAGES = 8, 64, 100
BASE = Recipe(
    variant="8-box", width=0.5, blocks=1, stages="to-8px", epochs=1, batch_size=BATCH, flip="random"
)
Way = tuple[str, int, bool, tuple[str, ...]]
"""Name, processes, whether they stay, and the flags of `lowres train`."""


def main() -> None:
    """Run the parts, print each row, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--images", type=int, help="images of each class; default: all")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("bench/results/together.csv"))
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        images = QUICK_IMAGES if given.quick else given.images
        store = made_store(given.source, Path(folder), images)
        for row in measured(store, Path(folder), given.device, quick=given.quick):
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
            images = store.splits["train"]
            rows.append(row | {"images": images, "device": given.device, **machine()})
    if not given.quick:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        with given.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def made_store(source: Path, folder: Path, images: int | None) -> Store:
    """Build a store of 8 and 16 px from a folder or tar, with some images of each class or all."""
    if source.is_file():
        with tarfile.open(source) as tar:
            tar.extractall(folder / "source", filter="data")
        source = folder / "source"
    if images is not None:
        for kind in sorted(source.glob("*/*/")):
            (folder / "part" / kind.relative_to(source)).mkdir(parents=True)
            for image in sorted(kind.iterdir())[:images]:
                shutil.copy(image, folder / "part" / image.relative_to(source))
        source = folder / "part"
    build(source, folder / "store", BuildOptions(size=(8, 16)))
    return open_store(folder / "store")


def measured(
    store: Store, folder: Path, device: str, *, quick: bool
) -> Iterator[dict[str, object]]:
    """Yield the rows of both parts."""
    flags = ("--device", device)
    alone, packed = (*flags, "--together", "1"), (*flags, "--together", "auto")
    all_packed = (*flags, "--together", str(RUNS))
    two = min(2, os.cpu_count() or 1)
    for size, width in SHAPES[:2] if quick else SHAPES:
        base = replace(BASE, variant=f"{size}-box", width=width)
        name = f"{Shape.of(base, 10).name} at {size} px, batch {BATCH}, {RUNS} runs"
        ways: list[Way] = [
            ("one by one", 1, True, alone),
            ("packed", 1, True, all_packed),
            ("one by one in two processes", two, True, alone),
        ]
        axes = [Axis("seed", tuple(range(RUNS)))]
        yield from compared(name, base, axes, ways, store, folder / f"{size}-{width}")
    rates = tuple(round(0.001 * 2 ** (n / 2), 6) for n in range(1 if quick else 12))
    axes = [Axis("lr", rates), Axis("seed", tuple(range(RUNS)))]
    name = f"study of {len(rates) * RUNS} runs at 8 px"
    processes = 1 if device == "cuda" else two
    ways = [
        ("a process for each run", processes, False, alone),
        ("processes that stay", processes, True, alone),
        ("processes that stay and pack", processes, True, packed),
    ]
    yield from compared(name, BASE, axes, ways, store, folder / "study")


def compared(
    name: str, base: Recipe, axes: list[Axis], ways: list[Way], store: Store, folder: Path
) -> Iterator[dict[str, object]]:
    """Train a study in each way, and yield a row for each."""
    first: tuple[float, dict[str, float]] | None = None
    for number, (way, processes, stay, flags) in enumerate(ways):
        study = Study.plan(folder / str(number), store, base, axes)
        began, cpu_began = time.perf_counter(), cpu_of_children()
        executor = LocalProcesses(processes, 1)
        summary = study.finish(executor, flags, workers=processes if stay else None)
        wall, cpu = time.perf_counter() - began, cpu_of_children() - cpu_began
        if summary.failed:
            raise RuntimeError(f"{way}: {summary.failed}")
        errors = {run.path.name: float(run.result()["top1_error"]) for run in study.runs}
        first = first or (cpu, errors)
        yield {
            "what": name,
            "way": way,
            "wall_s": round(wall, 1),
            "cpu_s": round(cpu, 1),
            "runs_per_hour": round(3600 * len(errors) / wall),
            "runs_per_cpu_hour": round(3600 * len(errors) / cpu),
            "x_cpu": round(first[0] / cpu, 2),
            "largest_difference": round(max(abs(errors[n] - first[1][n]) for n in errors), 4),
        }


def cpu_of_children() -> float:
    """Return the CPU seconds of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
