"""Tar files read in place: where each member lies.

Headers of ordinary files are read here, 512 bytes each. All others (folders, long names, links,
attributes of PAX) are left to the standard library. It stops without an error at a damaged header
and at a missing end, and trusts what a header claims; this module checks all three.
"""

from __future__ import annotations

import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, cast

from lowres.errors import SourceError
from lowres.formats.containers.streams import read_at
from lowres.formats.source import LeaveOut, check_name, is_one_line, odd_name, refused

HEADER_BYTES = 2**20
"""The most bytes that one header may claim; names and attributes of a member are far shorter."""

TAIL_BYTES = 2**20
"""How far behind the end of an archive to look for a second one; usual padding is 10 KiB."""

WINDOW_BYTES = 4096

PACKERS = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ\0": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
}
"""First bytes of packed files (RFC 1952, bzip2, xz, RFC 8878), and what unpacks them."""

_HEADER = struct.Struct("100s24x12s12x8sc188x155s12x")
"""Name, size, checksum, type and prefix in the 512 bytes of a header (POSIX.1-1988, ustar)."""

_PLAIN = re.compile(r"(?=[A-Za-z0-9_])(?:[ -.0-\[\]-~]|/(?![./]|$))+")
"""Names that `check_name` returns as they are, and that are not those of folders."""

ADLER = 65521
"""The modulus of Adler-32 (RFC 1950)."""

REPACK = "rename the file and pack the archive again"

DAMAGE = (tarfile.TarError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError)
"""What the standard library raises on damaged headers."""


class Member(NamedTuple):
    """A file inside a tar.

    Attributes:
        name: relative path, without `./` in front.
        offset: byte of the tar file on disk at which its content begins.
        length: number of bytes of its content.
    """

    name: str
    offset: int
    length: int


def members(
    path: Path, within: Member | None = None, leave_out: LeaveOut = refused
) -> Iterator[Member]:
    """List the files in a tar, in its order, without reading their contents; folders are skipped.

    Args:
        path: the tar file, not packed.
        within: the member that is itself the tar to list, as this function returned it.
        leave_out: `Source.leave_out`, called with each name that is not one line of UTF-8.

    Raises:
        SourceError: the tar is packed, empty, damaged, or cut short, also exactly between two
            members; or a member is a link or device, or has an unsafe name.
    """
    where = f"{path}: {within.name}" if within else str(path)
    with path.open("rb", buffering=0) as file:
        start, length = (within.offset, within.length) if within else (0, path.stat().st_size)
        yield from members_in(
            Slice(partial(read_at, file.fileno()), start, length), where, leave_out
        )


def members_in(part: Slice, where: str, leave_out: LeaveOut = refused) -> Iterator[Member]:
    """List the files in a tar that is read by ranges, as `members`; `where` is for messages."""
    _check_start(part, where)
    last = "its start"
    try:
        archive = tarfile.TarFile(fileobj=cast("IO[bytes]", part), encoding="utf-8")
        while True:
            for member in _ordinary(archive, part):
                last = member.name
                yield member
            info = archive.next()
            if info is None:
                break
            # TarFile keeps every member, at a kilobyte each.
            vars(archive)["members"].clear()
            last = info.name
            if is_one_line(info.name):
                yield from _checked(info, part, where)
            else:
                leave_out(odd_name(info.name, where), REPACK)
    except DAMAGE as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"{where} is damaged or no tar file: after {last}, {error}; fetch or copy it again"
        ) from error
    # The archive must end with a block of zeros, and nothing behind.
    block = part.at(archive.offset, tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise SourceError(
            f"{where} is cut short: after {last}, the block of zeros that ends a tar is "
            "missing; fetch or copy it again"
        )
    if any(block):
        raise SourceError(f"{where} has a damaged header after {last}; fetch or copy it again")
    if any(part.at(archive.offset, TAIL_BYTES)):
        raise SourceError(
            f"{where} has bytes behind its end, which is after {last}: it is damaged, or two "
            "archives in one; fetch it again, or split it"
        )


def _ordinary(archive: tarfile.TarFile, part: Slice) -> Iterator[Member]:
    """Yield members and step over them while a look at their headers is enough.

    That is so for whole files with plain names; they are what `tarfile` returns, six times faster.
    """
    if vars(archive)["firstmember"] is not None or archive.pax_headers:
        return
    while len(header := part.at(archive.offset, tarfile.BLOCKSIZE)) == tarfile.BLOCKSIZE:
        field, size, checksum, kind, prefix = _HEADER.unpack(header)
        end, digits, summed = field.find(0), size[:11], checksum[:6]
        numbers = digits.isdigit() and summed.isdigit() and size[11] <= ord(" ")
        if end < 1 or prefix[0] or kind != tarfile.REGTYPE or not numbers:
            return
        try:
            length, claimed = int(digits, 8), int(summed, 8)
        except ValueError:
            return
        # The low half of Adler-32 is one more than the sum of the bytes, modulo ADLER. The checksum
        # counts its own field as eight blanks.
        total = (zlib.adler32(header[156:], zlib.adler32(header[:148])) & 0xFFFF) - 1 + 8 * 32
        name = field[:end].decode("latin-1")
        start = archive.offset + tarfile.BLOCKSIZE
        whole = start + length <= part.length
        if (total - claimed) % ADLER or not whole or not _PLAIN.fullmatch(name):
            return
        archive.offset = start + -(-length // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        yield Member(name, part.start + start, length)


class Slice:
    """A part of a file, as the file that `tarfile` reads headers from.

    Args:
        read_range: reads a range of the file, by offset and length; fewer bytes only at its end.
        start: first byte of the part.
        length: bytes of the part.
        window: bytes to read at once; many over a network, where each read takes long.
    """

    def __init__(
        self,
        read_range: Callable[[int, int], bytes],
        start: int,
        length: int,
        window: int = WINDOW_BYTES,
    ) -> None:
        self.read_range = read_range
        self.window_bytes = window
        self.start = start
        self.length = length
        self.position = 0
        self.window = b""
        self.window_start = 0

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> int:
        self.position = position
        return position

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= HEADER_BYTES:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        data = self.at(self.position, size)
        self.position += len(data)
        return data

    def at(self, position: int, size: int) -> bytes:
        """Read from `position` on, fewer than `size` bytes only at the end."""
        size = max(0, min(size, self.length - position))
        first = position - self.window_start
        if first < 0 or first + size > len(self.window):
            wanted = min(max(size, self.window_bytes), self.length - position)
            self.window = self.read_range(self.start + position, wanted)
            self.window_start, first = position, 0
        return self.window[first : first + size]


def _check_start(part: Slice, where: str) -> None:
    start = part.at(0, tarfile.BLOCKSIZE)
    if not start:
        raise SourceError(f"{where} must be a tar file and is empty; fetch or copy it again")
    for magic, unpacker in PACKERS.items():
        if start.startswith(magic) and start[257:262] != b"ustar":
            raise SourceError(
                f"{where} must be a plain tar, to be read in place, and is packed; unpack it "
                f"first: {unpacker} FILE"
            )


def _checked(info: tarfile.TarInfo, part: Slice, where: str) -> Iterator[Member]:
    """Yield the member of a header if it is an ordinary file, and whole; nothing for a folder."""
    if info.isdir() and info.name in ("", "."):
        return
    name = check_name(info.name, where)
    if "/" in name:
        name = PurePosixPath(name).as_posix()
    if info.issym() or info.islnk():
        raise SourceError(f"{where}: {name} is a link, and lowres follows none: pack files only")
    if not (info.isdir() or (info.isreg() and not info.issparse())):
        raise SourceError(
            f"{where}: {name} must be an ordinary file, was of tar type "
            f"{info.type.decode('latin-1')!r}: pack files only"
        )
    if info.size < 0:
        raise SourceError(f"{where}: {name} has the length {info.size}; the archive is damaged")
    if info.isreg() and info.offset_data + info.size > part.length:
        raise SourceError(
            f"{where} is cut short: {name} must have {info.size} bytes, was "
            f"{part.length - info.offset_data}; fetch or copy it again"
        )
    if not info.isdir():
        yield Member(name, part.start + info.offset_data, info.size)
