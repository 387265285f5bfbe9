"""Which known set a source is: by published checksums, counts, label order and the filter's trace.

Several different sets are called "ImageNet32". What can be told from the bytes is told here; what
cannot is said to be unknown.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np

from lowres.comparing.sets import SourceSide
from lowres.comparing.spectrum import MAX_PX, SAMPLE, Guess, guess_filter
from lowres.errors import SourceError
from lowres.formats.batches import BatchesSource
from lowres.formats.source import Index, Source
from lowres.imagenet import wnids
from lowres.progress import Track, silent

ILSVRC_COUNTS = {"train": 1_281_167, "val": 50_000}
"""Images of ILSVRC2012's classification task, and of the released sets."""

READ_BYTES = 1 << 22


class Published(NamedTuple):
    """A published checksum of a file of the released data."""

    algorithm: str
    digest: str
    name: str
    set_name: str


@cache
def published() -> tuple[Published, ...]:
    """List the published checksums.

    SHA-256 of the npz archives: `checksums.tsv` of TensorFlow Datasets' imagenet_resized. MD5 of
    the pickles: ImageNet16 in AutoDL-Projects (NAS-Bench-201); ImageNet32 in two versions that
    are both in circulation, set A in at least four public repositories and set B in one.
    """
    text = resources.files("lowres.comparing").joinpath("released_checksums.txt").read_text("utf-8")
    return tuple(Published(*line.split(" ", 3)) for line in text.splitlines())


def identify(source: Source, index: Index) -> Iterator[str]:
    """Tell what is known of a source's labels, counts and images, a line each."""
    yield f"labels in the files: {source.label_order}"
    if index.classes == wnids():
        yield "classes: the 1,000 of ILSVRC2012"
        yield from _miscounted(index)
    size_px, guess = _traced(source, index)
    if size_px is None:
        return
    if guess is None:
        yield f"images: {size_px} x {size_px}; which filter made them cannot be told"
        return
    yield (
        f"images: {size_px} x {size_px}; made with {guess.filter}, by their spectrum (distance "
        f"{guess.distance:.3f}; next best {guess.others:.3f})"
    )
    if index.classes == wnids() and not isinstance(source, BatchesSource):
        yield _repack(size_px, guess.filter)


def _repack(size_px: int, filter_name: str) -> str:
    if filter_name == "box":
        return (
            f"origin: unknown; made with box like the released ImageNet{size_px}: compare the two "
            "with lowres verify --against"
        )
    return (
        f"origin: a {filter_name} repack of ImageNet; not the released ImageNet{size_px}, which is "
        "made with box, so numbers on the two are not comparable"
    )


def released(source: BatchesSource, *, track: Track = silent) -> str:
    """Compare batch files with the published checksums, whether all are there or not."""
    found: Counter[str] = Counter()
    other = []
    known = {entry.name for entry in published()}
    files = source.files()
    with track("checksums", len(files)) as display:
        for name in files:
            sets = _sets_of(source, name)
            found.update(sets)
            if not sets and name in known:
                other.append(name)
            display.advance()
    if not found:
        return (
            "origin: unknown; no file has a published checksum of the released ImageNet16 or 32 "
            "(for ImageNet8 and 64 only those of the npz archives are known)"
        )
    best, count = found.most_common(1)[0]
    if other:
        return (
            f"origin: not the released set as it was: {count} files have the published checksums "
            f"of {best}, and these have not: {', '.join(other)}"
        )
    word = ""
    if "set" in best:
        word = "; two versions with other checksums are in circulation, both taken for official"
    return f"origin: the released {best}: {count} files have its published checksums{word}"


def _sets_of(source: BatchesSource, name: str) -> set[str]:
    """Find the sets of which a file has the published checksum."""
    entries = [entry for entry in published() if entry.name == name]
    found = set()
    for algorithm in {entry.algorithm for entry in entries}:
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with source.open_file(name) as stream:
            for piece in iter(lambda: stream.read(READ_BYTES), b""):
                digest.update(piece)
        alike = (algorithm, digest.hexdigest())
        found |= {e.set_name for e in entries if (e.algorithm, e.digest) == alike}
    return found


def _miscounted(index: Index) -> Iterator[str]:
    for split, expected in ILSVRC_COUNTS.items():
        count = len(index.splits.get(split, ()))
        if count not in (0, expected):
            yield f"{split}: {count:,} images where ILSVRC2012 has {expected:,}"


def _traced(source: Source, index: Index) -> tuple[int | None, Guess | None]:
    """Find the size of a set of small squares, and the filter that it looks made with."""
    split, entries = next(iter(index.splits.items()))
    rows = np.unique(np.linspace(0, len(entries) - 1, SAMPLE).astype(int))
    try:
        side = SourceSide(source)
        if side.size > MAX_PX:
            return None, None
        if _is_jpeg(source.read(entries[0])):  # which changes the finest detail once more
            return side.size, None
        return side.size, guess_filter(side.images(split, rows))
    except SourceError:  # full images
        return None, None


def _is_jpeg(read: object) -> bool:
    return isinstance(read, bytes) and read.startswith(b"\xff\xd8")
