"""Byte ranges of files, read from any number of threads: members of archives in their place."""

from __future__ import annotations

import os
import weakref
from functools import lru_cache

from lowres.errors import SourceError

OPEN_FILES = 64
"""Files kept open at once; sets of a thousand shards would use up what a process may open."""


class ByteRanges:
    """Reads byte ranges of files from any number of threads; the files close with it."""

    def __init__(self) -> None:
        self._open = lru_cache(maxsize=OPEN_FILES)(_Descriptor)

    def read(self, location: str, offset: int, length: int, name: str) -> bytes:
        """Read `length` bytes of the file `location` from `offset` on.

        Args:
            location: path of the file.
            offset: first byte.
            length: number of bytes.
            name: of the member that these are, for the error.

        Raises:
            SourceError: the file ends before.
            OSError: the file cannot be read.
        """
        # The name keeps the file open while it is read, even if the cache has let go of it.
        descriptor = self._open(location)
        data = read_at(descriptor.number, offset, length)
        if len(data) < length:
            raise SourceError(
                f"{location} is cut short: {name} must have {length} bytes from byte {offset} on, "
                f"was {len(data)}; fetch or copy the file again"
            )
        return data


class _Descriptor:
    """An open file, closed when nobody holds this any more."""

    def __init__(self, location: str) -> None:
        self.number = os.open(location, os.O_RDONLY)
        weakref.finalize(self, os.close, self.number)


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Read a range; less than `length` bytes only at the end of the file."""
    data = os.pread(descriptor, length, offset) if length > 0 else b""
    while data and len(data) < length:  # one call gives at most 2 GiB, and may give less
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data
