"""The formats that images are read from and written to: one file a format, one table here."""

from __future__ import annotations

from pathlib import Path

from lowres.errors import SourceError
from lowres.formats.batches import BatchesNpzSink, BatchesSink, BatchesSource
from lowres.formats.cifar import CifarSource
from lowres.formats.containers.shards import is_pattern
from lowres.formats.edm import EdmSink, EdmSource
from lowres.formats.folder import FolderSink, FolderSource
from lowres.formats.idx import IdxSource
from lowres.formats.ilsvrc import IlsvrcSource, small_imagenet
from lowres.formats.parquet import ParquetSink, ParquetSource
from lowres.formats.sink import Sink
from lowres.formats.source import Source
from lowres.formats.webdataset import WebDatasetSink, WebDatasetSource

READERS: tuple[type[Source], ...] = (
    BatchesSource,
    CifarSource,
    IdxSource,
    ParquetSource,
    EdmSource,
    IlsvrcSource,
    WebDatasetSource,
    FolderSource,
)
"""The readable formats, the most particular first."""

WRITERS: dict[str, type[Sink]] = {
    "folder": FolderSink,
    "batches": BatchesSink,
    "batches-npz": BatchesNpzSink,
    "parquet": ParquetSink,
    "webdataset": WebDatasetSink,
    "edm": EdmSink,
}
"""The writable formats by name; each is made from a path and what it will be given."""


def open_source(path: Path) -> Source:
    """Find the format of `path` by looking and open it.

    Raises:
        SourceError: nothing is there, no format fits, or the set has no labels.
    """
    if not path.exists() and not is_pattern(path):
        raise SourceError(f"source {path} does not exist")
    unlabelled = small_imagenet(path)
    if unlabelled:
        raise SourceError(unlabelled)
    for reader in READERS:
        if reader.recognises(path):
            return reader(path)
    raise SourceError(
        f"source {path} must be a folder of images, or a tar, zip, Parquet or batch file that "
        "lowres reads (docs/formats.md); it is another file"
    )
