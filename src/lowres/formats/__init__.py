"""The formats that pictures are read from and written to: one file a format, one table here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lowres.errors import SourceError
from lowres.formats.base import Sink, Source
from lowres.formats.folder import FolderSink, FolderSource

READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Source]], ...] = (
    (Path.is_dir, FolderSource),
)
"""How each readable format is recognised and opened, the most particular first."""

WRITERS: dict[str, type[Sink]] = {"folder": FolderSink}
"""The writable formats by name; each is made from a path and what it will be given."""


def open_source(path: Path) -> Source:
    """Find the format of `path` by looking and open it.

    Raises:
        SourceError: nothing is there, or no format fits.
    """
    if not path.exists():
        raise SourceError(f"source {path} does not exist")
    for recognises, opens in READERS:
        if recognises(path):
            return opens(path)
    raise SourceError(f"source {path} must be a folder of pictures; it is a file")
