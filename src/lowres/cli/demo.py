"""The demo: build, train and report on real images without a download, in minutes.

The images are crops of the photographs in scikit-image. Each photograph is a class, and its crops
have the usual size of an ImageNet image. Validation crops come from a region of the photograph
that no training crop touches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lowres.comparing.contact_sheet import contact_sheet
from lowres.errors import StoreBusyError, StoreError, require
from lowres.progress import Track, silent
from lowres.recipe import Recipe
from lowres.store.build import build
from lowres.store.options import BuildOptions
from lowres.store.store import open_store
from lowres.study.axes import Axis
from lowres.study.study import Study
from lowres.text import command
from lowres.work.directory import WorkDirectory
from lowres.work.processes import LocalProcesses, share_cores

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
"""Class of each photograph and its file in scikit-image's data folder; the wheel has them all."""

CROPS = {"train": 40, "val": 40}
TRAIN_SHARE = 0.62
"""Fraction of a photograph's longer side for training crops; validation crops use the rest."""

SIDES_PX = (500, 375)
"""The most common width and height in ImageNet; half of the crops are upright instead."""

QUALITY = 90
SEED = 2017

SIZES = (8, 16, 32)
SEEDS = (0, 1, 2)
BASE = Recipe(
    width=0.5,
    blocks=2,
    epochs=6,
    batch_size=32,
    lr_drop_at=(),
    warmup=0.1,
    cooldown=0.6,
    shift_px=2,
    subtract="mean-colour",
    divide_by="deviation",
    norm_average="variance",
    label_smoothing=0.1,
)
AXES = (
    Axis("variant", tuple(f"{size}-box" for size in SIZES[:2])),
    Axis("lr", (0.0001, 0.001, 0.01, 0.1, 1.0)),
    Axis("seed", SEEDS),
)
"""A study small enough for minutes on two cores, whose verdict is sure: learning rates so far apart
that a run's noise does not hide the best one, which is 0.1 at both sizes."""


@dataclass(frozen=True, slots=True)
class Crop:
    """An image to write.

    Attributes:
        box: left, top, right and bottom in pixels of the photograph.
        size: width and height of the image in pixels.
        mirror: whether it is mirrored.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]
    mirror: bool


def write_images(folder: Path, *, track: Track = silent) -> int:
    """Write the demo's JPEGs as `split/class/NNN.jpg`, with the same bytes each time.

    A folder that is finished stays as it is; one that was interrupted is written again.

    Returns:
        The number of images in the folder.

    Raises:
        StoreError: the folder holds other files.
        MissingExtraError: scikit-image is not installed.
    """
    from PIL import Image, ImageOps

    total = len(PHOTOGRAPHS) * sum(CROPS.values())
    work = WorkDirectory(
        folder, "folder of the demo", "plan.json", "demo.json", StoreError, StoreBusyError,
        advice="choose another folder",
    )  # fmt: skip
    with work.lock("being written"):
        work.begin({"crops": CROPS, "photographs": PHOTOGRAPHS, "seed": SEED})
        if work.finished:
            return total
        module = require("skimage.data", "demo")
        data = Path(str(module.__file__)).parent
        with track("images", total) as display:
            for name, file in PHOTOGRAPHS.items():
                with Image.open(data / file) as opened:
                    photograph = opened.convert("RGB")
                for split, count in CROPS.items():
                    target = folder / split / name
                    target.mkdir(parents=True, exist_ok=True)
                    for number, crop in enumerate(crops(name, photograph.size, split, count)):
                        image = photograph.crop(crop.box)
                        image = image.resize(crop.size, Image.Resampling.BICUBIC)
                        image = ImageOps.mirror(image) if crop.mirror else image
                        image.save(target / f"{number:03}.jpg", quality=QUALITY)
                        display.advance()
        work.finish({"images": total})
    return total


def crops(name: str, size: tuple[int, int], split: str, count: int) -> Iterator[Crop]:
    """Draw boxes inside the region of a photograph that belongs to a split.

    Args:
        name: of the photograph; with the split, it is the seed.
        size: width and height of the photograph in pixels.
        split: train or val.
        count: number of boxes.
    """
    seed = [SEED, *name.encode(), *split.encode()]
    random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    left, top, right, bottom = 0, 0, *size
    if size[0] >= size[1]:
        edge = int(right * TRAIN_SHARE)
        left, right = (left, edge) if split == "train" else (edge, right)
    else:
        edge = int(bottom * TRAIN_SHARE)
        top, bottom = (top, edge) if split == "train" else (edge, bottom)
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


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The results of the demo.

    Attributes:
        page: the report.
        finished: number of runs trained.
        failed: the reason for each run that failed, by its name.
        verdicts: the sentences of the report.
    """

    page: Path
    finished: int
    failed: dict[str, str]
    verdicts: list[str]


def run_demo(folder: Path, *, track: Track = silent) -> DemoResult:
    """Make images, store, study and report in `folder`; if it was interrupted, resume.

    Raises:
        StoreError: the folder holds other files, or a store that does not verify.
        MissingExtraError: torch, matplotlib or scikit-image is not installed.
    """
    for module in ("torch", "scipy", "matplotlib", "jinja2", "skimage"):
        require(module, "demo")  # the extra has them all
    write_images(folder / "images", track=track)
    build(folder / "images", folder / "store", BuildOptions(size=SIZES), track=track)
    store = open_store(folder / "store")
    problems = list(store.problems(track))
    if problems:
        raise StoreError(
            f"{store.path}: {'; '.join(problems)}; remove it and run the demo again: "
            f"{command('demo', folder)}"
        )
    contact_sheet(store, folder / "contact-sheet.png", count=len(PHOTOGRAPHS))
    study = Study.plan(folder / "study", store, BASE, AXES)
    summary = study.finish(LocalProcesses(*share_cores(len(study.runs))), track=track)
    from lowres.report.files import write_report

    report = write_report(study.path)
    return DemoResult(report.files[0], summary.finished, summary.failed, list(report.sentences))
