"""What `build.py` lets run against each other; one process that answers requests one by one.

Started by `measuring.Worker`, with the Python that has what the contenders import: lowres and
simplejpeg, or one version of Pillow. A request is a line of JSON on standard input, the name of a
contender and its arguments; the answer is a line with the CPU seconds (user and system, of this
process and the children it waited for), the wall seconds, and what the contender tells. Imports,
lists of files and clearing up are outside the time.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image


class Timed(NamedTuple):
    """What a contender took, and what else it tells."""

    cpu_s: float
    wall_s: float
    told: dict[str, Any]


def timed(work: Callable[[], dict[str, Any]]) -> Timed:
    """Run and time."""
    cpu, wall = cpu_s(), time.perf_counter()
    told = work()
    wall = time.perf_counter() - wall
    if multiprocessing.active_children():
        raise RuntimeError("a child process still runs: its CPU time would be left out")
    return Timed(cpu_s() - cpu, wall, told)


def cpu_s() -> float:
    """Give the CPU seconds of this process and of its finished children."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


@cache
def files(folder: str) -> tuple[Path, ...]:
    """List the images of a corpus."""
    return tuple(sorted(path for path in Path(folder).rglob("*") if path.is_file()))


@cache
def contents(folder: str) -> tuple[bytes, ...]:
    """Read the images of a corpus."""
    return tuple(path.read_bytes() for path in files(folder))


def floor(folder: str) -> Timed:
    """Decode bytes that are in memory already, and nothing else; the floor of any exact build."""
    from simplejpeg import decode_jpeg

    everything = contents(folder)

    def work() -> dict[str, Any]:
        refused = 0
        for data in everything:
            try:
                decode_jpeg(data, strict=True)
            except ValueError:
                refused += 1
                decode_by_pillow(data)
        return {"refused": refused}

    return timed(work)


def decode_by_pillow(data: bytes) -> np.ndarray:
    """Decode what simplejpeg does not."""
    import io

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(in_rgb(image))


def in_rgb(image: Image.Image) -> Image.Image:
    """Convert what is not RGB; `convert` would copy what is."""
    return image if image.mode == "RGB" else image.convert("RGB")


def lowres(
    folder: str, sizes: Sequence[int], filters: Sequence[str], workers: int, scratch: str
) -> Timed:
    """Build a store as a user does, from the index of the folder to the manifest."""
    import lowres as package

    options = package.BuildOptions(size=tuple(sizes), filter=tuple(filters))
    with tempfile.TemporaryDirectory(dir=scratch) as parent:

        def work() -> dict[str, Any]:
            working = package.Working(workers=workers)
            package.build(folder, Path(parent) / "store", options, working=working)
            return {}

        return timed(work)


def pillow(folder: str, sizes: Sequence[int], filters: Sequence[str]) -> Timed:
    """Decode each file once with Pillow and resize the RGB image to each variant."""
    paths = files(folder)
    methods = [Image.Resampling[name.upper()] for name in filters]

    def work() -> dict[str, Any]:
        out = {
            (size, method): np.empty((len(paths), size, size, 3), np.uint8)
            for size in sizes
            for method in methods
        }
        for row, path in enumerate(paths):
            with Image.open(path) as opened:
                image = in_rgb(opened)
                for (size, method), array in out.items():
                    array[row] = image.resize((size, size), method)
        return {}

    return timed(work)


def authors(folder: str, sizes: Sequence[int], filters: Sequence[str], scratch: str) -> Timed:
    """Go the way of the scripts of 2017: a decode and a PNG for each variant, then a pickle each.

    Packing makes a list of Python integers of each PNG, red, green and blue one after the other.
    """
    paths = files(folder)
    with tempfile.TemporaryDirectory(dir=scratch) as parent:

        def work() -> dict[str, Any]:
            for size in sizes:
                for name in filters:
                    pngs = Path(parent) / f"{name}-{size}"
                    pngs.mkdir()
                    shrink_to_pngs(paths, pngs, size, name)
                    pack(pngs, pngs.with_suffix(".pickle"))
            return {}

        return timed(work)


def shrink_to_pngs(paths: Sequence[Path], folder: Path, size: int, name: str) -> None:
    """Write a small PNG of each image."""
    method = Image.Resampling[name.upper()]
    for number, path in enumerate(paths):
        with Image.open(path) as image:
            small = in_rgb(image).resize((size, size), method)
        small.save(folder / f"{number:07}.png")


def pack(folder: Path, target: Path) -> None:
    """Pickle the PNGs of a folder as rows of planar bytes."""
    rows = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            pixels = np.asarray(image)
        red, green, blue = (pixels[:, :, channel].flatten() for channel in range(3))
        rows.append(np.array(list(red) + list(green) + list(blue), np.uint8))
    with target.open("wb") as file:
        pickle.dump({"data": np.stack(rows), "labels": [1] * len(rows)}, file, protocol=4)


CONTENDERS = {each.__name__: each for each in (floor, lowres, pillow, authors)}


def main() -> None:
    """Answer until standard input ends."""
    # whatever a contender prints must not get between the answers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        request = json.loads(line)
        answer = CONTENDERS[request.pop("contender")](**request)
        print(json.dumps(answer._asdict()), file=answers, flush=True)


if __name__ == "__main__":
    main()
