"""Source to store: index, decode each entry once, resample to every variant, write the rows.

Row numbers are fixed by the sorted index before any work starts, so any number of workers writes
the same bytes. What is written, and how a build goes on after a kill, is in `staging.py`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import features

from lowres.errors import PictureError, SourceError, StoreError
from lowres.executors.local import available_cores
from lowres.formats import open_source
from lowres.formats.base import Index, Source, select_classes, split_by_hash
from lowres.manifest import FILE_NAME, Manifest, Skipped, sha256_of_file
from lowres.options import BuildOptions
from lowres.progress import Track, silent
from lowres.resample.decode import decode, quiet_decoder
from lowres.resample.passes import resample
from lowres.staging import Built, Chunk, Staging, channel_statistics, clean, locked, refuse_changes
from lowres.store import KEYS, LABELS, array_path, open_store

RULE = "pillow"
"""Name of the resampling arithmetic: `Image.resize` of Pillow 7 to 13, across first."""

OF_THE_PICTURE = (PictureError, FileNotFoundError, PermissionError, IsADirectoryError)
"""Errors that may be skipped; others (a failing disk, too many open files) may pass and are not."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def build(
    source: Path | str,
    store: Path | str,
    options: BuildOptions | None = None,
    *,
    on_error: Literal["stop", "skip"] = "stop",
    workers: int | None = None,
    track: Track = silent,
) -> Manifest:
    """Build a store of all variants, or go on with one that was interrupted.

    Args:
        source: a folder of labelled pictures.
        store: the folder to write; new, empty, or an interrupted build of the same.
        options: what to make; the default is box at 16, 32 and 64 pixels.
        on_error: at a picture that cannot be decoded, stop, or skip it and record it.
        workers: number of threads, all cores by default; never changes the bytes.
        track: shows progress.

    Returns:
        The manifest of the finished store.

    Raises:
        SourceError: the source cannot be read, or a picture cannot and `on_error` is `stop`.
        StoreError: the store's folder cannot take this build, or `workers` is below 1.
    """
    if workers is not None and workers < 1:
        raise StoreError(f"--workers must be at least 1, was {workers}")
    options = options or BuildOptions()
    variants = sorted(options.variants())
    path, store = Path(source), Path(store)
    if store.resolve().is_relative_to(path.resolve()):
        raise StoreError(f"store {store} must not lie inside the source {path}: choose another")
    opened = open_source(path)
    index = _narrowed(opened.index(), options)
    plan = _plan(path, opened, index, options)
    workers = workers or available_cores()
    with locked(store), quiet_decoder():
        if (store / FILE_NAME).exists():
            return _already_built(store, plan)
        staging = Staging(store, plan, index, variants)
        _build_rows(opened, staging, options, on_error, workers, track)
        return _finish(staging, plan, workers, track)


def _narrowed(index: Index, options: BuildOptions) -> Index:
    if options.classes:
        index = select_classes(index, options.classes)
    if options.val_fraction is not None:
        index = split_by_hash(index, options.val_fraction)
    return index


def _plan(path: Path, source: Source, index: Index, options: BuildOptions) -> dict[str, Any]:
    """Describe the build in JSON values, without anything that differs between two machines."""
    return {
        "source": {
            "kind": source.kind,
            "layout": index.layout,
            "name": path.resolve().name.encode("utf-8", "replace").decode(),
            "pictures": {split: len(entries) for split, entries in index.splits.items()},
            "index_sha256": index.digest(),
            "notes": list(index.notes),
        },
        "options": options.to_record(),
        "resampling": {"rule": RULE},
        "versions": {
            "lowres": version("lowres"),
            "pillow": version("pillow"),
            "libjpeg-turbo": features.version_feature("libjpeg_turbo") or "none",
            "numpy": version("numpy"),
        },
    }


def _already_built(store: Path, plan: dict[str, Any]) -> Manifest:
    """Give the manifest of a finished store if this build would make the same."""
    manifest = open_store(store).manifest
    then = {
        "source": manifest.source,
        "options": manifest.options,
        "resampling": {"rule": manifest.rule},
    }
    refuse_changes(store, then, {part: plan[part] for part in then}, "is finished and was built")
    clean(store)
    return manifest


def _build_rows(
    source: Source,
    staging: Staging,
    options: BuildOptions,
    on_error: str,
    workers: int,
    track: Track,
) -> None:
    """Build every chunk that is not built yet."""
    stopping = threading.Event()

    def work(chunk: Chunk) -> None:
        _build_chunk(source, staging, chunk, options.exif_rotate, on_error == "skip", stopping)

    chunks = staging.chunks()
    todo = [chunk for chunk in chunks if not _is_built(source, staging, chunk, on_error)]
    total = sum(chunk.stop - chunk.start for chunk in chunks)
    left = sum(chunk.stop - chunk.start for chunk in todo)
    with track("build", total, done=total - left) as display:
        for chunk, _ in in_threads(work, todo, workers, stopping):
            display.advance(chunk.stop - chunk.start)


def _is_built(source: Source, staging: Staging, chunk: Chunk, on_error: str) -> bool:
    built = staging.built.get(chunk)
    if built is None or (built.skipped and on_error == "stop"):
        return False
    return built.stamp == _stamp(source, staging, chunk)


def _stamp(source: Source, staging: Staging, chunk: Chunk) -> str:
    entries = staging.index.splits[chunk.split][chunk.start : chunk.stop]
    joined = "\n".join(source.stamp(entry) for entry in entries)
    return hashlib.sha256(joined.encode()).hexdigest()


def _build_chunk(
    source: Source,
    staging: Staging,
    chunk: Chunk,
    exif_rotate: bool,
    skip: bool,
    stopping: threading.Event,
) -> None:
    """Decode and resample the entries of a chunk and write its rows."""
    stamp = _stamp(source, staging, chunk)
    rows = chunk.stop - chunk.start
    blocks = {v: np.zeros((rows, v.size, v.size, 3), np.uint8) for v in staging.variants}
    skipped = {}
    for row in range(chunk.start, chunk.stop):
        if stopping.is_set():
            return
        entry = staging.index.splits[chunk.split][row]
        try:
            picture = decode(source.read(entry), exif_rotate=exif_rotate)
        except (PictureError, OSError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            if not (skip and isinstance(error, OF_THE_PICTURE)):
                raise SourceError(
                    f"{source.describe(entry)} cannot be read: {reason}. Mend or remove it and "
                    "run the same command again, or leave such pictures out: --on-error skip"
                ) from error
            skipped[row] = reason
            continue
        for variant, small in zip(
            staging.variants, resample(picture, staging.variants), strict=True
        ):
            blocks[variant][row - chunk.start] = small
    staging.write(Built(chunk, stamp, skipped), blocks)


def _finish(staging: Staging, plan: dict[str, Any], workers: int, track: Track) -> Manifest:
    """Turn the rows into a store."""
    entries = {split: staging.finish_split(split) for split in staging.index.splits}
    # Not in the threads: opening an array parses its header, and CPython 3.11 fails now and then
    # when two threads parse at once ("AST constructor recursion depth mismatch").
    arrays = [
        (array_path(split, variant), staging.finish_array(split, variant))
        for split in entries
        for variant in staging.variants
    ]
    measured, files = {}, {}

    def work(array: tuple[str, NDArray[np.uint8]]) -> tuple[str, dict[str, list[float]]]:
        return sha256_of_file(staging.path / array[0]), channel_statistics(array[1])

    with track("checksums", len(arrays)) as display:
        for (name, _), results in in_threads(work, arrays, workers, threading.Event()):
            files[name], measured[name] = results
            display.advance()
    for split in entries:
        for name in (LABELS, KEYS):
            files[f"{split}/{name}"] = sha256_of_file(staging.path / split / name)
    skipped = tuple(
        Skipped(split=split, key=staging.index.splits[split][row].key, reason=reason)
        for split, rows in staging.skipped().items()
        for row, reason in rows.items()
    )
    manifest = Manifest(
        source=plan["source"],
        options=plan["options"],
        rule=RULE,
        classes=staging.index.classes,
        splits={split: len(kept) for split, kept in entries.items()},
        variants=tuple(map(str, staging.variants)),
        statistics={
            split: {str(v): measured[array_path(split, v)] for v in staging.variants}
            for split in entries
        },
        skipped=skipped,
        files=dict(sorted(files.items())),
        versions=plan["versions"],
    )
    staging.finish(manifest)
    return manifest


def in_threads(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    stopping: threading.Event,
) -> Iterator[tuple[Item, Result]]:
    """Do `work` on items in threads, few at a time, and give each as it is done.

    At the first error or an interrupt, nothing more begins and `stopping` is set, which work that
    is under way may heed.
    """
    waiting = iter(items)
    running: dict[Future[Result], Item] = {}
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in islice(waiting, 2 * workers):
                running[pool.submit(work, item)] = item
            while running:
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    item = running.pop(done)
                    yield item, done.result()
                    for following in islice(waiting, 1):
                        running[pool.submit(work, following)] = following
        finally:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
