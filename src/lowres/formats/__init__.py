"""The formats that lowres reads images from and writes them to: one file a format, one table here.

Another package adds a format by an entry point of the group `lowres.formats` that names a `Format`
(docs/how-to/own-format.md has a whole one).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from lowres.errors import SourceError
from lowres.formats import named
from lowres.formats.archive import ArchiveSource, unpack_first
from lowres.formats.batches import BatchesNpzSink, BatchesSink, BatchesSource
from lowres.formats.cifar import CifarSource
from lowres.formats.containers.rows import SUFFIXES
from lowres.formats.containers.shards import is_pattern
from lowres.formats.edm import EdmSink, EdmSource
from lowres.formats.folder import FolderSink, FolderSource
from lowres.formats.idx import IdxSource
from lowres.formats.ilsvrc import IlsvrcSource, small_imagenet
from lowres.formats.names import unread_form
from lowres.formats.parquet import ParquetSink, ParquetSource
from lowres.formats.sink import Sink
from lowres.formats.source import Source
from lowres.formats.table import TableSource
from lowres.formats.unlabelled import UnlabelledSource
from lowres.formats.url import UrlSource
from lowres.formats.webdataset import WebDatasetSink, WebDatasetSource
from lowres.reading import Reading

ENTRY_POINTS = "lowres.formats"


@dataclass(frozen=True, slots=True)
class Format:
    """One row of the table of formats.

    Attributes:
        reader: opens a path of the format; None if lowres only writes it.
        writers: by the name that `lowres export --to` takes.
    """

    reader: type[Source] | None = None
    writers: Mapping[str, type[Sink]] = field(default_factory=dict)


FORMATS: tuple[Format, ...] = (
    Format(BatchesSource, {"batches": BatchesSink, "batches-npz": BatchesNpzSink}),
    Format(CifarSource),
    Format(IdxSource),
    Format(ParquetSource, {"parquet": ParquetSink}),
    Format(IlsvrcSource),
    Format(ArchiveSource),
    Format(EdmSource, {"edm": EdmSink}),
    Format(TableSource),
    Format(WebDatasetSource, {"webdataset": WebDatasetSink}),
    Format(FolderSource, {"folder": FolderSink}),
)
"""The formats of lowres, the most particular first: the first that recognises a path reads it."""


@cache
def installed() -> tuple[Format, ...]:
    """Load the formats of other installed packages, or name the package whose format fails."""
    found = []
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        package = point.dist.name if point.dist else point.module
        try:
            loaded = point.load()
            if not isinstance(loaded, Format):
                raise TypeError(
                    f"{point.value} must be a lowres.formats.Format, was {type(loaded).__name__}"
                )
        except Exception as error:  # importing it runs code of another package
            raise SourceError(
                f"the format {point.name} of the package {package} cannot be loaded "
                f"({type(error).__name__}: {error}): update the package, or remove it with: pip "
                f"uninstall {package}"
            ) from error
        found.append(loaded)
    return tuple(found)


def writers() -> dict[str, type[Sink]]:
    """Return the writable formats by name."""
    return {
        name: writer for row in (*FORMATS, *installed()) for name, writer in row.writers.items()
    }


def open_source(path: Path, reading: Reading | None = None) -> Source:
    """Open a path in the first format that recognises it; those of other packages come first.

    Args:
        path: a folder or file; a pattern of shards; a URL; or the name of a known set, such as
            fashion-mnist, whose files torchvision or Keras left on this machine.
        reading: what the source does not say itself.

    Raises:
        SourceError: the path does not exist, no format recognises it, the set has no labels, or
            columns are named for a set that is no table.
    """
    reading = reading or Reading()
    if UrlSource.recognises(path):
        return UrlSource(path, reading)
    path = named.found(path)
    if not path.exists() and not is_pattern(path):
        raise SourceError(f"source {path} does not exist")
    if reading.columns or TableSource.recognises(path):
        if path.is_file() and path.suffix.lower() not in SUFFIXES:
            raise SourceError(
                f"--{' and --'.join(reading.columns)} name columns of a table, and {path} is none "
                f"({', '.join(sorted(SUFFIXES))}): name the table as the source"
            )
        return TableSource(path, reading)
    unlabelled = None if reading.unlabelled else small_imagenet(path)
    if unlabelled:
        raise SourceError(unlabelled)
    for row in (*installed(), *FORMATS):
        if row.reader is not None and row.reader.recognises(path):
            return _with(reading, row.reader, path)
    if message := unpack_first(path):
        raise SourceError(message)
    if path.is_file() and (message := unread_form([path.name])):
        raise SourceError(f"source {path} cannot be read: {message}")
    raise SourceError(
        f"source {path} must be a folder of images, or a tar, zip, Parquet or batch file that "
        "lowres reads (docs/formats.md); it is another file"
    )


def _with(reading: Reading, reader: type[Source], path: Path) -> Source:
    """Open a path in the format that recognised it, in the way that the user asked for."""
    if reader is FolderSource and (message := unpack_first(path)):
        raise SourceError(message)
    if reading.unlabelled and reader is FolderSource:
        return UnlabelledSource(path)
    if reader is ArchiveSource or (
        reading.unlabelled and reader in (WebDatasetSource, EdmSource) and path.is_file()
    ):
        return ArchiveSource(path, reading)
    if reading.unlabelled and reader in (ParquetSource, WebDatasetSource):
        return reader(path, labelled=False)
    if reading.class_level is None:
        return reader(path)
    if reader is FolderSource:
        return FolderSource(path, reading.class_level)
    raise SourceError(
        f"--class-level is for folders and archives of class folders, and {path} is read as "
        f"{reader.kind}: leave it out"
    )
