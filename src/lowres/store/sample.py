"""A look at some images of a source, before anything is built: how large they are, what is in them.

The same images are looked at on every machine and in every run, so that shards choose alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import median_low

from lowres.errors import SourceError
from lowres.formats.source import Entry, Index, Source
from lowres.resampling.decode import decode_for, quiet_decoder, size_of
from lowres.store.findings import notes
from lowres.store.options import DEFAULT_SIZES_PX

PLACES, ADJACENT = 8, 8
"""Images are looked at in some places of each source, adjacent ones in each: a Parquet file is read
in groups of rows."""


def looked_at(index: Index) -> Iterator[Entry]:
    """Choose some entries, spread evenly over all splits."""
    splits = list(index.splits.values())
    total = sum(map(len, splits))
    adjacent = min(ADJACENT, -(-total // PLACES))
    chosen = {
        min(place * total // PLACES + step, total - 1)
        for place in range(PLACES)
        for step in range(adjacent)
    }
    for row in sorted(chosen):
        for entries in splits:
            if row < len(entries):
                yield entries[row]
                break
            row -= len(entries)


def short_side(source: Source, index: Index) -> int | None:
    """Return the median of the shorter sides of some images, in pixels; None if none can be read.

    Only headers are decoded. What cannot be read here, the build reports.
    """
    sides = []
    with quiet_decoder():
        for entry in looked_at(index):
            try:
                read = source.read(entry)
                size = size_of(read) if isinstance(read, bytes) else read.shape[:2]
            except (SourceError, OSError):
                continue
            sides.append(min(size))
    return median_low(sides) if sides else None


def default_sizes(side: int | None) -> tuple[int, ...]:
    """Return the default sizes that do not enlarge an image with this shorter side.

    The side itself if all of them would; all of them if the side is not known.
    """
    if side is None:
        return DEFAULT_SIZES_PX
    return tuple(size for size in DEFAULT_SIZES_PX if size <= side) or (side,)


def described(source: Source, index: Index) -> Iterator[str]:
    """Decode some images, and return lines on their sizes and on what a build would note."""
    findings: Counter[str] = Counter()
    sizes, unreadable = [], 0
    with quiet_decoder():
        for entry in looked_at(index):
            try:
                read = source.read(entry)
                if isinstance(read, bytes):
                    found = decode_for(read, ("pillow",), depth="clip")
                    shape = found.images["pillow"].shape
                    findings.update(found.findings)
                else:
                    shape = read.shape
            except (SourceError, OSError):
                unreadable += 1
                continue
            sizes.append((shape[1], shape[0]))
    deep = findings.pop("clipped", 0)
    total = len(sizes)
    if sizes:
        smallest, largest = ("{} x {}".format(*pick(sizes, key=min)) for pick in (min, max))
        span = smallest if smallest == largest else f"{smallest} to {largest}"
        sides = [min(size) for size in sizes]
        made = default_sizes(median_low(sides))
        if index.native_px is not None:
            made = (index.native_px,)
        yield (
            f"sizes: {span} px, of {total:,} images that were looked at; built by default: "
            f"{', '.join(map(str, made))} px"
        )
    if unreadable:
        yield f"note: {unreadable:,} of {total + unreadable:,} images cannot be read"
    if deep:
        yield (
            f"note: {deep:,} of {total:,} images have more than 8 bits: to build, add --depth "
            "scale or --depth clip"
        )
    for note in notes(findings, {"": total}, {}, 0):
        yield f"note: of {total:,} looked at, {note}"
