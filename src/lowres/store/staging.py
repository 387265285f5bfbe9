"""The unfinished store: where a build keeps its rows until it writes the manifest.

Its folder contains `build.json` (the plan), `build.entries` (a line for each entry of the source),
the arrays (`arrays.py`) and the journal (`journal.py`) of the chunks of rows that are written.
A build resumes only if plan and entries are the same.

Rows and journal are synced every few seconds, and a resumed build compares every row that the
journal names, because a power cut may have kept a line and lost its rows.

Finishing drops the rows of skipped entries. It can be undone as long as there is no manifest, so
a build that is killed at any moment resumes from its folder.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import shutil
import threading
import uuid
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lowres.errors import StoreBusyError, StoreError
from lowres.formats.source import Entry, Index
from lowres.store.arrays import (
    PART,
    REPAIR,
    Chunk,
    RunningChecksums,
    add_levels,
    damaged_splits,
    digests_path,
    part_path,
    reserve,
)
from lowres.store.journal import (
    JOURNALS,
    MAIN_JOURNAL,
    BeingRead,
    Built,
    Journal,
    read_journal,
    read_journals,
    strike,
)
from lowres.store.manifest import FILE_NAME
from lowres.store.prepare import Prepared
from lowres.store.rows import DIGEST_BYTES, RowFile, image_digests
from lowres.work.directory import WorkDirectory, differences
from lowres.work.files import sync, write_json_once

PLAN = "build.json"
ENTRIES = "build.entries"
READING = "build*.reading"
OWN_FILES = (PLAN, f"{PLAN}.*", ENTRIES, f"{ENTRIES}.*", JOURNALS, f"{JOURNALS}.*",
             "build*.lock", "build*.log", READING)  # fmt: skip
BUILDING = "being built"
IF_MEMORY = (
    "If memory ran out: build with fewer --workers, or a smaller --max-pixels with --on-error skip"
)
SHOWN = 3
"""Images named in a message."""

BLOCK_ROWS = 64
"""The most adjacent rows of one shard."""

BLOCKS_PER_SHARD = 100
"""The fewest blocks of a shard, so that all shards have about as much work."""

SYNC_S = 3.0
"""Seconds from one sync of the rows to the next: about what a power cut may cost."""


class Shard(NamedTuple):
    """The part of a build that one process does: number 2 of 8, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a text such as 2/8.

        Raises:
            StoreError: it is no such text.
        """
        found = re.fullmatch("([0-9]+)/([0-9]+)", text)
        shard = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 1 <= shard.number <= shard.of:
            raise StoreError(f"--shard must be NUMBER/OF, such as 1/8 to 8/8, was {text!r}")
        return shard

    @property
    def name(self) -> str:
        """Beginning of the names of its files in the store."""
        return f"build-{self.number}-of-{self.of}"

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def work_directory(path: Path) -> WorkDirectory:
    """Return the folder of a store as a work directory: plan, lock, and last the manifest."""
    return WorkDirectory(
        path,
        "store",
        PLAN,
        FILE_NAME,
        StoreError,
        StoreBusyError,
        own=OWN_FILES,
        ignored=frozenset({"notes"}),
        check=_checked,
        advice="choose another folder; lowres build --add adds variants to a finished store",
    )


def _checked(plan: dict[str, Any]) -> dict[str, Any]:
    """Return a plan that was read; raise KeyError or TypeError if it is damaged."""
    _ = plan["source"]["index_sha256"], plan["options"], plan["versions"]
    return plan


def _begin(work: WorkDirectory, plan: dict[str, Any], index: Index) -> None:
    """Begin a build in an empty folder, or check that the same build was begun there.

    Several processes may begin the same build at once.
    """
    if not work.planned:
        work.refuse_foreign()
        temporary = work.path / f"{ENTRIES}.{uuid.uuid4().hex[:12]}"
        with temporary.open("wb") as file:
            file.writelines(index.lines())
        sync(temporary)
        temporary.replace(work.path / ENTRIES)
        write_json_once(work.path / PLAN, plan)
    changes = differences(work.read(), plan, work.ignored)
    named = [change for change in changes if not change.startswith("source index_sha256")]
    if named != changes and (entries := _changed_entries(work.path, index)):
        changes = [*named, entries]
    work.refuse(changes, "was begun")


def _changed_entries(path: Path, index: Index) -> str | None:
    """List the images that are new or gone, or changed their class, since the build was begun."""
    try:
        with (path / ENTRIES).open("rb") as file:
            before = set(file)  # not splitlines: a key may contain a carriage return
    except FileNotFoundError:
        return None
    after = set(index.lines())
    parts = []
    for lines, what in ((after - before, "new"), (before - after, "gone")):
        names = sorted(
            "{}/{} (class {})".format(*line.decode().rstrip("\n").split("\0")) for line in lines
        )
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        parts += [f"{what}: {', '.join(names[:SHOWN])}{more}"] if names else []
    return f"its images differ: {'; '.join(parts)}" if parts else None


def clean(path: Path) -> None:
    """Remove the files of a build that is finished."""
    for pattern in (*OWN_FILES, "*/*.part", "*/*.tmp"):
        for file in path.glob(pattern):
            file.unlink(missing_ok=True)


def read_when_killed(prepared: Prepared, files: Iterable[Path]) -> str:
    """Return where the images are that processes read when they were killed; empty for none.

    The files of `BeingRead` that these processes left are removed.
    """
    entries = list(itertools.chain.from_iterable(prepared.index.splits.values()))
    found = []
    for file in sorted(files):
        numbers = BeingRead.left(file)
        found += [prepared.source.describe(entries[n - 1]) for n in numbers if n <= len(entries)]
        file.unlink(missing_ok=True)
    return "; ".join(found)


class Staging:
    """An unfinished store, begun or resumed. Its folder is locked by the caller.

    Attributes:
        path: the store's folder.
        prepared: what is built.
        rows: number of rows of each split.
        images: rows of images, for each split and variant.
        digests: (N, 32) rows of SHA-256, for each split and variant.
        built: the chunks that are written.
        checksums: the SHA-256 of the arrays, as far as they are written.
        being_read: notes which image each thread reads.
        killed: what is known of earlier processes that were killed; empty if there are none.
    """

    def __init__(self, path: Path, prepared: Prepared, shard: Shard | None = None) -> None:
        """Begin a build, or resume it; with a shard, this process builds only that part.

        Raises:
            StoreError: the folder contains something else, was begun with another plan, or lies
                on a disk with too little free space.
        """
        self.path, self.prepared, self.shard = path, prepared, shard
        self.index, self.variants = prepared.index, prepared.variants
        self.rows = {split: len(entries) for split, entries in self.index.splits.items()}
        self._lock = threading.Lock()
        self._check_space()
        _begin(work_directory(path), prepared.plan, self.index)
        if shard is None:
            # Arrays are large: what killed processes left, again and again, would fill the disk.
            for file in path.glob("*/*.tmp"):
                file.unlink(missing_ok=True)
            for part in path.glob(f"*/*.npy{PART}"):  # its copy without the skipped rows
                part.with_suffix("").unlink(missing_ok=True)
        self._own = path / (f"{shard.name}.journal" if shard else MAIN_JOURNAL)
        reading = self._own.with_suffix(".reading")
        killed_at = read_when_killed(prepared, [reading] if shard else path.glob(READING))
        self.killed = killed_at and f"an earlier build was killed while it read {killed_at}"
        self.being_read = BeingRead(reading)
        # Before the arrays: what other shards write into those that are made now is not lost.
        self.built = [
            built
            for built in read_journals(path)
            if built.chunk.start >= 0 and built.chunk.stop <= self.rows.get(built.chunk.split, 0)
        ]
        damaged = damaged_splits(path, self.rows, self.variants)
        lost = [built.chunk for built in self.built if built.chunk.split in damaged]
        if lost and shard:
            raise StoreError(f"{path} has lost arrays of {', '.join(sorted(damaged))}: {REPAIR}")
        self.drop(lost)
        reserve(path, self.rows, self.variants, alone=shard is None)
        keys = list(itertools.product(self.rows, self.variants))
        self.images = {key: RowFile(part_path(path, key), writable=True) for key in keys}
        self.digests = {
            key: RowFile(digests_path(path, key), writable=True, dimensions=2) for key in keys
        }
        self.checksums = RunningChecksums(self.images)
        self._journal: Journal | None = None
        self._sync_error: OSError | None = None

    def _check_space(self) -> None:
        entries = [entry for split in self.index.splits.values() for entry in split]
        keys = sum(len(entry.key.encode()) + 1 for entry in entries)
        row_bytes = sum(3 * variant.size**2 + DIGEST_BYTES for variant in self.variants)
        existing = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        free = shutil.disk_usage(existing).free  # first: other shards may use some of it meanwhile
        needed = len(entries) * (row_bytes + 8) + 3 * keys + 2**20
        for pattern in ("*/*.npy", "*/*.part"):
            for file in self.path.glob(pattern):
                with suppress(FileNotFoundError):  # another shard has renamed it meanwhile
                    needed -= file.stat().st_size
        if needed > free:
            raise StoreError(
                f"{self.path} needs {needed / 1e6:,.1f} MB and {existing} has {free / 1e6:,.1f} MB "
                "free: free space, or build fewer sizes and filters"
            )

    def own(self) -> list[Built]:
        """List the chunks that this process checks: for a shard, those it built earlier."""
        if not self.shard:
            return self.built
        own = {built.chunk for built in read_journal(self._own)}
        return [built for built in self.built if built.chunk in own]

    def drop(self, chunks: Collection[Chunk]) -> None:
        """Forget chunks that were built, on disk before their rows are built again."""
        gone = set(chunks)
        files = [self._own] if self.shard else self.path.glob(JOURNALS)
        for file in files if gone else ():
            strike(file, gone)
        self.built = [built for built in self.built if built.chunk not in gone]

    def todo(self) -> list[Chunk]:
        """List the rows that are not built, in order; for a shard, those of its part."""
        images = sum(self.rows.values())
        number, of = self.shard or (1, 1)
        # Shards take turns at blocks, which all of them cut alike.
        block = min(max(images // (BLOCKS_PER_SHARD * of), 1), BLOCK_ROWS) if self.shard else images
        chunks = []
        for split, count in self.rows.items():
            built = [b.chunk for b in self.built if b.chunk.split == split]
            ends = [0, *(chunk.stop for chunk in built)]
            starts = [*(chunk.start for chunk in built), count]
            for start, stop in zip(ends, starts, strict=True):
                while start < stop:
                    end = min(stop, (start // block + 1) * block)
                    if start // block % of == number - 1:
                        chunks.append(Chunk(split, start, end))
                    start = end
        return chunks

    def number(self, chunk: Chunk) -> int:
        """Return the number of a chunk's first row, counted from 1 over all splits."""
        before = itertools.takewhile(lambda name: name != chunk.split, self.rows)
        return 1 + chunk.start + sum(self.rows[split] for split in before)

    def entries(self, chunk: Chunk) -> Sequence[Entry]:
        return self.index.splits[chunk.split][chunk.start : chunk.stop]

    def keep(
        self,
        chunk: Chunk,
        stamps: str,
        skipped: dict[int, str],
        findings: Mapping[str, int],
        pixels: NDArray[np.uint8],
    ) -> None:
        """Write the rows of a chunk, and then a line of the journal; safe in several threads.

        `pixels` is one-dimensional uint8: all rows of the first variant, then all of the next.
        """
        if self._sync_error is not None:
            raise self._sync_error
        sums, digest = np.zeros((len(self.variants), 6), np.int64), hashlib.sha256()
        start = 0
        for variant, total in zip(self.variants, sums, strict=True):
            stop = start + len(chunk) * 3 * variant.size**2
            block = pixels[start:stop].reshape(len(chunk), variant.size, variant.size, 3)
            self.images[chunk.split, variant].write(chunk.start, block)
            digests = image_digests(block)
            self.digests[chunk.split, variant].write(chunk.start, digests)
            digest.update(digests.data)
            add_levels(pixels[start:stop], total)
            start = stop
        all_sums, found = array("q", sums.tobytes()), dict(findings)
        built = Built(chunk, stamps, skipped, all_sums, digest.hexdigest(), found)
        with self._lock:
            if self._journal is None:
                self._journal = Journal(self._own)
            self._journal.add(built)
            self.built.append(built)
        if not self.shard:
            self.checksums.note([chunk])
            self.checksums.follow()

    def proves(self, built: Built) -> bool:
        """Return whether the rows of a chunk, and their digests, are those of the journal."""
        digest, where = hashlib.sha256(), built.chunk
        for variant in self.variants:
            images = self.images[where.split, variant].read_range(where.start, where.stop)
            digests = self.digests[where.split, variant].read_range(where.start, where.stop)
            if not np.array_equal(image_digests(images), digests):
                return False
            digest.update(digests.data)
        return digest.hexdigest() == built.digest

    def sync(self) -> None:
        """Bring the rows to the disk, then the lines of the journal that name them."""
        for rows in (*self.images.values(), *self.digests.values()):
            rows.sync()
        if (journal := self._journal) is not None:
            journal.sync()
            sync(self.path)

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """Sync every few seconds while the block writes rows, and at its end."""
        ended = threading.Event()

        def follow() -> None:
            try:
                while not ended.wait(SYNC_S):
                    self.sync()
            except OSError as error:
                self._sync_error = error  # the next thread that writes rows raises it

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield
        finally:
            ended.set()
            follower.join()
        self.sync()

    def close(self) -> None:
        self.end_journal()
        self.being_read.close()
        for rows in (*self.images.values(), *self.digests.values()):
            rows.close()

    def end_journal(self) -> None:
        """Close the journal and bring the chunks in row order."""
        if self._journal is not None:
            self._journal.close()
        self._journal = None
        self.built.sort(key=lambda built: built.chunk)

    def skipped(self) -> dict[str, dict[int, str]]:
        """Return the reason for each row without an image, by split."""
        by_split: dict[str, dict[int, str]] = {split: {} for split in self.index.splits}
        for built in self.built:
            by_split[built.chunk.split].update(built.skipped)
        return {split: dict(sorted(rows.items())) for split, rows in by_split.items()}

    def findings(self) -> dict[str, int]:
        """Count the images by what was found in them, over all splits."""
        counts: Counter[str] = Counter()
        for built in self.built:
            counts.update(built.findings)
        return dict(sorted(counts.items()))
