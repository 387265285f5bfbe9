"""MNIST, Fashion-MNIST and EMNIST: grey images and labels in idx files, plain or gzipped.

An idx file is a magic number (two zero bytes, the type of the items, which is 8 for uint8, and the
number of axes), the length of each axis as a big-endian uint32, and the items (layout: the page of
MNIST). Sets in the same files, such as KMNIST, are read too, with their labels as names. A file may
lie in a folder of its own name, as Kaggle unpacks them.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError
from lowres.formats.containers.streams import Gunzipped, damage_named, read_exactly
from lowres.formats.indexing import indexed
from lowres.formats.source import Entry, Index, Source
from lowres.variant import MAX_SIZE_PX

BELOW = ("raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "EMNIST/raw")
"""Subfolders that are searched; the longer ones are torchvision's."""

NAME = re.compile(r"(.*?)(train|t10k|test)-(images|labels)([-.])idx([13])-ubyte(\.gz)?", re.ASCII)
"""What the set is called if it is not MNIST (`emnist-letters-`), and the split of a file."""

MOST_NAMES = 1000
"""A folder with more is no folder of idx files; it is not listed further."""

EMNIST = "emnist-"
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
        smallest = min(int(labels.min()) for labels in splits.values())
        folder = _folder(self.path) or self.path
        near = (*folder.absolute().parts[-3:], *folder.resolve().parts[-3:])
        is_emnist = any(Path(path).name.startswith(EMNIST) for path in self._sets)
        first = min(smallest, 1) if is_emnist else 0
        layout, notes = "EMNIST" if is_emnist else "MNIST", []
        classes = tuple(map(str, range(first, max(first or DIGITS, largest + 1))))
        if is_emnist:
            notes.append("EMNIST's images lie on their side, as in its files")
        elif any("fashion" in part.lower() for part in near):
            if largest >= DIGITS:
                raise SourceError(f"{folder} has the label {largest}; Fashion-MNIST's are 0 to 9")
            layout, classes = "Fashion-MNIST", FASHION
            notes.append("the class T-shirt/top is called T-shirt")
        if "test" not in splits:
            notes.append("the set has no split test: its t10k files are missing")
        entries = {
            split: [
                Entry(f"{row:06}", n - first, path, row) for row, n in enumerate(labels.tolist())
            ]
            for path, (split, _, labels) in self._sets.items()
        }
        return Index(
            classes=classes,
            splits=indexed(entries),
            layout=layout,
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
        files = _files(folder)
        names = sorted({prefix for prefix, _, _ in files})
        if len(names) > 1:
            raise SourceError(
                f"{folder} has {len(names)} sets, {names[0] or 'MNIST'} and {names[1]}: build from "
                "a folder with the files of one"
            )
        sets = {}
        for split in ("train", "test"):
            images, labels = (files.get((names[0], split, part)) for part in ("images", "labels"))
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
                missing = "labels-idx1-ubyte" if images else "images-idx3-ubyte"
                of = (images or labels or Path(split)).name.partition("-images")[0]
                raise SourceError(
                    f"{folder}: {of.partition('-labels')[0]}-{missing} is missing; put it beside "
                    "the others, plain or gzipped"
                )
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
    """Return the folder with the files of a set."""
    return next((f for f in (path, *(path / below for below in BELOW)) if _files(f)), None)


def _files(folder: Path) -> dict[tuple[str, str, str], Path]:
    """Return the files in a folder by set, split and part; plain before gzipped."""
    try:
        with os.scandir(folder) as children:
            names = sorted(child.name for child in islice(children, MOST_NAMES + 1))
    except OSError:
        return {}
    found: dict[tuple[str, str, str], Path] = {}
    for name in names if len(names) <= MOST_NAMES else ():
        matched = NAME.fullmatch(name)
        path = folder / name
        if matched and path.is_dir():
            path /= name
        if matched and path.is_file():
            split = "train" if matched[2] == "train" else "test"
            first = found.setdefault((matched[1], split, matched[3]), path)
            if first.suffix == ".gz" and path.suffix != ".gz":
                found[matched[1], split, matched[3]] = path
    return found
