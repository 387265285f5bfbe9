"""Time reading released batches, and comparing two sets, at the size of ImageNet32.

    python bench/comparison.py FOLDER [--images 1281167] [--size 32]

Writes random images to FOLDER in the released layout (pickle), builds a store of them, and
compares the store with the same batches in another order; with a store of which one image in a
hundred is altered; and, where no two images are identical, with the batches again. Needs about 4
times the set's size on disk. Appends a line for each command to comparison.csv beside this file.
"""

import argparse
import csv
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from machine import processor

from lowres.imagenet import wnids

RESULTS = Path(__file__).with_suffix(".csv")


def main() -> None:
    """Make the sets and time the commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1_281_167)
    parser.add_argument("--size", type=int, default=32)
    arguments = parser.parse_args()
    folder, count, size = arguments.folder, arguments.images, arguments.size
    folder.mkdir(parents=True, exist_ok=True)
    batches, reordered = folder / "batches", folder / "reordered"
    store, altered = folder / "store", folder / "altered"
    if not batches.exists():
        elsewhere(write_batches, batches, count, size)
        link_reordered(batches, reordered)
    variant = f"{size}-box"
    timed("build from released batches (pickle)", count, size, "build", batches, store)
    timed("verify", count, size, "verify", store)
    against = ("verify", store, "--against")
    timed("verify --against the batches in another order", count, size, *against, reordered)
    subprocess.run(["cp", "-r", store, altered], check=True)
    elsewhere(alter, altered, variant, 100)
    timed("verify --against a store with 1 % altered", count, size, *against, altered)
    elsewhere(alter, store, variant, 1)
    timed("verify --against batches, all altered by a level", count, size, *against, reordered)


def elsewhere(work: Callable[..., None], *arguments: object) -> None:
    """Work in another process: what this one has held counts as held by every command it runs."""
    process = get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


def link_reordered(batches: Path, reordered: Path) -> None:
    """Link the files of train under each other's names."""
    reordered.mkdir()
    for number in range(1, 11):
        (reordered / f"train_data_batch_{number}").hardlink_to(
            batches / f"train_data_batch_{11 - number}"
        )
    (reordered / "val_data").hardlink_to(batches / "val_data")


def write_batches(folder: Path, count: int, size: int) -> None:
    """Write random images, with random labels, as ten pickles and a small val."""
    import pickle

    random = np.random.default_rng(0)
    mean = np.full(3 * size * size, 127.5)
    for number in range(1, 11):
        rows = count // 10 + (count % 10 if number == 10 else 0)
        data = random.integers(0, 256, (rows, 3 * size * size), np.uint8)
        labels = random.integers(1, len(wnids()) + 1, rows).tolist()
        folder.mkdir(exist_ok=True)
        with (folder / f"train_data_batch_{number}").open("wb") as file:
            pickle.dump({"data": data, "labels": labels, "mean": mean}, file, protocol=3)
    data = random.integers(0, 256, (count // 25, 3 * size * size), np.uint8)
    labels = random.integers(1, len(wnids()) + 1, len(data)).tolist()
    with (folder / "val_data").open("wb") as file:
        pickle.dump({"data": data, "labels": labels}, file, protocol=3)


def alter(store: Path, variant: str, every: int) -> None:
    """Change one value by a level in each of some images."""
    array = np.lib.format.open_memmap(store / "train" / f"{variant}.npy", "r+")
    array[::every, 0, 0, 0] ^= 1
    array.flush()


def timed(what: str, count: int, size: int, *command: object) -> None:
    """Run a command of lowres and write down its time and the most memory it held."""
    words = [sys.executable, "-m", "lowres", *map(str, command)]
    began = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    row = {
        "what": what,
        "images": count,
        "size_px": size,
        "wall_s": round(wall, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "exit_status": os.waitstatus_to_exitcode(status),
        "peak_memory_mb": used.ru_maxrss // 1024,
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "lowres": version("lowres"),
    }
    print(row)
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        table = csv.DictWriter(file, row)
        if new:
            table.writeheader()
        table.writerow(row)


if __name__ == "__main__":
    main()
