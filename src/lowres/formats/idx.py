"""MNIST and Fashion-MNIST: grey images and labels in idx files, plain or gzipped.

An idx file is a magic number (two zero bytes, the type of the items, which is 8 for uint8, and the
number of axes), the length of each axis as a big-endian uint32, and the items (layout: the page of
MNIST). Sets in the same files, such as KMNIST, are read too, with their labels as names.
"""

from __future__ import annotations

import io
import math
import struct
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError
from lowres.formats.containers.streams import Gunzipped, damage_named, read_exactly
from lowres.formats.indexing import indexed
from lowres.formats.source import Entry, Index, Source
from lowres.variant import MAX_SIZE_PX

BELOW = ("raw", "MNIST/raw", "FashionMNIST/raw")
"""Subfolders that are searched; the longer ones are torchvision's."""

SPLITS = {"train": "train", "test": "t10k"}
ENDINGS = {"images": ("-idx3-ubyte", ".idx3-ubyte"), "labels": ("-idx1-ubyte", ".idx1-ubyte")}
UINT8 = 8
DIGITS = 10

FASHION = (
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip
"""Names of Fashion-MNIST's labels (its README). T-shirt/top is no name of a folder: shortened."""


class IdxSource(Source):
    """Images of one set of idx files; all are in memory (55 MB) once one is read."""

    kind = "idx"
    label_order = "0-based numbers"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Recognise folders with idx files, also in a subfolder `raw`, by names alone."""
        return path.is_dir() and _folder(path) is not None

    def index(self) -> Index:
        splits = {split: labels for split, _, labels in self._sets.values()}
        largest = max(int(labels.max()) for labels in splits.values())
        folder = _folder(self.path) or self.path
        near = (*folder.absolute().parts[-3:], *folder.resolve().parts[-3:])
        classes, notes = tuple(map(str, range(max(DIGITS, largest + 1)))), []
        if any("fashion" in part.lower() for part in near):
            if largest >= DIGITS:
                raise SourceError(f"{folder} has the label {largest}; Fashion-MNIST's are 0 to 9")
            classes, notes = FASHION, ["the class T-shirt/top is called T-shirt"]
        if "test" not in splits:
            notes.append("the set has no split test: its t10k files are missing")
        entries = {
            split: [Entry(f"{row:06}", n, path, row) for row, n in enumerate(labels.tolist())]
            for path, (split, _, labels) in self._sets.items()
        }
        return Index(
            classes=classes,
            splits=indexed(entries),
            layout="Fashion-MNIST" if classes == FASHION else "MNIST",
            notes=tuple(notes),
            native_px=next(pixels.shape[1] for _, pixels, _ in self._sets.values()),
        )

    def read(self, entry: Entry) -> NDArray[np.uint8]:
        """Return an image, its grey levels as red, green and blue."""
        grey = self._sets[entry.location][1][entry.offset]
        return np.repeat(grey[..., None], 3, axis=2)

    @cached_property
    def _sets(self) -> dict[str, tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
        """Split, pixels (N, S, S) and labels (N,) by the path of the images."""
        folder = _folder(self.path) or self.path
        sets = {}
        for split, prefix in SPLITS.items():
            images, labels = (_file(folder, prefix, part) for part in ENDINGS)
            if images and labels:
                numbers, pixels = _array(labels, axes=1), _array(images, axes=3)
                count, height, width = pixels.shape
                if not 1 <= height == width <= MAX_SIZE_PX:
                    raise SourceError(
                        f"{images}: images must be squares, were {width} x {height} px"
                    )
                if len(numbers) != count or not count:
                    raise SourceError(
                        f"{images} has {count} images, and {labels} {len(numbers)} labels"
                    )
                sets[str(images)] = split, pixels, numbers
            elif images or labels or split == "train":
                missing = f"{prefix}-{'labels' if images else 'images'}"
                raise SourceError(f"{folder}: {missing}-idx{1 if images else 3}-ubyte is missing")
        sides = {pixels.shape[1] for _, pixels, _ in sets.values()}
        if len(sides) > 1:
            raise SourceError(f"{folder} has images of {' and '.join(map(str, sides))} px")
        return sets


def _array(path: Path, axes: int) -> NDArray[np.uint8]:
    """Read a whole idx file."""
    with damage_named(str(path)), path.open("rb") as raw:
        packed = path.suffix == ".gz"
        file = io.BufferedReader(Gunzipped(raw, str(path))) if packed else raw
        magic = read_exactly(file, 4, str(path))
        if magic != bytes([0, 0, UINT8, axes]):
            raise SourceError(
                f"{path} must begin like an idx file with {axes} axes of uint8 (0 0 8 {axes}), was "
                f"{' '.join(map(str, magic))}"
            )
        shape = struct.unpack(f">{axes}I", read_exactly(file, 4 * axes, str(path)))
        data = read_exactly(file, math.prod(shape), str(path))
        if file.read(1):
            raise SourceError(f"{path} has bytes behind its {shape[0]} items; fetch it again")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _folder(path: Path) -> Path | None:
    """Return the folder with the files of train or test."""
    for folder in (path, *(path / below for below in BELOW)):
        if any(_file(folder, prefix, part) for prefix in SPLITS.values() for part in ENDINGS):
            return folder
    return None


def _file(folder: Path, prefix: str, part: str) -> Path | None:
    """Return a file by its two endings; plain before gzipped."""
    endings = [ending + suffix for suffix in ("", ".gz") for ending in ENDINGS[part]]
    paths = (folder / f"{prefix}-{part}{ending}" for ending in endings)
    return next((path for path in paths if path.is_file()), None)
