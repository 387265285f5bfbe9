"""Time listing the tars of ILSVRC2012, and measure the memory of commands that list them.

    python bench/index.py FOLDER [--images 1281167]

Writes a tar of 1,000 tars of tiny images to FOLDER (2 GB for all images), lists it with Python's
tarfile, with lowres, and by the commands, and appends a line for each to index.csv beside this
file. Times are CPU times; each of the first three is the median of five runs, in turns, in one
process.
"""

import argparse
import csv
import io
import os
import platform
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median

from machine import processor
from PIL import Image

from lowres.formats.containers.tar import Member, members
from lowres.formats.ilsvrc import IlsvrcSource
from lowres.imagenet import wnids

RESULTS = Path(__file__).with_suffix(".csv")
CLASSES = 1000
SAMPLE = 100
"""Class tars that are listed to compare; all of them take long with tarfile."""

ROUNDS = 5


def main() -> None:
    """Make the tar, time the listings and the commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1_281_167)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = arguments.folder / "ILSVRC2012_img_train.tar"
    if not path.exists():
        write(path, arguments.images)
    class_tars = list(members(path))[:SAMPLE]
    listings: dict[str, Callable[[], int]] = {
        "tarfile": lambda: sum(1 for _ in by_tarfile(path, class_tars)),
        "members": lambda: sum(1 for one in class_tars for _ in members(path, one)),
    }
    times: dict[str, list[float]] = {what: [] for what in listings}
    for _ in range(ROUNDS):
        for what, listing in listings.items():
            began = time.process_time()
            count = listing()
            times[what].append((time.process_time() - began) / count * 1e6)
    for what, found in times.items():
        record(what, count, median(found))
    began = time.process_time()
    index = IlsvrcSource(path).index()
    count = len(index.splits["train"])
    record("index", count, (time.process_time() - began) / count * 1e6)
    del index
    command("lowres info", count, "info", path)


def write(path: Path, images: int) -> None:
    """Write the tar of tars."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (90, 120, 60)).save(buffer, "JPEG")
    picture = buffer.getvalue()
    body = picture + bytes(-len(picture) % 512)
    with tarfile.TarFile(path, "w", format=tarfile.GNU_FORMAT) as outer:
        for number, wnid in enumerate(wnids()[:CLASSES]):
            inner = io.BytesIO()
            for image in range(number, images, CLASSES):
                info = tarfile.TarInfo(f"{wnid}_{image}.JPEG")
                info.size = len(picture)
                inner.write(info.tobuf(tarfile.GNU_FORMAT))
                inner.write(body)
            inner.write(bytes(1024))
            info = tarfile.TarInfo(f"{wnid}.tar")
            info.size = inner.tell()
            inner.seek(0)
            outer.addfile(info, inner)


def by_tarfile(path: Path, class_tars: list[Member]) -> Iterator[tarfile.TarInfo]:
    """List members with the standard library, which keeps none of them."""
    for _, offset, length in class_tars:
        with path.open("rb") as file:
            file.seek(offset)
            part = io.BytesIO(file.read(length))
        with tarfile.TarFile(fileobj=part) as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()
                yield info


def command(what: str, images: int, *words: object) -> None:
    """Run a command of lowres and write down its CPU time and the most memory it held."""
    line = [sys.executable, "-m", "lowres", *map(str, words)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, line
    record(what, images, (used.ru_utime + used.ru_stime) / images * 1e6, used.ru_maxrss // 1024)


def record(what: str, images: int, cpu_us: float, peak_mb: int | str = "") -> None:
    """Append a line to the table."""
    row = {
        "what": what,
        "images": images,
        "cpu_us_an_image": round(cpu_us, 1),
        "peak_memory_mb": peak_mb,
        "processor": processor(),
        "python": platform.python_version(),
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
