"""CIFAR-10 and CIFAR-100 as their authors publish them: Python batches, in a folder or the tar.gz.

The pickles are of Python 2: a dict of `data`, uint8 (N, 3072), each row all red, then all green,
then all blue levels; `labels` or `fine_labels`, from 0; and `filenames`. A file of its own has the
class names (layout: the page of the data sets, and the files).
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError
from lowres.formats.containers.pickle import load_plain
from lowres.formats.containers.streams import Gunzipped, damage_named, read_exactly
from lowres.formats.indexing import indexed
from lowres.formats.source import Entry, Index, Source, check_name, interleaved

SIDE = 32
MAX_FILE_BYTES = 1 << 30
"""The largest of the real files has 155 MB: train of CIFAR-100."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the two sets.

    Attributes:
        title: for messages.
        folder, archive: its names once unpacked and as downloaded.
        meta, names: the file with the class names, and their key there.
        labels: the key of the labels in each batch.
        splits: the batches of each split.
    """

    title: str
    folder: str
    archive: str
    meta: str
    names: str
    labels: str
    splits: Mapping[str, tuple[str, ...]]


KINDS = (
    Kind(
        "CIFAR-10",
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
        "batches.meta",
        "label_names",
        "labels",
        {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)},
    ),
    Kind(
        "CIFAR-100",
        "cifar-100-python",
        "cifar-100-python.tar.gz",
        "meta",
        "fine_label_names",
        "fine_labels",
        {"train": ("train",), "test": ("test",)},
    ),
)


CifarBatch = tuple[NDArray[np.uint8], list[tuple[int, str]]]
"""Pixels of a file, (N, 3072); of each row, the label and the end of its key: `/NAME`, or empty."""


class CifarSource(Source):
    """CIFAR-10 or CIFAR-100; all of it is in memory (185 MB) once an image is read."""

    kind = "cifar"
    label_order = "0-based, in the set's own order of names"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Recognise CIFAR, or a folder that holds it, by names alone."""
        return bool(_places(path))

    def index(self) -> Index:
        kind, place = self._place
        classes, batches = self._loaded
        entries = {
            split: [
                Entry(f"{name}/{row:05}{ending}", label, location, row)
                for name in names
                for location in [str(place / name if place.is_dir() else place)]
                for row, (label, ending) in enumerate(batches[name][1])
            ]
            for split, names in kind.splits.items()
        }
        if not entries["train"]:
            raise SourceError(f"{place} has no images in train")
        left_out = ("left out the coarse labels of CIFAR-100",) if kind.labels != "labels" else ()
        return Index(
            classes=classes,
            splits=indexed(entries),
            layout=f"{kind.title}, {len(batches)} files",
            notes=left_out,
            native_px=SIDE,
        )

    def read(self, entry: Entry) -> NDArray[np.uint8]:
        pixels, _ = self._loaded[1][entry.key.partition("/")[0]]
        return interleaved(pixels[entry.offset], SIDE)

    @cached_property
    def _place(self) -> tuple[Kind, Path]:
        places = _places(self.path)
        if len(places) > 1:
            raise SourceError(
                f"{self.path} holds {places[0][1].name} and {places[1][1].name}: pass one of them"
            )
        return places[0]

    @cached_property
    def _loaded(self) -> tuple[tuple[str, ...], dict[str, CifarBatch]]:
        """Class names and batches; `index` reads them before any thread asks for an image."""
        kind, place = self._place
        wanted = {kind.meta, *(name for names in kind.splits.values() for name in names)}
        found = {}
        if place.is_dir():
            for path in (place / name for name in sorted(wanted) if (place / name).is_file()):
                with path.open("rb") as file:
                    found[path.name] = str(path), load_plain(file, str(path))
        else:
            found = _from_archive(place, wanted)
        missing = sorted(wanted - set(found))
        if missing:
            raise SourceError(
                f"{place}: {missing[0]} is missing; {kind.title} is {', '.join(sorted(wanted))}"
            )
        meta = _Pickled(*found.pop(kind.meta))
        classes = meta.class_names(kind.names)
        expected = meta.values.get("num_cases_per_batch")
        rows = expected if type(expected) is int else None
        return classes, {
            name: _Pickled(*each).batch(kind.labels, len(classes), rows)
            for name, each in found.items()
        }


class _Pickled:
    """The contents of one file, and where it lies."""

    def __init__(self, where: str, values: object) -> None:
        if not isinstance(values, dict):
            raise SourceError(f"{where} must hold a dict, was {type(values).__name__}")
        self.where = where
        self.values: dict[str, Any] = {_text(key): value for key, value in values.items()}

    def listed(self, key: str) -> list[Any]:
        value = self.values.get(key)
        if not isinstance(value, list):
            raise SourceError(f"{self.where} must have a list {key}, was {type(value).__name__}")
        return value

    def class_names(self, key: str) -> tuple[str, ...]:
        names = tuple(check_name(_text(name), self.where) for name in self.listed(key))
        if not names or len(set(names)) < len(names):
            raise SourceError(f"{self.where}: {key} must be names that differ")
        return names

    def batch(self, labels_key: str, classes: int, rows: int | None) -> CifarBatch:
        pixels = self.values.get("data")
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2:
            raise SourceError(f"{self.where}: data must be a uint8 array (N, {3 * SIDE**2})")
        if pixels.shape[1] != 3 * SIDE**2 or rows not in (None, len(pixels)):
            shape = (rows or "N", 3 * SIDE**2)
            raise SourceError(f"{self.where}: data must be {shape}, was {pixels.shape}")
        labels = self.listed(labels_key)
        for row, label in enumerate(labels):
            if type(label) is not int or not 0 <= label < classes:
                raise SourceError(
                    f"{self.where}: label of row {row} must be 0 to {classes - 1}, was "
                    f"{label if isinstance(label, int) else type(label).__name__}"
                )
        names = [""] * len(pixels)
        if "filenames" in self.values:
            listed = self.listed("filenames")
            names = [f"/{check_name(_text(name), self.where)}" for name in listed]
        if not len(pixels) == len(labels) == len(names):
            raise SourceError(
                f"{self.where} has {len(pixels)} images, {len(labels)} labels and {len(names)} "
                "names"
            )
        return pixels, list(zip(labels, names, strict=True))


def _text(value: object) -> str:
    """Return text of Python 2, which comes as bytes, as text."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else f"<{type(value).__name__}>"


def _places(path: Path) -> list[tuple[Kind, Path]]:
    """Return the folders or archives of CIFAR that a path is or holds; folders first."""
    if not path.is_dir():
        return [(kind, path) for kind in KINDS if path.name == kind.archive and path.is_file()]
    own = [(kind, path) for kind in KINDS if _is_of(kind, path)]
    inner = [(kind, path / kind.folder) for kind in KINDS if (path / kind.folder).is_dir()]
    packed = [(kind, path / kind.archive) for kind in KINDS if (path / kind.archive).is_file()]
    return own or inner or packed


def _is_of(kind: Kind, folder: Path) -> bool:
    """Return whether a folder is one of CIFAR's, by its name or by two of its files."""
    files = (folder / kind.meta, folder / kind.splits["train"][0], folder / kind.splits["test"][0])
    return folder.name == kind.folder or sum(file.is_file() for file in files) >= 2


def _from_archive(path: Path, names: set[str]) -> dict[str, tuple[str, Any]]:
    """Read the wanted members in one pass; going back in a tar.gz means unpacking it again."""
    found: dict[str, tuple[str, Any]] = {}
    with (
        damage_named(str(path)),
        path.open("rb") as raw,
        tarfile.open(fileobj=Gunzipped(raw, str(path)), mode="r|") as archive,
    ):
        for member in archive:
            name = check_name(member.name, str(path)).rpartition("/")[2]
            if name not in names or not member.isreg():
                continue
            where = f"{path}!{member.name}"
            if name in found:
                raise SourceError(f"{where} is the second member called {name}; keep one")
            if member.size > MAX_FILE_BYTES:
                raise SourceError(f"{where} has {member.size:,} bytes; files of CIFAR are smaller")
            file = archive.extractfile(member)
            data = read_exactly(file, member.size, where) if file else b""
            found[name] = where, load_plain(io.BytesIO(data), where)
    return found
