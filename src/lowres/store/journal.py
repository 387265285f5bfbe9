"""The journal of a build: one JSON line for each chunk of rows that is written.

Every process that writes rows has its own journal, so that two machines never write to one file.
A line contains its own checksum: a line that is cut short or damaged does not count.
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
        stamps: a short hash of each entry's stamp at the time it was read, joined.
        skipped: the reason for each row whose image cannot be decoded.
        sums: int64; for each variant the sums of the levels of red, green and blue, then the sums
            of their squares.
    """

    chunk: Chunk
    stamps: str
    skipped: dict[int, str]
    sums: array[int]

    def line(self) -> str:
        """Return the line of a journal."""
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
        """Read a line; return None if it is damaged."""
        try:
            record = json.loads(line)
            if record.pop("check") != _check(record):
                return None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        chunk = Chunk(record["split"], record["start"], record["stop"])
        skipped = {int(row): reason for row, reason in record["skipped"].items()}
        return cls(chunk, record["stamps"], skipped, array("q", record["sums"]))


def _check(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()[:CHECK_DIGITS]


class Journal:
    """A journal that is open for new lines. A line that is added outlives the process."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            text = path.read_bytes()
            if text and not text.endswith(b"\n"):  # killed while it wrote a line
                write_bytes(path, text + b"\n")
        self._file = path.open("a", encoding="utf-8")

    def add(self, built: Built) -> None:
        self._file.write(built.line())
        self._file.flush()

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
    found = [built for path in sorted(folder.glob(PATTERN)) for built in read_journal(path)]
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
