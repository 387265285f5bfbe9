"""SHA-256 of files that are still being written: from their front on, as far as rows are there.

So the checksum of an array of many gigabytes is known as soon as its last row is written, from
rows that still lie in the page cache.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping

from lowres.store.journal import Chunk
from lowres.store.parts import Key
from lowres.store.rows import RowFile

STEP_BYTES = 1 << 20
"""Less than that is not worth a turn, while rows are written."""

TURN_BYTES = 1 << 23
"""At most so much in one turn, so that a build that goes on does not stall for what is there."""


class RunningChecksums:
    """The checksums of arrays that are being written in any order.

    Safe to use from several threads.

    Attributes:
        elsewhere: other machines write the rows, so arrays are opened anew before they are read.
    """

    def __init__(self, arrays: Mapping[Key, RowFile]) -> None:
        self.elsewhere = False
        self._arrays = dict(arrays)
        self._hashes = {key: hashlib.sha256(rows.header) for key, rows in arrays.items()}
        self._hashed = dict.fromkeys(arrays, 0)
        self._front = {split: 0 for split, _ in arrays}
        self._ahead: dict[str, dict[int, int]] = {split: {} for split, _ in arrays}
        self._noting, self._turn = threading.Lock(), threading.Lock()

    def note(self, chunks: Iterable[Chunk]) -> None:
        """Take note of rows that are written."""
        with self._noting:
            for chunk in chunks:
                ahead, front = self._ahead[chunk.split], self._front[chunk.split]
                ahead[chunk.start] = chunk.stop
                while front in ahead:
                    front = ahead.pop(front)
                self._front[chunk.split] = front

    def follow(self) -> None:
        """Hash some of what is written, unless another thread is at it."""
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
        """Hash the rest of an array, all of whose rows are written, and give its SHA-256."""
        self._hash(key, len(self._arrays[key]))
        return self._hashes[key].hexdigest()

    def _hash(self, key: Key, stop: int) -> None:
        rows = self._arrays[key]
        if self.elsewhere:
            rows.reopen()
        for start in range(self._hashed[key], stop, rows.block_rows):
            block = rows.read_range(start, min(start + rows.block_rows, stop))
            self._hashes[key].update(block.data)
        self._hashed[key] = stop
