"""One batch file of the released ImageNet8/16/32/64, pickle or npz: read and written.

It holds `data`, uint8 (N, 3*S*S), each row all red, then all green, then all blue levels; `labels`,
from 1, or from 0 in sets that others saved; and in files of train `mean`, float64 (3*S*S), the mean
of all rows of train (layout: the authors' `image2numpy_imagenet_train.py`). It is read from disk or
inside a zip.

A writer writes the pixels to disk as they come. The mean of train is known only after all files
have their pixels; then each file gets its labels and the mean.
"""

from __future__ import annotations

import io
import math
import pickle
import shutil
import struct
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Self, cast
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError
from lowres.formats.containers.pickle import SkippedArray, load_plain
from lowres.formats.containers.streams import PIECE_BYTES, damage_named, drain, read_exactly
from lowres.formats.sink import EARLIEST
from lowres.formats.source import interleaved
from lowres.variant import MAX_SIZE_PX

TRAIN_FILES = 10
NAMES = (*(f"train_data_batch_{n}" for n in range(1, TRAIN_FILES + 1)), "val_data", "test_data")
"""All names of files; npz files add the suffix `.npz`. There is no released test."""

KEYS = ("data", "labels", "mean")

LONG_BYTES = 16 << 20
"""Longer strings are pixels, which `look` skips: labels of all of ImageNet are 10 MB, and the
pixels of one released file 25 MB or more (8 px)."""

ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGIC = b"\x80"

PROTOCOL = 3
"""Of the released pickles; every Python 3 reads it."""

MAX_SHORT_BYTES = 0xFFFFFFFF
"""Longest bytes of protocol 3; longer ones need protocol 4."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A file without its pixels: labels (rows,) as stored, mean (side, side, 3) in levels."""

    rows: int
    side: int
    labels: NDArray[np.int64]
    mean: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class BatchFile:
    """Where one file lies.

    Attributes:
        name: as released, such as `train_data_batch_1`, without `.npz`.
        npz: whether it is called an npz file, or a pickle.
        path: the file, or the zip that holds it.
        member: its name in the zip.
    """

    name: str
    npz: bool
    path: Path
    member: str | None = None

    @classmethod
    def of(cls, path: Path, member: str | None = None) -> Self | None:
        """Return the batch file at a path, or member of a zip, if it has the name of one."""
        name = path.name if member is None else member.rpartition("/")[2]
        plain = name.removesuffix(".npz")
        return cls(plain, plain != name, path, member) if plain in NAMES else None

    @property
    def split(self) -> str:
        return self.name.partition("_")[0]

    @property
    def number(self) -> int:
        """Its number among the files of train, from 1; 0 for the other splits."""
        number = self.name.rpartition("_")[2]
        return int(number) if number.isdigit() else 0

    @property
    def location(self) -> str:
        """The path, and after `!` the member."""
        return str(self.path) if self.member is None else f"{self.path}!{self.member}"

    @property
    def key(self) -> str:
        """First part of its entries' keys; the keys sort like the files."""
        return f"train_data_batch_{self.number:02}" if self.number else self.name

    def look(self) -> Batch:
        """Read and check everything but the pixels."""
        found = self._load(KEYS, LONG_BYTES)
        rows, side = self._check_data(found.get("data"))
        labels = self._labels(found.get("labels"), rows)
        mean = found.get("mean")
        if mean is None:
            return Batch(rows, side, labels, None)
        if isinstance(mean, list) and all(type(level) in (int, float) for level in mean):
            mean = np.array(mean, np.float64)
        is_array = isinstance(mean, np.ndarray) and mean.dtype.kind == "f"
        if not is_array or mean.shape != (3 * side**2,) or not np.isfinite(mean).all():
            raise SourceError(f"{self.location}: mean must be {3 * side**2} numbers, as data has")
        return Batch(rows, side, labels, interleaved(np.asarray(mean, np.float64), side))

    def pixels(self, batch: Batch) -> NDArray[np.uint8]:
        """Read the pixels, (rows, 3 * side * side) uint8, which takes their memory once.

        Raises:
            SourceError: it is damaged, or has changed since `look`.
        """
        data = self._load(("data",), None).get("data")
        if self._check_data(data) != (batch.rows, batch.side) or isinstance(data, SkippedArray):
            raise SourceError(
                f"{self.location} changed while lowres read it: run the same command again"
            )
        return np.asarray(data)

    def _load(self, names: tuple[str, ...], skip_above: int | None) -> dict[str, Any]:
        with damage_named(self.location), self._open() as stream:
            self._check_magic(stream)
            if self.npz:
                return _load_npz(stream, self.location, names, skip_above)
            found = load_plain(stream, self.location, skip_above=skip_above)
            if self.member is not None:
                drain(stream)  # so that the zip checks its checksum
        if not isinstance(found, dict):
            raise SourceError(
                f"{self.location} must be a pickle of a dict with data and labels; it is a "
                f"{type(found).__name__}"
            )
        texts = {k.decode("latin-1") if isinstance(k, bytes) else k: v for k, v in found.items()}
        return {name: texts[name] for name in names if name in texts}

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        if self.member is None:
            with self.path.open("rb") as file:
                yield file
            return
        with ZipFile(self.path) as archive, archive.open(self.member) as packed:
            if not self.npz:
                yield io.BufferedReader(cast("io.RawIOBase", packed), PIECE_BYTES)
                return
            # An npz file has its list of members at its end; going back means unpacking it again.
            with tempfile.TemporaryFile() as unpacked:
                shutil.copyfileobj(packed, unpacked, PIECE_BYTES)
                unpacked.seek(0)
                yield unpacked

    def _check_magic(self, stream: BinaryIO) -> None:
        begins = stream.read(len(ZIP_MAGIC))
        stream.seek(0)
        if self.npz and begins != ZIP_MAGIC:
            is_pickle = begins.startswith(PICKLE_MAGIC)
            what = f"a pickle: rename it to {self.name}" if is_pickle else f"{begins!r}..."
            raise SourceError(f"{self.location} must be an npz file by its name; it is {what}")
        if not self.npz and begins == ZIP_MAGIC:
            raise SourceError(
                f"{self.location} must be a pickle by its name; it is a zip or npz file: rename it "
                f"to {self.name}.npz, or unpack it"
            )

    def _check_data(self, data: object) -> tuple[int, int]:
        """Return the number of rows and the side of the images."""
        if data is None:
            raise SourceError(f"{self.location} has no data: it is no batch of images")
        if not isinstance(data, np.ndarray | SkippedArray):
            raise SourceError(f"{self.location}: data must be an array, was {type(data).__name__}")
        side = math.isqrt(data.shape[1] // 3) if len(data.shape) == 2 else 0
        if data.dtype != np.uint8 or not side or data.shape[1] != 3 * side**2:
            raise SourceError(
                f"{self.location}: data must be uint8 (N, 3*S*S), was {data.dtype} {data.shape}"
            )
        if side > MAX_SIZE_PX:
            raise SourceError(f"{self.location}: images must be at most {MAX_SIZE_PX} px wide")
        return data.shape[0], side

    def _labels(self, labels: object, rows: int) -> NDArray[np.int64]:
        if labels is None:
            raise SourceError(f"{self.location} has no labels: only labelled sets can be read")
        kind, listed = type(labels).__name__, labels
        if isinstance(labels, np.ndarray):
            kind = f"{labels.dtype} {labels.shape}"
            listed = labels.tolist() if labels.ndim == 1 and labels.dtype.kind in "iu" else None
        if not isinstance(listed, list | tuple):
            raise SourceError(f"{self.location}: labels must be a list of integers, was {kind}")
        if len(listed) != rows:
            raise SourceError(f"{self.location} has {rows:,} images and {len(listed):,} labels")
        for row, label in enumerate(listed):
            whole = type(label) is int or isinstance(label, np.integer)
            if not whole or not 0 <= label <= np.iinfo(np.int32).max:
                raise SourceError(
                    f"{self.location}: label of row {row} must be an integer from 0 or 1, was "
                    f"{label if isinstance(label, int | float) else type(label).__name__}"
                )
        return np.array(listed, np.int64)


def _load_npz(
    file: BinaryIO, where: str, names: Collection[str], skip_above: int | None
) -> dict[str, Any]:
    """Read the arrays that have these names; of one with more bytes than `skip_above`, the header.

    Raises:
        SourceError: the file is damaged, or an array holds objects or is encrypted.
    """
    found = {}
    with damage_named(where), ZipFile(file) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in names:
                with archive.open(info) as member:
                    found[name] = _array(member, info, f"{where}!{info.filename}", skip_above)
    return found


def _array(
    member: IO[bytes], info: ZipInfo, where: str, skip_above: int | None
) -> NDArray[Any] | SkippedArray:
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with damage_named(where):
        version = np.lib.format.read_magic(member)
        if version not in headers:
            raise SourceError(
                f"{where} has an array header of version {version}; lowres reads 1 and 2"
            )
        shape, fortran, dtype = headers[version](member)
    if dtype.hasobject:
        raise SourceError(
            f"{where} holds Python objects, which could run anything: lowres refuses it, and "
            "nothing was run"
        )
    needed = math.prod(shape) * dtype.itemsize
    has = info.file_size - member.tell()
    if min(shape, default=0) < 0 or not dtype.itemsize or needed != has:
        raise SourceError(f"{where} is damaged: an array {shape} of {dtype} has {has:,} bytes")
    if skip_above is not None and needed > skip_above:
        return SkippedArray(shape, dtype)
    with damage_named(where):
        data = read_exactly(member, needed, where)
        return np.ndarray(shape, dtype, data, order="F" if fortran else "C")


class BatchWriter(ABC):
    """Writes one batch file of `rows` images, `side` pixels wide, into a folder that exists."""

    file: IO[bytes]

    def __init__(self, path: Path, rows: int, side: int) -> None:
        self.path = path
        self.rows = rows
        self.labels: list[int] = []
        self.open((rows, 3 * side**2))

    @property
    def is_full(self) -> bool:
        return len(self.labels) == self.rows

    def add(self, row: bytes, label: int) -> None:
        """Write one image, all red, all green, all blue levels, and keep its label, from 1."""
        self.file.write(row)
        self.labels.append(label)

    @abstractmethod
    def open(self, shape: tuple[int, int]) -> None:
        """Open `file`, and write what comes before pixels of this shape."""

    @abstractmethod
    def finish(self, mean: NDArray[np.float64] | None) -> None:
        """Append the labels and, for train, the mean, (3 * side * side) in levels."""

    def close(self) -> None:
        """Close every open file; a file that is not finished is damaged."""
        self.file.close()


class PickleWriter(BatchWriter):
    """Writes a pickle of a dict by its opcodes, because no pickler takes an array row by row."""

    def open(self, shape: tuple[int, int]) -> None:
        self.file = self.path.open("wb")
        count = math.prod(shape)
        protocol = PROTOCOL if count <= MAX_SHORT_BYTES else 4
        head = _value("data") + _array_head(shape, "|u1", count)
        self.file.write(b"\x80%c}(" % protocol + head)

    def finish(self, mean: NDArray[np.float64] | None) -> None:
        parts = [ARRAY_END, _value("labels"), _value(self.labels)]
        if mean is not None:
            levels = mean.astype("<f8").tobytes()
            parts += [_value("mean"), _array_head(mean.shape, "<f8", len(levels)), levels]
            parts.append(ARRAY_END)
        self.file.write(b"".join(parts) + b"u.")
        self.close()


class BatchNpzWriter(BatchWriter):
    """Writes an npz file."""

    def open(self, shape: tuple[int, int]) -> None:
        self._archive = ZipFile(self.path, "w")
        self.file = self._member("data")
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.file, header)

    def finish(self, mean: NDArray[np.float64] | None) -> None:
        self.file.close()
        arrays = {"labels": np.array(self.labels, np.int64), "mean": mean}
        for name, array in arrays.items():
            if array is not None:
                with self._member(name) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        self.close()

    def _member(self, name: str) -> IO[bytes]:
        return self._archive.open(ZipInfo(f"{name}.npy", EARLIEST), "w", force_zip64=True)

    def close(self) -> None:
        super().close()
        self._archive.close()


ARRAY_END = b"tb"
"""Ends the state of an array, and sets it."""


def _value(value: object) -> bytes:
    """Pickle a value as a part of a larger pickle: without its first two and its last byte."""
    return pickle.dumps(value, PROTOCOL)[2:-1]


def _array_head(shape: tuple[int, ...], dtype: str, count: int) -> bytes:
    """Pickle an array up to its `count` bytes, by the name that NumPy 1 and 2 both know."""
    long = count > MAX_SHORT_BYTES
    return b"".join(
        [
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n",
            _value((0,)) + _value(b"b") + b"tR",
            b"(" + _value(1) + _value(shape),
            b"cnumpy\ndtype\n" + _value((dtype[1:], False, True)) + b"R",
            _value((3, dtype[0], None, None, None, -1, -1, 0)) + b"b",
            _value(False),
            b"\x8e" + struct.pack("<Q", count) if long else b"B" + struct.pack("<I", count),
        ]
    )
