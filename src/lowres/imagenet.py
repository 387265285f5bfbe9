"""The 1,000 classes of ILSVRC2012 in their two orders, and subsets of classes by name.

The released ImageNet8/16/32/64 number the classes 1 to 1000 in the order of the 2012 development
kit (`map_clsloc.txt` of the authors' scripts); torchvision, timm and lowres number them 0 to 999 in
the order of sorted WNIDs. No class has the same position in both.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from lowres.errors import SourceError

SUBSETS = {f"imagenet16-{count}": count for count in (120, 150, 200)}
"""Named subsets: the classes with devkit ids from 1 up to this (NAS-Bench-201, NATS-Bench)."""

RECOGNISED_SHARE = 0.95
"""Share of 1,000 names that must begin with our word to be ImageNet's classes. Lists in circulation
differ in a few (`maillot` stands for two classes, some were renamed)."""

_RANGE = re.compile(r"(devkit|sorted):(\d+)-(\d+)", re.ASCII)


class ImageNetClass(NamedTuple):
    """One class of ILSVRC2012.

    Attributes:
        wnid: WordNet id, such as `n01440764`; the only unique name.
        devkit_id: 1 to 1000, the label in the released data.
        sorted_index: 0 to 999, the position among sorted WNIDs; torchvision's label.
        word: first word of the synset, such as `tench`; two are used twice (crane, maillot).
    """

    wnid: str
    devkit_id: int
    sorted_index: int
    word: str


@cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """List the 1,000 classes by sorted WNID."""
    text = resources.files("lowres").joinpath("imagenet_classes.txt").read_text("utf-8")
    rows = [line.split() for line in text.splitlines()]
    numbered = sorted((wnid, devkit_id, word) for devkit_id, (wnid, word) in enumerate(rows, 1))
    return tuple(
        ImageNetClass(wnid, devkit_id, position, word)
        for position, (wnid, devkit_id, word) in enumerate(numbered)
    )


@cache
def wnids() -> tuple[str, ...]:
    """List the WNIDs in sorted order: label to WNID."""
    return tuple(known.wnid for known in imagenet_classes())


@cache
def devkit_wnids() -> tuple[str, ...]:
    """List the WNIDs in devkit order: devkit id - 1 to WNID."""
    return tuple(
        known.wnid for known in sorted(imagenet_classes(), key=lambda known: known.devkit_id)
    )


def named(word: str) -> tuple[str, ...]:
    """Return the WNIDs of the classes of ILSVRC2012 with a word, such as `kit_fox`."""
    return tuple(known.wnid for known in imagenet_classes() if known.word == word)


@cache
def _by_wnid() -> dict[str, ImageNetClass]:
    return {known.wnid: known for known in imagenet_classes()}


def find(wnid: str) -> ImageNetClass | None:
    """Look up a class of ILSVRC2012 by its WNID."""
    return _by_wnid().get(wnid)


def with_word(name: str) -> str:
    """Return a class name for people: a WNID with its word, any other name unchanged."""
    known = find(name)
    return f"{name} {known.word}" if known else name


def devkit_ids(classes: Sequence[str]) -> tuple[int, ...] | None:
    """Return the devkit id of each class, or None if one is not of ILSVRC2012."""
    found = [find(name) for name in classes]
    known = [each.devkit_id for each in found if each is not None]
    return tuple(known) if found and len(known) == len(found) else None


def recognised(names: Sequence[str]) -> tuple[str, ...]:
    """Return the WNIDs for ImageNet's 1,000 class names in words, in sorted-WNID order.

    Repacks of ImageNet name classes by their synsets (`tench, Tinca tinca`). All other names are
    returned unchanged.
    """
    if len(names) != len(imagenet_classes()):
        return tuple(names)
    firsts = (name.partition(",")[0].strip().replace(" ", "_").lower() for name in names)
    pairs = zip(firsts, imagenet_classes(), strict=True)
    alike = sum(first == known.word.lower() for first, known in pairs)
    return wnids() if alike >= RECOGNISED_SHARE * len(names) else tuple(names)


def expanded(asked: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """Return the class names that the values of `--classes` stand for.

    Args:
        asked: class names; `imagenet16-120`, `-150` or `-200`; `devkit:1-120` for a range of
            devkit ids; `sorted:0-99` for a range of labels. A range includes both its ends.
        classes: all class names of the source, in the order of the labels.

    Raises:
        SourceError: a range exceeds its order, or the source's classes have no devkit ids.
    """
    return tuple(dict.fromkeys(name for text in asked for name in _expanded_one(text, classes)))


def _expanded_one(text: str, classes: Sequence[str]) -> Iterator[str]:
    matched = _RANGE.fullmatch(text)
    if text in classes or (text not in SUBSETS and not matched):
        yield text if text in classes else unicodedata.normalize("NFC", text)
        return
    order, first, last = matched.groups() if matched else ("devkit", "1", str(SUBSETS[text]))
    if order == "devkit" and devkit_ids(classes) is None:
        raise SourceError(
            f"{text} needs ImageNet's classes, named by WNID; this source has other classes "
            f"({', '.join(classes[:3])}, ...): list class names, or a range such as sorted:0-9"
        )
    names, base = (devkit_wnids(), 1) if order == "devkit" else (tuple(classes), 0)
    if not base <= int(first) <= int(last) < base + len(names):
        raise SourceError(
            f"{text} must lie between {order}:{base} and {order}:{base + len(names) - 1}, "
            "the smaller number first"
        )
    yield from names[int(first) - base : int(last) - base + 1]
