"""Entries to rows: read, decode once, resample to every variant, write; chunk by chunk.

A `Job` says what is to be done in values that can be sent to another machine; a `Rendering` does
it with an open source and open arrays.
"""

from __future__ import annotations

import hashlib
import platform
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres.errors import ImageError, SourceError, StoreError
from lowres.formats import open_source
from lowres.formats.source import Entry, Source
from lowres.resampling.decode import decode_for, quiet_decoder
from lowres.resampling.resampler import resampler
from lowres.store.journal import Built, Chunk
from lowres.store.parts import Parts
from lowres.variant import Rule, Variant

OF_THE_IMAGE = (ImageError, FileNotFoundError, PermissionError, IsADirectoryError)
"""Errors that may be skipped; others (a failing disk, too many open files) may pass and are not."""

STAMP_DIGITS = 8
"""Of the hash of an entry's stamp in the journal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What is to be done with entries, wherever that happens.

    Attributes:
        source: path of the source.
        store: path of the unfinished store.
        splits: its splits.
        variants: what is made of each entry.
        native_px: side of all images, where they are taken at their own size.
        exif_rotate: turn images as their EXIF orientation says.
        skip: record entries that cannot be decoded, instead of raising.
        versions: of the software that decides about the bytes, as (name, version).
        token: tells apart two builds of the same store.
    """

    source: Path
    store: Path
    splits: tuple[str, ...]
    variants: tuple[Variant, ...]
    native_px: int | None
    exif_rotate: bool
    skip: bool
    versions: tuple[tuple[str, str], ...]
    token: str


def software_versions() -> dict[str, str]:
    """Give the versions of what decides about the bytes."""
    from PIL import features

    try:
        simplejpeg = version("simplejpeg")
    except PackageNotFoundError:
        simplejpeg = "none"
    return {
        "lowres": version("lowres"),
        "pillow": version("pillow"),
        "libjpeg-turbo": features.version_feature("libjpeg_turbo") or "none",
        "simplejpeg": simplejpeg,
        "numpy": version("numpy"),
    }


class Rendering:
    """Does a job with an open source and open arrays. Safe to use from several threads."""

    def __init__(self, job: Job, source: Source, parts: Parts) -> None:
        self.job, self.source, self.parts = job, source, parts
        # Looked up once: to find it by its variants takes as long as a small image.
        self._resampler = resampler(job.variants)

    def build(
        self, chunk: Chunk, entries: Sequence[Entry], stopping: threading.Event | None = None
    ) -> Built | None:
        """Make the rows of a chunk and write them; nothing, once `stopping` is set.

        Raises:
            SourceError: an entry cannot be read or decoded, and is not to be skipped.
            OSError: the rows cannot be written.
        """
        stamps = stamps_of(self.source, entries)
        pixels, places = self.space(len(chunk))
        skipped = {}
        for row, entry in enumerate(entries):
            if stopping is not None and stopping.is_set():
                return None
            try:
                reason = self._render(entry, pixels, places[row])
            except MemoryError as error:
                raise SourceError(
                    f"{self.source.describe(entry)} needs more memory than there is: run the same "
                    "command again with fewer --workers, or on a larger machine"
                ) from error
            if reason is not None:
                skipped[chunk.start + row] = reason
        return Built(chunk, stamps, skipped, self.parts.write(chunk, pixels))

    def space(self, rows: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Make space for the pixels of some rows.

        Returns:
            One-dimensional uint8, zero: all rows of the first variant, then of the next; and
            (rows, V) int64, where in it each image begins.
        """
        row_bytes = np.array([3 * v.size**2 for v in self.job.variants], np.int64)
        starts = np.cumsum(row_bytes * rows) - row_bytes * rows
        pixels = np.zeros(rows * int(row_bytes.sum()), np.uint8)
        return pixels, starts + np.arange(rows)[:, None] * row_bytes

    def _render(
        self, entry: Entry, pixels: NDArray[np.uint8], places: NDArray[np.int64]
    ) -> str | None:
        """Write all variants of an entry to `places` in `pixels`, or give why it is skipped."""
        try:
            images = decoded(self.job, self.source.read(entry))
        except (ImageError, OSError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            if not (self.job.skip and isinstance(error, OF_THE_IMAGE)):
                raise SourceError(
                    f"{self.source.describe(entry)} cannot be read: {reason}. Mend or remove it "
                    "and run the same command again, or leave such images out: --on-error skip"
                ) from error
            return reason
        self.resample(images, pixels, places)
        return None

    def resample(
        self,
        images: dict[Rule, NDArray[np.uint8]],
        pixels: NDArray[np.uint8],
        places: NDArray[np.int64],
    ) -> None:
        """Write all variants to `pixels`, (V,) `places` in it."""
        variants, (first, *others) = self.job.variants, images.values()
        if all(other is first for other in others):
            self._resampler.into(first, pixels, places)
            return
        for rule, image in images.items():
            chosen = [i for i, v in enumerate(variants) if v.rule == rule]
            resampler(tuple(variants[i] for i in chosen)).into(image, pixels, places[chosen])


def decoded(job: Job, read: bytes | NDArray[np.uint8]) -> dict[Rule, NDArray[np.uint8]]:
    """Decode what was read, if it is not pixels yet: (H, W, 3) uint8 for each rule.

    Raises:
        ImageError: it cannot be decoded, or has another size than the job demands.
    """
    rules = dict.fromkeys(variant.rule for variant in job.variants)
    if isinstance(read, bytes):
        images = decode_for(read, rules, exif_rotate=job.exif_rotate)
    else:
        images = dict.fromkeys(rules, read)
    native_px = job.native_px
    if native_px is not None:
        height, width, _ = next(iter(images.values())).shape
        if (height, width) != (native_px, native_px):
            raise ImageError(
                f"it has {width} x {height} pixels, and the set {native_px} x {native_px}"
            )
    return images


def stamps_of(source: Source, entries: Sequence[Entry]) -> str:
    """Hash the stamp of each entry, 8 hexadecimal digits for each."""
    hashes: dict[str, str] = {}
    for stamp in (stamps := [source.stamp(entry) for entry in entries]):
        if stamp not in hashes:  # entries of one archive have one stamp
            hashes[stamp] = hashlib.sha256(stamp.encode()).hexdigest()[:STAMP_DIGITS]
    return "".join(hashes[stamp] for stamp in stamps)


def build_elsewhere(job: Job, chunk: Chunk, entries: Sequence[Entry]) -> Built:
    """Do a piece of a job in another process, which keeps the source open between pieces.

    The arrays are closed after each, since file systems such as NFS show other machines only then
    what was written.

    Raises:
        SourceError: an entry cannot be read or decoded.
        StoreError: source or arrays are not there, or the software is not the same.
    """
    source = _opened(job)
    try:
        parts = Parts(job.store, job.splits, job.variants)
    except (OSError, ValueError) as error:
        raise _not_shared(job.store, error) from error
    with quiet_decoder(), closing(parts):
        built = Rendering(job, source, parts).build(chunk, entries)
    assert built is not None
    return built


@lru_cache(maxsize=1)
def _opened(job: Job) -> Source:
    here = software_versions()
    for name, wanted in job.versions:
        if here[name] != wanted:
            raise StoreError(
                f"{platform.node()} has {name} {here[name]}, and the build was begun with "
                f"{wanted}: install the same on every machine"
            )
    try:
        return open_source(job.source)
    except (OSError, SourceError) as error:
        raise _not_shared(job.source, error) from error


def _not_shared(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"{platform.node()} cannot open {path} ({error}): source and store must lie on a file "
        "system that all machines share, under the same path"
    )
