"""Entries to rows: read, decode once, resample to every variant, write; chunk by chunk."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres.errors import ImageError, SourceError, reason
from lowres.formats.source import Entry, Source
from lowres.resampling.decode import Decoded, decode_for
from lowres.resampling.resampler import resampler, warm_up
from lowres.store.arrays import Chunk, add_levels
from lowres.store.findings import enlarged
from lowres.store.prepare import Prepared, StoreSource
from lowres.store.staging import Staging
from lowres.variant import Rule

OF_THE_IMAGE = (ImageError, FileNotFoundError, PermissionError, IsADirectoryError)
"""Errors that may be skipped. Others (a failing disk, too many open files) may be temporary, so
they stop the build."""

CHUNK_ROWS, CHUNK_S = 64, 0.25
"""The most rows that are built together, and about how long that takes. A build that is killed
loses as much for each worker."""

FIRST_IMAGE_S = 0.05
"""Seconds an image, until the first are built."""

CHUNKS_LEFT = 4
"""A chunk is at most this part of what is left for each worker, so that no worker has much left
when the others are done."""

STAMP_DIGITS = 8
"""Digits of the hash of an entry's stamp in the journal."""


class Rendering:
    """Makes rows from entries; safe to use from several threads.

    Attributes:
        staging: where the rows are written.
        skip: record entries that cannot be decoded, instead of raising.
        stopping: `build` returns early once it is set.
        image_s: seconds that an image takes in one thread, as far as known.
    """

    def __init__(self, staging: Staging, *, skip: bool = False) -> None:
        self.staging, self.skip, self.prepared = staging, skip, staging.prepared
        self.source, self.variants = self.prepared.source, self.prepared.variants
        self.sizes = sorted({variant.size for variant in self.variants})
        self._row_bytes = np.array([3 * v.size**2 for v in self.variants], np.int64)
        self.stopping = threading.Event()
        self.image_s = FIRST_IMAGE_S
        # Looked up once: a look-up by variants takes as long as a small image.
        self._resampler = resampler(self.variants)

    def warm_up(self) -> None:
        """Compile the loops, or load their machine code, before the first row."""
        if self.prepared.native_px is None and not isinstance(self.source, StoreSource):
            warm_up()
        add_levels(np.zeros(3, np.uint8), np.zeros(6, np.int64))

    def chunks(self, workers: int) -> Iterator[Chunk]:
        """Yield chunks of the rows that are not built, each cut when a worker takes it."""
        todo = self.staging.todo()
        left = sum(map(len, todo))
        for rows in todo:
            start = rows.start
            while start < rows.stop:
                share, timely = left // (CHUNKS_LEFT * workers), int(CHUNK_S / self.image_s)
                stop = min(rows.stop, start + max(1, min(CHUNK_ROWS, share, timely)))
                yield Chunk(rows.split, start, stop)
                left -= stop - start
                start = stop

    def build(self, chunk: Chunk) -> None:
        """Make the rows of a chunk and keep them.

        Raises:
            SourceError: an entry cannot be read or decoded, and is not skipped.
            OSError: the rows cannot be written.
        """
        began = time.perf_counter()
        if isinstance(self.source, StoreSource):
            entries = self.staging.entries(chunk)
            stamps = stamps_of(self.source, entries)
            self.staging.keep(chunk, stamps, {}, {}, self.source.copies(entries))
        else:
            self._decode_and_resample(chunk)
        self.image_s = (time.perf_counter() - began) / len(chunk)

    def _decode_and_resample(self, chunk: Chunk) -> None:
        pixels, places = self.space(len(chunk))
        stamps, skipped, findings = list[str](), dict[int, str](), Counter[str]()
        note, first = self.staging.being_read.note, self.staging.number(chunk)
        for row, entry in enumerate(self.staging.entries(chunk)):
            if self.stopping.is_set():
                return
            note(first + row)
            stamp = ""
            try:
                read, stamp = self.source.read_stamped(entry)
                found = decoded(self.prepared, read)
                self.resample(found.images, pixels, places[row])
                shape = next(iter(found.images.values())).shape
                for finding in (*found.findings, *enlarged(shape, self.sizes)):
                    findings[finding] += 1
                del read, found  # the next image is decoded into memory that the cache holds
            except MemoryError as error:
                raise SourceError(
                    f"{self.source.describe(entry)} needs more memory than is free: run the same "
                    "command again with fewer --workers, or on a larger machine"
                ) from error
            except (ImageError, OSError) as error:
                why = reason(error)
                if isinstance(error, FileNotFoundError) and not Path(entry.location).exists():
                    raise SourceError(
                        f"{entry.location} is gone, which source {self.source.path} had when the "
                        "build listed it. The rows that are built are kept: restore it and run the "
                        "same command again, which resumes"
                    ) from error
                if not (self.skip and isinstance(error, OF_THE_IMAGE)):
                    raise SourceError(
                        f"{self.source.describe(entry)} cannot be read: {why}. Fix or remove "
                        "it and run the same command again; or skip such images: --on-error skip"
                    ) from error
                skipped[chunk.start + row] = why
            stamps.append(stamp or self.source.stamp(entry))
        note(0)
        self.staging.keep(chunk, hashed(stamps), skipped, findings, pixels)

    def space(self, rows: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Make space for the pixels of some rows.

        Returns:
            One-dimensional uint8, zero: all rows of the first variant, then all rows of the next;
            and (rows, V) int64, where each image begins in it.
        """
        row_bytes = self._row_bytes
        starts = np.cumsum(row_bytes * rows) - row_bytes * rows
        pixels = np.zeros(rows * int(row_bytes.sum()), np.uint8)
        return pixels, starts + np.arange(rows)[:, None] * row_bytes

    def resample(
        self,
        images: dict[Rule, NDArray[np.uint8]],
        pixels: NDArray[np.uint8],
        places: NDArray[np.int64],
    ) -> None:
        """Write all variants of an image to `pixels`, at its (V,) `places`."""
        image = next(iter(images.values()))
        if all(other is image for other in images.values()):
            self._resampler.into(image, pixels, places)
            return
        for rule, image in images.items():
            chosen = [i for i, v in enumerate(self.variants) if v.rule == rule]
            resampler(tuple(self.variants[i] for i in chosen)).into(image, pixels, places[chosen])


def decoded(prepared: Prepared, read: bytes | NDArray[np.uint8]) -> Decoded:
    """Decode an encoded image as the options say, or take pixels as they are.

    Raises:
        ImageError: it cannot be decoded, or is not of the size that all images have.
    """
    rules, options = dict.fromkeys(variant.rule for variant in prepared.variants), prepared.options
    if isinstance(read, bytes):
        found = decode_for(
            read, rules, exif_rotate=options.exif_rotate, depth=options.depth,
            background=options.background,
        )  # fmt: skip
    else:
        found = Decoded(dict.fromkeys(rules, read))
    if (side := prepared.native_px) is not None:
        height, width, _ = next(iter(found.images.values())).shape
        if (height, width) != (side, side):
            raise ImageError(f"it has {width} x {height} pixels, and the set {side} x {side}")
    return found


def stamps_of(source: Source, entries: Sequence[Entry]) -> str:
    """Hash the stamp of each entry as it is now; see `hashed`."""
    return hashed([source.stamp(entry) for entry in entries])


def hashed(stamps: Sequence[str]) -> str:
    """Hash stamps, 8 hexadecimal digits for each."""
    hashes: dict[str, str] = {}
    for stamp in stamps:
        if stamp not in hashes:  # all entries of an archive have the same stamp
            hashes[stamp] = hashlib.sha256(stamp.encode()).hexdigest()[:STAMP_DIGITS]
    return "".join(hashes[stamp] for stamp in stamps)
