"""The end of a build: rows become a store, measured, checksummed and signed by the manifest."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from lowres.content import content_hash, picture_digests
from lowres.executors.threads import in_threads
from lowres.formats.base import Entry
from lowres.manifest import Manifest, Skipped, sha256_of_file
from lowres.progress import Track
from lowres.rows import RowFile
from lowres.staging import Staging
from lowres.store import KEYS, LABELS, SOURCE_MEAN, array_path
from lowres.variant import Variant


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What is known of one finished array: of its file, its levels, and each of its pictures."""

    sha256: str
    statistics: dict[str, list[float]]
    digests: NDArray[np.uint8]


def finish(
    staging: Staging,
    plan: Mapping[str, Any],
    mean: NDArray[np.float64] | None,
    workers: int,
    track: Track,
) -> Manifest:
    """Turn the rows into a store and give its manifest.

    Args:
        staging: the rows, all built.
        plan: what was built.
        mean: the mean picture that the source came with, to be kept.
        workers: number of threads.
        track: shows progress.
    """
    entries = {split: staging.finish_split(split) for split in staging.index.splits}
    measured = _measure(staging, workers, track)
    files = {array_path(split, variant): m.sha256 for (split, variant), m in measured.items()}
    for split in entries:
        for name in (LABELS, KEYS):
            files[f"{split}/{name}"] = sha256_of_file(staging.path / split / name)
    if mean is not None:
        np.save(staging.path / SOURCE_MEAN, mean)
        files[SOURCE_MEAN] = sha256_of_file(staging.path / SOURCE_MEAN)
    manifest = Manifest(
        source=plan["source"],
        options=plan["options"],
        classes=staging.index.classes,
        splits={split: len(kept) for split, kept in entries.items()},
        variants=tuple(map(str, staging.variants)),
        statistics={
            split: {str(v): measured[split, v].statistics for v in staging.variants}
            for split in entries
        },
        skipped=_skipped(staging),
        contents={str(v): _content(staging, v, entries, measured) for v in staging.variants},
        files=dict(sorted(files.items())),
        versions=plan["versions"],
    )
    staging.finish(manifest)
    return manifest


def _measure(staging: Staging, workers: int, track: Track) -> dict[tuple[str, Variant], Measured]:
    # Not in the threads: opening an array parses its header, and CPython 3.11 fails now and then
    # when two threads parse at once ("AST constructor recursion depth mismatch").
    arrays = {
        (split, variant): staging.finish_array(split, variant)
        for split in staging.index.splits
        for variant in staging.variants
    }

    def work(array: tuple[str, Variant]) -> Measured:
        return _measured(arrays[array], staging.path / array_path(*array))

    measured = {}
    with track("checksums", len(arrays)) as display:
        for array, results in in_threads(work, list(arrays), workers, threading.Event()):
            measured[array] = results
            display.advance()
    return measured


def _measured(rows: RowFile, path: Path) -> Measured:
    digests, sums = [], ChannelSums()
    for block in rows.blocks():
        digests.append(picture_digests(block))
        sums.add(block)
    rows.close()
    return Measured(sha256_of_file(path), sums.statistics(), np.concatenate(digests))


class ChannelSums:
    """Sums of the levels of each channel, in whole numbers, so that their order is no matter."""

    def __init__(self) -> None:
        self._pixels = 0
        self._sums, self._squares = np.zeros(3, np.int64), np.zeros(3, np.int64)

    def add(self, images: NDArray[np.uint8]) -> None:
        """Add pictures, (N, H, W, 3) uint8 in C order."""
        _add(images.reshape(-1, 3), self._sums, self._squares)
        self._pixels += images.size // 3

    def statistics(self) -> dict[str, list[float]]:
        """Give mean and standard deviation of each channel over all pixels, in levels."""
        n = self._pixels
        sums = list(zip(map(int, self._sums), map(int, self._squares), strict=True))
        return {
            "mean": [total / n for total, _ in sums],
            # In whole numbers up to the root.
            "std": [(n * square - total * total) ** 0.5 / n for total, square in sums],
        }


@numba.njit(cache=True, nogil=True)
def _add(pixels, sums, squares):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  compiled
    for pixel in pixels:
        for channel in range(3):
            level = np.int64(pixel[channel])
            sums[channel] += level
            squares[channel] += level * level


def _skipped(staging: Staging) -> tuple[Skipped, ...]:
    return tuple(
        Skipped(split=split, key=staging.index.splits[split][row].key, reason=reason)
        for split, rows in staging.skipped().items()
        for row, reason in rows.items()
    )


def _content(
    staging: Staging,
    variant: Variant,
    entries: Mapping[str, Sequence[Entry]],
    measured: Mapping[tuple[str, Variant], Measured],
) -> str:
    splits = {
        split: (np.array([e.label for e in kept], np.int64), measured[split, variant].digests)
        for split, kept in entries.items()
    }
    return content_hash(variant.size, splits, staging.index.classes)
