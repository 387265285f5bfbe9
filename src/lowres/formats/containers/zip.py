"""Zip files read in place: where each member lies, and its bytes.

Only the directory at the end is read to list a zip; a member is read by its own header, so that
entries need no more than offset and length.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from lowres.errors import ImageError, SourceError
from lowres.formats.containers.streams import damage_named
from lowres.formats.containers.tar import REPACK, Member
from lowres.formats.source import LeaveOut, check_name, is_one_line, odd_name, refused

_LEADING = re.compile(r"\A(?:\./)+")

LOCAL_HEADER = struct.Struct("<4s5H3L2H")
"""The header of a member: signature, version, flags, method, time, date, CRC-32, sizes, and the
lengths of name and extra field (PKWARE's APPNOTE.TXT, 4.3.7)."""

HAS_DESCRIPTOR = 0x08
"""Flag of a member whose CRC-32 comes after its data."""

DESCRIPTOR = struct.Struct("<4sL")
"""What comes after the data: a signature, which may be missing, and the CRC-32."""

ENCRYPTED = 0x01

MOST_BYTES = 256_000_000
"""The most that a compressed member may unpack to."""


def zip_members(path: Path, leave_out: LeaveOut = refused) -> Iterator[Member]:
    """List the files in a zip, in its order; folders are skipped.

    The offset of a member is that of its header, its length that of its stored bytes. `leave_out`
    is `Source.leave_out`, called with each name that is not one line.

    Raises:
        SourceError: the zip is damaged or cut short; a member comes twice, is encrypted, packed in
            another way than deflate, or has an unsafe name.
    """
    with path.open("rb") as file:
        yield from zip_members_in(file, path.stat().st_size, str(path), leave_out)


def zip_members_in(
    file: IO[bytes], total: int, where: str, leave_out: LeaveOut = refused
) -> Iterator[Member]:
    """List the files in an open zip of `total` bytes, as `zip_members`."""
    seen = set()
    with damage_named(where), zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = _LEADING.sub("", info.filename)
            if not is_one_line(name):
                leave_out(odd_name(name, where), REPACK)
                continue
            if info.is_dir():
                if name:
                    check_name(name, where)
                continue
            check_name(name, where)
            fault = "comes twice: remove one" if name in seen else _fault(info, total)
            if fault:
                raise SourceError(f"{where}: {name} {fault}")
            seen.add(name)
            yield Member(name, info.header_offset, info.compress_size)


class Ranges(Protocol):
    """What reads a range of a file: `ByteRanges` on disk, `Remote` over a network."""

    def read(self, location: str, offset: int, length: int, name: str) -> bytes: ...


def read_member(ranges: Ranges, location: str, member: Member) -> bytes:
    """Read and unpack a member of the zip at `location`.

    Raises:
        ImageError: it is damaged, or unpacks to more than `MOST_BYTES`.
        SourceError: the zip is cut short.
        OSError: the zip cannot be read.
    """
    name, offset, length = member
    header = ranges.read(location, offset, LOCAL_HEADER.size, name)
    signature, _, flags, method, _, _, crc, _, _, named, extra = LOCAL_HEADER.unpack(header)
    if signature != b"PK\x03\x04":
        raise ImageError("it is damaged: it does not begin with the header of a member")
    start = offset + len(header) + named + extra
    described = DESCRIPTOR.size if flags & HAS_DESCRIPTOR else 0
    data = ranges.read(location, start, length + described, name)
    if described:
        mark, second = DESCRIPTOR.unpack(data[length:])
        crc = second if mark == b"PK\x07\x08" else int.from_bytes(mark, "little")
        data = data[:length]
    if method == zipfile.ZIP_DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflater.decompress(data, MOST_BYTES)
        except zlib.error as error:
            raise ImageError(f"it is damaged: {error}") from error
        if not inflater.eof:
            raise ImageError(f"it is damaged: cut off, or unpacks to more than {MOST_BYTES} bytes")
    if zlib.crc32(data) != crc:
        raise ImageError("it is damaged: its checksum is wrong")
    return data


def _fault(info: zipfile.ZipInfo, total: int) -> str | None:
    """Return why a member of a zip of `total` bytes cannot be read."""
    if info.flag_bits & ENCRYPTED:
        return "is encrypted: unpack the ZIP with its password"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "must be stored or deflated: make the ZIP anew with zip -0"
    if info.header_offset < 0 or info.header_offset + info.compress_size > total:
        return "is cut off: fetch the ZIP again"
    return None
