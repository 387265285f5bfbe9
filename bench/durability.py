"""Measure what it costs that a build survives a power cut: the same build with and without syncs.

    python bench/durability.py FOLDER [--rounds 7] [--images 1000] [--variants 24] [--threads N]
        [--scratch FOLDER]

Builds the first images of FOLDER on the disk of --scratch. In each round, a build as users run it
and one whose calls of fsync and fdatasync return at once take turns; the disk is synced between
them, outside the times. A line for CPU time (user and system) and one for wall time are appended to
durability.csv beside this file: the least of the rounds for each, and their quotient. Checksums of
rows are part of both. Wall time means something on a machine that does nothing else: see `load`.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import tempfile
import time
from pathlib import Path

from machine import machine

import lowres
from lowres.formats.names import is_image_name

RESULTS = Path(__file__).with_suffix(".csv")
SIZES, FILTERS = (8, 16, 32, 64), ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
VARIANTS = {3: ((16, 32, 64), ("box",)), 24: (SIZES, FILTERS)}
SYNCS = {"fsync": os.fsync, "fdatasync": os.fdatasync}


def main() -> None:
    """Build in turns, and append two lines to the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--variants", type=int, choices=VARIANTS, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scratch", type=Path, help="folder on the disk to measure")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    sizes, filters = VARIANTS[asked.variants]
    options = lowres.BuildOptions(size=sizes, filter=filters, unlabelled=True)
    working, load = lowres.Working(workers=asked.threads), os.getloadavg()[0]
    times: dict[str, list[tuple[float, float]]] = {"synced": [], "unsynced": []}
    with tempfile.TemporaryDirectory(dir=asked.scratch) as scratch:
        source = subset(asked.folder, Path(scratch) / "images", asked.images)
        for turn in range(-1, asked.rounds):  # the first one compiles, and fills the page cache
            for kind, measured in times.items():
                store = Path(scratch) / "store"
                shutil.rmtree(store, ignore_errors=True)
                os.sync()
                for name, call in SYNCS.items():
                    setattr(os, name, call if kind == "synced" else lambda _: None)
                began, before = time.perf_counter(), os.times()
                lowres.build(source, store, options, working=working)
                now, ended = os.times(), time.perf_counter()
                for name, call in SYNCS.items():
                    setattr(os, name, call)
                if turn >= 0:
                    cpu = now.user + now.system - before.user - before.system
                    measured.append((cpu, ended - began))
    new = not asked.out.exists()
    with asked.out.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        common = machine()
        if new:
            head = ("time", "synced_s", "unsynced_s", "quotient", "rounds", "images", "variants")
            writer.writerow((*head, "threads", "load", *common))
        for column, what in enumerate(("cpu", "wall")):
            least = [min(one[column] for one in times[kind]) for kind in times]
            figures = [f"{one:.3f}" for one in (*least, least[0] / least[1])]
            how = (asked.rounds, asked.images, asked.variants, asked.threads, f"{load:.1f}")
            writer.writerow((what, *figures, *how, *common.values()))
            print(f"{what}: {figures[0]} s with syncs, {figures[1]} s without: {figures[2]}")


def subset(folder: Path, into: Path, count: int) -> Path:
    """Link to the first images of a folder, as a folder of their own."""
    into.mkdir()
    found = sorted(path for path in folder.rglob("*") if is_image_name(path.name))[:count]
    for number, path in enumerate(found):
        (into / f"{number:06}{path.suffix}").symlink_to(path.absolute())
    return into


if __name__ == "__main__":
    main()
