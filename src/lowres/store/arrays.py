"""The arrays of an unfinished store, written row by row from any thread, process or machine.

In place of each `X.npy` there is an `X.npy.part` with a row for every entry of the index, and an
`X.digests.part` with the SHA-256 of each row, from which the content hash is made.

The SHA-256 of each whole file is computed from the front while rows are written. So the checksum of
an array of many gigabytes is known as soon as its last row is, from rows that are still in the page
cache.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres.errors import StoreError
from lowres.jit import HAS_NUMBA, compiled
from lowres.store.manifest import array_path
from lowres.store.rows import DIGEST_BYTES, RowFile
from lowres.variant import Variant
from lowres.work.files import sync

PART = ".part"
REPAIR = (
    "when no shard is running, run the same build once without --shard, or remove the folder and "
    "build again"
)
Key = tuple[str, Variant]
"""A split and a variant."""

STEP_BYTES = 1 << 20
"""While rows are written, fewer new bytes than this are not worth a turn of hashing."""

TURN_BYTES = 1 << 23
"""The most bytes hashed in one turn, so that a resumed build does not wait for the rows that an
earlier process has written."""


@dataclass(frozen=True, slots=True, order=True)
class Chunk:
    """Adjacent rows of one split, from `start` up to `stop`, which are built together."""

    split: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def part_path(folder: Path, key: Key) -> Path:
    """Return where the rows of an array are until it is finished."""
    return folder / f"{array_path(*key)}{PART}"


def digests_path(folder: Path, key: Key) -> Path:
    """Return where the SHA-256 of each row is."""
    return folder / f"{array_path(*key).removesuffix('.npy')}.digests{PART}"


def damaged_splits(path: Path, rows: Mapping[str, int], variants: Sequence[Variant]) -> set[str]:
    """Find the splits of which an array is missing or damaged, so that none of their rows count."""
    for key in itertools.product(rows, variants):
        final, part = path / array_path(*key), part_path(path, key)
        if final.exists() and not part.exists():  # killed while it was being finished
            with suppress(FileNotFoundError):  # another shard was first
                final.rename(part)
    wanted = _shapes(path, rows, variants)
    return {split for split, file, shape in wanted if not _is_whole(file, shape)}


def reserve(
    path: Path, rows: Mapping[str, int], variants: Sequence[Variant], *, alone: bool
) -> None:
    """Make the arrays that are missing, and reserve their disk space.

    If this process is `alone` in the folder `path`, it makes damaged arrays anew.

    Raises:
        OSError: they cannot be written.
        StoreError: one is damaged, and other processes may be at work.
    """
    for split in rows:
        (path / split).mkdir(exist_ok=True)
    for _, file, shape in _shapes(path, rows, variants):
        if _is_whole(file, shape):
            continue
        if alone:
            file.unlink(missing_ok=True)
        elif file.exists() and not _is_whole(file, shape):  # no other shard made it meanwhile
            raise StoreError(f"{file} is damaged: {REPAIR}")
        RowFile.create(file, shape).close()
    for folder in (*(path / split for split in rows), path):
        sync(folder)


def _shapes(
    path: Path, rows: Mapping[str, int], variants: Sequence[Variant]
) -> Iterator[tuple[str, Path, tuple[int, ...]]]:
    """Yield split, path and shape of every array."""
    for split, variant in itertools.product(rows, variants):
        key, count = (split, variant), rows[split]
        yield split, part_path(path, key), (count, variant.size, variant.size, 3)
        yield split, digests_path(path, key), (count, DIGEST_BYTES)


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    with suppress(OSError, ValueError):
        rows = RowFile(path, writable=True, dimensions=len(shape))
        rows.close()
        return rows.shape == shape
    return False


class RunningChecksums:
    """The SHA-256 of arrays whose rows are written in any order.

    Safe to use from several threads.
    """

    def __init__(self, arrays: Mapping[Key, RowFile]) -> None:
        self._arrays = dict(arrays)
        self._hashes = {key: hashlib.sha256(rows.header) for key, rows in arrays.items()}
        self._hashed = dict.fromkeys(arrays, 0)
        self._front = {split: 0 for split, _ in arrays}
        self._ahead: dict[str, dict[int, int]] = {split: {} for split, _ in arrays}
        self._noting, self._turn = threading.Lock(), threading.Lock()

    def note(self, chunks: Iterable[Chunk]) -> None:
        """Note that rows are written."""
        with self._noting:
            for chunk in chunks:
                ahead, front = self._ahead[chunk.split], self._front[chunk.split]
                ahead[chunk.start] = chunk.stop
                while front in ahead:
                    front = ahead.pop(front)
                self._front[chunk.split] = front

    def follow(self) -> None:
        """Hash some of the rows that are written, unless another thread does that now."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            for key, rows in self._arrays.items():
                row_bytes = rows.row_bytes
                behind = self._front[key[0]] - self._hashed[key]
                if behind * row_bytes >= STEP_BYTES:
                    some = max(TURN_BYTES // row_bytes, 1)
                    self._hash(key, self._hashed[key] + min(behind, some))
        finally:
            self._turn.release()

    def complete(self, key: Key) -> str:
        """Hash the rest of an array, all rows of which are written; return its SHA-256."""
        self._hash(key, len(self._arrays[key]))
        return self._hashes[key].hexdigest()

    def _hash(self, key: Key, stop: int) -> None:
        rows = self._arrays[key]
        for start in range(self._hashed[key], stop, rows.block_rows):
            block = rows.read_range(start, min(start + rows.block_rows, stop))
            self._hashes[key].update(block.data)
        self._hashed[key] = stop


LINE = 48
"""Bytes of 16 pixels: one sum is kept for each, so that the processor adds them side by side."""

LINES = 1 << 15
"""How many squares of bytes fit 32 bits."""


def add_levels(pixels: NDArray[np.uint8], total: NDArray[np.int64]) -> None:
    """Add up levels of red, green and blue, and their squares, in whole numbers.

    Args:
        pixels: one-dimensional uint8, RGB after RGB.
        total: (6,) int64, added to: the three sums, then the three sums of squares.
    """
    if HAS_NUMBA:
        _add_levels(pixels, total)
        return
    levels = pixels.reshape(-1, 3).astype(np.int64)
    total[:3] += levels.sum(axis=0)
    total[3:] += (levels * levels).sum(axis=0)


@compiled
def _add_levels(pixels: NDArray[np.uint8], total: NDArray[np.int64]) -> None:
    sums, squares = np.zeros(LINE, np.uint32), np.zeros(LINE, np.uint32)
    whole = len(pixels) // LINE
    for line in range(whole):
        for i in range(LINE):
            level = np.uint32(pixels[line * LINE + i])
            sums[i] += level
            squares[i] += level * level
        if line % LINES == LINES - 1 or line == whole - 1:
            for i in range(LINE):
                total[i % 3] += sums[i]
                total[3 + i % 3] += squares[i]
            sums[:] = 0
            squares[:] = 0
    for i in range(whole * LINE, len(pixels)):
        rest = np.int64(pixels[i])
        total[i % 3] += rest
        total[3 + i % 3] += rest * rest
