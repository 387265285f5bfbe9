"""What every format of pictures provides, and the index that a source is reduced to.

A reader is a `Source`: it lists labelled entries without decoding any, and reads the bytes of
one entry at a time, in any order and from any thread.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture in a source.

    Attributes:
        key: its name, unique within the split; for a folder the path below the split.
        label: 0-based position of its class in the index's classes.
        location: where the source finds its bytes.
    """

    key: str
    label: int
    location: str


@dataclass(frozen=True, slots=True)
class Index:
    """All entries of a source.

    Attributes:
        classes: class names in sorted order, which is the order of the labels.
        splits: the entries of each split, sorted by key; row numbers follow this order.
        layout: which of the format's layouts was found, for people.
        notes: what was seen and left out, one sentence each.
    """

    classes: tuple[str, ...]
    splits: dict[str, tuple[Entry, ...]]
    layout: str
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """Hash every split, key and class name (SHA-256, hexadecimal)."""
        digest = hashlib.sha256()
        for split, entries in sorted(self.splits.items()):
            for entry in entries:
                line = f"{split}\0{entry.key}\0{self.classes[entry.label]}\n"
                digest.update(line.encode())
        return digest.hexdigest()


class Source(Protocol):
    """A set of labelled pictures on disk, open for reading.

    Methods other than `index` are called from several threads at once. Nothing is decoded and
    no code that the source holds is run.

    Attributes:
        kind: name of the format, as in the table of formats.
    """

    kind: str

    def index(self) -> Index:
        """List all entries.

        Raises:
            SourceError: there are no labelled pictures, or the layout is ambiguous.
        """

    def read(self, entry: Entry) -> bytes:
        """Read the encoded bytes of an entry.

        Raises:
            OSError: they cannot be read.
        """

    def stamp(self, entry: Entry) -> str:
        """Say cheaply whether the bytes may have changed: equal stamps, equal bytes."""

    def describe(self, entry: Entry) -> str:
        """Name the entry so that the user finds it: a path, or an archive and member."""


class Sink(Protocol):
    """A place that the pictures of one variant are written to, in some format.

    It is made for one variant, told every picture once, split by split in row order, and then
    finished. One that was not finished leaves nothing that looks whole.
    """

    def write(self, split: str, key: str, label: int, picture: NDArray[np.uint8]) -> None:
        """Write one picture, (N, N, 3) uint8 RGB, without loss."""

    def finish(self) -> None:
        """Declare everything written."""


def select_classes(index: Index, names: Sequence[str]) -> Index:
    """Keep only some classes; labels are numbered anew, in sorted order.

    Raises:
        SourceError: a name is not among the classes or is given twice.
    """
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise SourceError(f"class {repeated[0]!r} is asked for twice")
    for name in names:
        if name not in index.classes:
            near = difflib.get_close_matches(name, index.classes, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SourceError(
                f"class {name!r} is not among the {len(index.classes)} classes of the source{hint}"
            )
    kept = tuple(sorted(names))
    new_label = {index.classes.index(name): label for label, name in enumerate(kept)}
    splits = {
        split: tuple(
            replace(entry, label=new_label[entry.label])
            for entry in entries
            if entry.label in new_label
        )
        for split, entries in index.splits.items()
    }
    if not splits.get("train", True):
        raise SourceError(f"train has no pictures of {', '.join(kept)}")
    empty = [split for split, entries in splits.items() if not entries]
    notes = tuple(f"left out {split}: it has no pictures of the classes kept" for split in empty)
    filled = {split: entries for split, entries in splits.items() if entries}
    return replace(index, classes=kept, splits=filled, notes=index.notes + notes)


def split_by_hash(index: Index, val_fraction: float) -> Index:
    """Move about `val_fraction` of the only split, `train`, to a new split `val`.

    An entry goes to `val` when the SHA-256 of its key, read as a number in [0, 1), is below the
    fraction. So pictures added later never move one that was there.

    Raises:
        SourceError: the fraction is not inside (0, 1), the source has its own splits, or one side
            would be empty.
    """
    if not 0.0 < val_fraction < 1.0:
        raise SourceError(f"--val-fraction must lie between 0 and 1, was {val_fraction}")
    if list(index.splits) != ["train"]:
        raise SourceError(
            f"--val-fraction is for sources without splits, and this one has "
            f"{', '.join(index.splits)}; leave the option out"
        )
    sides: dict[str, list[Entry]] = {"train": [], "val": []}
    for entry in index.splits["train"]:
        number = int.from_bytes(hashlib.sha256(entry.key.encode()).digest()[:8], "big")
        sides["val" if number < val_fraction * 2**64 else "train"].append(entry)
    for split, entries in sides.items():
        if not entries:
            raise SourceError(
                f"--val-fraction {val_fraction} of {len(index.splits['train'])} pictures "
                f"leaves {split} empty; choose another fraction"
            )
    return replace(index, splits={split: tuple(entries) for split, entries in sides.items()})
