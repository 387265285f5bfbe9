"""The ZIP of images that the data loaders of StyleGAN2-ADA, StyleGAN3 and EDM read.

It holds uncompressed PNG files of one size as `00000/img00000000.png`, and `dataset.json` with a
list of file and label. It has one split, and numbers for classes.

lowres reads the ZIP or its unpacked folder, and writes the ZIP.
"""

from __future__ import annotations

import itertools
import json
import os
import zipfile
from array import array
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from lowres.errors import ImageError, SourceError, StoreError
from lowres.formats.containers.streams import ByteRanges
from lowres.formats.containers.tar import Member
from lowres.formats.containers.zip import read_member, zip_members
from lowres.formats.indexing import check_several, indexed, missing_classes
from lowres.formats.names import is_image_name, is_system
from lowres.formats.sink import EARLIEST, Outline, Sink, png
from lowres.formats.source import Entry, Index, Source, check_name, file_stamp
from lowres.variant import MAX_SIZE_PX

LABELS = "dataset.json"
PER_FOLDER = 1000
"""Images in each folder of the ZIP."""

MOST_CLASSES = 100_000
"""Labels must be smaller: there is a class for each number up to the largest."""

MOST_LABELS_BYTES = 1_000_000_000
"""A longer `dataset.json` is not read; that of 1.28 million images takes 45 MB."""

LOOK_BYTES = 4096
"""How much of `dataset.json` is read to recognise it; other tools write files of that name."""

UNIX = 3
"""The system recorded in each member; by default it would be the one that lowres runs on."""

Members = dict[str, tuple[int, int]]
"""Where the header of each file begins in the ZIP, and its length; 0 and 0 in a folder."""


class EdmSource(Source):
    """A ZIP with `dataset.json`, or the folder it unpacks to."""

    kind = "edm"
    label_order = "0-based numbers without names"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Recognise a ZIP, or a folder with a `dataset.json` that has labels."""
        if not path.is_dir():
            return path.suffix.lower() == ".zip"
        if not (path / LABELS).is_file():
            return False
        with (path / LABELS).open("rb") as file:
            return b'"labels"' in file.read(LOOK_BYTES)

    def index(self) -> Index:
        is_folder = self.path.is_dir()
        members, text = _in_folder(self.path) if is_folder else _in_zip(self.path)
        labels = _labels(self.path, text)
        others = [name for name in members.keys() - labels.keys() if not is_image_name(name)]
        for name in others:
            del members[name]
        if unpaired := labels.keys() - members.keys() or members.keys() - labels.keys():
            name = min(unpaired)
            what = f"has a label for {name}, which does not exist"
            if name in members:
                what = f"has no label for {name}; add it or remove the file"
            raise SourceError(f"{self.path}: {LABELS} {what}")
        location = str(self.path)
        entries = [Entry(name, label, location, *members[name]) for name, label in labels.items()]
        classes = tuple(map(str, range(max(labels.values()) + 1)))
        check_several(classes)
        splits = indexed({"train": entries})
        notes = [f"left out {len(others)} files that {LABELS} does not list"] if others else []
        notes += missing_classes("train", {classes[n] for n in set(labels.values())}, classes)
        layout = "EDM folder" if is_folder else "EDM ZIP"
        side = _side(self.read(splits["train"][0]))
        return Index(classes, splits, layout, tuple(notes), native_px=side)

    def read(self, entry: Entry) -> bytes:
        if self.path.is_dir():
            return (self.path / entry.key).read_bytes()
        member = Member(entry.key, entry.offset, entry.length)
        return read_member(self.ranges, entry.location, member)

    def stamp(self, entry: Entry) -> str:
        return file_stamp(self.path / entry.key if self.path.is_dir() else self.path)

    def describe(self, entry: Entry) -> str:
        return str(self.path / entry.key) if self.path.is_dir() else super().describe(entry)


class EdmSink(Sink):
    """Writes the ZIP; equal stores make equal bytes.

    Raises:
        StoreError: the path does not end in .zip, or the size is no power of two.
    """

    one_split = True
    is_file = True
    takes_unlabelled = True

    def __init__(self, path: Path, outline: Outline) -> None:
        size = outline.variant.size
        if path.suffix != ".zip":
            raise StoreError(f"the file to write must end in .zip, was {path}")
        if size & (size - 1):
            raise StoreError(
                f"EDM and StyleGAN3 read sizes of a power of two (8, 16, 32, 64, ...); was {size}"
            )
        super().__init__(path, outline)
        self._zip = self.closing.enter_context(
            zipfile.ZipFile(self.partial, "w", zipfile.ZIP_STORED)
        )
        self._labels = array("q")

    def write(self, split: str, key: str, label: int, image: NDArray[np.uint8]) -> None:
        self._add(_name(len(self._labels)), png(image, compress_level=0))
        self._labels.append(label)

    def complete(self) -> None:
        pairs = (json.dumps([_name(n), label]) for n, label in enumerate(self._labels))
        labels = f"[{', '.join(pairs)}]" if self.outline.labelled else "null"
        self._add(LABELS, f'{{"labels": {labels}}}'.encode())
        self._zip.close()

    def _add(self, name: str, data: bytes) -> None:
        member = zipfile.ZipInfo(name, EARLIEST)
        member.create_system = UNIX
        self._zip.writestr(member, data)


def _name(number: int) -> str:
    return f"{number // PER_FOLDER:05}/img{number:08}.png"


def _in_folder(root: Path) -> tuple[Members, bytes]:
    """List the files below a folder, and read the labels."""
    members: Members = {}
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if not is_system(name)]
        prefix = PurePosixPath(folder).relative_to(root)
        for name in itertools.filterfalse(is_system, names):
            members[check_name(str(prefix / name), str(root))] = (0, 0)
    members.pop(LABELS, None)
    try:
        with (root / LABELS).open("rb") as file:
            return members, file.read(MOST_LABELS_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{root / LABELS} cannot be read: {error.strerror}") from error


def _in_zip(path: Path) -> tuple[Members, bytes]:
    """List the files of a ZIP, and read the labels."""
    members: Members = {}
    labels = None
    for member in zip_members(path):
        if member.name == LABELS:
            labels = member
        elif not any(map(is_system, member.name.split("/"))):
            members[member.name] = (member.offset, member.length)
    if labels is None:
        raise SourceError(
            f"{path} has no {LABELS}, so it is not a ZIP of EDM or StyleGAN3: unpack it and "
            "build from the folder, or rename released batches back (Imagenet32_train.zip)"
        )
    try:
        return members, read_member(ByteRanges(), str(path), labels)
    except ImageError as error:
        raise SourceError(f"{path}: {LABELS}: {error}") from error


def _labels(path: Path, text: bytes) -> dict[str, int]:
    """Read file name and label of each image from `dataset.json`."""
    if len(text) > MOST_LABELS_BYTES:
        raise SourceError(f"{path}: {LABELS} is larger than {MOST_LABELS_BYTES} bytes")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: {LABELS} must be a JSON record; it is damaged") from error
    pairs = record.get("labels", False) if isinstance(record, dict) else False
    if pairs is None or pairs == []:
        raise SourceError(f"{path} is unlabelled: labels in {LABELS} is {json.dumps(pairs)}")
    if not isinstance(pairs, list):
        raise SourceError(f"{path}: {LABELS} must be a JSON record with a list called labels")
    labels: dict[str, int] = {}
    for pair in pairs:
        match pair:
            case [str(name), int(label)] if type(label) is int and 0 <= label < MOST_CLASSES:
                name = name.replace("\\", "/")
            case _:
                raise SourceError(
                    f"{path}: {LABELS} must list pairs of a file and a label from 0 to "
                    f"{MOST_CLASSES - 1}, was {str(pair)[:100]}"
                )
        if name in labels:
            raise SourceError(f"{path}: {LABELS} lists {name} twice")
        labels[name] = label
    return labels


def _side(image: bytes) -> int | None:
    """Return the side of a square PNG, if a variant can have it."""
    if not image.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    # They follow the length and name of the first chunk (PNG specification, 5.2, 11.2).
    width, height = (int.from_bytes(image[at : at + 4], "big") for at in (16, 20))
    return width if 0 < width == height <= MAX_SIZE_PX else None
