"""The formats that pictures are read from and written to: one file a format, one table here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lowres.errors import SourceError
from lowres.formats.base import Sink, Source
from lowres.formats.batches import BatchesNpzSink, BatchesSink, BatchesSource
from lowres.formats.batches import recognise as is_batches
from lowres.formats.cifar import CifarSource
from lowres.formats.cifar import recognise as is_cifar
from lowres.formats.edm import EdmSink, EdmSource
from lowres.formats.edm import recognise as is_edm
from lowres.formats.folder import FolderSink, FolderSource
from lowres.formats.idx import IdxSource
from lowres.formats.idx import recognise as is_idx
from lowres.formats.ilsvrc import IlsvrcSource, is_ilsvrc, small_imagenet
from lowres.formats.parquet import ParquetSink, ParquetSource
from lowres.formats.parquet import recognise as is_parquet
from lowres.formats.shards import is_pattern
from lowres.formats.webdataset import WebDatasetSink, WebDatasetSource, is_webdataset

READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Source]], ...] = (
    (is_batches, BatchesSource),
    (is_cifar, CifarSource),
    (is_idx, IdxSource),
    (is_parquet, ParquetSource),
    (is_edm, EdmSource),
    (is_ilsvrc, IlsvrcSource),
    (is_webdataset, WebDatasetSource),
    (Path.is_dir, FolderSource),
)
"""How each readable format is recognised and opened, the most particular first."""

WRITERS: dict[str, type[Sink]] = {
    "folder": FolderSink,
    "parquet": ParquetSink,
    "edm": EdmSink,
    "webdataset": WebDatasetSink,
    "batches": BatchesSink,
    "batches-npz": BatchesNpzSink,
}
"""The writable formats by name; each is made from a path and what it will be given."""


def open_source(path: Path) -> Source:
    """Find the format of `path` by looking and open it.

    Raises:
        SourceError: nothing is there, or no format fits.
    """
    if not path.exists() and not is_pattern(path):
        raise SourceError(f"source {path} does not exist")
    unlabelled = small_imagenet(path)
    if unlabelled:
        raise SourceError(unlabelled)
    for recognises, opens in READERS:
        if recognises(path):
            return opens(path)
    raise SourceError(f"source {path} must be a folder of pictures; it is a file")
