"""Bytes out of files and archive members, with every damage reported as a `SourceError`.

Lengths come from the files themselves, so nothing here trusts one: bytes are read piece by piece,
and memory grows only with bytes that exist. `ByteRanges` reads members of archives in their place,
from any number of threads.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import struct
import tokenize
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from tarfile import TarError
from typing import IO
from zipfile import BadZipFile

from lowres.errors import SourceError

PIECE_BYTES = 1 << 20
"""Read at once; also the most memory that a false length can take."""

UNPACKED_TIMES = 50
"""A gzip file may unpack to this many times its size; the sets in these formats to 2 to 5 times."""

UNPACKED_FREELY = 1 << 26
"""Bytes that a gzip file may unpack to in any case."""

OPEN_FILES = 64
"""Files kept open at once; a set of a thousand shards would reach the limit of a process."""

DAMAGE = (
    BadZipFile,
    TarError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    KeyError,
    SyntaxError,  # of NumPy, which parses an array's header as Python's literals
    tokenize.TokenError,
)
"""What the standard library raises on damaged archives, besides `OSError`s without a number."""


def read_exactly(stream: IO[bytes], count: int, where: str) -> bytes:
    """Read `count` bytes, and hold them once.

    Raises:
        SourceError: there are fewer.
    """
    data = stream.read(min(count, PIECE_BYTES))
    if len(data) == count:
        return data
    gathered = io.BytesIO()
    gathered.write(data)
    for piece in _pieces(stream, count - len(data), where):
        gathered.write(piece)
    return gathered.getvalue()


def read_bytearray(stream: IO[bytes], count: int, where: str) -> bytearray:
    """Read `count` bytes as `read_exactly` does, into a bytearray."""
    gathered = bytearray()
    for piece in _pieces(stream, count, where):
        gathered += piece
    return gathered


class Gunzipped(gzip.GzipFile):
    """A gzip file, unpacked piece by piece; refuses to become far larger than images do.

    Args:
        raw: the file, open for reading.
        where: its path, for the message.
    """

    def __init__(self, raw: IO[bytes], where: str) -> None:
        super().__init__(fileobj=raw, mode="rb")
        self._where, self._unpacked = where, 0
        self._most = max(UNPACKED_FREELY, UNPACKED_TIMES * os.fstat(raw.fileno()).st_size)

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._unpacked += len(data)
        if self._unpacked > self._most:
            raise SourceError(
                f"{self._where} unpacks to more than {UNPACKED_TIMES} times its size: it is no set "
                "of images, but damaged or hostile; fetch it again"
            )
        return data


def drain(stream: IO[bytes]) -> int:
    """Read to the end, so that an archive checks its checksum, and count the bytes."""
    return sum(map(len, iter(lambda: stream.read(PIECE_BYTES), b"")))


def _pieces(stream: IO[bytes], count: int, where: str) -> Iterator[bytes]:
    while count:
        piece = stream.read(min(count, PIECE_BYTES))
        if not piece:
            raise SourceError(
                f"{where} is cut short: it ends {count:,} bytes early; fetch or write it again"
            )
        yield piece
        count -= len(piece)


@contextmanager
def damage_named(where: str) -> Iterator[None]:
    """Turn what archive readers of the standard library raise into a SourceError.

    An `OSError` of the disk passes; one of the bytes does not.
    """
    try:
        yield
    except SourceError:
        raise
    except (NotImplementedError, RuntimeError) as error:  # of zipfile: methods and passwords
        raise SourceError(f"{where} cannot be unpacked: {error}") from error
    except (*DAMAGE, OSError) as error:
        # Errors without a number are of gzip, bz2 and lzma; EINVAL is an impossible offset.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise SourceError(f"{where} is damaged: {error}; fetch or write it again") from error


class ByteRanges:
    """Reads byte ranges of files from any number of threads; the files close with it."""

    def __init__(self) -> None:
        self._open = lru_cache(maxsize=OPEN_FILES)(_Descriptor)

    def read(self, location: str, offset: int, length: int, name: str) -> bytes:
        """Read `length` bytes of the file `location` from `offset` on; the member has a name.

        Raises:
            SourceError: the file ends before.
            OSError: the file cannot be read.
        """
        # The local name keeps the file open while it is read, even if the cache drops it.
        descriptor = self._open(location)
        data = read_at(descriptor.number, offset, length)
        if len(data) < length:
            raise SourceError(
                f"{location} is cut short: {name} must have {length} bytes from byte {offset} on, "
                f"was {len(data)}; fetch or copy the file again"
            )
        return data


class _Descriptor:
    """An open file, closed when nothing refers to this any more."""

    def __init__(self, location: str) -> None:
        self.number = os.open(location, os.O_RDONLY)
        weakref.finalize(self, os.close, self.number)


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Read a range; fewer than `length` bytes only at the end of the file."""
    data = os.pread(descriptor, length, offset) if length > 0 else b""
    while data and len(data) < length:  # one call reads at most 2 GiB, and may read less
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data
