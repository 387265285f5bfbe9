"""Arrays of rows on disk, read and written at offsets.

Unlike a memory map, an array of any size leaves nothing in the memory of the process.
"""

from __future__ import annotations

import math
import os
import uuid
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lowres.work.files import claim

BLOCK_BYTES = 1 << 23
"""Bytes of pixels that are read together."""


class RowFile:
    """An open `.npy` file of rows, such as images (N, S, S, 3); uint8 in C order.

    Safe to use from several threads, which must write different rows.

    Attributes:
        path: the file.
        shape: shape of the whole array.
    """

    def __init__(self, path: Path, *, writable: bool = False, dimensions: int = 4) -> None:
        """Open a file.

        Args:
            path: the file.
            writable: open it for writing, too.
            dimensions: how many dimensions it must have.

        Raises:
            OSError: it cannot be opened.
            ValueError: it is no such array, or its size does not fit its shape.
        """
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        self._close = weakref.finalize(self, os.close, self._descriptor)
        with open(self._descriptor, "rb", closefd=False) as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"its npy format is {version}, not (1, 0)")
            shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
            self._offset = file.tell()
        if by_column or dtype != np.uint8 or len(shape) != dimensions:
            raise ValueError(f"it is {shape} {dtype}, not an array of rows of bytes")
        self.shape: tuple[int, ...] = shape
        if os.fstat(self._descriptor).st_size != self._offset + math.prod(shape):
            raise ValueError("its size does not fit its shape")

    @classmethod
    def create(cls, path: Path, shape: tuple[int, ...]) -> Self:
        """Make a file of zeros and open it; reserve its disk space where the system can do that.

        If several processes make the same file, all of them open the first one.

        Raises:
            OSError: it cannot be written, or the disk is full.
        """
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
        with temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            size = file.tell() + math.prod(shape)
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
        claim(temporary, path)
        return cls(path, writable=True, dimensions=len(shape))

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape[1:])

    @property
    def block_rows(self) -> int:
        """Number of rows in a block of `BLOCK_BYTES`."""
        return max(BLOCK_BYTES // self.row_bytes, 1)

    @property
    def header(self) -> bytes:
        """The bytes before the rows."""
        return os.pread(self._descriptor, self._offset, 0)

    def read_range(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Read adjacent rows."""
        images = np.empty((stop - start, *self.shape[1:]), np.uint8)
        if len(images):
            self._read_into(images, start)
        return images

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read some rows, in the order given: (len(rows), S, S, 3) uint8."""
        if len(rows) and (np.diff(rows) == 1).all():
            return self.read_range(int(rows[0]), int(rows[-1]) + 1)
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for number, row in enumerate(rows.tolist()):
            self._read_into(images[number], row)
        return images

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        """Read all rows, a block at a time."""
        for start in range(0, len(self), self.block_rows):
            yield self.read_range(start, min(start + self.block_rows, len(self)))

    def write(self, start: int, images: NDArray[np.uint8]) -> None:
        """Write adjacent rows, the first one at `start`."""
        left = np.ascontiguousarray(images).reshape(-1).data
        offset = self._offset + start * self.row_bytes
        while left:
            written = os.pwrite(self._descriptor, left, offset)
            left, offset = left[written:], offset + written

    def close(self) -> None:
        self._close()

    def _read_into(self, images: NDArray[np.uint8], row: int) -> None:
        left = images.data.cast("B")
        offset = self._offset + row * self.row_bytes
        while left:
            read = os.preadv(self._descriptor, [left], offset)
            if not read:
                raise OSError(f"{self.path} ends before row {row}")
            left, offset = left[read:], offset + read
