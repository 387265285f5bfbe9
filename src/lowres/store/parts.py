"""The arrays of an unfinished store, written row by row from any thread, process or machine.

In place of each `X.npy` there is an `X.npy.part` with a row for every entry of the index, and an
`X.digests.part` with the SHA-256 of each row, from which the content hash is made.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres.errors import StoreError
from lowres.jit import HAS_NUMBA, compiled
from lowres.store.content import DIGEST_BYTES, image_digests
from lowres.store.journal import Chunk
from lowres.store.rows import RowFile
from lowres.store.store import array_path
from lowres.variant import Variant

PART = ".part"
MEND = "when no shard is running, build once without --shard, or remove the folder and begin again"
Key = tuple[str, Variant]
"""A split and a variant."""


def part_path(folder: Path, key: Key) -> Path:
    """Where the rows of an array lie until it is finished."""
    return folder / f"{array_path(*key)}{PART}"


def digests_path(folder: Path, key: Key) -> Path:
    """Where the SHA-256 of each row lies."""
    return folder / f"{array_path(*key).removesuffix('.npy')}.digests{PART}"


class Parts:
    """The open arrays of an unfinished store.

    Attributes:
        path: the store's folder.
        variants: what each entry is made into.
        arrays: rows of images, for each split and variant.
        digests: (N, 32) rows of digests, for each split and variant.
    """

    def __init__(self, path: Path, splits: Iterable[str], variants: Sequence[Variant]) -> None:
        """Open arrays that are there.

        Raises:
            OSError, ValueError: one is missing or damaged.
        """
        self.path = path
        self.variants = tuple(variants)
        keys = [(split, variant) for split in splits for variant in variants]
        self.arrays = {key: RowFile(part_path(path, key), writable=True) for key in keys}
        self.digests = {
            key: RowFile(digests_path(path, key), writable=True, dimensions=2) for key in keys
        }

    def close(self) -> None:
        """Close the files."""
        for rows in (*self.arrays.values(), *self.digests.values()):
            rows.close()

    def reopen(self) -> None:
        """Open the files anew, to see what other machines have written."""
        for rows in (*self.arrays.values(), *self.digests.values()):
            rows.reopen()

    def write(self, chunk: Chunk, pixels: NDArray[np.uint8]) -> array[int]:
        """Write the rows of a chunk.

        Args:
            chunk: the rows.
            pixels: (rows x bytes of all variants,) uint8: all rows of the first variant, then of
                the next.

        Returns:
            For each variant the sums of the levels of each channel and of their squares.
        """
        sums = np.zeros((len(self.variants), 6), np.int64)
        start = 0
        for variant, total in zip(self.variants, sums, strict=True):
            stop = start + len(chunk) * 3 * variant.size**2
            block = pixels[start:stop].reshape(len(chunk), variant.size, variant.size, 3)
            key = chunk.split, variant
            self.arrays[key].write(chunk.start, block)
            self.digests[key].write(chunk.start, image_digests(block))
            add_levels(pixels[start:stop], total)
            start = stop
        return array("q", sums.tobytes())


def lacking(path: Path, rows: Mapping[str, int], variants: Sequence[Variant]) -> set[str]:
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
    """Make the arrays that are not there whole, with their disk space set aside.

    Args:
        path: the store's folder.
        rows: number of rows of each split.
        variants: what is made of each entry.
        alone: no other process builds here, so that one that is damaged can be made anew.

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
        elif file.exists() and not _is_whole(file, shape):
            raise StoreError(f"{file} is damaged: {MEND}")
        RowFile.create(file, shape).close()


def _shapes(
    path: Path, rows: Mapping[str, int], variants: Sequence[Variant]
) -> Iterator[tuple[str, Path, tuple[int, ...]]]:
    """Give split, path and shape of every array."""
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


LINE = 48
"""Bytes of 16 pixels: so many sums are kept apart, so that they are formed side by side."""

LINES = 1 << 15
"""How many squares of bytes fit 32 bits."""


def add_levels(pixels: NDArray[np.uint8], total: NDArray[np.int64]) -> None:
    """Add up levels of red, green and blue, and their squares, in whole numbers.

    Args:
        pixels: one-dimensional uint8, RGB after RGB.
        total: (6,) int64, added to: the three sums, then the three of squares.
    """
    if HAS_NUMBA:
        _add_levels(pixels, total)
        return
    levels = pixels.reshape(-1, 3).astype(np.int64)
    total[:3] += levels.sum(axis=0)
    total[3:] += (levels * levels).sum(axis=0)


@compiled
def _add_levels(pixels, total):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
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
