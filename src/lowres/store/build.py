"""Source to store: index, decode each entry once, resample to every variant, write the rows.

Row numbers are fixed by the sorted index before any work starts, so any number of workers, on any
number of machines, writes the same bytes. How a build goes on after a kill is in `staging.py`.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lowres.errors import StoreError
from lowres.formats.source import Source
from lowres.progress import Track, silent
from lowres.resampling.decode import quiet_decoder
from lowres.store.finishing import finish
from lowres.store.journal import Chunk, read_journals
from lowres.store.manifest import FILE_NAME, Manifest
from lowres.store.options import BuildOptions, ExecutorName, OnChange, OnError, Working
from lowres.store.plan import PLAN, Shard, clean, locked, refuse_changes
from lowres.store.prepare import Prepared, prepare, threads_for
from lowres.store.render import STAMP_DIGITS, Rendering, build_elsewhere, stamps_of
from lowres.store.staging import Staging
from lowres.store.store import open_store
from lowres.work.ray_pieces import on_ray
from lowres.work.threads import in_threads


def build(
    source: Path | str,
    store: Path | str,
    options: BuildOptions | None = None,
    *,
    on_error: OnError = "stop",
    on_change: OnChange = "stop",
    workers: int | None = None,
    executor: ExecutorName = "threads",
    address: str = "auto",
    track: Track = silent,
) -> Manifest:
    """Build a store of all variants, or go on with one that was interrupted.

    Args:
        source: labelled images in any format that is read (docs/formats.md).
        store: the folder to write; new, empty, or an interrupted build of the same.
        options: what to make; the default is box at 16, 32 and 64 pixels.
        on_error: at an image that cannot be decoded, stop, or skip it and record it.
        on_change: at an image that changed after an interrupted build had taken it, stop, or
            take it again.
        workers: number of threads, all cores by default; never changes the bytes.
        executor: `threads` on this machine, or `ray`: the cores of a Ray cluster.
        address: of the Ray cluster, as `ray.init` takes it.
        track: shows progress.

    Returns:
        The manifest of the finished store.

    Raises:
        SourceError: the source cannot be read, or an image cannot and is not to be skipped.
        StoreError: the store's folder cannot take this build, or the source changed.
    """
    working = Working(on_error=on_error, on_change=on_change, executor=executor, address=address)
    source, store, threads = Path(source), Path(store), threads_for(workers)
    if executor == "ray":
        source = source.absolute()  # entries bear it to processes that work in other folders
    prepared = prepare(source, store, options)
    with locked(store), quiet_decoder(), _full_disk_named(store):
        if (store / FILE_NAME).exists():
            return _already_built(store, prepared.plan)
        staging = _staged(store, prepared, working)
        _build_rows(staging, prepared, working, threads, track)
        return finish(staging, prepared.plan, prepared.source.mean(), threads, track)


def build_shard(
    source: Path | str,
    store: Path | str,
    options: BuildOptions | None = None,
    *,
    shard: Shard,
    on_error: OnError = "stop",
    on_change: OnChange = "stop",
    workers: int | None = None,
    track: Track = silent,
) -> int:
    """Build one part of a store, while other processes or machines build the others.

    Source and store lie on a file system that all of them share. When all parts are built,
    `finish_shards` makes the store of them. Arguments and errors as for `build`, and:

    Args:
        source: as for `build`.
        store: as for `build`.
        options: the same for every shard.
        shard: which part.
        on_error: as for `build`.
        on_change: as for `build`.
        workers: as for `build`.
        track: as for `build`.

    Returns:
        How many images of the whole store are not built yet, as far as is known.

    Raises:
        SourceError: as `build`.
        StoreError: as `build`; or another process builds this part.
    """
    working = Working(on_error=on_error, on_change=on_change)
    store, threads = Path(store), threads_for(workers)
    prepared = prepare(Path(source), store, options)
    with locked(store, shard), quiet_decoder(), _full_disk_named(store):
        if (store / FILE_NAME).exists():
            _already_built(store, prepared.plan)
            return 0
        staging = _staged(store, prepared, working, shard)
        _build_rows(staging, prepared, working, threads, track)
        return sum(prepared.counts.values()) - sum(
            len(built.chunk) for built in read_journals(store)
        )


def finish_shards(
    source: Path | str,
    store: Path | str,
    options: BuildOptions | None = None,
    *,
    on_error: OnError = "stop",
    workers: int | None = None,
    track: Track = silent,
) -> Manifest:
    """Make a store of the parts that `build_shard` has built, without decoding anything.

    Args:
        source: as for `build`.
        store: as for `build`.
        options: as for `build`.
        on_error: `skip` where the shards were built with it.
        workers: number of threads.
        track: shows progress.

    Raises:
        StoreError: parts are missing, or another process is building.
        SourceError: the source cannot be read.
    """
    store, threads = Path(store), threads_for(workers)
    prepared = prepare(Path(source), store, options)
    if not (store / FILE_NAME).exists() and not (store / PLAN).exists():
        raise StoreError(f"{store} is no unfinished store: build its shards first")
    with locked(store), quiet_decoder(), _full_disk_named(store):
        if (store / FILE_NAME).exists():
            return _already_built(store, prepared.plan)
        staging = _staged(store, prepared, Working(on_error="skip"))
        skipped = sum(len(built.skipped) for built in staging.built)
        if skipped and on_error == "stop":
            raise StoreError(
                f"{skipped:,} images of {store} were skipped by shards with --on-error skip: "
                "give it with --finish, too, or run the shards again without it"
            )
        if left := sum(map(len, staging.todo(1))):
            raise StoreError(
                f"{store} is not built yet: {left:,} of {sum(prepared.counts.values()):,} images "
                "are missing. Run the shards that did not end well again; or the same command "
                "without --finish, which builds the rest here"
            )
        return finish(staging, prepared.plan, prepared.source.mean(), threads, track)


@contextmanager
def _full_disk_named(store: Path) -> Iterator[None]:
    """Say that nothing is lost where there is no more space for rows, the journal or the end."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StoreError(
            f"{store}: no space is left to write ({error}): free some and run the same command "
            "again, which goes on from here"
        ) from error


def _already_built(store: Path, plan: dict[str, Any]) -> Manifest:
    """Give the manifest of a finished store if this build would make the same."""
    manifest = open_store(store).manifest
    then = {"source": manifest.source, "options": manifest.options}
    refuse_changes(store, then, {part: plan[part] for part in then}, "is finished and was built")
    clean(store)
    return manifest


def _staged(
    store: Path, prepared: Prepared, working: Working, shard: Shard | None = None
) -> Staging:
    """Take up what is built, except what must be built again."""
    staging = Staging(store, prepared.plan, prepared.index, prepared.variants, shard)
    if working.on_error == "stop":
        staging.drop([built.chunk for built in staging.own() if built.skipped])
    changed = list(_changed(staging, prepared.source))
    names = [name for _, names in changed for name in names]
    if names and working.on_change == "stop":
        raise StoreError(
            f"{len(names)} images changed after {store} had taken them, {names[0]} first: "
            f"put them back, or remove {store} and begin again, or take what is there now: "
            "--on-change rebuild"
        )
    staging.drop([chunk for chunk, _ in changed])
    staging.checksums.note(built.chunk for built in staging.built)
    return staging


def _changed(staging: Staging, source: Source) -> Iterator[tuple[Chunk, list[str]]]:
    """Find the chunks that hold images of before, and name those that had been taken."""
    for built in staging.own():
        entries = staging.entries(built.chunk)
        now = stamps_of(source, entries)
        if now == built.stamps:
            continue
        names = []
        for row, entry in enumerate(entries):
            digits = slice(row * STAMP_DIGITS, (row + 1) * STAMP_DIGITS)
            taken = built.chunk.start + row not in built.skipped
            if now[digits] != built.stamps[digits] and taken:
                names.append(source.describe(entry))
        yield built.chunk, names


def _build_rows(
    staging: Staging, prepared: Prepared, working: Working, threads: int, track: Track
) -> None:
    """Build every chunk that is not built yet."""
    threads = 1 if prepared.source.in_order else threads
    todo = staging.todo(threads)
    left = sum(map(len, todo))
    total = left + sum(len(built.chunk) for built in staging.built)
    try:
        with (
            track("build", total, done=total - left) as display,
            closing(_rendered(staging, prepared, working, threads, todo)) as chunks,
        ):
            for chunk in chunks:
                display.advance(len(chunk))
    finally:
        staging.close()


def _rendered(
    staging: Staging, prepared: Prepared, working: Working, threads: int, todo: Sequence[Chunk]
) -> Generator[Chunk]:
    """Build chunks, keep them, and give each as it is done."""
    job = prepared.job(staging.path, skip=working.on_error == "skip")
    if working.executor == "ray":
        staging.checksums.elsewhere = True
        pieces = on_ray(
            build_elsewhere, todo, lambda c: (job, c, staging.entries(c)), working.address
        )
        for chunk, built in pieces:
            staging.keep(built)
            yield chunk
        staging.parts.reopen()
        return
    stopping = threading.Event()
    rendering = Rendering(job, prepared.source, staging.parts)

    def work(chunk: Chunk) -> None:
        built = rendering.build(chunk, staging.entries(chunk), stopping)
        if built is not None:
            staging.keep(built)

    for chunk, _ in in_threads(work, todo, threads, stopping):
        yield chunk
