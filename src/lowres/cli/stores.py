"""The verbs of sources and stores: build, info, verify, show, export, bench."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from cyclopts import App, Parameter

from lowres.cli.app import app, err, out
from lowres.cli.flags import Commas, flags_of, given_values
from lowres.errors import LowresError
from lowres.progress import shown
from lowres.store.manifest import FILE_NAME
from lowres.store.options import BuildOptions, Working, class_names

if TYPE_CHECKING:
    Options: TypeAlias = Any
    WorkingFlags: TypeAlias = Any
else:
    Options = flags_of(BuildOptions, "What to make")
    WorkingFlags = flags_of(Working, "How to work")

SHOWN_SKIPPED = 10
"""Skipped images that a build names."""


@app.command
def build(
    source: Path,
    store: Path,
    *,
    options: Options = None,
    working: WorkingFlags = None,
    shard: str | None = None,
    finish: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Build a store of small variants from labelled images.

    Each image is decoded once. After an interrupt or a crash, run the same command again: it
    resumes.

    Args:
        source: folder of images; ILSVRC2012's tars; released batches; Parquet or WebDataset
            files; CIFAR; MNIST; an EDM ZIP: see docs/formats.md.
        store: folder to write, new or empty.
        options: sizes, filters and what is taken from the source.
        working: how the build works; nothing here changes a byte of the store.
        shard: build only a part, such as 2/8, while other processes or machines build the other
            parts into the same folder; then run once with --finish.
        finish: make the store of the parts that were built with --shard.
    """
    # No library that is loaded below computes with more threads than it is given.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from lowres.store import build as builder
    from lowres.store.staging import Shard

    chosen, ways = _options(options), Working(**given_values(working))
    if shard is not None:
        if finish or ways.executor != "threads":
            raise LowresError("--shard builds a part in threads: leave --finish and --executor out")
        part = Shard.parse(shard)
        left = builder.build_shard(source, store, chosen, shard=part, working=ways, track=shown)
        rest = f"{left:,} images of other shards are left" if left else "all other shards are built"
        out.print(f"{store}: shard {shard} is built; {rest}. At the end run once with --finish")
        return
    if finish and (ways.executor, ways.on_change) != ("threads", "stop"):
        raise LowresError("--finish builds nothing: leave --executor and --on-change out")
    make = builder.finish_shards if finish else builder.build
    manifest = make(source, store, chosen, working=ways, track=shown)
    for note in manifest.source["notes"]:
        err.print(f"note: {note}")
    if skipped := manifest.skipped:
        err.print(f"note: skipped {len(skipped):,} images that cannot be decoded:")
        for one in skipped[:SHOWN_SKIPPED]:
            err.print(f"  {one.split}/{one.key}: {one.reason}")
        if len(skipped) > SHOWN_SKIPPED:
            err.print(
                f"  and {len(skipped) - SHOWN_SKIPPED:,} more: {store / FILE_NAME} lists them all"
            )
    out.print(f"{store}: {_counts(manifest.splits)}; {', '.join(manifest.variants)}")


def _options(given: Options) -> BuildOptions:
    options = BuildOptions(**given_values(given))
    return replace(options, classes=class_names(options.classes))


def _counts(splits: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in splits.items())


@app.command
def info(path: Path) -> None:
    """Say what a store, a run, a study or a set of images is, and which ImageNet32.

    Args:
        path: any of these; released batches are checked against the published checksums.
    """
    from lowres.cli import info as describe

    for line in describe.describe(path, track=shown):
        out.print(line)


@app.command
def verify(
    store: Path,
    *,
    against: Path | None = None,
    variant: str | None = None,
    split: Annotated[tuple[str, ...], Commas] = (),
    out_file: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
) -> int:
    """Check a store by its checksums, or compare it with another set, whatever the order of either.

    Exit status 0 means whole, or the same images with the same classes; 1 that they are not.

    Args:
        store: the store to check.
        against: another store, or small images in any format that build reads.
        variant: which variant to compare, where it is not clear.
        split: which splits to compare; all if not given.
        out_file: CSV file to write with a line for each image that is not identical.
    """
    from lowres.store.store import open_store

    if against is not None:
        return _compare(store, against, variant, split, out_file)
    opened = open_store(store)
    if variant is not None or out_file is not None or split:
        raise LowresError("--variant, --split and --out are for a comparison: give --against, too")
    problems = list(opened.problems(shown))
    for problem in problems:
        out.print(f"{store}: {problem}")
    if not problems:
        out.print(f"{store}: whole; {len(opened.manifest.files)} files as in the manifest")
    return int(bool(problems))


def _compare(
    path: Path,
    against: Path,
    variant: str | None,
    splits: tuple[str, ...],
    out_file: Path | None,
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
        comparison = compare_sets(one, other, splits=splits, track=shown)
        for line in comparison.lines():
            out.print(line)
        if out_file is not None:
            out.print(f"{out_file}: {comparison.write_csv(out_file):,} lines")
        status = max(status, int(not comparison.same))
    return status


@app.command
def show(
    store: Path,
    *,
    out_file: Annotated[Path, Parameter(name=("--out", "-o"))] = Path("contact-sheet.png"),
    split: str | None = None,
    count: int = 8,
) -> None:
    """Draw a contact sheet: the same images across sizes and filters.

    Args:
        store: the store to look at.
        out_file: PNG file to write.
        split: which split; train if not given.
        count: how many images.
    """
    from lowres.comparing.contact_sheet import contact_sheet
    from lowres.store.store import open_store

    out.print(str(contact_sheet(open_store(store), out_file, split=split, count=count)))


@app.command
def export(
    store: Path,
    destination: Path,
    *,
    to: Literal["folder", "batches", "batches-npz", "parquet", "webdataset", "edm"],
    variant: str | None = None,
    split: Annotated[tuple[str, ...], Commas] = (),
) -> None:
    """Write one variant of a store in a format that other tools read.

    Args:
        store: the store to take images from.
        destination: what to write; must not exist.
        to: folder: PNG files as split/class/name.png. batches, batches-npz: the layout of the
            released ImageNet8/16/32/64. parquet: for Hugging Face datasets, with card and
            Croissant. webdataset: tar shards. edm: the ZIP of EDM and StyleGAN3.
        variant: which variant, such as 32-box; the only one if not given.
        split: which splits; if not given all, or train for edm, which holds one.
    """
    from lowres.store import export as exporter
    from lowres.store.store import open_store

    opened = open_store(store)
    if variant is None and len(opened.variants) > 1:
        raise LowresError(
            f"{store} has {', '.join(map(str, opened.variants))}: choose one by --variant"
        )
    chosen = variant or str(opened.variants[0])
    counts = exporter.export(opened, destination, chosen, to=to, splits=split, track=shown)
    out.print(f"{destination}: {_counts(counts)}")
    for note in exporter.notes(opened, counts, to):
        err.print(f"note: {note}")


bench = App(name="bench", help="Measure how fast this machine works on your own images.")
app.command(bench)


@bench.command(name="build")
def bench_build(
    source: Path,
    *,
    options: Options = None,
    sample: int = 400,
    rounds: int = 3,
    images: int | None = None,
    workers: Annotated[int | None, Parameter(alias="-j")] = None,
    scratch: Path | None = None,
) -> None:
    """Tell how fast a store would be built, where the time goes, and how long it would take.

    Args:
        source: what would be built from, as for build.
        options: what would be made of it.
        sample: how many of its images to measure with.
        rounds: how often; medians are shown.
        images: project the time for so many; for the source and all of ImageNet if not given.
        workers: threads; all cores if not given.
        scratch: folder to write to meanwhile, on the disk that is to be measured; the system's
            temporary folder if not given.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from lowres.store.speed import build_speed, lines

    speed = build_speed(
        source, _options(options), sample=sample, rounds=rounds, workers=workers, scratch=scratch,
        track=shown,
    )  # fmt: skip
    for line in lines(speed, images):
        out.print(line)
