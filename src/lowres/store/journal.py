"""The journal of a build: one JSON line for each chunk of rows that is written.

Every process that writes rows has a journal of its own, so that processes on several machines
never write to one file. A line bears its own checksum: one cut short or damaged does not count.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres.work.files import write_bytes

PATTERN = "build*.journal"
MAIN = "build.journal"
CHECK_DIGITS = 8


@dataclass(frozen=True, slots=True, order=True)
class Chunk:
    """Adjacent rows of one split, from `start` up to `stop`, which are built together."""

    split: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Built:
    """A chunk whose rows are written.

    Attributes:
        chunk: the rows.
        stamps: a short hash of the source's stamp of each entry when it was read, joined.
        skipped: reason for each row that could not be decoded.
        sums: int64, for each variant the sums of the levels of red, green and blue, then of their
            squares.
    """

    chunk: Chunk
    stamps: str
    skipped: dict[int, str]
    sums: array[int]

    def line(self) -> str:
        """Give the line of a journal."""
        record = {
            "split": self.chunk.split,
            "start": self.chunk.start,
            "stop": self.chunk.stop,
            "stamps": self.stamps,
            "skipped": self.skipped,
            "sums": self.sums.tolist(),
        }
        return f"{json.dumps({**record, 'check': _check(record)})}\n"

    @classmethod
    def parse(cls, line: str) -> Built | None:
        """Read a line, or nothing where it is damaged."""
        try:
            record = json.loads(line)
            whole = record.pop("check") == _check(record)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        if not whole:
            return None
        chunk = Chunk(record["split"], record["start"], record["stop"])
        skipped = {int(row): reason for row, reason in record["skipped"].items()}
        return cls(chunk, record["stamps"], skipped, array("q", record["sums"]))


def _check(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()[:CHECK_DIGITS]


class Journal:
    """A journal that is added to."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            text = path.read_bytes()
            if text and not text.endswith(b"\n"):  # killed while it wrote a line
                write_bytes(path, text + b"\n")
        self._file = path.open("a", encoding="utf-8")

    def add(self, built: Built) -> None:
        """Write a line, which outlives the process."""
        self._file.write(built.line())
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_journals(folder: Path) -> list[Built]:
    """Give the chunks in all journals of a folder, in row order, each row once."""
    whole = [built for path in sorted(folder.glob(PATTERN)) for built in read_journal(path)]
    kept: list[Built] = []
    for built in sorted(whole, key=lambda built: built.chunk):
        before = kept[-1].chunk if kept else built.chunk
        begins = before.stop if kept and before.split == built.chunk.split else 0
        if built.chunk.start >= begins:
            kept.append(built)
    return kept


def read_journal(path: Path) -> list[Built]:
    """Give the chunks in one journal, if there is one."""
    if not path.exists():
        return []
    lines = path.read_text("utf-8", "replace").splitlines()
    return [built for built in map(Built.parse, lines) if built]


def strike(path: Path, struck: Collection[Chunk]) -> None:
    """Remove chunks from a journal, before their rows are built again."""
    built = read_journal(path)
    kept = [one for one in built if one.chunk not in struck]
    if len(kept) < len(built):
        write_bytes(path, "".join(one.line() for one in kept).encode())
