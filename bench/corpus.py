"""Write a corpus of JPEGs that cost about as much to decode as ImageNet's.

    python bench/corpus.py FOLDER [--images 600] [--photographs DIR ...]

For measuring builds where ImageNet may not be had. The images are windows of the photographs
inside scikit-image, of scikit-learn's two where it is installed, and of the folders named, written
as `train/CLASS/NNN.jpg` with the photograph as class. What decides the cost of decoding follows a
sample of ImageNet's train set: the sides, and the bytes a pixel. Prints statistics of what it
wrote. The same photographs and the same Pillow give the same bytes.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

SHIPPED = {
    "skimage": "data",
    "sklearn": "datasets/images",
}
"""Folder of a package with photographs in it."""

NAMES = [
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
    "china.jpg",
    "flower.jpg",
]
"""The photographs there; the rest are drawings, text, or tiny."""

SUFFIXES = (".jpg", ".jpeg", ".png")
SMALLEST_SIDE_PX = 200

SIDES_PX = {
    (500, 375): 42,
    (500, 333): 15,
    (500, 334): 4,
    (500, 400): 4,
    (500, 500): 2,
    (400, 300): 5,
    (320, 240): 5,
    (250, 180): 4,
    (150, 150): 2,
    (640, 480): 3,
    (800, 600): 2,
    (1024, 768): 2,
}
"""Width and height of wide images, and how many in 90 have them; the mean is about 200,000 px."""

UPRIGHT = 0.3
"""This share of the images is turned: height for width."""

GREY = 0.025
PROGRESSIVE = 0.01

BYTES_PER_PX = (0.36, 0.50, 0.68, 0.90, 1.20)
"""Quantiles 5, 25, 50, 75 and 95 % of what images aim at. 1,000 ImageNet images have 0.15,
0.32, 0.58, 0.79, 1.10; aiming higher makes up in the mean for photographs too smooth to get there.
"""

QUALITY = range(85, 97)
SHARPEN_PERCENT = (80, 220)
"""Little enough to look like a camera's own sharpening."""

SHRINK = (1.25, 2.5)
"""By how much windows are made smaller, so that no pixel is interpolated, or blurred by a JPEG."""

SEED = 2017


class Plan(NamedTuple):
    """What an image is to be."""

    size: tuple[int, int]
    shrink: float
    sharpen_percent: int
    bytes_per_px: float
    progressive: bool


def main() -> int:
    """Write the corpus and print what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--photographs", type=Path, nargs="+", default=[], metavar="DIR")
    parser.add_argument("--subsampling", default="4:2:0", choices=("4:2:0", "4:2:2", "4:4:4"))
    arguments = parser.parse_args()
    train = arguments.folder / "train"
    there = arguments.folder.iterdir() if arguments.folder.exists() else ()
    if any(path.name != "train" for path in there):
        parser.error(f"{arguments.folder} holds something else: choose a new folder")
    colour, grey = photographs(arguments.photographs)
    if not colour or not grey:
        parser.error("found no photographs: install scikit-image")
    shutil.rmtree(train, ignore_errors=True)
    print(f"{len(colour)} photographs in colour, {len(grey)} grey")
    write(train, arguments.images, colour, grey, arguments.subsampling)
    print_statistics(train)
    return 0


def photographs(folders: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Find the photographs, those in colour and those in grey."""
    found = []
    for package, inside in SHIPPED.items():
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            root = Path(spec.submodule_search_locations[0]) / inside
            found += [root / name for name in NAMES if (root / name).exists()]
    for folder in folders:
        found += sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    kinds: dict[bool, list[Path]] = {True: [], False: []}
    for path in found:
        with Image.open(path) as photograph:
            if min(photograph.size) >= SMALLEST_SIDE_PX:
                kinds[photograph.mode != "L"].append(path)
    return kinds[True], kinds[False]


def write(
    train: Path, count: int, colour: Sequence[Path], grey: Sequence[Path], subsampling: str
) -> None:
    """Write `count` images, from each photograph about as many."""
    greys = round(count * GREY)
    sources = [colour[i % len(colour)] for i in range(count - greys)]
    sources += [grey[i % len(grey)] for i in range(greys)]
    # one photograph after the other: only one is held at a time
    numbers = sorted(range(count), key=lambda i: (str(sources[i].parent), sources[i].name, i))
    last, pixels, written = None, np.empty(0, np.uint8), 0
    for number in numbers:
        path = sources[number]
        random = np.random.default_rng([SEED, number])
        if path != last:
            last, written = path, 0
            with Image.open(path) as photograph:
                pixels = np.asarray(photograph.convert("L" if path in grey else "RGB"))
            class_folder = new_folder(train, path.stem)
        plan = planned(random)
        image = window(pixels, plan, random)
        data = encoded(image, plan, subsampling)
        (class_folder / f"{written:03}.jpg").write_bytes(data)
        written += 1


def new_folder(train: Path, name: str) -> Path:
    """Make a class's folder; photographs of one name in two folders become two classes."""
    names = [name, *(f"{name}-{number}" for number in range(2, 1000))]
    folder = next(train / each for each in names if not (train / each).exists())
    folder.mkdir(parents=True)
    return folder


def planned(random: np.random.Generator) -> Plan:
    """Draw what an image is to be."""
    weights = np.array(list(SIDES_PX.values())) / sum(SIDES_PX.values())
    width, height = list(SIDES_PX)[random.choice(len(SIDES_PX), p=weights)]
    upright = random.random() < UPRIGHT
    at = random.uniform(0, 1)
    return Plan(
        size=(height, width) if upright else (width, height),
        shrink=random.uniform(*SHRINK),
        sharpen_percent=int(random.integers(*SHARPEN_PERCENT)),
        bytes_per_px=float(np.interp(at, (0.05, 0.25, 0.5, 0.75, 0.95), BYTES_PER_PX)),
        progressive=random.random() < PROGRESSIVE,
    )


def window(pixels: np.ndarray, plan: Plan, random: np.random.Generator) -> Image.Image:
    """Cut a window, make it smaller and sharpen it.

    A photograph that is too small goes on as its mirror image, which costs a decoder the same.
    """
    picked = []
    for side, wanted in zip(pixels.shape[:2], plan.size[::-1], strict=True):
        length = round(wanted * plan.shrink)
        start = random.integers(side - length + 1 if side >= length else side)
        period = np.arange(start, start + length) % (2 * side)
        picked.append(np.minimum(period, 2 * side - 1 - period))
    cut = Image.fromarray(pixels[np.ix_(*picked)])
    small = cut.resize(plan.size, Image.Resampling.BICUBIC)
    return small.filter(ImageFilter.UnsharpMask(radius=1, percent=plan.sharpen_percent))


def encoded(image: Image.Image, plan: Plan, subsampling: str) -> bytes:
    """Encode with the quality that comes nearest to the bytes wanted."""
    wanted = plan.bytes_per_px * image.width * image.height
    best, below, above = b"", 0, len(QUALITY) - 1
    while below <= above:  # more quality is more bytes
        middle = (below + above) // 2
        buffer = io.BytesIO()
        image.save(
            buffer,
            "JPEG",
            quality=QUALITY[middle],
            subsampling="4:4:4" if image.mode == "L" else subsampling,
            progressive=plan.progressive,
        )
        data = buffer.getvalue()
        if not best or abs(len(data) - wanted) < abs(len(best) - wanted):
            best = data
        below, above = (middle + 1, above) if len(data) < wanted else (below, middle - 1)
    return best


def print_statistics(train: Path) -> None:
    """Print what a corpus is like."""
    sizes, modes, px, lengths, progressive = Counter(), Counter(), [], [], 0
    for path in sorted(train.rglob("*.jpg")):
        with Image.open(path) as image:
            sizes[image.size] += 1
            modes[image.mode] += 1
            px.append(image.width * image.height)
            progressive += "progressive" in image.info
        lengths.append(path.stat().st_size)
    per_px = np.array(lengths) / np.array(px)
    print(f"{len(px)} images in {len(list(train.iterdir()))} classes, {sum(lengths):,} bytes")
    print(f"mean {np.mean(lengths):,.0f} bytes, {np.mean(px):,.0f} px")
    print(f"{sum(lengths) / sum(px):.3f} bytes a pixel", end="; quantiles 5, 25, 50, 75, 95 %: ")
    print(*np.percentile(per_px, (5, 25, 50, 75, 95)).round(2))
    print(f"{modes['L']} grey, {progressive} progressive")
    print("sides:", *(f"{w}x{h}: {count}," for (w, h), count in sizes.most_common(8)), "others")


if __name__ == "__main__":
    sys.exit(main())
