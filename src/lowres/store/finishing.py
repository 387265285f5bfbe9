"""The end of a build: rows become a store, measured, checksummed and signed by the manifest."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres.progress import Track
from lowres.store.content import content_hash
from lowres.store.manifest import Manifest, Skipped
from lowres.store.parts import Key
from lowres.store.staging import Staging
from lowres.store.store import KEYS, LABELS, SOURCE_MEAN, array_path
from lowres.variant import Variant
from lowres.work.files import sha256_of_file
from lowres.work.threads import in_threads


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
        mean: the mean image that the source came with, to be kept.
        workers: number of threads.
        track: shows progress.
    """
    finished = {split: staging.finish_split(split) for split in staging.rows}
    labels = {split: labels for split, (labels, _) in finished.items()}
    rows = {split: kept for split, (_, kept) in finished.items()}
    files = _finish_arrays(staging, rows, workers, track)
    for split in finished:
        for name in (LABELS, KEYS):
            files[f"{split}/{name}"] = sha256_of_file(staging.path / split / name)
    if mean is not None:
        np.save(staging.path / SOURCE_MEAN, mean)
        files[SOURCE_MEAN] = sha256_of_file(staging.path / SOURCE_MEAN)
    manifest = Manifest(
        source=plan["source"],
        options=plan["options"],
        classes=staging.index.classes,
        splits={split: len(kept) for split, kept in rows.items()},
        variants=tuple(map(str, staging.variants)),
        statistics={split: _statistics(staging, split, len(kept)) for split, kept in rows.items()},
        skipped=_skipped(staging),
        contents={str(v): _content(staging, v, labels, rows) for v in staging.variants},
        files=dict(sorted(files.items())),
        versions=plan["versions"],
    )
    staging.finish(manifest)
    return manifest


def _finish_arrays(
    staging: Staging, rows: Mapping[str, NDArray[np.int64]], workers: int, track: Track
) -> dict[str, str]:
    """Give every array its final name, and give the SHA-256 of each file."""
    arrays = list(staging.parts.arrays)

    def work(key: Key) -> str:
        return staging.finish_array(key, rows[key[0]])

    files = {}
    with track("checksums", len(arrays)) as display:
        for key, sha256 in in_threads(work, arrays, workers, threading.Event()):
            files[array_path(*key)] = sha256
            display.advance()
    return files


def _statistics(staging: Staging, split: str, images: int) -> dict[str, dict[str, list[float]]]:
    """Give mean and standard deviation of each channel over all pixels, in levels."""
    statistics = {}
    for variant, sums in zip(staging.variants, staging.sums(split).tolist(), strict=True):
        n = images * variant.size**2
        statistics[str(variant)] = {
            "mean": [total / n for total in sums[:3]],
            # In whole numbers up to the root.
            "std": [
                (n * square - total * total) ** 0.5 / n
                for total, square in zip(sums[:3], sums[3:], strict=True)
            ],
        }
    return statistics


def _skipped(staging: Staging) -> tuple[Skipped, ...]:
    return tuple(
        Skipped(split=split, key=staging.index.splits[split][row].key, reason=reason)
        for split, rows in staging.skipped().items()
        for row, reason in rows.items()
    )


def _content(
    staging: Staging,
    variant: Variant,
    labels: Mapping[str, NDArray[np.int64]],
    rows: Mapping[str, NDArray[np.int64]],
) -> str:
    digests = {}
    for split, kept in rows.items():
        count = staging.rows[split]
        whole = staging.parts.digests[split, variant].read_range(0, count)
        digests[split] = whole if len(kept) == count else whole[kept]
    splits = {split: (labels[split], digests[split]) for split in rows}
    return content_hash(variant.size, splits, staging.index.classes)
