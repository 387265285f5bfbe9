"""Writes one batch file of the released layout, pickle or npz.

The pixels come first in the file and go to disk as they come. The mean of train is known only when
every file has its pixels, so labels and mean are appended in a second step.
"""

from __future__ import annotations

import pickle
import struct
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lowres.formats.containers.npz import NpzWriter, append_npz

PROTOCOL = 3
"""Of the released pickles; readable by every Python 3."""

MAX_SHORT_BYTES = 0xFFFFFFFF
"""Longest bytes of protocol 3; longer ones are of protocol 4."""


class BatchWriter(ABC):
    """A batch file in the making.

    Args:
        path: the file.
        rows: number of images it will have.
        side: of each, in pixels.
    """

    def __init__(self, path: Path, rows: int, side: int) -> None:
        self.path = path
        self.shape = (rows, 3 * side**2)
        self.labels: list[int] = []
        self._begun = False

    @property
    def is_full(self) -> bool:
        """Whether all its images are there."""
        return len(self.labels) == self.shape[0]

    def add(self, row: bytes, label: int) -> None:
        """Write one image, all red, all green, all blue levels, and keep its label, from 1."""
        self.begin()
        self.labels.append(label)
        self.write(row)
        if self.is_full:
            self.end_pixels()

    def begin(self) -> None:
        """Make the file, if it is not made yet."""
        if not self._begun:
            self._begun = True
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.open()
            if self.is_full:  # of no images
                self.end_pixels()

    @abstractmethod
    def open(self) -> None:
        """Make the file and write what comes before the pixels."""

    @abstractmethod
    def write(self, row: bytes) -> None:
        """Write the next row."""

    @abstractmethod
    def end_pixels(self) -> None:
        """Close the file for now."""

    @abstractmethod
    def finish(self, mean: NDArray[np.float64] | None) -> None:
        """Append the labels and, for train, the mean, (3 * side * side) in levels."""


class PickleWriter(BatchWriter):
    """A pickle of a dict, put together from opcodes, as no pickler takes an array row by row."""

    _file: BinaryIO

    def open(self) -> None:
        """Make the file; see `BatchWriter.open`."""
        self._file = self.path.open("wb")
        count = self.shape[0] * self.shape[1]
        protocol = PROTOCOL if count <= MAX_SHORT_BYTES else 4
        head = b"\x80%c}(" % protocol + _value("data") + _array_head(self.shape, "|u1", count)
        self._file.write(head)

    def write(self, row: bytes) -> None:
        """Write the next row."""
        self._file.write(row)

    def end_pixels(self) -> None:
        """Close the file for now."""
        self._file.close()

    def finish(self, mean: NDArray[np.float64] | None) -> None:
        """Append labels and mean; see `BatchWriter.finish`."""
        parts = [ARRAY_END, _value("labels"), _value(self.labels)]
        if mean is not None:
            levels = mean.astype("<f8").tobytes()
            parts += [_value("mean"), _array_head(mean.shape, "<f8", len(levels)), levels]
            parts.append(ARRAY_END)
        with self.path.open("ab") as file:
            file.write(b"".join(parts) + b"u.")


class BatchNpzWriter(BatchWriter):
    """An npz file."""

    _file: NpzWriter

    def open(self) -> None:
        """Make the file; see `BatchWriter.open`."""
        self._file = NpzWriter(self.path, "data", self.shape)

    def write(self, row: bytes) -> None:
        """Write the next row."""
        self._file.write(row)

    def end_pixels(self) -> None:
        """Close the file for now."""
        self._file.close()

    def finish(self, mean: NDArray[np.float64] | None) -> None:
        """Append labels and mean; see `BatchWriter.finish`."""
        arrays: dict[str, NDArray[Any]] = {"labels": np.array(self.labels, np.int64)}
        append_npz(self.path, arrays if mean is None else {**arrays, "mean": mean})


ARRAY_END = b"tb"
"""Ends the state of an array, and gives it to it."""


def _value(value: object) -> bytes:
    """Pickle a plain value as a part of a larger pickle: without its first two and last bytes."""
    return pickle.dumps(value, PROTOCOL)[2:-1]


def _array_head(shape: tuple[int, ...], dtype: str, count: int) -> bytes:
    """Pickle an array up to its `count` bytes; NumPy 1 and 2 both know it by the older name."""
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
