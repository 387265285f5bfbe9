"""NumPy's `.npz` files of plain arrays: read without pickles, written row by row."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, BinaryIO
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError
from lowres.formats.containers.pickle import SkippedArray
from lowres.formats.containers.streams import damage_named, read_exactly

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The date of every member, as in `numpy.savez`: equal arrays make equal files."""


def load_npz(
    file: BinaryIO, where: str, names: Collection[str], *, skip_above: int | None = None
) -> dict[str, Any]:
    """Read some arrays of an npz file.

    Args:
        file: the whole file; it must be able to seek.
        where: the file, and member, for messages.
        names: of the arrays wanted; missing ones are left out.
        skip_above: of arrays with more bytes, only the header is read; they come as `SkippedArray`.

    Raises:
        SourceError: the file is damaged, or an array holds objects or is encrypted.
        OSError: it cannot be read.
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
    with damage_named(where):
        version = np.lib.format.read_magic(member)
        if version == (1, 0):
            header = np.lib.format.read_array_header_1_0(member)
        elif version == (2, 0):
            header = np.lib.format.read_array_header_2_0(member)
        else:
            raise SourceError(
                f"{where} has an array header of version {version}; lowres reads 1 and 2"
            )
    shape, fortran, dtype = header
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


class NpzWriter:
    """Writes an npz file whose first array, uint8, comes row by row.

    Args:
        path: the file to write.
        name: of the first array.
        shape: of the first array.
    """

    def __init__(self, path: Path, name: str, shape: tuple[int, int]) -> None:
        self._archive = ZipFile(path, "w")
        self._file = self._archive.open(_member(name), "w", force_zip64=True)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, rows: bytes) -> None:
        """Append to the first array."""
        self._file.write(rows)

    def close(self) -> None:
        """End the first array and the file."""
        self._file.close()
        self._archive.close()


def append_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Add arrays to a finished npz file."""
    with ZipFile(path, "a") as archive:
        for name, array in arrays.items():
            with archive.open(_member(name), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _member(name: str) -> ZipInfo:
    return ZipInfo(f"{name}.npy", EARLIEST)
