"""The verbs of sources: build, info, bench build."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import App, Group, Parameter

from lowres.cli.app import err, out
from lowres.cli.flags import LocalPath, Quiet, SourcePath, flags_of, given_values
from lowres.errors import LowresError
from lowres.progress import shown, silent
from lowres.reading import Reading
from lowres.store.options import BuildOptions, Working, class_names
from lowres.text import counts

if TYPE_CHECKING:
    BuildFlags: TypeAlias = Any
    WorkingFlags: TypeAlias = Any
    ReadingFlags: TypeAlias = Any
else:
    ReadingFlags = flags_of(Reading, Group("How to read the source", sort_key=2))
    BuildFlags = flags_of(
        BuildOptions,
        Group("What to build", sort_key=1),
        without=[field.name for field in fields(Reading)],
    )
    WorkingFlags = flags_of(Working, Group("How to build", sort_key=3))

SHOWN_SKIPPED = 10
"""Skipped images that a build names."""


def build(
    source: SourcePath,
    store: LocalPath,
    /,
    *,
    options: BuildFlags = None,
    reading: ReadingFlags = None,
    working: WorkingFlags = None,
    shard: str | None = None,
    finish: bool = False,
    add: bool = False,
    quiet: Quiet = False,
) -> None:
    """Build a store of small variants from labelled images.

    Each image is decoded once. After an interrupt or a crash, run the same command again: it
    resumes.

    Example: lowres build images store --size 8,16,32 --filter box,lanczos

    Args:
        source: A folder of images, a table of paths and labels, the tars of ILSVRC2012, the
            released batches, Parquet or WebDataset files, CIFAR, MNIST, the ZIP of EDM, another
            store, or a URL (docs/formats.md).
        store: Folder to write, new or empty.
        options: Sizes, filters and what is taken from the source.
        reading: What the source does not say itself.
        working: How the build works; nothing here changes a byte of the store.
        shard: Build only a part, such as 2/8, while other processes or machines build the other
            parts into the same folder; then run the command with --finish.
        finish: Make the store of the parts that were built with --shard.
        add: Add variants to a finished store, such as --size 8. The source must be unchanged; runs
            and studies of the store continue.
        quiet: Show no progress.
    """
    # No library that is loaded below computes with more threads than it is given.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from numpy import bincount

    from lowres.store import build as builder
    from lowres.store.add import add as add_variants
    from lowres.store.findings import class_line
    from lowres.store.manifest import FILE_NAME
    from lowres.store.staging import Shard
    from lowres.store.store import open_store

    chosen, ways = _options(options, reading), Working(**given_values(working))
    track = silent if quiet else shown
    if add and (shard is not None or finish):
        raise LowresError("--add builds in threads here: leave --shard and --finish out")
    if shard is not None:
        if finish or ways.executor != "threads":
            raise LowresError("--shard builds a part in threads: leave --finish and --executor out")
        part = Shard.parse(shard)
        left = builder.build_shard(source, store, chosen, shard=part, working=ways, track=track)
        rest = f"{left:,} images of other shards are left; then" if left else "so are all others;"
        out.print(
            f"{store}: shard {shard} is built, {rest} run the same command with --finish in place "
            "of --shard"
        )
        return
    if finish and (ways.executor, ways.on_change) != ("threads", "stop"):
        raise LowresError("--finish builds nothing: leave --executor and --on-change out")
    make = add_variants if add else builder.finish_shards if finish else builder.build
    manifest = make(source, store, chosen, working=ways, track=track)
    err.lines(f"note: {note}" for note in manifest.notes)
    if skipped := manifest.skipped:
        err.print(f"note: skipped {len(skipped):,} images that cannot be decoded:")
        err.lines(f"  {one.split}/{one.key}: {one.reason}" for one in skipped[:SHOWN_SKIPPED])
        if len(skipped) > SHOWN_SKIPPED:
            err.print(
                f"  and {len(skipped) - SHOWN_SKIPPED:,} more: {store / FILE_NAME} lists them all"
            )
    opened, first = open_store(store), next(iter(manifest.splits))
    images = bincount(opened.labels(first), minlength=len(manifest.classes))
    out.print(class_line(manifest.classes, images, first))
    out.print(f"{store}: {counts(manifest.splits)}; {', '.join(manifest.variants)}")


def _options(given: BuildFlags, reading: ReadingFlags) -> BuildOptions:
    options = BuildOptions(**given_values(reading), **given_values(given))
    return replace(options, classes=class_names(options.classes))


def info(path: SourcePath, /, *, reading: ReadingFlags = None, quiet: Quiet = False) -> None:
    """Describe a store, run, study, search or set of images; say which ImageNet32 a set is.

    Args:
        path: Folder, file or URL. Released batches are compared with the published checksums.
        reading: What the source does not say itself.
        quiet: Show no progress.
    """
    from lowres.cli.info import describe

    out.lines(
        describe(path, reading=Reading(**given_values(reading)), track=silent if quiet else shown)
    )


bench = App(name="bench", help="Measure how fast this machine works on your own images.")


@bench.command(name="build")
def bench_build(
    source: SourcePath,
    /,
    *,
    options: BuildFlags = None,
    reading: ReadingFlags = None,
    sample: int = 400,
    rounds: int = 3,
    images: int | None = None,
    workers: Annotated[int | None, Parameter(alias="-j")] = None,
    scratch: LocalPath | None = None,
    quiet: Quiet = False,
) -> None:
    """Measure how fast a store would be built, where the time goes, and estimate the whole time.

    Args:
        source: What would be built from, as for build.
        options: What would be made of it.
        reading: What the source does not say itself.
        sample: How many of its images to measure with.
        rounds: How often to measure; medians are shown.
        images: Estimate the time for this many. Default: for the source and for all of ImageNet.
        workers: Threads. Default: all cores.
        scratch: Folder for temporary files, on the disk to measure. Default: the system's temporary
            folder.
        quiet: Show no progress.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from lowres.store.speed import build_speed, lines

    speed = build_speed(
        source, _options(options, reading), sample=sample, rounds=rounds, workers=workers,
        scratch=scratch, track=silent if quiet else shown,
    )  # fmt: skip
    out.lines(lines(speed, images))
