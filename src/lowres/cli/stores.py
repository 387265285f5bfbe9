"""The verbs of sources and stores: build, info, verify, check, show, bench build."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import App, Group, Parameter

from lowres.cli.app import MORE, STORES, app, err, out
from lowres.cli.flags import Commas, LocalPath, Output, Quiet, SourcePath, flags_of, given_values
from lowres.errors import LowresError
from lowres.formats.source import Reading
from lowres.progress import Track, shown, silent
from lowres.store.manifest import FILE_NAME
from lowres.store.options import BuildOptions, Working, class_names
from lowres.text import command

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


@app.command(group=STORES)
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
    counts = bincount(opened.labels(first), minlength=len(manifest.classes))
    out.print(class_line(manifest.classes, counts, first))
    out.print(f"{store}: {split_counts(manifest.splits)}; {', '.join(manifest.variants)}")


def _options(given: BuildFlags, reading: ReadingFlags) -> BuildOptions:
    options = BuildOptions(**given_values(reading), **given_values(given))
    return replace(options, classes=class_names(options.classes))


def split_counts(splits: dict[str, int]) -> str:
    """Return how many images each split has, in words."""
    return ", ".join(f"{count:,} {split}" for split, count in splits.items())


@app.command(group=STORES)
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


@app.command(group=STORES)
def verify(
    path: LocalPath,
    /,
    *,
    against: LocalPath | None = None,
    variant: str | None = None,
    split: Annotated[tuple[str, ...], Commas] = (),
    out_file: Annotated[Path | None, Output] = None,
    quiet: Quiet = False,
) -> int:
    """Check a store by its checksums, or compare it with another set, image by image in any order.

    Exit status 0: the store is whole, or both sets have the same images in the same classes. 1: the
    store is damaged, or the sets differ.

    Example: lowres verify store --against Imagenet32_train

    Args:
        path: The store to check; with --against, a store or a set of small images in any format.
        against: The other store or set to compare with.
        variant: Which variant to compare, if it is not clear.
        split: Which splits to compare. Default: all.
        out_file: CSV file to write, with one line for each image that is not identical.
        quiet: Show no progress.
    """
    from lowres.store.store import open_store

    track = silent if quiet else shown
    if against is not None:
        return _compare(path, against, variant, split, out_file, track)
    opened = open_store(path)
    if variant is not None or out_file is not None or split:
        raise LowresError("--variant, --split and --out are for a comparison: add --against PATH")
    problems = list(opened.problems(track))
    out.lines(f"  {problem}" for problem in problems)
    count = len(opened.manifest.files)
    if problems:
        out.print(
            f"{path}: damaged, {len(problems)} of its checks failed; to repair it, remove the "
            "folder and run its lowres build again"
        )
    else:
        out.print(f"{path}: whole; {count} files have the checksums of the manifest")
    return int(bool(problems))


def _compare(
    path: Path,
    against: Path,
    variant: str | None,
    splits: tuple[str, ...],
    out_file: Path | None,
    track: Track,
) -> int:
    from lowres.comparing.compare import compare_sets
    from lowres.comparing.sets import open_pairs

    pairs = open_pairs(path, against, variant)
    if out_file is not None and len(pairs) > 1:
        raise LowresError("--out takes one comparison: choose one by --variant")
    if out_file is not None and not out_file.absolute().parent.is_dir():
        raise LowresError(f"--out {out_file}: its folder does not exist")
    status = 0
    for one, other in pairs:
        comparison = compare_sets(one, other, splits=splits, track=track)
        out.lines(comparison.lines())
        if out_file is not None:
            out.print(f"{out_file}: {comparison.write_csv(out_file):,} lines")
        status = max(status, int(not comparison.same))
    return status


@app.command(group=STORES)
def check(
    store: LocalPath,
    /,
    *,
    variant: str | None = None,
    similarity: float | None = None,
    out_file: Annotated[Path | None, Output] = None,
    sheet: Path | None = None,
    quiet: Quiet = False,
) -> int:
    """Look for duplicates and leaks between splits, blank images and imbalance.

    It finds equal images and near-duplicates (other brightness, compression, a slight crop), within
    and across splits. Exit status 1: an image is in two splits or in two classes.

    Example: lowres check store --out pairs.csv --sheet pairs.png

    Args:
        store: The store to check.
        variant: Which variant to read. Default: the one nearest to 16 px.
        similarity: The lowest similarity of near-duplicates, 0.7 to 1. Default: 0.9.
        out_file: CSV file to write, with one line for each pair and each blank image.
        sheet: PNG file to write: a contact sheet of pairs.
        quiet: Show no progress.
    """
    from lowres.comparing.check import SIMILARITY, check as check_store
    from lowres.comparing.contact_sheet import pair_sheet
    from lowres.store.store import open_store

    found = check_store(
        open_store(store),
        variant,
        least=SIMILARITY if similarity is None else similarity,
        track=silent if quiet else shown,
    )
    if out_file is not None:
        out.print(f"{out_file}: {found.write_csv(out_file):,} lines")
    if sheet is not None:
        out.print(str(pair_sheet(found, sheet)))
    for line in found.lines():
        out.print(line)
    if out_file is None and (len(found.near) or len(found.copies)):
        out.print(f"for a list of the pairs, run: {command('check', store, '--out', 'pairs.csv')}")
    return int(not found.sound)


@app.command(group=STORES)
def show(
    store: LocalPath,
    /,
    *,
    out_file: Annotated[Path, Output] = Path("contact-sheet.png"),
    split: str | None = None,
    count: int = 8,
) -> None:
    """Draw a contact sheet: the same images across sizes and filters.

    Args:
        store: The store to look at.
        out_file: PNG file to write.
        split: Which split. Default: train.
        count: Number of images.
    """
    from lowres.comparing.contact_sheet import contact_sheet
    from lowres.store.store import open_store

    out.print(str(contact_sheet(open_store(store), out_file, split=split, count=count)))


bench = App(
    name="bench", help="Measure how fast this machine works on your own images.", group=MORE
)
app.command(bench)


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
