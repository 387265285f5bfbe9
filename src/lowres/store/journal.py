"""The journal of a build: which rows are written, and which images are being read, on disk.

A journal has one JSON line for each chunk of rows that is written. Every process that writes rows
has its own, so that two machines never write to one file. A line contains its own checksum: a line
that is cut short or damaged does not count. It also contains a checksum of its rows.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from array import array
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lowres.store.arrays import Chunk
from lowres.work.files import sync_data, write_bytes

MAIN_JOURNAL = "build.journal"
JOURNALS = "build*.journal"
READING_SLOTS = 512
"""Threads that note what they read, in one page of memory."""
CHECK_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Built:
    """A chunk whose rows are written.

    Attributes:
        chunk: the rows.
        stamps: a short hash of each entry's stamp at the time it was read, joined.
        skipped: the reason for each row whose image cannot be decoded.
        sums: int64; for each variant the sums of the levels of red, green and blue, then the sums
            of their squares.
        digest: SHA-256 over the SHA-256 of each row, all rows of the first variant, then of the
            next; it proves that the rows on the disk are those of the journal.
        findings: number of images by what was found in them (`findings.py`).
    """

    chunk: Chunk
    stamps: str
    skipped: dict[int, str]
    sums: array[int]
    digest: str
    findings: dict[str, int] = field(default_factory=dict)

    def line(self) -> str:
        """Return the line of a journal."""
        split, start, stop = self.chunk.split, self.chunk.start, self.chunk.stop
        record = {"split": split, "start": start, "stop": stop, "stamps": self.stamps}
        record |= {"skipped": self.skipped, "sums": self.sums.tolist(), "digest": self.digest}
        text = json.dumps({**record, "findings": self.findings})
        return f'{text[:-1]}, "check": "{_check(text)}"}}\n'

    @classmethod
    def parse(cls, line: str) -> Built | None:
        """Read a line; return None if it is damaged."""
        try:
            record = json.loads(line)
            if record.pop("check") != _check(json.dumps(record)):
                return None
            chunk = Chunk(record["split"], record["start"], record["stop"])
            skipped = {int(row): reason for row, reason in record["skipped"].items()}
            sums = array("q", record["sums"])
            return cls(chunk, record["stamps"], skipped, sums, record["digest"], record["findings"])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return None


def _check(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:CHECK_DIGITS]


class Journal:
    """A journal that is open for new lines. A line that is added outlives the process.

    It outlives a power cut if it was there before the last call of `sync`.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            text = path.read_bytes()
            if text and not text.endswith(b"\n"):  # killed while it wrote a line
                write_bytes(path, text + b"\n")
        self._file = path.open("a", encoding="utf-8")

    def add(self, built: Built) -> None:
        self._file.write(built.line())
        self._file.flush()

    def sync(self) -> None:
        sync_data(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_journal(path: Path) -> list[Built]:
    """Read the chunks of one journal; none if the file does not exist."""
    if not path.exists():
        return []
    lines = path.read_text("utf-8", "replace").splitlines()
    return [built for built in map(Built.parse, lines) if built]


def read_journals(folder: Path) -> list[Built]:
    """Read the chunks of all journals of a folder, in row order, each row once."""
    found = [built for path in sorted(folder.glob(JOURNALS)) for built in read_journal(path)]
    kept: list[Built] = []
    for built in sorted(found, key=lambda built: built.chunk):
        last = kept[-1].chunk if kept else None
        if last is None or last.split != built.chunk.split or last.stop <= built.chunk.start:
            kept.append(built)
    return kept


def strike(path: Path, struck: Collection[Chunk]) -> None:
    """Remove chunks from a journal, before their rows are built again."""
    built = read_journal(path)
    kept = [one for one in built if one.chunk not in struck]
    if len(kept) < len(built):
        write_bytes(path, "".join(one.line() for one in kept).encode())


def images_built(path: Path) -> int:
    """Count the rows that the journals of all processes name."""
    return sum(len(built.chunk) for built in read_journals(path))


class BeingRead:
    """Which image each thread reads, on disk: known after the process was killed.

    A process that runs out of memory is killed without a word. The file is mapped into memory, so
    that a note costs no call of the system.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(8 * READING_SLOTS))  # disk space, without which a note would crash
        self._slots = np.memmap(path, "<u8", "r+")
        self._next, self._own = itertools.count(), threading.local()

    def note(self, number: int) -> None:
        """Note the number of a row, counted from 1 over all splits, or 0 for none."""
        if not hasattr(self._own, "slot"):
            self._own.slot = next(self._next) % READING_SLOTS
        self._slots[self._own.slot] = number

    def close(self) -> None:
        self.path.unlink(missing_ok=True)

    @staticmethod
    def left(path: Path) -> list[int]:
        """Read the numbers that a killed process has left."""
        data = path.read_bytes() if path.exists() else b""
        found = np.frombuffer(data[: len(data) // 8 * 8], "<u8")
        return sorted({int(number) for number in found if number})
