"""Bytes out of files and archive members, with every damage told in words.

Lengths come from the files themselves, so nothing here trusts one: what is asked for is gathered
piece by piece, and memory grows only with bytes that are really there.
"""

from __future__ import annotations

import errno
import io
import struct
import tokenize
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from tarfile import TarError
from typing import IO
from zipfile import BadZipFile

from lowres.errors import SourceError

PIECE_BYTES = 1 << 20
"""Read at once; also the most that a false length can make us set aside."""

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
"""What damaged archives make the standard library raise, besides `OSError`s without a number."""


def read_exactly(stream: IO[bytes], count: int, where: str) -> bytes:
    """Read `count` bytes, without ever holding them twice.

    Args:
        stream: read from where it stands.
        count: number of bytes, from a file that may lie.
        where: the file, and member, for the message.

    Raises:
        SourceError: there are fewer.
    """
    if count <= PIECE_BYTES:
        data = stream.read(count)
    else:
        gathered = io.BytesIO()
        for piece in _pieces(stream, count):
            gathered.write(piece)
        data = gathered.getvalue()
    if len(data) < count:
        raise cut_short(where, count - len(data))
    return data


def read_bytearray(stream: IO[bytes], count: int, where: str) -> bytearray:
    """Read `count` bytes as `read_exactly` does, for those who need a bytearray."""
    gathered = bytearray()
    for piece in _pieces(stream, count):
        gathered += piece
    if len(gathered) < count:
        raise cut_short(where, count - len(gathered))
    return gathered


def drain(stream: IO[bytes]) -> int:
    """Read to the end, so that an archive checks its checksum, and count the bytes."""
    return sum(map(len, iter(lambda: stream.read(PIECE_BYTES), b"")))


def _pieces(stream: IO[bytes], count: int) -> Iterator[bytes]:
    while count and (piece := stream.read(min(count, PIECE_BYTES))):
        yield piece
        count -= len(piece)


def cut_short(where: str, missing: int) -> SourceError:
    """Make the error for a file that ends too early."""
    return SourceError(
        f"{where} is cut short: it ends {missing:,} bytes early; fetch or write it again"
    )


@contextmanager
def damage_named(where: str) -> Iterator[None]:
    """Turn what archive readers of the standard library raise into a SourceError.

    An `OSError` that speaks of the disk, and not of the bytes, passes.
    """
    try:
        yield
    except SourceError:
        raise
    except (NotImplementedError, RuntimeError) as error:  # of zipfile: methods and passwords
        raise SourceError(f"{where} cannot be unpacked: {error}") from error
    except (*DAMAGE, OSError) as error:
        # Those without a number are of gzip, bz2 and lzma; EINVAL is an offset that is none.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise SourceError(f"{where} is damaged: {error}; fetch or write it again") from error
