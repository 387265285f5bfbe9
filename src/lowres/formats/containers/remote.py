"""Files behind a URL, read by ranges through fsspec: a read is whole, or it is an error.

What may pass by itself (a broken connection, an overloaded server) is tried again.
"""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lowres.errors import MissingExtraError, SourceError, require

T = TypeVar("T")

PAUSES_S = (0.2, 1.0, 3.0, 10.0)
"""How long to wait before the second and each later attempt."""

WINDOW_BYTES = 2**18
"""The least to read at once where one jumps from header to header."""

TOO_MANY = 429
SERVER_FAILS = 500
"""Statuses of HTTP: too many requests, and the first of those that are no fault of the request."""

LOCAL = ("file", "local")
"""Schemes of URLs with three slashes."""

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+")


def url_of(path: Path | str) -> str | None:
    """Return the URL that a path was made from, or None; `Path` makes one slash of two or three.

    A chain of fsspec has several URLs: `zip://FOLDER::s3://BUCKET/set.zip`.
    """
    text = str(path)
    if not _URL.match(text) or Path(text).exists():
        return None
    return _URL.sub(lambda at: f"{at[1]}://{'/' if at[1] in LOCAL else ''}", text)


class Remote:
    """A place on the net, such as a bucket or a server.

    Args:
        url: any URL of it.

    Attributes:
        path: what follows the scheme, as fsspec names it.

    Raises:
        MissingExtraError: fsspec, or the package for this scheme, is not installed.
        SourceError: nothing reads this scheme.
    """

    def __init__(self, url: str) -> None:
        if url.startswith(("zip://", "tar://")) and "::" not in url:
            raise SourceError(
                f"{url} names no archive: give the path or URL of the archive itself, or "
                f"{url[:6]}FOLDER::URL for a folder in it"
            )
        require("fsspec", "url")
        core = require("fsspec.core", "url")
        try:
            self._files, self.path = core.url_to_fs(url)
        except ImportError as error:  # s3fs, gcsfs, ... have their own packages
            raise MissingExtraError(f"{url} cannot be read: {_package(error)}") from error
        except ValueError as error:  # no package reads this scheme
            raise SourceError(f"{url} cannot be read: {error}") from error
        except Exception as error:  # a package of a scheme may connect here, and raise anything
            raise SourceError(f"{url} cannot be read: {_reason(error)}") from error

    def size(self, path: str) -> int:
        """Return the bytes of a file."""
        found = self._tried(path, lambda: self._files.info(path))
        if found.get("type") != "file" or found.get("size") is None:
            raise SourceError(
                f"{path} must be a file of known size, and the server says neither: download it"
            )
        return int(found["size"])

    def stamp(self, path: str) -> str:
        """Return a text that differs if the file has changed."""
        try:
            found = self._tried(path, lambda: self._files.info(path))
        except SourceError as error:
            return str(error)
        marks = (
            "size", "ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "blob_id",
        )  # fmt: skip
        return " ".join(str(found[mark]) for mark in marks if mark in found)

    def walk(self, path: str) -> list[str]:
        """Return the path of each file below a folder, relative to it, sorted."""
        listed = self._tried(path, lambda: self._files.find(path))
        names = (name.removeprefix(path.rstrip("/")).lstrip("/") for name in listed)
        return sorted(name for name in names if name)

    def read(self, location: str, offset: int, length: int, name: str) -> bytes:
        """Read `length` bytes of the file `location` from `offset` on, as `ByteRanges.read`.

        Raises:
            SourceError: the file is shorter, it cannot be read after all attempts, or the server
                does not read ranges.
        """

        def once() -> bytes:
            data: bytes = self._files.cat_file(location, start=offset, end=offset + length)
            if len(data) < length:
                raise EOFError(f"{len(data)} of {length} bytes came")
            return data

        data = self._tried(f"{location}: {name}", once) if length else b""
        if len(data) > length:
            raise SourceError(
                f"{location}: the server sends whole files where lowres asks for a part: download "
                "it and build from the file"
            )
        return data

    def begins(self, location: str, length: int) -> bytes:
        """Read the first bytes of a file, or all of a shorter one."""
        read = self._files.cat_file
        data: bytes = self._tried(location, lambda: read(location, start=0, end=length))
        return data[:length]

    def whole(self, location: str) -> bytes:
        """Read a whole file."""
        data: bytes = self._tried(location, lambda: self._files.cat_file(location))
        return data

    def _tried(self, what: str, work: Callable[[], T]) -> T:
        for pause in (*PAUSES_S, None):
            try:
                return work()
            except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
                raise SourceError(f"{what} cannot be read: {_reason(error)}") from error
            except _transient() as error:
                status = getattr(error, "status", SERVER_FAILS)
                if pause is None or (status < SERVER_FAILS and status != TOO_MANY):
                    raise SourceError(f"{what} cannot be read: {_reason(error)}") from error
                time.sleep(pause)
            except Exception as error:  # a package of a scheme may raise anything
                raise SourceError(f"{what} cannot be read: {_reason(error)}") from error
        raise AssertionError("the last attempt returns or raises")


class RemoteFile(io.RawIOBase):
    """A file behind a URL as an open file of Python, for `zipfile`; use it with a large buffer."""

    def __init__(self, remote: Remote, path: str, size: int) -> None:
        self.remote, self.path, self.length, self.position = remote, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.length}[whence]
        self.position = max(0, base + offset)
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  a buffer has no type in 3.11
        count = max(0, min(len(buffer), self.length - self.position))
        buffer[:count] = self.remote.read(self.path, self.position, count, "its directory")
        self.position += count
        return count


def _transient() -> tuple[type[BaseException], ...]:
    """Return what may pass by itself; errors of aiohttp and httpx have no base of Python's."""
    aiohttp, httpx = sys.modules.get("aiohttp"), sys.modules.get("httpx")
    foreign = (aiohttp and aiohttp.ClientError, httpx and httpx.TransportError)
    return (OSError, EOFError, *filter(None, foreign))


def _package(error: ImportError) -> str:
    """Return which package a scheme needs and how to install it; fsspec names only some of them."""
    cause = error if isinstance(error, ModuleNotFoundError) else error.__cause__
    name = cause.name if isinstance(cause, ModuleNotFoundError) else None
    if name is None:
        return str(error)
    package = name.partition(".")[0]
    return f"it needs {package}, which is not installed; run: pip install {package}"


def _reason(error: BaseException) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
