"""The released ImageNet8/16/32/64, and other sets in their layout.

Files `train_data_batch_1` to `_10` and `val_data`, pickles or npz files (`batch_file.py`), in one
folder, in its direct subfolders, or in the downloaded zips, which are read in place. Their labels,
1 to 1000, are the numbers of the development kit; ImageNet's classes become sorted WNIDs. Sets of
other classes have a file `classes.txt` beside, one name a line in the order of the labels.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, ClassVar
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError, StoreError
from lowres.formats.batch_file import (
    NAMES,
    TRAIN_FILES,
    Batch,
    BatchFile,
    BatchNpzWriter,
    BatchWriter,
    PickleWriter,
)
from lowres.formats.containers.streams import damage_named
from lowres.formats.indexing import indexed
from lowres.formats.sink import Outline, Sink
from lowres.formats.source import Entry, Index, Source, check_name, file_stamp, interleaved
from lowres.imagenet import devkit_ids, devkit_wnids, wnids

OFFICIAL = r"imagenet\d+_(train|val|test)(_part\d)?(_npz)?"
OFFICIAL_FOLDER = re.compile(OFFICIAL, re.I | re.A)
OFFICIAL_ZIP = re.compile(rf"{OFFICIAL}\.zip", re.I | re.A)
"""Names of the released zips, and of the folders that they unpack to."""

CLASSES = "classes.txt"
FILE_NAMES = frozenset({*NAMES, *(f"{name}.npz" for name in NAMES)})
FIRST_NAMES = ("train_data_batch_1", "train_data_batch_6", "val_data", "test_data")
"""Looked for in subfolders: the first files of whole sets, of ImageNet64's two halves, of val."""

HALVES: dict[tuple[int, ...], tuple[int, int]] = {(1, 2, 3, 4, 5): (1, 2), (6, 7, 8, 9, 10): (2, 1)}
"""The numbers of the files in each half of ImageNet64: which part they are, and the other part."""

MOST_FOLDERS = 64
"""A folder with more subfolders is one of classes; they are not searched for batches."""


class BatchesSource(Source):
    """A set in batch files; one is held in memory at a time."""

    kind = "batches"
    label_order = "1 to 1000 in devkit order (map_clsloc), which is not torchvision's"
    in_order = True

    _held: tuple[str, NDArray[np.uint8]] | None = None

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Recognise batch files, zips of them, and folders of these, by names alone."""
        if path.is_file():
            return path.name in FILE_NAMES or bool(OFFICIAL_ZIP.fullmatch(path.name))
        if not path.is_dir():
            return False
        with os.scandir(path) as children:
            folders: list[Path] = []
            for child in children:
                if child.name in FILE_NAMES or OFFICIAL_ZIP.fullmatch(child.name):
                    if child.is_file():
                        return True
                elif len(folders) <= MOST_FOLDERS and child.is_dir():
                    folders.append(Path(child.path))
        first = [name + suffix for name in FIRST_NAMES for suffix in ("", ".npz")]
        return len(folders) <= MOST_FOLDERS and any(
            (folder / name).is_file() for folder in folders for name in first
        )

    def index(self) -> Index:
        batches = list(self._batches.values())
        side = batches[0][1].side
        names = _named_classes(self.path)
        classes, label_of = _classes(self.path, batches, names)
        entries: dict[str, list[Entry]] = {}
        for file, batch in batches:
            location, prefix = file.location, file.key
            entries.setdefault(file.split, []).extend(
                Entry(f"{prefix}/{row:07}", label_of[number], location, row)
                for row, number in enumerate(batch.labels.tolist())
            )
        counts = " + ".join(str(sum(f.split == split for f, _ in batches)) for split in entries)
        kind = "npz" if batches[0][0].npz else "pickle"
        return Index(
            classes=classes,
            splits=indexed(entries),
            layout=f"{f'{side} px' if names else f'ImageNet{side}'}, {kind}, {counts} files",
            notes=tuple(_notes(batches, classes, names)),
            native_px=side,
            is_variant=True,
        )

    def read(self, entry: Entry) -> NDArray[np.uint8]:
        """Return an image; the first of a file reads all of that file."""
        file, batch = self._batches[entry.location]
        if self._held is None or self._held[0] != entry.location:
            self._held = None  # before the next one is read
            self._held = entry.location, file.pixels(batch)
        return interleaved(self._held[1][entry.offset], batch.side)

    def stamp(self, entry: Entry) -> str:
        return file_stamp(self._batches[entry.location][0].path)

    def mean(self) -> NDArray[np.float64] | None:
        means = (batch.mean for file, batch in self._batches.values() if file.number)
        return next((mean for mean in means if mean is not None), None)

    def files(self) -> tuple[str, ...]:
        """Return the files with published checksums: loose files, npz zips, packed pickles."""
        return tuple(self._by_name)

    @contextmanager
    def open_file(self, name: str) -> Iterator[IO[bytes]]:
        """Open one of `files`, to read its bytes from first to last.

        Raises:
            SourceError: the zip that holds it is damaged.
            OSError: it cannot be read.
        """
        path, member = self._by_name[name]
        with ExitStack() as opened:
            if member is None:
                yield opened.enter_context(path.open("rb"))
                return
            opened.enter_context(damage_named(f"{path}!{member}"))
            yield opened.enter_context(opened.enter_context(ZipFile(path)).open(member))

    @cached_property
    def _by_name(self) -> dict[str, tuple[Path, str | None]]:
        """Path and member of each of `files`."""
        return {
            file.path.name if file.npz and file.member else f"{file.name}{'.npz' * file.npz}": (
                file.path,
                None if file.npz else file.member,
            )
            for file in _found(self.path)
        }

    @cached_property
    def _batches(self) -> dict[str, tuple[BatchFile, Batch]]:
        """All files by location, in the order of their entries, train first."""
        files = _found(self.path)
        _check_files(self.path, files)
        batches = [(file, file.look()) for file in files]
        _check_alike(batches)
        return {file.location: (file, batch) for file, batch in batches}


def _found(path: Path) -> list[BatchFile]:
    """List all batch files in a path, train first and by number."""
    found: list[BatchFile] = []
    for place in [path] if path.is_file() else sorted(path.iterdir()):
        if place.is_file():
            found += _found_in_file(place)
        elif place.is_dir() and not place.name.startswith("."):
            within = (place / name for name in sorted(FILE_NAMES))
            found += [f for file in within if file.is_file() for f in _found_in_file(file)]
    splits = ("train", "val", "test")
    return sorted(found, key=lambda file: (splits.index(file.split), file.number))


def _found_in_file(path: Path) -> list[BatchFile]:
    if not OFFICIAL_ZIP.fullmatch(path.name):
        return [file] if (file := BatchFile.of(path)) else []
    with damage_named(str(path)), ZipFile(path) as archive:
        members = archive.infolist()
    found = []
    for member in members:
        if file := BatchFile.of(path, check_name(member.filename, str(path))):
            if member.flag_bits & 1:
                raise SourceError(f"{file.location} is encrypted: unpack the zip first")
            found.append(file)
    if not found:
        raise SourceError(f"{path} holds no batch files such as {NAMES[0]} or {NAMES[0]}.npz")
    return found


def _check_files(path: Path, files: Sequence[BatchFile]) -> None:
    """Check that the files are one whole set."""
    seen: dict[str, BatchFile] = {}
    for file in files:
        other = seen.setdefault(file.name, file)
        if other is not file:
            raise SourceError(
                f"{path} has {file.name} twice: {other.location} and {file.location}; pass a "
                "folder with one size, as pickles or as npz files, packed or unpacked"
            )
    for file in files:
        if file.npz != files[0].npz:
            raise SourceError(
                f"{path} has pickles and npz files: {files[0].location} and {file.location}; pass "
                "a folder with one kind"
            )
    missing = [name for name in NAMES[:TRAIN_FILES] if name not in seen]
    if len(missing) in (0, TRAIN_FILES):  # whole, or val alone
        return
    half = HALVES.get(tuple(sorted(file.number for file in files if file.number)))
    if half:
        why = f"it has part {half[0]} of train; put part {half[1]} into the same folder"
    else:
        why = f"train is {TRAIN_FILES} files; put all of them into one folder"
    raise SourceError(f"{path}: {missing[0]} is missing: {why}")


def _check_alike(batches: Sequence[tuple[BatchFile, Batch]]) -> None:
    """Check that sizes and means are equal in all files, and that train has images."""
    (first, batch), *_ = batches
    means = [(f, b.mean) for f, b in batches if f.number and b.mean is not None]
    for file, other in batches:
        if other.side != batch.side:
            raise SourceError(
                f"{file.location} has images of {other.side} px and {first.location} of "
                f"{batch.side} px; pass a folder with one size"
            )
    for file, mean in means:
        if not np.array_equal(mean, means[0][1]):
            raise SourceError(
                f"{file.location} and {means[0][0].location} have different means, so they "
                "belong to different sets"
            )
    train = [b.rows for f, b in batches if f.number]
    if train and not sum(train):
        raise SourceError(f"{first.location} and the other files of train have no images")


def _named_classes(path: Path) -> tuple[str, ...]:
    """Read `classes.txt` in the folder, or beside a single part of the set."""
    places = (path, path.parent) if OFFICIAL_FOLDER.fullmatch(path.stem) else (path,)
    file = next((place / CLASSES for place in places if (place / CLASSES).is_file()), None)
    if file is None:
        return ()
    try:
        names = file.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise SourceError(f"{file} must be UTF-8, one class name a line") from None
    for name in names:
        check_name(name, str(file))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(f"{file} names the class {twice!r} twice")
    return tuple(names)


def _classes(
    path: Path, batches: Sequence[tuple[BatchFile, Batch]], names: tuple[str, ...]
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the classes, and the label of each number in the files."""
    known = names or devkit_wnids()
    zero = next((f.location for f, b in batches if b.labels.size and not b.labels.min()), None)
    base = 0 if zero else 1
    if zero and not names:
        raise SourceError(
            f"{zero} has the label 0, so this set counts from 0; the released sets count from 1, "
            "and which class is 0 is not in the files (torchvision's order, or the devkit's less "
            f"one?): put a file {CLASSES} into {path}, with the name of class 0 in its first line, "
            "that of class 1 in its second, and so on; for ImageNet, WNIDs"
        )
    for file, batch in batches:
        above = np.flatnonzero(batch.labels >= len(known) + base)
        if above.size:
            raise SourceError(
                f"{file.location}: label of row {above[0]} must be {base} to "
                f"{len(known) + base - 1}, was {batch.labels[above[0]]}"
            )
    if names:
        return names, {number: number - base for number in range(base, len(names) + base)}
    classes = wnids()
    return classes, {number: classes.index(wnid) for number, wnid in enumerate(known, base)}


def _notes(
    batches: Sequence[tuple[BatchFile, Batch]], classes: tuple[str, ...], names: tuple[str, ...]
) -> Iterator[str]:
    if names:
        yield f"class names come from {CLASSES}"
    else:
        largest = max(int(batch.labels.max(initial=0)) for _, batch in batches)
        if largest < len(classes):
            yield (
                f"no label is 0 or above {largest}, so the files do not show whether this set "
                "counts from 1, as released, or is a part of one that counts from 0; lowres counts "
                "from 1: look at some images and their classes (lowres show)"
            )
    for split in ("train", "val"):
        labels = [batch.labels for file, batch in batches if file.split == split]
        seen = len(np.unique(np.concatenate(labels))) if labels else 0
        if not labels:
            files = "train_data_batch_1 to 10" if split == "train" else "val_data"
            yield f"the source has no {files}"
        elif seen < len(classes):
            taken = "" if names else " that ImageNet's devkit numbers"
            yield f"the source's {split} has {seen:,} of the {len(classes):,} classes{taken}"


class BatchesSink(Sink):
    """Writes pickles in the released layout, `Imagenet32_train/train_data_batch_1` and so on.

    Labels are ImageNet's own numbers if all classes are ImageNet's. Else they count from 1 in the
    order of the classes, and `classes.txt` has the names.
    """

    shuffled = True
    writer: ClassVar[type[BatchWriter]] = PickleWriter
    suffix: ClassVar[str] = ""

    def __init__(self, path: Path, outline: Outline) -> None:
        super().__init__(path, outline)
        self._numbers = devkit_ids(outline.classes)
        side = outline.variant.size
        self._sum = np.zeros(3 * side**2, np.int64)
        self._files: dict[str, list[BatchWriter]] = {}
        for split, rows in outline.splits.items():
            folder = self.partial / f"Imagenet{side}_{split}{self.suffix.replace('.', '_')}"
            folder.mkdir()
            counts = {f"{split}_data": rows}
            if split == "train":
                counts = dict.fromkeys(NAMES[:TRAIN_FILES], rows // TRAIN_FILES)
                counts[NAMES[TRAIN_FILES - 1]] += rows % TRAIN_FILES
            files = self._files[split] = []
            for name, count in counts.items():
                files.append(self.writer(folder / f"{name}{self.suffix}", count, side))
                self.closing.callback(files[-1].close)

    def write(self, split: str, key: str, label: int, image: NDArray[np.uint8]) -> None:
        planar = image.transpose(2, 0, 1).reshape(-1)
        if split == "train":
            self._sum += planar
        number = self._numbers[label] if self._numbers else label + 1
        file = next(file for file in self._files[split] if not file.is_full)
        file.add(planar.tobytes(), number)

    def complete(self) -> None:
        for split, files in self._files.items():
            for file in files:
                if not file.is_full:
                    raise StoreError(f"{file.path} has fewer images than the outline says")
                file.finish(self._sum / self.outline.splits[split] if split == "train" else None)
        if not self._numbers:
            names = [check_name(name, "the store") for name in self.outline.classes]
            (self.partial / CLASSES).write_bytes("".join(f"{n}\n" for n in names).encode())


class BatchesNpzSink(BatchesSink):
    """Writes npz files in the released layout, `Imagenet32_train_npz/train_data_batch_1.npz`."""

    writer = BatchNpzWriter
    suffix = ".npz"
