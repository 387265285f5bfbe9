"""Sets behind a URL (`https://`, `s3://`, `gs://`, `hf://`, ...), read in place by ranges.

lowres reads a folder of class folders, and a tar or zip of them, by the rules of `folder.py`. A zip
costs its directory and then each image once; a tar is read once more, to find its members.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from lowres.errors import SourceError
from lowres.formats.archive import MembersScan, first_bytes, is_zip
from lowres.formats.containers.remote import WINDOW_BYTES, Remote, RemoteFile, url_of
from lowres.formats.containers.tar import Member, Slice, members_in
from lowres.formats.containers.zip import read_member, zip_members_in
from lowres.formats.names import MAGIC_BYTES
from lowres.formats.source import Entry, Index, Source, check_name, is_one_line, odd_name
from lowres.reading import Reading

BUFFER_BYTES = 2**20
"""Read at once of the directory of a zip."""


class UrlSource(Source):
    """Class folders behind a URL, or a tar or zip of them.

    Attributes:
        reading: the level of the classes, or whether labels are read at all.
    """

    kind = "url"
    label_order = "names of folders; 0-based in sorted order here, numbers as numbers"

    def __init__(self, path: Path, reading: Reading | None = None) -> None:
        super().__init__(path)
        self.url = url_of(path) or str(path)
        self.reading = reading or Reading()
        first = self.url.partition("::")[0]  # of a chain, the place within the others
        self.is_archive = first.lower().endswith((".tar", ".zip"))

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return url_of(path) is not None

    @cached_property
    def remote(self) -> Remote:
        """Where it lies; connected at the first read."""
        return Remote(self.url)

    def index(self) -> Index:
        if self.reading.columns:
            raise SourceError(f"{self.url}: lowres reads tables on disk only: download it")
        scan = MembersScan(self.path, self._listing(), self.content, self.begins,
                           own_files=not self.is_archive)  # fmt: skip
        return scan.index(self.reading, "in archive by URL" if self.is_archive else "by URL")

    def read(self, entry: Entry) -> bytes:
        name = entry.key if self.is_archive else self._below(entry)
        return self.content(Member(name, entry.offset, entry.length))

    def stamp(self, entry: Entry) -> str:
        if self.is_archive:
            return self._archive_stamp
        return self.remote.stamp(f"{self.remote.path}/{self._below(entry)}")

    def describe(self, entry: Entry) -> str:
        return f"{self.url}: {entry.key}" if self.is_archive else f"{self.url}/{self._below(entry)}"

    def content(self, member: Member) -> bytes:
        """Read a member of the archive, or a file of the folder."""
        path = self.remote.path
        if not self.is_archive:
            return self.remote.whole(f"{path}/{member.name}")
        if is_zip(self.path):
            return read_member(self.remote, path, member)
        return self.remote.read(path, member.offset, member.length, member.name)

    def begins(self, member: Member) -> bytes:
        """Read the first bytes of a member or file."""
        if not self.is_archive:
            return self.remote.begins(f"{self.remote.path}/{member.name}", MAGIC_BYTES)
        return first_bytes(member, self.content, packed=is_zip(self.path))

    @cached_property
    def _archive_stamp(self) -> str:
        return self.remote.stamp(self.remote.path)

    def _below(self, entry: Entry) -> str:
        folder = entry.location.removeprefix(str(self.path)).lstrip("/")
        return f"{folder}/{entry.key.rpartition('/')[2]}".lstrip("/")

    def _listing(self) -> Iterator[Member]:
        path = self.remote.path
        if not self.is_archive:
            for name in self.remote.walk(path):
                if is_one_line(name):
                    yield Member(check_name(name, self.url), 0, 0)
                else:
                    self.leave_out(odd_name(name, self.url), "rename the file")
            return
        size = self.remote.size(path)
        if is_zip(self.path):
            opened = RemoteFile(self.remote, path, size)
            with io.BufferedReader(opened, BUFFER_BYTES) as file:
                yield from zip_members_in(file, size, self.url, self.leave_out)
            return

        def read(offset: int, length: int) -> bytes:
            length = max(0, min(length, size - offset))
            return self.remote.read(path, offset, length, "a header")

        yield from members_in(Slice(read, 0, size, WINDOW_BYTES), self.url, self.leave_out)
