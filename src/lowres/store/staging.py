"""The unfinished store: where a build keeps its rows until the manifest can be written.

Beside its arrays (`parts.py`) it holds the plan (`plan.py`) and a journal of the rows that are
written (`journal.py`). Finishing leaves out the rows of skipped entries, and can be undone as long
as there is no manifest, so a build killed at any moment goes on from its folder.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres.errors import StoreError
from lowres.formats.source import Entry, Index
from lowres.store import journal, plan
from lowres.store.checksums import RunningChecksums
from lowres.store.content import DIGEST_BYTES
from lowres.store.journal import Built, Chunk, Journal
from lowres.store.manifest import Manifest
from lowres.store.parts import MEND, PART, Key, Parts, lacking, part_path, reserve
from lowres.store.plan import Shard
from lowres.store.rows import RowFile
from lowres.store.store import KEYS, LABELS, array_path
from lowres.variant import Variant
from lowres.work.files import sha256_of_file

CHUNK_ROWS = 64
"""At most so many rows are built together."""

CHUNKS_PER_WORKER = 150
"""At least so many chunks for each worker, so that a build that is killed loses less than 1 % of
its work, and no worker is left with much to do when the others are done."""


class Staging:
    """An unfinished store, begun or taken up again.

    Attributes:
        path: the store's folder, held by `plan.locked`.
        index: the entries, one row each.
        variants: what is made of each entry.
        parts: the arrays.
        built: the chunks that are written.
        checksums: of the arrays, as far as they are written.
    """

    def __init__(
        self,
        path: Path,
        planned: Mapping[str, Any],
        index: Index,
        variants: Sequence[Variant],
        shard: Shard | None = None,
    ) -> None:
        """Begin a build, or take it up again.

        Args:
            path: the store's folder.
            planned: what is being built, as JSON; one that was begun must have begun with the
                same.
            index: the entries.
            variants: what is made of each.
            shard: the part that this process builds, if not all of it.

        Raises:
            StoreError: the folder holds something else, was begun with another plan, or lies on
                a disk with too little free space.
        """
        self.path, self.index, self.variants, self.shard = path, index, tuple(variants), shard
        self._lock = threading.Lock()
        self.rows = {split: len(entries) for split, entries in index.splits.items()}
        _check_space(path, index, variants)
        plan.begin(path, planned, index)
        if shard is None:
            _sweep(path)
        self._own = path / (f"{shard.name}.journal" if shard else journal.MAIN)
        # Before the arrays: what other shards write into those that are made now is not lost.
        self.built = [built for built in journal.read_journals(path) if self._fits(built.chunk)]
        self._drop_splits(lacking(path, self.rows, variants))
        reserve(path, self.rows, self.variants, alone=shard is None)
        self.parts = Parts(path, self.rows, self.variants)
        self.checksums = RunningChecksums(self.parts.arrays)
        self._journal: Journal | None = None

    def _fits(self, chunk: Chunk) -> bool:
        return chunk.start >= 0 and chunk.stop <= self.rows.get(chunk.split, 0)

    def _drop_splits(self, lacking: Collection[str]) -> None:
        """Forget the rows of splits of which an array is to begin anew."""
        lost = [built.chunk for built in self.built if built.chunk.split in lacking]
        if lost and self.shard:
            raise StoreError(f"{self.path} has lost arrays of {', '.join(sorted(lacking))}: {MEND}")
        self.drop(lost)

    def own(self) -> list[Built]:
        """List the chunks that this process answers for: for a shard, those it built earlier."""
        if not self.shard:
            return self.built
        own = {built.chunk for built in journal.read_journal(self._own)}
        return [built for built in self.built if built.chunk in own]

    def drop(self, chunks: Collection[Chunk]) -> None:
        """Forget chunks that were built, on disk before their rows are built again."""
        gone = set(chunks)
        files = [self._own] if self.shard else self.path.glob(journal.PATTERN)
        for file in files if gone else ():
            journal.strike(file, gone)
        self.built = [built for built in self.built if built.chunk not in gone]

    def todo(self, workers: int) -> list[Chunk]:
        """List what is not built, in row order, in pieces for so many workers.

        For a shard, what is not built of its part.
        """
        whole, rows = self._chunk_rows(1), self._chunk_rows(workers)
        pieces = self._pieces(whole, rows)
        if not self.shard:
            return list(pieces)
        number, of = self.shard
        return [piece for piece in pieces if piece.start // whole % of == number - 1]

    def _chunk_rows(self, workers: int) -> int:
        parts = self.shard.of if self.shard else 1
        rows = sum(self.rows.values()) // (CHUNKS_PER_WORKER * workers * parts)
        return min(max(rows, 1), CHUNK_ROWS)

    def _pieces(self, whole: int, rows: int) -> Iterator[Chunk]:
        """Cut what is not built at multiples of `whole`, and what is between them by `rows`.

        The first do not depend on the number of workers, so that all shards cut alike.
        """
        for split, count in self.rows.items():
            built = [b.chunk for b in self.built if b.chunk.split == split]
            ends = [0, *(chunk.stop for chunk in built)]
            starts = [*(chunk.start for chunk in built), count]
            for start, stop in zip(ends, starts, strict=True):
                while start < stop:
                    border = start // whole * whole
                    end = border + ((start - border) // rows + 1) * rows
                    end = min(stop, end, border + whole)
                    yield Chunk(split, start, end)
                    start = end

    def entries(self, chunk: Chunk) -> Sequence[Entry]:
        """Give the entries of a chunk."""
        return self.index.splits[chunk.split][chunk.start : chunk.stop]

    def keep(self, built: Built) -> None:
        """Keep a chunk whose rows are written. Safe to call from several threads."""
        with self._lock:
            if self._journal is None:
                self._journal = Journal(self._own)
            self._journal.add(built)
            self.built.append(built)
        if not self.shard:
            self.checksums.note([built.chunk])
            self.checksums.follow()

    def close(self) -> None:
        """Close the journal and bring the chunks in row order."""
        if self._journal is not None:
            self._journal.close()
        self._journal = None
        self.built.sort(key=lambda built: built.chunk)

    def skipped(self) -> dict[str, dict[int, str]]:
        """Give the reason for each row without an image, by split."""
        by_split: dict[str, dict[int, str]] = {split: {} for split in self.index.splits}
        for built in self.built:
            by_split[built.chunk.split].update(built.skipped)
        return {split: dict(sorted(rows.items())) for split, rows in by_split.items()}

    def sums(self, split: str) -> NDArray[np.int64]:
        """Add up the levels of a split: (V, 6) int64, as `parts.add_levels` gives them."""
        sums = [built.sums for built in self.built if built.chunk.split == split]
        total: NDArray[np.int64] = np.array(sums, np.int64).sum(axis=0)
        return total.reshape(len(self.variants), 6)

    def finish_array(self, key: Key, kept: NDArray[np.int64]) -> str:
        """Give an array its final name, with the rows that are kept, and give its SHA-256."""
        final, part = self.path / array_path(*key), part_path(self.path, key)
        rows = self.parts.arrays[key]
        if len(kept) == len(rows):
            sha256 = self.checksums.complete(key)
            part.replace(final)
            return sha256
        temporary = final.with_name(f"{final.name}.tmp")
        temporary.unlink(missing_ok=True)
        compact = RowFile.create(temporary, (len(kept), *rows.shape[1:]))
        for start in range(0, len(kept), rows.block_rows):
            compact.write(start, rows.read(kept[start : start + rows.block_rows]))
        compact.close()
        sha256 = sha256_of_file(temporary)
        temporary.replace(final)
        return sha256

    def finish_split(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Write labels and keys of a split; give its labels, and the rows that have images."""
        entries = self.index.splits[split]
        kept = np.delete(np.arange(len(entries)), list(self.skipped()[split]))
        if not len(kept):
            raise StoreError(f"no image of {split} could be decoded; {self.path} stays unfinished")
        labels = np.fromiter((entries[row].label for row in kept), np.int64, len(kept))
        np.save(self.path / split / LABELS, labels)
        with (self.path / split / KEYS).open("wb") as file:
            file.writelines(f"{entries[row].key}\n".encode() for row in kept)
        return labels, kept

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, which makes this a store, and remove the build's own files."""
        manifest.write(self.path)
        plan.clean(self.path)


def _sweep(path: Path) -> None:
    """Remove what killed processes left half made, and copies without the skipped rows.

    Arrays are large: a few of these, each made again, would fill the disk.
    """
    for file in path.glob("*/*.tmp"):
        file.unlink(missing_ok=True)
    for part in path.glob(f"*/*.npy{PART}"):
        part.with_suffix("").unlink(missing_ok=True)


def _check_space(path: Path, index: Index, variants: Sequence[Variant]) -> None:
    rows = sum(map(len, index.splits.values()))
    keys = sum(len(e.key.encode()) + 1 for es in index.splits.values() for e in es)
    row_bytes = sum(3 * variant.size**2 + DIGEST_BYTES for variant in variants)
    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free  # first: other shards may be taking of it
    needed = rows * (row_bytes + 8) + 3 * keys + 2**20 - _taken(path)
    if needed > free:
        raise StoreError(
            f"{path} needs {needed / 1e6:,.1f} MB and {existing} has {free / 1e6:,.1f} MB free: "
            "free space, or build fewer sizes and filters"
        )


def _taken(path: Path) -> int:
    """Add up the bytes of the arrays that are there."""
    taken = 0
    for file in (file for pattern in ("*/*.npy", "*/*.part") for file in path.glob(pattern)):
        with suppress(FileNotFoundError):  # another shard has renamed it meanwhile
            taken += file.stat().st_size
    return taken
