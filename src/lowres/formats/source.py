"""What every format of images provides, and the index that a source is reduced to.

A reader is a `Source`: it lists labelled entries without decoding any, and reads one entry at a
time. A writer is a `Sink`: it takes the images of one variant, and what it writes bears its
final name only when it is whole.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError, StoreBusyError, StoreError
from lowres.variant import Variant
from lowres.work.files import held

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "ilsvrc2012_img_train": "train",
    "ilsvrc2012_img_val": "val",
    "ilsvrc2012_img_test": "test",
}
"""Names taken for splits, in any case, and the split each stands for."""

_UNSAFE = re.compile(r"^[./]*$|^/|(?:^|/)\.\.(?:/|$)|[\n\0\\]")
"""No name at all, an absolute path, a step up, and characters that no path should have. For speed:
a million names take a second."""

_NUMBERED = re.compile(r"(.*?)(\d{1,9})", re.ASCII | re.DOTALL)

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
"""File names taken for images, in any case; what is inside is decided by the bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image in a source.

    Attributes:
        key: its name, unique within the split; for a folder the path below the split.
        label: 0-based position of its class in the index's classes.
        location: the file that holds it, or the file and the member of an archive, or the folder
            that it lies in; shared by many entries.
        offset: where inside that it begins: a byte, or the row of a table.
        length: how many bytes from there, where `offset` is a byte.
    """

    key: str
    label: int
    location: str
    offset: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class Index:
    """All entries of a source.

    Attributes:
        classes: class names in the order of the labels: sorted, or the source's own order where
            it numbers its classes. ImageNet's are sorted WNIDs wherever they are recognised.
        splits: the entries of each split, sorted by key; row numbers follow this order.
        layout: which of the format's layouts was found, for people.
        notes: what was seen and left out, one sentence each.
        native_px: side of all images, where the format says that they are squares of one size.
        is_variant: the images are a finished variant, and are only ever taken as they are.
    """

    classes: tuple[str, ...]
    splits: dict[str, tuple[Entry, ...]]
    layout: str
    notes: tuple[str, ...] = ()
    native_px: int | None = None
    is_variant: bool = False

    def digest(self) -> str:
        """Hash every split, key and class name (SHA-256, hexadecimal)."""
        digest = hashlib.sha256()
        for line in self.lines():
            digest.update(line)
        return digest.hexdigest()

    def lines(self) -> Iterator[bytes]:
        """Give a line for each entry: split, key and class name, parted by NUL."""
        for split, entries in sorted(self.splits.items()):
            for entry in entries:
                yield f"{split}\0{entry.key}\0{self.classes[entry.label]}\n".encode()


class Source(ABC):
    """A set of labelled images on disk, open for reading.

    `read`, `stamp` and `describe` are called from several threads at once. No code that the
    source holds is ever run.

    Attributes:
        kind: name of the format, as in the table of formats.
        in_order: entries are best read by one thread in the order of the index, because each
            read holds a large piece of the source in memory.
        label_order: how the files themselves label their images, one line for `lowres info`.
    """

    kind: ClassVar[str]
    in_order: ClassVar[bool] = False
    label_order: ClassVar[str] = "0-based, in the sorted order of the class names"

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @abstractmethod
    def recognises(cls, path: Path) -> bool:
        """Tell by a quick look whether a path is of this format; long folders are not listed."""

    @abstractmethod
    def index(self) -> Index:
        """List all entries.

        Raises:
            SourceError: there are no labelled images, the layout is ambiguous, or something is
                damaged or missing.
        """

    @abstractmethod
    def read(self, entry: Entry) -> bytes | NDArray[np.uint8]:
        """Read an entry: its encoded bytes, or (H, W, 3) uint8 RGB where the source has pixels.

        Raises:
            OSError: it cannot be read.
            SourceError: what holds it is damaged.
        """

    def stamp(self, entry: Entry) -> str:
        """Say cheaply whether an entry may have changed: equal stamps, equal bytes."""
        return file_stamp(entry.location)

    def describe(self, entry: Entry) -> str:
        """Name the entry so that the user finds it: a path, or an archive and member."""
        return f"{entry.location}: {entry.key}"

    def mean(self) -> NDArray[np.float64] | None:
        """Give the mean image of train that came with the source, (H, W, 3) in levels."""
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outline:
    """What a sink will be given.

    Attributes:
        name: of the set, such as `animals`, for file names and cards.
        variant: the variant that is written.
        classes: class names in the order of the labels.
        splits: number of images in each split that is written.
        content: the content hash of the variant (docs/format.md).
    """

    name: str
    variant: Variant
    classes: tuple[str, ...]
    splits: dict[str, int]
    content: str


class Sink(ABC):
    """A place that the images of one variant are written to, in some format.

    It is told every image once, split by split, and then finished. Until then everything lies
    at `partial`, so one that was not finished leaves nothing that looks whole.

    Attributes:
        shuffled: readers of the format shuffle little or not at all, so images come in a fixed
            random order; else in row order.
        one_split: the format has no splits.
        is_file: it writes one file, else a folder.
        partial: the file or folder to write into, made empty and held against other processes.

    Raises:
        StoreError: there is something at `path`, another process is writing it, or the format
            cannot hold the outline.
    """

    shuffled: ClassVar[bool] = False
    one_split: ClassVar[bool] = False
    is_file: ClassVar[bool] = False

    def __init__(self, path: Path, outline: Outline) -> None:
        path = Path(os.path.abspath(path))  # noqa: PTH100  not through links
        if os.path.lexists(path) and (self.is_file or not _is_empty_folder(path)):
            raise StoreError(f"{path} is there already and not empty: choose a new path")
        self.path = path
        self.outline = outline
        self.partial = path.with_name(f"{path.name}.lowres-partial")
        self._hold = ExitStack()
        self._begin()

    def _begin(self) -> None:
        """Make `partial` anew, unless another process holds it."""
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        if self.partial.exists():
            with held(self.partial) as free:
                if not free:
                    raise StoreBusyError(f"{self.path} is being written by another process")
                _remove(self.partial)  # of an export that was stopped
        if self.is_file:
            self.partial.touch(exist_ok=False)
        else:
            self.partial.mkdir()
        if not self._hold.enter_context(held(self.partial)):
            raise StoreBusyError(f"{self.path} is being written by another process")

    @abstractmethod
    def write(self, split: str, key: str, label: int, image: NDArray[np.uint8]) -> None:
        """Write one image, (N, N, 3) uint8 RGB, without loss."""

    @abstractmethod
    def complete(self) -> None:
        """Write what comes last, and close every file."""

    def finish(self) -> None:
        """Declare everything written and give it its final name."""
        self.complete()
        self.partial.rename(self.path)
        self._hold.close()

    def abandon(self) -> None:
        """Remove what was written."""
        _remove(self.partial)
        self._hold.close()


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def file_stamp(path: Path | str) -> str:
    """Give size and time of change of a file, or why there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  a million times
    except OSError as error:
        return error.strerror or type(error).__name__
    return f"{status.st_size} {status.st_mtime_ns}"


def check_name(name: str, where: str) -> str:
    """Give the name of an entry or class back if it is safe to make a path of.

    Raises:
        SourceError: it is empty, absolute, climbs out by `..`, or is not one line of UTF-8.
    """
    if _UNSAFE.search(name):
        raise SourceError(
            f"{where} has a member named {name!r}: names must be relative paths without .. in one "
            "line; this archive is damaged or hostile"
        )
    try:
        name.encode()
    except UnicodeEncodeError:
        raise SourceError(f"{where} has a name that is not UTF-8: {name!r}") from None
    return name


def missing_number(stems: Iterable[str]) -> str | None:
    """Find the first of numbered file names that is missing, without their suffix.

    Names that begin alike are one sequence. It is taken to begin at 0 or 1 if it does, or where
    numbers are padded with zeros; a sequence that begins later without them is left alone.
    """
    sequences: dict[str, dict[int, str]] = {}
    for stem in stems:
        if matched := _NUMBERED.fullmatch(stem):
            sequences.setdefault(matched[1], {})[int(matched[2])] = matched[2]
    for prefix, numbers in sequences.items():
        texts = numbers.values()
        padded = any(text.startswith("0") and len(text) > 1 for text in texts)
        if not padded and min(numbers) > 1:
            continue
        first = min(numbers) if min(numbers) < 2 else 0
        width = max(map(len, texts)) if padded else 0
        for number in range(first, max(numbers)):
            if number not in numbers:
                return f"{prefix}{number:0{width}}"
    return None


def is_hidden(name: str) -> bool:
    """Tell names that file managers hide, and what macOS puts into archives."""
    return name.startswith(".") or name == "__MACOSX"


def missing_classes(split: str, filled: Collection[str], classes: Sequence[str]) -> list[str]:
    """Note, if there are any, the classes of which a split has no images."""
    missing = [name for name in classes if name not in filled]
    counts = f"{len(missing)} of the {len(classes)} classes"
    return [f"{split} has no images of {counts}, {missing[0]} first"] if missing else []


def interleaved(planar: NDArray[Any], side: int) -> NDArray[Any]:
    """Turn all red, then all green, then all blue values of a square into (side, side, 3)."""
    return np.ascontiguousarray(planar.reshape(3, side, side).transpose(1, 2, 0))


def split_of(name: str) -> str | None:
    """Find the split that a file name speaks of, such as `set-train-00000.tar`.

    It is one of `SPLIT_NAMES` between other characters than letters and digits.
    """
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    splits = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    return splits.pop() if len(splits) == 1 else None


def indexed(splits: dict[str, list[Entry]]) -> dict[str, tuple[Entry, ...]]:
    """Sort the entries of each split by key, and leave out empty splits.

    Raises:
        SourceError: two entries of one split have the same key.
    """
    found = {}
    for split in ("train", "val", "test"):
        entries = sorted(splits.get(split, ()), key=_key)
        for one, other in itertools.pairwise(entries):
            if one.key == other.key:
                raise SourceError(
                    f"{split} has two images named {one.key}: in {one.location} and in "
                    f"{other.location}; remove one"
                )
        if entries:
            found[split] = tuple(entries)
    return found


def _key(entry: Entry) -> str:
    return entry.key
