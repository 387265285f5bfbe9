"""The whole way on real images that need no download, in minutes.

The images are crops of the photographs that ship inside scikit-image: each photograph is a
class, its crops are taken at ImageNet-like size, and validation crops come from a part of the
photograph that no training crop touches.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lowres.comparing.contact_sheet import contact_sheet
from lowres.errors import StoreError, require
from lowres.progress import Track, silent
from lowres.recipe import Recipe
from lowres.store.build import build
from lowres.store.options import BuildOptions
from lowres.store.store import open_store
from lowres.study.axes import Axis
from lowres.study.study import Study
from lowres.work.files import write_json
from lowres.work.processes import LocalProcesses, share_cores

if TYPE_CHECKING:
    from PIL import Image

PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "hubble": "hubble_deep_field.jpg",
    "moon": "moon.png",
    "motorcycle": "motorcycle_left.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
    "tissue": "ihc.png",
}
"""Class and file of each photograph in scikit-image's data folder; all are in its wheel."""

CROPS = {"train": 40, "val": 20}
TRAIN_SHARE = 0.62
"""Training crops come from this much of a photograph's longer side, validation from the rest."""

SIDES_PX = (500, 375)
"""ImageNet's most common width and height; half of the crops are upright instead."""

QUALITY = 90
SEED = 2017

SIZES = (8, 16, 32)
BASE = Recipe(
    width=0.5, blocks=2, epochs=3, batch_size=32, lr_drop_at=(0.6, 0.85), shift_px=2
)  # every image plain and mirrored in each epoch
AXES = (
    Axis("variant", tuple(f"{size}-box" for size in SIZES)),
    Axis("lr", (0.01, 0.03, 0.1)),
    Axis("width", (0.5, 1.0)),
)
"""A study small enough for minutes on two cores."""


@dataclass(frozen=True, slots=True)
class Crop:
    """An image to be written: a box of a photograph, in its pixels, and the size it gets."""

    box: tuple[int, int, int, int]
    size: tuple[int, int]
    mirror: bool


def write_images(folder: Path, *, track: Track = silent) -> int:
    """Write the demo's JPEGs as `split/class/NNN.jpg`; the same bytes each time.

    A folder that is there and whole is left as it is.

    Returns:
        The number of images in the folder.

    Raises:
        StoreError: the folder holds something else.
        MissingExtraError: scikit-image is not installed.
    """
    total = len(PHOTOGRAPHS) * sum(CROPS.values())
    done = folder / "demo.json"
    if done.exists():
        return total
    if folder.exists() and any(folder.iterdir()) and not (folder / "train").is_dir():
        raise StoreError(f"{folder} is not empty: choose another folder for the demo")
    shutil.rmtree(folder, ignore_errors=True)
    with track("images", total) as display:
        for name, photograph in _photographs():
            for split, count in CROPS.items():
                target = folder / split / name
                target.mkdir(parents=True)
                for number, crop in enumerate(_crops(name, photograph.size, split, count)):
                    _cut(photograph, crop).save(target / f"{number:03}.jpg", quality=QUALITY)
                    display.advance()
    write_json(done, {"crops": CROPS, "photographs": PHOTOGRAPHS, "seed": SEED})
    return total


def _photographs() -> Iterator[tuple[str, Image.Image]]:
    from PIL import Image

    module = require("skimage.data", "demo")
    assert module.__file__ is not None
    data = Path(module.__file__).parent
    for name, file in PHOTOGRAPHS.items():
        with Image.open(data / file) as photograph:
            yield name, photograph.convert("RGB")


def _crops(name: str, size: tuple[int, int], split: str, count: int) -> Iterator[Crop]:
    """Draw boxes inside a split's own part of a photograph."""
    seed = [SEED, *name.encode(), *split.encode()]
    random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    left, top, right, bottom = region(size, split)
    for _ in range(count):
        upright = random.random_sample() < 0.5
        width_px, height_px = SIDES_PX[::-1] if upright else SIDES_PX
        ratio = width_px / height_px
        largest = min(right - left, (bottom - top) * ratio)
        width = int(largest * random.uniform(0.55, 1.0))
        height = int(width / ratio)
        x = left + random.randint(right - left - width + 1)
        y = top + random.randint(bottom - top - height + 1)
        mirror = random.random_sample() < 0.5
        yield Crop((x, y, x + width, y + height), (width_px, height_px), mirror)


def region(size: tuple[int, int], split: str) -> tuple[int, int, int, int]:
    """Give the part of a photograph of `size` that a split may use: left, top, right, bottom."""
    width, height = size
    if width >= height:
        edge = int(width * TRAIN_SHARE)
        return (0, 0, edge, height) if split == "train" else (edge, 0, width, height)
    edge = int(height * TRAIN_SHARE)
    return (0, 0, width, edge) if split == "train" else (0, edge, width, height)


def _cut(photograph: Image.Image, crop: Crop) -> Image.Image:
    from PIL import Image, ImageOps

    image = photograph.crop(crop.box).resize(crop.size, Image.Resampling.BICUBIC)
    return ImageOps.mirror(image) if crop.mirror else image


@dataclass(frozen=True, slots=True)
class Found:
    """What the demo leaves behind.

    Attributes:
        page: the report.
        finished: number of runs trained.
        failed: reason for each run that was not.
        verdicts: what the report says.
    """

    page: Path
    finished: int
    failed: dict[str, str]
    verdicts: list[str]


def run_demo(folder: Path, *, track: Track = silent) -> Found:
    """Go the whole way in `folder`: images, store, study, report. Stopped, it goes on from there.

    Raises:
        StoreError: the folder holds something else, or a store that does not verify.
        MissingExtraError: torch, matplotlib or scikit-image is not installed.
    """
    for module, extra in (("torch", "train"), ("matplotlib", "report"), ("skimage", "demo")):
        require(module, extra)
    write_images(folder / "images", track=track)
    build(folder / "images", folder / "store", BuildOptions(size=SIZES), track=track)
    store = open_store(folder / "store")
    problems = list(store.problems(track))
    if problems:
        raise StoreError(f"{store.path}: {'; '.join(problems)}; remove it and start again")
    contact_sheet(store, folder / "contact-sheet.png", count=len(PHOTOGRAPHS))
    study = Study.plan(folder / "study", store, BASE, AXES)
    summary = study.finish(LocalProcesses(*share_cores(len(study.runs))), track=track)
    from lowres.report.files import write_report

    report = write_report(study.path)
    return Found(report.files[0], summary.finished, summary.failed, list(report.sentences))
