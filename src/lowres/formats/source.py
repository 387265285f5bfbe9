"""A source: labelled images in some format, and the index that lowres reduces it to."""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError
from lowres.formats.containers.streams import ByteRanges

_UNSAFE = re.compile(r"^[./]*$|^/|(?:^|/)\.\.(?:/|$)|[\n\0\\]")
"""An empty name, an absolute path, a step up, and characters that no path should have. One pattern,
for speed: a million names take a second."""

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One image in a source.

    Attributes:
        key: its name, unique within the split; in a folder, the path below the split.
        label: 0-based position of its class in the index's classes.
        location: the file that holds it, or the file and the member of an archive, or the folder
            that it lies in; many entries share one.
        offset: where it begins inside the location: a byte, or the row of a table.
        length: its number of bytes, where `offset` is a byte.
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
            it numbers its classes. If lowres recognises ImageNet's classes, they are sorted WNIDs.
        splits: the entries of each split, sorted by key; row numbers follow this order.
        layout: which of the format's layouts was found, for the reader.
        notes: what was found and left out, one sentence each.
        native_px: side of all images, if the format stores squares of one size.
        is_variant: the images are a finished variant, and are never resampled.
        labelled: the classes mean something; else there is one, for all images.
    """

    classes: tuple[str, ...]
    splits: dict[str, tuple[Entry, ...]]
    layout: str
    notes: tuple[str, ...] = ()
    native_px: int | None = None
    is_variant: bool = False
    labelled: bool = True

    def digest(self) -> str:
        """Hash every split, key and class name (SHA-256, hexadecimal)."""
        digest = hashlib.sha256()
        for line in self.lines():
            digest.update(line)
        return digest.hexdigest()

    def lines(self) -> Iterator[bytes]:
        """Yield a line for each entry: split, key and class name, separated by NUL."""
        for split, entries in sorted(self.splits.items()):
            for entry in entries:
                yield f"{split}\0{entry.key}\0{self.classes[entry.label]}\n".encode()


class Source(ABC):
    """A set of labelled images on disk, open for reading.

    Several threads call `read`, `stamp` and `describe` at once. No code that the source holds is
    ever run. `lowres.testing.SourceContract` checks an implementation.

    Attributes:
        kind: name of the format, as in the table of formats.
        in_order: entries are best read by one thread in the order of the index, because each
            read holds a large part of the source in memory.
        path: what was opened.
        ranges: reads members of archives in their place.
        label_order: how the files themselves label their images, one line for `lowres info`.
        skips: leave out names and folders that cannot be taken, instead of raising.
        left_out: what was left out, one sentence each.
    """

    kind: ClassVar[str]
    in_order: ClassVar[bool] = False
    label_order: ClassVar[str] = "0-based, in the sorted order of the class names"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ranges = ByteRanges()
        self.skips = False
        self.left_out: list[str] = []

    def leave_out(self, what: str, remedy: str) -> None:
        """Leave out a name or folder that `index` cannot take.

        Raises:
            SourceError: the source does not skip such names and folders.
        """
        if not self.skips:
            refused(what, f"{remedy}, or skip it: --on-error skip")
        self.left_out.append(f"skipped: {what}")

    @classmethod
    @abstractmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether a path has this format, after a quick look: no listing of long folders."""

    @abstractmethod
    def index(self) -> Index:
        """List all entries, without decoding an image.

        Raises:
            SourceError: there are no labelled images, the layout is ambiguous, or something is
                damaged or missing.
        """

    @abstractmethod
    def read(self, entry: Entry) -> bytes | NDArray[np.uint8]:
        """Return the encoded bytes of an entry, or (H, W, 3) uint8 RGB if the source has pixels.

        Raises:
            OSError: it cannot be read.
            SourceError: the file that holds it is damaged.
        """

    def stamp(self, entry: Entry) -> str:
        """Return a text that differs if the entry may have changed, without reading it."""
        return file_stamp(entry.location)

    def read_stamped(self, entry: Entry) -> tuple[bytes | NDArray[np.uint8], str]:
        """Return what `read` returns, and the `stamp` from before it; raises as `read`.

        A source with a file for each entry does both with one look-up of the path.
        """
        stamp = self.stamp(entry)
        return self.read(entry), stamp

    def describe(self, entry: Entry) -> str:
        """Return where you find the entry: a path, or an archive and member."""
        return f"{entry.location}: {entry.key}"

    def mean(self) -> NDArray[np.float64] | None:
        """Return the mean image of train that came with the source, (H, W, 3) in levels."""
        return None


LeaveOut: TypeAlias = Callable[[str, str], None]
"""`Source.leave_out`, or a function in its place."""


def refused(what: str, remedy: str) -> NoReturn:
    """Raise SourceError for a name or folder that cannot be taken."""
    raise SourceError(f"{what}; {remedy}")


def ignored(what: str, remedy: str) -> None:
    """Leave out a name without a word: for a quick look."""


def is_one_line(name: str) -> bool:
    """Return whether a name is one line of UTF-8, so that it can be a key.

    Names on disk and in archives that are not UTF-8 come with halves of surrogate pairs.
    """
    return "\n" not in name and (name.isascii() or not _SURROGATE.search(name))


def odd_name(name: str, where: Path | str) -> str:
    """Return what `Source.leave_out` says of a name that is not one line of UTF-8."""
    return f"a file name must be UTF-8 in one line, was {name!r} in {str(where)!r}"


def file_stamp(path: Path | str) -> str:
    """Return size and time of change of a file, or the reason why it cannot be read."""
    try:
        status = os.stat(path)  # noqa: PTH116  a million Paths cost a second
    except OSError as error:
        return error.strerror or type(error).__name__
    return stamp_of(status)


def stamp_of(status: os.stat_result) -> str:
    """Return size and time of change of a file."""
    return f"{status.st_size} {status.st_mtime_ns}"


def check_name(name: str, where: str) -> str:
    """Return the name of an entry or class if it is safe to make a path of.

    Raises:
        SourceError: it is empty, absolute, contains `..`, or is not one line of UTF-8.
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


def interleaved(planar: NDArray[Any], side: int) -> NDArray[Any]:
    """Turn all red, then all green, then all blue values of a square into (side, side, 3)."""
    return np.ascontiguousarray(planar.reshape(3, side, side).transpose(1, 2, 0))
