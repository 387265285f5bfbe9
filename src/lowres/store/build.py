"""Source to store: index, decode each entry once, resample to every variant, write the rows.

The sorted index fixes row numbers before any work starts, so any number of workers, on any number
of machines, writes the same bytes. `staging.py` says how a build resumes after it was killed.
"""

from __future__ import annotations

import errno
import hashlib
import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres.errors import StoreError, require
from lowres.jit import before_compiling
from lowres.progress import Track, silent
from lowres.resampling.decode import TOO_LARGE, quiet_decoder
from lowres.store.arrays import Key, part_path
from lowres.store.cluster import build_on_ray
from lowres.store.findings import equal_images
from lowres.store.journal import Built, images_built
from lowres.store.manifest import (
    FILE_NAME,
    KEYS,
    LABELS,
    SOURCE_MEAN,
    Levels,
    Manifest,
    Skipped,
    array_path,
)
from lowres.store.options import BuildOptions, Working
from lowres.store.prepare import Prepared, prepare
from lowres.store.render import STAMP_DIGITS, Rendering, stamps_of
from lowres.store.rows import RowFile, content_hash
from lowres.store.staging import (
    BUILDING,
    IF_MEMORY,
    PLAN,
    SHOWN,
    Shard,
    Staging,
    clean,
    work_directory,
)
from lowres.store.store import Store
from lowres.work.directory import differences
from lowres.work.files import sha256_of_file, sync, write_bytes
from lowres.work.threads import in_threads


def build(
    source: Path | str,
    store: Path | str,
    options: BuildOptions | None = None,
    *,
    working: Working | None = None,
    track: Track = silent,
) -> Manifest:
    """Build a store of all variants, or resume a build that was interrupted.

    Args:
        source: labelled images in any format of docs/formats.md.
        store: the folder to write: new, empty, or an interrupted build of the same.
        options: what to make; default: box at 16, 32 and 64 pixels.
        working: number of threads, a Ray cluster, and what to do at errors; never changes the
            bytes.
        track: shows progress.

    Returns:
        The manifest of the finished store.

    Raises:
        SourceError: the source cannot be read, or an image cannot and is not skipped.
        StoreError: the store's folder cannot take this build, or the source changed.
    """
    store, working = Path(store), working or Working()
    if working.executor == "ray":
        require("ray", "ray")  # before anything is written
    prepared = prepare(Path(source), store, options, skip=working.on_error == "skip")
    return build_prepared(store, prepared, working, track)


def build_prepared(store: Path, prepared: Prepared, working: Working, track: Track) -> Manifest:
    """Build a store of what was prepared, or resume that; as `build`."""
    with _at_work(working), work_directory(store).lock(BUILDING):
        if (store / FILE_NAME).exists():
            return _already_built(store, prepared)
        with closing(_staged(store, prepared, working, track)) as staging:
            if working.executor == "threads":
                _build_rows(staging, working, track)
                return _finish(staging, working.threads, track)
    build_on_ray(store, prepared, working, track, staging.killed)
    return _finish_shards(store, prepared, working, track)


def build_shard(
    source: Path | str,
    store: Path | str,
    options: BuildOptions | None = None,
    *,
    shard: Shard,
    working: Working | None = None,
    track: Track = silent,
) -> int:
    """Build one part of a store, while other processes or machines build the others.

    Source and store lie on a file system that all of them share, and the options are the same for
    every shard. When all parts are built, `finish_shards` makes the store of them.

    Returns:
        How many images of the whole store are not built yet, as far as the journals show.

    Raises:
        SourceError: as `build`.
        StoreError: as `build`; or another process builds this part.
    """
    store, working = Path(store), working or Working()
    prepared = prepare(Path(source), store, options, skip=working.on_error == "skip")
    with _at_work(working), work_directory(store).lock(BUILDING, part=shard.name):
        if (store / FILE_NAME).exists():
            _already_built(store, prepared)
            return 0
        with closing(_staged(store, prepared, working, track, shard)) as staging:
            _build_rows(staging, working, track)
        return prepared.images - images_built(store)


def finish_shards(
    source: Path | str,
    store: Path | str,
    options: BuildOptions | None = None,
    *,
    working: Working | None = None,
    track: Track = silent,
) -> Manifest:
    """Make a store of the parts that `build_shard` has built, without decoding anything.

    `working` must have `on_error="skip"` if the shards were built with it.

    Raises:
        StoreError: parts are missing, or another process is building.
        SourceError: the source cannot be read.
    """
    store, working = Path(store), working or Working()
    prepared = prepare(Path(source), store, options, skip=working.on_error == "skip")
    if not (store / FILE_NAME).exists() and not (store / PLAN).exists():
        raise StoreError(f"{store} is not an unfinished store: build its shards first")
    return _finish_shards(store, prepared, working, track)


@contextmanager
def _at_work(working: Working) -> Iterator[None]:
    """Silence the decoder; if the disk is full, say that nothing is lost."""
    try:
        with quiet_decoder(working.pixel_limit):
            yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StoreError(
            f"no space is left to write ({error}): free some space and run the same command "
            "again, which resumes the build"
        ) from error


def _already_built(store: Path, prepared: Prepared) -> Manifest:
    """Return the manifest of a finished store, if this build would make the same."""
    manifest = Manifest.read(store)
    then = {"source": manifest.source, "options": manifest.options}
    now = {part: prepared.plan[part] for part in then}
    work = work_directory(store)
    work.refuse(differences(then, now, work.ignored), "is finished and was built")
    if damage := list(Store(store).misshapen()):
        raise StoreError(
            f"{store} is finished, but damaged: {'; '.join(damage[:SHOWN])}. To build it again, "
            f"remove the folder {store} and run the same command"
        )
    clean(store)
    return manifest


def _staged(
    store: Path,
    prepared: Prepared,
    working: Working,
    track: Track,
    shard: Shard | None = None,
    *,
    retries: bool = True,
) -> Staging:
    """Begin or resume, and drop what must be built again.

    These are the rows of errors if it `retries` them, of images that have changed, and of chunks
    that a power cut or a failing disk has damaged.
    """
    staging = Staging(store, prepared, shard)
    if retries:
        staging.drop([built.chunk for built in staging.own() if _tried_again(built, working)])
    changed, names = [], []
    for built in staging.own():
        entries = staging.entries(built.chunk)
        now = stamps_of(prepared.source, entries)
        if now == built.stamps:
            continue
        changed.append(built.chunk)
        for row, entry in enumerate(entries):
            digits = slice(row * STAMP_DIGITS, (row + 1) * STAMP_DIGITS)
            taken = built.chunk.start + row not in built.skipped
            if now[digits] != built.stamps[digits] and taken:
                names.append(prepared.source.describe(entry))
    if names and working.on_change == "stop":
        raise StoreError(
            f"{len(names):,} images changed after the build of {store} had read them, {names[0]} "
            "first: restore them; or build their rows again with --on-change rebuild; or remove "
            f"{store} and build again"
        )
    staging.drop(changed)
    own = staging.own()
    if own:
        lost = []
        with track("check rows", sum(len(built.chunk) for built in own)) as display:
            stopping = threading.Event()
            for built, whole in in_threads(staging.proves, own, working.threads, stopping):
                display.advance(len(built.chunk))
                lost += [] if whole else [built.chunk]
            if lost:
                count = sum(map(len, lost))
                display.say(
                    f"{count:,} rows had not reached the disk whole: lowres builds them again"
                )
        staging.drop(lost)
    staging.checksums.note(built.chunk for built in staging.built)
    return staging


def _tried_again(built: Built, working: Working) -> bool:
    """Return whether the skipped rows of a chunk may have images this time."""
    if working.on_error == "stop":
        return bool(built.skipped)
    limit = working.max_pixels if working.pixel_limit is None else f"{working.pixel_limit:,}"
    same = f"{TOO_LARGE} {limit}"
    return any(TOO_LARGE in why and not why.endswith(same) for why in built.skipped.values())


def _build_rows(staging: Staging, working: Working, track: Track) -> None:
    """Build every chunk that is not built yet, in threads."""
    threads = 1 if staging.prepared.source.in_order else working.threads
    left = sum(map(len, staging.todo()))
    done = sum(len(built.chunk) for built in staging.built)
    rendering = Rendering(staging, skip=working.on_error == "skip")
    try:
        with track("build", left + done, done=done) as display:
            if staging.killed:
                display.say(f"{staging.killed}. {IF_MEMORY}")
            if left:
                note = "compiling the resampler, once: a few seconds"
                with before_compiling(partial(display.say, note)):
                    rendering.warm_up()
                display.restart()
            with staging.syncing():
                chunks = rendering.chunks(threads)
                for chunk, _ in in_threads(rendering.build, chunks, threads, rendering.stopping):
                    display.advance(len(chunk))
    finally:
        staging.end_journal()


def _finish_shards(store: Path, prepared: Prepared, working: Working, track: Track) -> Manifest:
    with _at_work(working), work_directory(store).lock(BUILDING):
        if (store / FILE_NAME).exists():
            return _already_built(store, prepared)
        with closing(_staged(store, prepared, working, track, retries=False)) as staging:
            skipped = sum(len(built.skipped) for built in staging.built)
            if skipped and working.on_error == "stop":
                raise StoreError(
                    f"{skipped:,} images of {store} were skipped by shards with --on-error skip: "
                    "add it to --finish, too, or run the shards again without it"
                )
            if left := sum(map(len, staging.todo())):
                killed = staging.killed and f" ({staging.killed})"
                raise StoreError(
                    f"{store} is not built yet: {left:,} of {prepared.images:,} images are "
                    f"missing{killed}. Run the shards that failed again; or run the same command "
                    "without --finish, which builds the rest here"
                )
            return _finish(staging, working.threads, track)


def _finish(staging: Staging, threads: int, track: Track) -> Manifest:
    """Turn the rows into a store: measured, checksummed, on disk, and last the manifest."""
    path, prepared, files = staging.path, staging.prepared, {}
    labels: dict[str, NDArray[np.int64]] = {}
    kept: dict[str, NDArray[np.int64]] = {}
    skipped = staging.skipped()
    for split, entries in staging.index.splits.items():
        rows = kept[split] = np.delete(np.arange(len(entries)), list(skipped[split]))
        if not len(rows):
            raise StoreError(f"no image of {split} can be decoded; {path} stays unfinished")
        labels[split] = np.fromiter((entries[row].label for row in rows), np.int64, len(rows))
    arrays = list(staging.images)
    finish_array = partial(_finish_array, staging, kept)
    with track("checksums", len(arrays)) as display:
        for key, sha256 in in_threads(finish_array, arrays, threads, threading.Event()):
            files[array_path(*key)] = sha256
            display.advance()
    for split, entries in staging.index.splits.items():
        files[f"{split}/{LABELS}"] = _write(path / split / LABELS, labels[split])
        keys = b"".join(f"{entries[row].key}\n".encode() for row in kept[split])
        files[f"{split}/{KEYS}"] = _write(path / split / KEYS, keys)
    if (mean := prepared.source.mean()) is not None:
        files[SOURCE_MEAN] = _write(path / SOURCE_MEAN, mean)
    largest = max(staging.variants)
    digests = {split: _digests(staging, (split, largest), rows) for split, rows in kept.items()}
    equal = equal_images(digests, labels)
    manifest = Manifest(
        source=prepared.plan["source"],
        options=prepared.plan["options"],
        classes=staging.index.classes,
        splits={split: len(rows) for split, rows in kept.items()},
        variants=tuple(map(str, staging.variants)),
        statistics={split: _statistics(staging, split, len(rows)) for split, rows in kept.items()},
        skipped=tuple(
            Skipped(split=split, key=staging.index.splits[split][row].key, reason=reason)
            for split, rows in skipped.items()
            for row, reason in rows.items()
        ),
        contents=_contents(staging, labels, kept),
        files=dict(sorted(files.items())),
        versions=prepared.plan["versions"],
        findings={**staging.findings(), **equal},
    )
    for folder in (*(path / split for split in kept), path):
        sync(folder)
    with suppress(PermissionError):  # the right to read what contains the store is not needed
        sync(path.absolute().parent)
    manifest.write(path)
    clean(path)
    return manifest


def _write(path: Path, data: bytes | NDArray[Any]) -> str:
    """Write a file to the disk and return its SHA-256."""
    if not isinstance(data, bytes):
        file = io.BytesIO()
        np.save(file, data)
        data = file.getvalue()
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def _finish_array(staging: Staging, kept: Mapping[str, NDArray[np.int64]], key: Key) -> str:
    """Write an array to the disk under its final name, without skipped rows; return its SHA-256."""
    rows, part, taken = staging.images[key], part_path(staging.path, key), kept[key[0]]
    final = staging.path / array_path(*key)
    if len(taken) == len(rows):
        sha256 = staging.checksums.complete(key)
        sync(part)
        part.replace(final)
        return sha256
    temporary = final.with_name(f"{final.name}.tmp")
    temporary.unlink(missing_ok=True)
    with closing(RowFile.create(temporary, (len(taken), *rows.shape[1:]))) as compact:
        for start in range(0, len(taken), rows.block_rows):
            compact.write(start, rows.read(taken[start : start + rows.block_rows]))
    sync(temporary)
    sha256 = sha256_of_file(temporary)
    temporary.replace(final)
    return sha256


def _statistics(staging: Staging, split: str, images: int) -> dict[str, Levels]:
    """Compute mean and standard deviation of each channel over all pixels, in levels."""
    statistics: dict[str, Levels] = {}
    chunks = [built.sums for built in staging.built if built.chunk.split == split]
    total = np.array(chunks, np.int64).sum(axis=0).reshape(len(staging.variants), 6)
    for variant, sums in zip(staging.variants, total.tolist(), strict=True):
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


def _contents(
    staging: Staging, labels: Mapping[str, NDArray[np.int64]], kept: Mapping[str, NDArray[np.int64]]
) -> dict[str, str]:
    """Compute the content hash of each variant."""
    contents = {}
    for variant in staging.variants:
        splits = {}
        for split, rows in kept.items():
            splits[split] = labels[split], _digests(staging, (split, variant), rows)
        contents[str(variant)] = content_hash(variant.size, splits, staging.index.classes)
    return contents


def _digests(staging: Staging, key: Key, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Read the SHA-256 of some images: (len(rows), 32) uint8."""
    return staging.digests[key].read_range(0, staging.rows[key[0]])[rows]
