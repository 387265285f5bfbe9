"""Which known set a source is: by published checksums, counts, label order and its spectrum.

Several different sets are called "ImageNet32". lowres reports what the bytes prove, and calls
everything else unknown.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np

from lowres.comparing.sets import SmallImages
from lowres.comparing.spectrum import MAX_PX, SAMPLE, guess_filter
from lowres.errors import SourceError
from lowres.formats.batches import BatchesSource
from lowres.formats.source import Index, Source
from lowres.imagenet import wnids
from lowres.progress import Track, silent
from lowres.text import command

ILSVRC_COUNTS = {"train": 1_281_167, "val": 50_000}
"""Images of ILSVRC2012's classification task, and of the released sets."""

READ_BYTES = 1 << 22


class PublishedChecksum(NamedTuple):
    """A published checksum of a file of the released data."""

    algorithm: str
    digest: str
    name: str
    set_name: str


@cache
def published() -> tuple[PublishedChecksum, ...]:
    """List the published checksums.

    SHA-256 of the npz archives: `checksums.tsv` of TensorFlow Datasets' imagenet_resized. MD5 of
    the pickles: ImageNet16 in AutoDL-Projects (NAS-Bench-201); ImageNet32 in two versions that
    are both in circulation, set A in at least four public repositories and set B in one.
    """
    home = resources.files("lowres.comparing")
    text = home.joinpath("released_checksums.txt").read_text("utf-8")
    return tuple(PublishedChecksum(*line.split(" ", 3)) for line in text.splitlines())


def identify(source: Source, index: Index) -> Iterator[str]:
    """Report what is known of a source's labels, counts and images, a line each."""
    yield f"labels in the files: {source.label_order if index.labelled else 'not read'}"
    of_imagenet = index.classes == wnids()
    if of_imagenet:
        yield "classes: the 1,000 of ILSVRC2012"
        for split, expected in ILSVRC_COUNTS.items():
            count = len(index.splits.get(split, ()))
            if count not in (0, expected):
                yield f"{split}: {count:,} images; ILSVRC2012 has {expected:,}"
    split, entries = next(iter(index.splits.items()))
    rows = np.unique(np.linspace(0, len(entries) - 1, SAMPLE).astype(int))
    try:
        small = SmallImages(source, index=index)
        if small.size > MAX_PX:
            return
        first = source.read(entries[0])
        is_jpeg = isinstance(first, bytes) and first.startswith(b"\xff\xd8")
        # Saving a JPEG changes the finest detail once more.
        guess = None if is_jpeg else guess_filter(small.images(split, rows))
    except SourceError:  # full images
        return
    size = f"images: {small.size} x {small.size}"
    if guess is None:
        yield f"{size}; unknown filter"
        return
    yield (
        f"{size}; made with {guess.filter}, by their spectrum (distance {guess.distance:.3f}; next "
        f"best {guess.others:.3f})"
    )
    if of_imagenet and not isinstance(source, BatchesSource):
        yield (
            f"origin: unknown; made with box like the released ImageNet{small.size}. Compare the "
            f"two: {command('verify', source.path)} --against RELEASED"
            if guess.filter == "box"
            else f"origin: a {guess.filter} repack of ImageNet; not the released "
            f"ImageNet{small.size}, which is made with box, so results on the two are not "
            "comparable"
        )


def released(source: BatchesSource, *, track: Track = silent) -> str:
    """Compare batch files, of a complete set or not, with the published checksums."""
    found: Counter[str] = Counter()
    other = []
    known = {entry.name for entry in published()}
    files = source.files()
    with track("checksums", len(files)) as display:
        for name in files:
            sets = _sets_with(source, name)
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
            f"origin: not the unchanged released set: {count} files have the published checksums "
            f"of {best}, and these differ: {', '.join(other)}"
        )
    two = "; two versions with different checksums are in circulation as official"
    return (
        f"origin: the released {best}: {count} files have its published checksums"
        f"{two if 'set' in best else ''}"
    )


def _sets_with(source: BatchesSource, name: str) -> set[str]:
    """Find the sets whose published checksum a file has."""
    entries = [entry for entry in published() if entry.name == name]
    found = set()
    for algorithm in {entry.algorithm for entry in entries}:
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with source.open_file(name) as stream:
            for piece in iter(lambda: stream.read(READ_BYTES), b""):
                digest.update(piece)
        actual = (algorithm, digest.hexdigest())
        found |= {e.set_name for e in entries if (e.algorithm, e.digest) == actual}
    return found
