"""What a build finds in the images, and the sentences that say so.

A finding is a count of images. The manifest records it, and every verb that shows a store shows it
as a note.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres.imagenet import find
from lowres.text import count, percent

SHOWN_CLASSES = 3
ENLARGED = "enlarged to "
ALSO_IN_TRAIN = " also in train"
TWO_CLASSES = "in two classes"


def enlarged(shape: Sequence[int], sizes_px: Collection[int]) -> list[str]:
    """List the findings on an image of (H, W, ...) that has fewer pixels than some sizes."""
    side = min(shape[:2])
    return [f"{ENLARGED}{size}" for size in sizes_px if size > side]


def equal_images(
    digests: Mapping[str, NDArray[np.uint8]], labels: Mapping[str, NDArray[np.int64]]
) -> dict[str, int]:
    """Count images that equal an image of another split or class.

    Args:
        digests: (N, 32) uint8 by split: the SHA-256 of each image.
        labels: (N,) int64 by split.

    Returns:
        The counts above 0: for each split but train, its images that are also in train; and the
        images of which an equal one has another class.
    """
    # 64 bits of the hash are enough: two of 10 million images agree by chance in one of 400,000
    # sets.
    keys = {split: rows[:, :8].copy().view(np.uint64)[:, 0] for split, rows in digests.items()}
    found = {}
    for split, own in keys.items():
        if split != "train" and "train" in keys:
            found[f"{split}{ALSO_IN_TRAIN}"] = int(np.isin(own, keys["train"], kind="sort").sum())
    every = np.concatenate(list(keys.values()))
    classes = np.concatenate([labels[split] for split in keys])
    order = np.lexsort((classes, every))
    every, classes = every[order], classes[order]
    starts = np.flatnonzero(np.append(True, every[1:] != every[:-1]))
    sizes = np.diff(np.append(starts, len(every)))
    mixed = classes[starts] != classes[starts + sizes - 1]
    found[TWO_CLASSES] = int(sizes[mixed].sum())
    return {name: number for name, number in found.items() if number}


def notes(
    findings: Mapping[str, int], splits: Mapping[str, int], options: Mapping[str, Any], px: int
) -> Iterator[str]:
    """Write a sentence for each finding.

    Args:
        findings: counts by name.
        splits: number of images by split.
        options: those of the build.
        px: the size at which images are equal: the largest of the store.
    """
    images = sum(splits.values())
    sentences = {
        "clipped": "of more than 8 bits clipped: their values above 255 became 255",
        "scaled": "of more than 8 bits scaled to 8 bits",
        "reduced": "with colours of 16 bits reduced to the upper 8 bits, as Pillow does it",
        "dark": "of 16 bits with values of 12 bits at most are near-black here: multiply their "
        "values by 16, or convert them to 8 bits, and build again",
    }
    for name, sentence in sentences.items():
        if name in findings:
            yield f"{count(findings[name], 'image')} {sentence}"
    if number := findings.get("transparent"):
        ground = options.get("background")
        done = f"they were laid over {ground}" if ground else (
            "Pillow drops alpha, so the colours under them show; to lay them over a colour, build "
            "with --background white"
        )  # fmt: skip
        yield f"{count(number, 'image')} with transparent pixels: {done}"
    if number := findings.get("turned"):
        done = "turned by it" if options.get("exif_rotate") else (
            "stored unturned; to turn them, build with --exif-rotate"
        )  # fmt: skip
        yield f"{count(number, 'image')} with an EXIF orientation: {done}"
    for name in sorted(findings, key=lambda name: (len(name), name)):
        if name.startswith(ENLARGED):
            share = percent(findings[name] / images, 0 if findings[name] == images else 1)
            yield (
                f"{name.removeprefix(ENLARGED)} px is larger than {share} of the images "
                f"({findings[name]:,} of {images:,}), which were enlarged"
            )
        if name.endswith(ALSO_IN_TRAIN):
            split = name.removesuffix(ALSO_IN_TRAIN)
            yield (
                f"duplicates: {findings[name]:,} of the {splits[split]:,} images of {split} are in "
                f"train, too (equal pixels at {px} px); for a list, run: lowres check STORE"
            )
    if number := findings.get(TWO_CLASSES):
        yield (
            f"duplicates: {count(number, 'image')} in more than one class (equal pixels at {px} "
            "px); for a list, run: lowres check STORE"
        )


def class_line(classes: Sequence[str], counts: NDArray[np.int64], split: str) -> str:
    """Return how many classes there are, the first ones, the smallest and the largest.

    Args:
        classes: class names by label.
        counts: (C,) number of images of each class.
        split: the split that was counted.
    """
    few = len(classes) <= SHOWN_CLASSES + 2
    first = classes if few else classes[:SHOWN_CLASSES]
    shown = ", ".join([*map(_shown, first), *([] if few else ["..."])])
    low, high = int(counts.argmin()), int(counts.argmax())
    if counts[low] == counts[high]:
        sizes = f"{count(int(counts[low]), 'image')} each in {split}"
    else:
        sizes = (
            f"{count(int(counts[low]), 'image')} ({_shown(classes[low])}) to {counts[high]:,} "
            f"({_shown(classes[high])}) in {split}"
        )
    return f"classes: {len(classes)}, {shown}; {sizes}"


def _shown(name: str) -> str:
    """Return a class name, with its word if it is a WNID of ImageNet."""
    known = find(name)
    return f"{name} ({known.word})" if known else name
