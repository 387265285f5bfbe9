"""What a path is, in a few lines for people: the verb info. Imported when that verb is called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres.comparing.fid import describe_fid, is_fid_file
from lowres.comparing.identify import identify, released
from lowres.formats import open_source
from lowres.formats.batches import BatchesSource
from lowres.formats.ilsvrc import small_imagenet
from lowres.formats.names import class_order
from lowres.formats.unlabelled import index_of
from lowres.imagenet import devkit_ids
from lowres.progress import Track, silent
from lowres.reading import Reading
from lowres.store.findings import class_line
from lowres.store.options import preset_of
from lowres.store.sample import described
from lowres.store.store import open_store
from lowres.study.search.plan import work_directory
from lowres.study.status import standings, summary
from lowres.study.study_file import planned_axes
from lowres.text import command, count
from lowres.training.run import Run, RunState

SPLIT_LINE = "{}: {} pictures"
"""A split and its number of images, as scripts of others read it: without a comma."""


def describe(path: Path, *, reading: Reading | None = None, track: Track = silent) -> Iterator[str]:
    """Return the lines that describe a store, a run, a study, a search or a source.

    The lines of a source include its known origin; released batches are read once for that.

    Raises:
        LowresError: the path is none of these, or damaged.
    """
    if (path / "study.json").exists():
        yield from _study(path)
    elif (path / "search.json").exists():
        yield from _search(path)
    elif (path / "recipe.json").exists():
        yield from _run(path)
    elif (path / "manifest.json").exists() or (path / "build.json").exists():
        yield from _store(path)
    elif is_fid_file(path):
        yield from describe_fid(path)
    else:
        yield from _source(path, reading or Reading(), track)


def _store(path: Path) -> Iterator[str]:
    store = open_store(path)
    manifest, classes, source = store.manifest, store.classes, store.manifest.source
    files = [path / name for name in manifest.files if (path / name).exists()]
    size_bytes = sum(file.stat().st_size for file in files)
    yield f"store {path}, {size_bytes / 1e6:.1f} MB, contents {manifest.digest[:16]}"
    if len(files) < len(manifest.files):
        missing = count(len(manifest.files) - len(files), "missing file")
        yield f"{missing}; to list them, run: {command('verify', path)}"
    yield f"source: {source['kind']} {source['name']}, layout {source['layout']}"
    first = next(iter(store.splits))
    yield class_line(classes, np.bincount(store.labels(first), minlength=len(classes)), first)
    ids = devkit_ids(classes)
    is_sorted = list(classes) == class_order(classes)
    order = "in sorted order" if is_sorted else "in the source's own order"
    if ids is not None:
        by = "devkit ids" if list(ids) == sorted(ids) else "sorted WNIDs"
        if by == "sorted WNIDs" and list(classes) != sorted(classes):
            by = "the source"
        order = f"in the order of {by}; devkit ids {', '.join(map(str, ids[:5]))}, ..."
    yield f"labels: 0 to {len(classes) - 1}, {order}"
    for split, images in store.splits.items():
        yield SPLIT_LINE.format(split, images)
        skipped = sum(entry.split == split for entry in manifest.skipped)
        if skipped:
            yield f"{split}: {skipped} images skipped, as they could not be decoded"
    for variant in store.variants:
        mean, std = store.statistics(next(iter(store.splits)), variant)
        preset = preset_of(variant)
        named = f", preset {preset}" if preset else ""
        yield f"{variant}{named}: mean {_levels(mean)}, std {_levels(std)}"
        yield f"{variant}: content {manifest.contents[str(variant)]}"
    yield from (f"note: {note}" for note in manifest.notes)
    yield "built with " + ", ".join(f"{name} {v}" for name, v in manifest.versions.items())


def _levels(values: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in values.tolist()) + ")"


def _run(path: Path) -> Iterator[str]:
    run = Run.open(path)
    found = run.summary()
    yield f"run {path}: {found.state}"
    yield f"store: {run.store_path}, contents {run.store_digest[:16]}"
    yield "recipe: " + ", ".join(f"{k} {v}" for k, v in run.recipe.to_record().items())
    if found.finished:
        yield "result: " + ", ".join(f"{k} {v}" for k, v in found.result.items())
    else:
        done = f"{len(found.history)} of {run.recipe.epochs}"
        yield f"epochs: {done}; to finish, run: {command('train', path)}"
    if found.state is RunState.FAILED:
        yield f"last attempt: {found.reason} (see {path / 'train.log'})"


def _study(path: Path) -> Iterator[str]:
    found = standings(path)
    yield f"study {path}: {count(len(found), 'run')}"
    yield summary(found)
    for name, values in planned_axes(path).items():
        yield f"axis {name}: {', '.join(map(str, values))}"
    if any(not one.state.finished for one in found):
        yield f"for each run: {command('status', path)}; to finish: {command('study', path)}"


def _search(path: Path) -> Iterator[str]:
    record = work_directory(path).read()
    rungs = zip(record["counts"], record["sizes"], strict=True)
    listed = ", ".join(f"{count(n, 'configuration')} at {size} px" for n, size in rungs)
    yield f"search {path}: {listed}"
    for name, spec in record["space"].items():
        yield f"space {name}: {spec}"
    if (path / "result.json").exists():
        yield f"finished: {path / 'result.json'}"
    else:
        yield f"for each run: {command('status', path)}; to finish: {command('search', path)}"


def _source(path: Path, reading: Reading, track: Track) -> Iterator[str]:
    unlabelled = None if reading.unlabelled else small_imagenet(path)
    if unlabelled:
        yield unlabelled
        return
    source = open_source(path, reading)
    if isinstance(source, BatchesSource):  # before the index, which needs all files
        yield released(source, track=track)
    index = index_of(source, reading)
    yield f"source {path}: {source.kind}, layout {index.layout}"
    split, entries = next(iter(index.splits.items()))
    labels = np.fromiter((entry.label for entry in entries), np.int64, len(entries))
    yield class_line(index.classes, np.bincount(labels, minlength=len(index.classes)), split)
    for name, listed in index.splits.items():
        yield SPLIT_LINE.format(name, len(listed))
    yield from identify(source, index)
    yield from (f"note: {note}" for note in index.notes)
    yield from described(source, index)
