"""Source to store: index, decode each entry once, resample to every variant, write the rows.

Row numbers are fixed by the sorted index before any work starts, so any number of workers writes
the same bytes. What is written, and how a build goes on after a kill, is in `staging.py`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import features

from lowres.errors import PictureError, SourceError, StoreError
from lowres.executors.local import available_cores
from lowres.executors.threads import in_threads
from lowres.finishing import finish
from lowres.formats import open_source
from lowres.formats.base import Index, Source
from lowres.formats.select import select_classes, split_by_hash
from lowres.labels import expanded
from lowres.manifest import FILE_NAME, Manifest
from lowres.options import BuildOptions
from lowres.progress import Track, silent
from lowres.resample.decode import decode_for, quiet_decoder
from lowres.resample.passes import resample
from lowres.staging import Built, Chunk, Staging, clean, locked, refuse_changes
from lowres.store import open_store
from lowres.variant import Rule, Variant

OF_THE_PICTURE = (PictureError, FileNotFoundError, PermissionError, IsADirectoryError)
"""Errors that may be skipped; others (a failing disk, too many open files) may pass and are not."""


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
    options.variants()  # refused before anything is read
    path, store = Path(source), Path(store)
    if store.resolve().is_relative_to(path.resolve()):
        raise StoreError(f"store {store} must not lie inside the source {path}: choose another")
    opened = open_source(path)
    index = opened.index()
    options = replace(options, classes=expanded(options.classes, index.classes))
    index = _narrowed(index, options)
    variants = _variants(path, index, options)
    plan = _plan(path, opened, index, options, variants)
    workers = 1 if opened.in_order else workers or available_cores()
    with locked(store), quiet_decoder():
        if (store / FILE_NAME).exists():
            return _already_built(store, plan)
        staging = Staging(store, plan, index, variants)
        _build_rows(opened, staging, options, on_error, workers, track)
        return finish(staging, plan, opened.mean(), workers, track)


def _narrowed(index: Index, options: BuildOptions) -> Index:
    if options.classes:
        index = select_classes(index, options.classes)
    if options.val_fraction is not None:
        index = split_by_hash(index, options.val_fraction)
    return index


def _variants(path: Path, index: Index, options: BuildOptions) -> list[Variant]:
    variants = sorted(options.variants(index.native_px))
    others = {variant.size for variant in variants} - {index.native_px}
    if index.is_variant and others:
        raise StoreError(
            f"{path} holds finished pictures of {index.native_px} px, which are not resampled "
            f"again: leave --size out; for {min(others)} px, take the released batches of that "
            "size, or build from the full pictures"
        )
    return variants


def _plan(
    path: Path, source: Source, index: Index, options: BuildOptions, variants: Sequence[Variant]
) -> dict[str, Any]:
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
        "options": {
            "variants": list(map(str, variants)),
            **options.to_record(),
            "classes": sorted(options.classes),
        },
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
    then = {"source": manifest.source, "options": manifest.options}
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
    as_is = {variant.size for variant in staging.variants} == {staging.index.native_px}
    for row in range(chunk.start, chunk.stop):
        if stopping.is_set():
            return
        entry = staging.index.splits[chunk.split][row]
        try:
            pictures = _pictures(source.read(entry), staging.variants, exif_rotate)
            if as_is:
                _check_size(next(iter(pictures.values())), staging.index.native_px)
        except (PictureError, OSError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            if not (skip and isinstance(error, OF_THE_PICTURE)):
                raise SourceError(
                    f"{source.describe(entry)} cannot be read: {reason}. Mend or remove it and "
                    "run the same command again, or leave such pictures out: --on-error skip"
                ) from error
            skipped[row] = reason
            continue
        for rule, picture in pictures.items():
            variants = [variant for variant in staging.variants if variant.rule == rule]
            for variant, small in zip(variants, resample(picture, variants), strict=True):
                blocks[variant][row - chunk.start] = small
    staging.write(Built(chunk, stamp, skipped), blocks)


def _check_size(picture: NDArray[np.uint8], native_px: int | None) -> None:
    """Refuse a picture of another size in a set that is taken at its own size."""
    if picture.shape[:2] != (native_px, native_px):
        raise PictureError(
            f"it has {picture.shape[1]} x {picture.shape[0]} pixels, and the set {native_px} x "
            f"{native_px}"
        )


def _pictures(
    read: bytes | NDArray[np.uint8], variants: Sequence[Variant], exif_rotate: bool
) -> dict[Rule, NDArray[np.uint8]]:
    """Decode what was read, if it is not pixels yet, for each rule."""
    rules = dict.fromkeys(variant.rule for variant in variants)
    if isinstance(read, bytes):
        return decode_for(read, rules, exif_rotate=exif_rotate)
    return dict.fromkeys(rules, read)
