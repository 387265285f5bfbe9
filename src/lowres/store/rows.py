"""Rows of images: arrays on disk, read and written at offsets; and the content hash of a set.

Unlike a memory map, an array of any size leaves nothing in the memory of the process.

The content hash is one line that shows two people whether they have the same images. It depends on
the pixels, the class names and the splits only, not on the order of the images, their names, the
file format, or the program that wrote it.
"""

from __future__ import annotations

import hashlib
import math
import os
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lowres.work.files import claim, named, sync_data

BLOCK_BYTES = 1 << 23
"""Bytes of pixels that are read together."""

DIGEST_BYTES = 32

HEADER_DAMAGE = (ValueError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError,
                 RecursionError, TokenError)  # fmt: skip
"""What NumPy may raise for a damaged header, which it parses as a Python expression."""


class RowFile:
    """An open `.npy` file of rows, such as images (N, S, S, 3); uint8 in C order.

    Safe to use from several threads, which must write different rows.

    Attributes:
        path: the file.
        shape: shape of the whole array.
    """

    def __init__(self, path: Path, *, writable: bool = False, dimensions: int = 4) -> None:
        """Open a file whose array has this many dimensions.

        Raises:
            OSError: it cannot be opened.
            ValueError: it is no such array, or its size does not fit its shape.
        """
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        self._close = weakref.finalize(self, os.close, self._descriptor)
        with open(self._descriptor, "rb", closefd=False) as file:
            try:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):
                    raise ValueError(f"its npy format is {version}, not (1, 0)")
                shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
            except HEADER_DAMAGE as error:
                raise ValueError(f"its header is damaged: {error}") from error
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
        try:
            with named(path), temporary.open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                size = file.tell() + math.prod(shape)
                file.truncate(size)
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
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
        with named(self.path):
            while left:
                written = os.pwrite(self._descriptor, left, offset)
                left, offset = left[written:], offset + written

    def sync(self) -> None:
        """Wait until the rows that are written have reached the disk."""
        with named(self.path):
            sync_data(self._descriptor)

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


def image_digests(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hash each image of (N, H, W, 3) uint8.

    Returns:
        (N, 32) uint8: the SHA-256 of the H x W x 3 bytes of each image.
    """
    rows = np.ascontiguousarray(images)
    digests = b"".join(hashlib.sha256(row.data).digest() for row in rows)
    return np.frombuffer(digests, np.uint8).reshape(len(images), DIGEST_BYTES)


def content_hash(
    size: int,
    splits: Mapping[str, tuple[NDArray[np.int64], NDArray[np.uint8]]],
    classes: Sequence[str],
) -> str:
    """Hash a set of images, independent of their order.

    The SHA-256 of a line `SIZE LF` and then, for each image, a line `SPLIT NUL CLASS NUL
    IMAGE LF` with the image's SHA-256 in hexadecimal. These lines are sorted as bytes; all UTF-8.

    Args:
        size: side of the images in pixels.
        splits: labels (N,) and digests (N, 32) of each split.
        classes: class names by label.
    """
    digest = hashlib.sha256(f"{size}\n".encode())
    for split in sorted(splits):
        labels, digests = splits[split]
        borders = np.cumsum(np.bincount(labels, minlength=len(classes)))[:-1]
        by_class = np.split(digests[np.argsort(labels)], borders)
        # In the order of the names, because NUL sorts before every character of a name.
        for label in sorted(range(len(classes)), key=lambda label: classes[label].encode()):
            begin = f"{split}\0{classes[label]}\0"
            lines = sorted(f"{begin}{row.tobytes().hex()}\n" for row in by_class[label])
            digest.update("".join(lines).encode())
    return digest.hexdigest()
