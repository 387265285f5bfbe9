"""Parts of an index: some of its classes, or a new split for validation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from lowres.errors import SourceError, nearest
from lowres.formats.source import Entry, Index
from lowres.imagenet import SUBSETS, named


def select_classes(index: Index, names: Sequence[str]) -> Index:
    """Keep only some classes; labels are numbered anew, in the order they had.

    Raises:
        SourceError: a name is not among the classes or is given twice.
    """
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise SourceError(f"class {repeated[0]!r} is asked for twice")
    known = set(index.classes)
    unknown = [name for name in names if name not in known]
    if unknown:
        others = f" (and {len(unknown) - 1} more of those asked for)" if len(unknown) > 1 else ""
        raise SourceError(
            f"class {unknown[0]!r}{others} is not among the {len(index.classes)} classes of the "
            f"source{_hint(unknown[0], index.classes)}"
        )
    kept = tuple(name for name in index.classes if name in set(names))
    new_label = {index.classes.index(name): label for label, name in enumerate(kept)}
    splits = {
        split: tuple(
            replace(entry, label=new_label[entry.label])
            for entry in entries
            if entry.label in new_label
        )
        for split, entries in index.splits.items()
    }
    if not splits.get("train", True):
        raise SourceError(f"train has no images of {', '.join(kept)}")
    empty = [split for split, entries in splits.items() if not entries]
    notes = tuple(f"left out {split}: it has no images of the classes kept" for split in empty)
    filled = {split: entries for split, entries in splits.items() if entries}
    return replace(index, classes=kept, splits=filled, notes=index.notes + notes)


def _hint(name: str, classes: Sequence[str]) -> str:
    meant = next((wnid for wnid in named(name) if wnid in classes), None)
    hint = f"did you mean {meant}?" if meant else nearest(name, [*classes, *SUBSETS])
    return f"; {hint}" if hint else ""


def split_by_hash(index: Index, val_fraction: float) -> Index:
    """Move about `val_fraction` of the only split, `train`, to a new split `val`.

    An entry goes to `val` when the SHA-256 of its key, read as a number in [0, 1), is below the
    fraction. So images added later never move one that was there.

    Raises:
        SourceError: the fraction is not inside (0, 1), the source has its own splits, or one side
            would be empty.
    """
    if not 0.0 < val_fraction < 1.0:
        raise SourceError(f"--val-fraction must lie between 0 and 1, was {val_fraction}")
    if list(index.splits) != ["train"]:
        raise SourceError(
            f"--val-fraction is for sources without splits, and this one has "
            f"{', '.join(index.splits)}; leave the option out"
        )
    sides: dict[str, list[Entry]] = {"train": [], "val": []}
    for entry in index.splits["train"]:
        number = int.from_bytes(hashlib.sha256(entry.key.encode()).digest()[:8], "big")
        sides["val" if number < val_fraction * 2**64 else "train"].append(entry)
    for split, entries in sides.items():
        if not entries:
            raise SourceError(
                f"--val-fraction {val_fraction} of {len(index.splits['train'])} images "
                f"leaves {split} empty; choose another fraction"
            )
    return replace(index, splits={split: tuple(entries) for split, entries in sides.items()})
