"""The verbs of sources and stores: build, info, verify, show, export, bench."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from lowres.cli.app import app, err, out
from lowres.errors import LowresError
from lowres.progress import shown
from lowres.store.options import BuildOptions, Working, class_names

Options = Annotated[BuildOptions, Parameter(name="*", group="What to make")]
WorkingFlags = Annotated[Working, Parameter(name="*", group="How to work")]


@app.command
def build(
    source: Path,
    store: Path,
    *,
    options: Options = BuildOptions(),  # noqa: B008  frozen
    working: WorkingFlags = Working(),  # noqa: B008
    workers: Annotated[int | None, Parameter(alias="-j", group="How to work")] = None,
    shard: str | None = None,
    finish: bool = False,
) -> None:
    """Build a store of small variants from labelled images.

    Each image is decoded once. Interrupted, the same command goes on where it was.

    Args:
        source: folder of images; ILSVRC2012's tars; released batches; Parquet or WebDataset
            files; CIFAR; MNIST; an EDM ZIP: see docs/formats.md.
        store: folder to write, new or empty.
        options: sizes, filters and what is taken from the source.
        working: how it is done; nothing of it changes a byte.
        workers: threads; all cores if not given. The bytes are the same for any number.
        shard: build only a part, such as 2/8, while other processes or machines build the others
            into the same folder; then run once with --finish.
        finish: make the store of the parts that were built by --shard.
    """
    # No library that is loaded below computes with more threads than it is given.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from lowres.store import build as builder

    options = replace(options, classes=class_names(options.classes))
    if shard is not None:
        _build_shard(source, store, options, working, workers, shard, finish)
        return
    if finish and (working.executor, working.on_change) != ("threads", "stop"):
        raise LowresError("--finish builds nothing: leave --executor and --on-change out")
    if finish:
        manifest = builder.finish_shards(
            source, store, options,
            on_error=working.on_error, workers=workers, track=shown,
        )  # fmt: skip
    else:
        manifest = builder.build(
            source, store, options, **asdict(working), workers=workers, track=shown
        )
    for note in manifest.source["notes"]:
        err.print(f"note: {note}")
    if manifest.skipped:
        err.print(f"note: skipped {len(manifest.skipped)} images that cannot be decoded:")
        for skipped in manifest.skipped[:10]:
            err.print(f"  {skipped.split}/{skipped.key}: {skipped.reason}")
    out.print(f"{store}: {_counts(manifest.splits)}; {', '.join(manifest.variants)}")


def _build_shard(
    source: Path, store: Path, options: BuildOptions, working: Working, workers: int | None,
    shard: str, finish: bool,
) -> None:  # fmt: skip
    from lowres.store.build import build_shard
    from lowres.store.plan import Shard

    if finish or working.executor != "threads":
        raise LowresError("--shard builds a part in threads: leave --finish and --executor out")
    left = build_shard(
        source, store, options, shard=Shard.parse(shard), on_error=working.on_error,
        on_change=working.on_change, workers=workers, track=shown,
    )  # fmt: skip
    rest = f"{left:,} images of the others are left" if left else "the others are built, too"
    out.print(f"{store}: shard {shard} is built; {rest}. At the end run once with --finish")


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
    split: tuple[str, ...] = (),
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
    split: tuple[str, ...] = (),
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
    options: Options = BuildOptions(),  # noqa: B008
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

    options = replace(options, classes=class_names(options.classes))
    speed = build_speed(
        source, options, sample=sample, rounds=rounds, workers=workers, scratch=scratch,
        track=shown,
    )  # fmt: skip
    for line in lines(speed, images):
        out.print(line)
