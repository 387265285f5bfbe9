"""The unfinished store: where a build keeps its rows until the manifest can be written.

While it is being built, a store's folder holds `build.json` (what is being built), `build.journal`
(one JSON line for each chunk of rows that is written) and, in place of each `X.npy`, `X.npy.part`
with a row for every entry of the index. Finishing leaves out the rows of skipped entries, and can
be undone as long as there is no manifest, so a build killed at any moment goes on from its folder.
"""

from __future__ import annotations

import errno
import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres.errors import StoreError
from lowres.formats.base import Entry, Index
from lowres.manifest import Manifest, held, write_bytes, write_json
from lowres.matching import left_out
from lowres.rows import RowFile
from lowres.store import KEYS, LABELS, array_path
from lowres.variant import Variant

PLAN = "build.json"
JOURNAL = "build.journal"
CHUNK_ROWS = 64


@dataclass(frozen=True, slots=True)
class Chunk:
    """Adjacent rows of one split, from `start` up to `stop`, which are built together."""

    split: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Built:
    """A chunk whose rows are written.

    Attributes:
        chunk: the rows.
        stamp: the source's stamps of its entries when they were read, joined.
        skipped: reason for each row that could not be decoded.
    """

    chunk: Chunk
    stamp: str
    skipped: dict[int, str]


class Staging:
    """An unfinished store, begun or taken up again.

    Args:
        path: the store's folder, held by `locked`.
        plan: what is being built, as JSON; an unfinished store must have been begun with the same.
        index: the entries, one row each.
        variants: what is made of each entry.

    Raises:
        StoreError: the folder holds something else, was begun with another plan, or lies on a
            disk with too little free space.
    """

    def __init__(
        self, path: Path, plan: Mapping[str, Any], index: Index, variants: Sequence[Variant]
    ) -> None:
        self.path = path
        self.index = index
        self.variants = variants
        self._lock = threading.Lock()
        begun = _begun(path, plan)
        self._check_space()
        if not begun:
            write_json(path / PLAN, plan)
        for split in index.splits:
            (path / split).mkdir(exist_ok=True)
        known = set(self.chunks())
        self.built = {b.chunk: b for b in self._read_journal() if b.chunk in known}
        self._arrays = {
            (split, variant): self._reserve(split, variant)
            for split in index.splits
            for variant in variants
        }

    def chunks(self) -> list[Chunk]:
        """List all chunks in row order."""
        return [
            Chunk(split, start, min(start + CHUNK_ROWS, len(entries)))
            for split, entries in self.index.splits.items()
            for start in range(0, len(entries), CHUNK_ROWS)
        ]

    def write(self, built: Built, blocks: Mapping[Variant, NDArray[np.uint8]]) -> None:
        """Write the rows of a chunk, (stop - start, N, N, 3) uint8 for each variant.

        Safe to call from several threads for different chunks.
        """
        chunk = built.chunk
        for variant, block in blocks.items():
            self._arrays[chunk.split, variant].write(chunk.start, block)
        with self._lock, (self.path / JOURNAL).open("a") as journal:
            journal.write(_journal_line(built))
            self.built[chunk] = built

    def _reserve(self, split: str, variant: Variant) -> RowFile:
        """Make or open the rows of one array, with its disk space set aside."""
        path, final = self._part(split, variant), self._final(split, variant)
        if final.exists() and not path.exists():  # killed while it was being finished
            final.rename(path)
        shape = (len(self.index.splits[split]), variant.size, variant.size, 3)
        if path.exists():
            with suppress(OSError, ValueError):  # killed while it was being made, or damaged
                rows = RowFile(path, writable=True)
                if rows.shape == shape:
                    return rows
            path.unlink()
        self._forget(split)
        try:
            return RowFile.create(path, shape)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise StoreError(f"{self.path}: the disk is full; free space and go on") from error
            raise

    def _forget(self, split: str) -> None:
        """Strike a split's chunks from the journal, before an array of it begins anew."""
        kept = {chunk: built for chunk, built in self.built.items() if chunk.split != split}
        if len(kept) < len(self.built):
            self.built = kept
            lines = "".join(map(_journal_line, kept.values()))
            write_bytes(self.path / JOURNAL, lines.encode())

    def _part(self, split: str, variant: Variant) -> Path:
        return self.path / f"{array_path(split, variant)}.part"

    def _final(self, split: str, variant: Variant) -> Path:
        return self.path / array_path(split, variant)

    def _check_space(self) -> None:
        rows = sum(map(len, self.index.splits.values()))
        keys = sum(len(e.key.encode()) + 1 for es in self.index.splits.values() for e in es)
        pixels = sum(variant.size**2 for variant in self.variants)
        taken = sum(file.stat().st_size for file in self.path.glob("*/*.npy*"))
        needed = rows * (3 * pixels + 8) + keys + 2**20 - taken
        existing = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        free = shutil.disk_usage(existing).free
        if needed > free:
            raise StoreError(
                f"{self.path} needs {needed / 1e9:.2f} GB and {existing} has {free / 1e9:.2f} GB "
                "free: free space, or build fewer sizes and filters"
            )

    def _read_journal(self) -> Iterator[Built]:
        """Give the chunks that were built earlier; a line cut short or damaged does not count."""
        path = self.path / JOURNAL
        if not path.exists():
            return
        text = path.read_text("utf-8", "replace")
        if text and not text.endswith("\n"):
            write_bytes(path, f"{text}\n".encode())
        for line in text.splitlines():
            try:
                record = json.loads(line)
                chunk = Chunk(record["split"], record["start"], record["stop"])
                skipped = {int(row): reason for row, reason in record["skipped"].items()}
                yield Built(chunk, record["stamp"], skipped)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue

    def skipped(self) -> dict[str, dict[int, str]]:
        """Give the reason for each row without a picture, by split."""
        by_split: dict[str, dict[int, str]] = {split: {} for split in self.index.splits}
        for built in self.built.values():
            by_split[built.chunk.split].update(built.skipped)
        return {split: dict(sorted(rows.items())) for split, rows in by_split.items()}

    def finish_array(self, split: str, variant: Variant) -> RowFile:
        """Give an array its final name, without the rows of skipped entries, and return it."""
        final = self._final(split, variant)
        rows = self._arrays[split, variant]
        kept = left_out(len(rows), list(self.skipped()[split]))
        if len(kept) == len(rows):
            self._part(split, variant).replace(final)
            return rows
        temporary = final.with_name(f"{final.name}.tmp")
        compact = RowFile.create(temporary, (len(kept), *rows.shape[1:]))
        for start in range(0, len(kept), rows.block_rows):
            compact.write(start, rows.read(kept[start : start + rows.block_rows]))
        temporary.replace(final)
        return compact

    def finish_split(self, split: str) -> list[Entry]:
        """Write labels and keys of a split and give the entries that have rows."""
        missing = self.skipped()[split]
        entries = [e for row, e in enumerate(self.index.splits[split]) if row not in missing]
        if not entries:
            raise StoreError(
                f"no picture of {split} could be decoded; {self.path} stays unfinished"
            )
        labels = np.array([entry.label for entry in entries], np.int64)
        np.save(self.path / split / LABELS, labels)
        keys = "".join(f"{entry.key}\n" for entry in entries)
        write_bytes(self.path / split / KEYS, keys.encode())
        return entries

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, which makes this a store, and remove the build's own files."""
        manifest.write(self.path)
        clean(self.path)


def _journal_line(built: Built) -> str:
    chunk = built.chunk
    record = {
        "split": chunk.split,
        "start": chunk.start,
        "stop": chunk.stop,
        "stamp": built.stamp,
        "skipped": built.skipped,
    }
    return f"{json.dumps(record)}\n"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Make a store's folder and hold it, so that no other process builds in it meanwhile.

    It is removed again where nothing was written.

    Raises:
        StoreError: another process holds it, or it is a file.
    """
    if path.exists() and not path.is_dir():
        raise StoreError(f"store {path} must be a folder, and is a file")
    path.mkdir(parents=True, exist_ok=True)
    with held(path) as free:
        if not free:
            raise StoreError(f"{path} is being built by another process")
        try:
            yield
        finally:
            if not any(path.iterdir()):
                path.rmdir()


def clean(path: Path) -> None:
    """Remove a finished build's own files."""
    for file in (path / PLAN, path / JOURNAL, *path.glob("*/*.npy.part")):
        file.unlink(missing_ok=True)


def _begun(path: Path, plan: Mapping[str, Any]) -> bool:
    """Tell whether `path` holds this very build unfinished; refuse whatever else it holds."""
    if (path / PLAN).exists():
        try:
            begun = json.loads((path / PLAN).read_text())
            refuse_changes(path, begun, plan, "was begun")
        except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
            raise StoreError(f"{path / PLAN} is damaged; remove {path} and build again") from error
        return True
    if any(path.iterdir()):
        raise StoreError(
            f"{path} is neither empty nor an unfinished store: choose a new folder, lowres does "
            "not write among other files"
        )
    return False


def refuse_changes(path: Path, then: Mapping[str, Any], now: Mapping[str, Any], verb: str) -> None:
    """Refuse to go on where a plan differs, other than by notes.

    Raises:
        StoreError: names every value that changed.
    """
    changes = [
        f"{part} {name} was {then.get(part, {}).get(name)!r} and is now {value!r}"
        for part, values in now.items()
        for name, value in values.items()
        if name != "notes" and then.get(part, {}).get(name) != value
    ]
    if changes:
        raise StoreError(
            f"store {path} {verb} differently: {'; '.join(changes)}. Use the same again, or "
            "another folder"
        )
