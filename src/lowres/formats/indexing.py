"""From the files of a source to its index: splits, classes, order; and parts of an index."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

from lowres.errors import SourceError, nearest
from lowres.formats.names import class_order, same_class
from lowres.formats.source import Entry, Index
from lowres.imagenet import SUBSETS, named

_NUMBERED = re.compile(r"(.*?)(\d{1,9})(?:-of-(\d{1,9})(?:-[0-9a-f]+)?)?", re.ASCII | re.DOTALL)
"""A beginning, a number, and perhaps how many there are, with a hash as the Hub appends it."""

_COUNTED = re.compile(
    r"(?:(?:train_data|data)_batch_\d+|train|val_data|test_data|test_batch|test)/\d{5,}(?:/|$)",
    re.ASCII,
)
"""A key of the released batches or of CIFAR, which counts the images in the order of the file."""

SPLIT_LISTS = ("xvalid", "xtest"), ("train", "valid")
"""The two lists of a split file of NAS-Bench-201 that divides val or test, and train."""


Row = TypeVar("Row")


class Labelled(NamedTuple):
    """An image whose class has a name, but no number yet; the rest is as in `Entry`."""

    key: str
    name: str
    location: str
    offset: int = 0
    length: int = 0


def assembled(
    found: dict[str, list[Labelled]], layout: str, notes: list[str], order: Sequence[str] = ()
) -> Index:
    """Number the classes and make an index; the lists of images are emptied, to save memory.

    Classes are in the order of `class_order`, unless `order` has all of their names. Splits that
    share no class with train, such as a flat `test/images`, are left out.

    Raises:
        SourceError: there is one class alone, two class names look alike, or two images of a
            split have the same key.
    """
    notes = list(notes)
    stored = {split: {row.name for row in rows} for split, rows in found.items() if rows}
    class_of = same_class(stored)
    in_split = {split: {class_of[name] for name in names} for split, names in stored.items()}
    known = in_split.get("train")
    for split, names in list(in_split.items()):
        if known and not names & known:
            notes.append(f"left out {split}: train has none of its classes ({min(names)}, ...)")
            del in_split[split]
    filled = set().union(*in_split.values())
    order = [class_of.get(name, name) for name in order]
    classes = [name for name in order if name in filled] if order else class_order(filled)
    position = {name: label for label, name in enumerate(classes)}
    label = {name: position[same] for name, same in class_of.items() if same in position}
    for split, names in in_split.items():
        notes += missing_classes(split, names, classes)
    splits = {
        split: [
            Entry(row.key, label[row.name], row.location, row.offset, row.length)
            for row in drained(found.pop(split))
        ]
        for split in in_split
    }
    kept = tuple(note.encode("utf-8", "replace").decode() for note in notes)
    index = Index(tuple(classes), indexed(splits), layout, kept)
    check_several(classes)
    return index


def check_several(classes: Sequence[str]) -> None:
    """Check that there are two classes or more.

    Raises:
        SourceError: there is one class alone.
    """
    if len(classes) == 1:
        raise SourceError(
            f"the source has one class alone, {classes[0]}, and classification needs two: build "
            "from the folder or file that has all classes; for images without labels, add "
            "--unlabelled"
        )


def drained(rows: list[Row]) -> Iterator[Row]:
    """Yield the rows and drop each, so that a million are not in memory twice."""
    rows.reverse()
    while rows:
        yield rows.pop()


def indexed(splits: dict[str, list[Entry]]) -> dict[str, tuple[Entry, ...]]:
    """Sort the entries of each split by key, and leave out empty splits.

    Raises:
        SourceError: two entries of one split have the same key.
    """
    found = {}
    for split in ("train", "val", "test"):
        entries = sorted(splits.get(split, ()), key=attrgetter("key"))
        for one, other in itertools.pairwise(entries):
            if one.key == other.key:
                raise SourceError(
                    f"{split} has two images named {one.key}: in {one.location} and in "
                    f"{other.location}; remove one"
                )
        if entries:
            found[split] = tuple(entries)
    return found


def missing_classes(split: str, filled: Collection[str], classes: Sequence[str]) -> list[str]:
    """Return a note on the classes of which a split has no images, or none."""
    missing = [name for name in classes if name not in filled]
    counts = f"{len(missing)} of the {len(classes)} classes"
    return [f"{split} has no images of {counts}, {missing[0]} first"] if missing else []


def _noted(whole: Index, part: Index, notes: Sequence[str] = ()) -> Index:
    """Return a part of an index with notes on its own classes, not on those of the whole."""
    stale = _class_notes(whole)
    kept = [note for note in whole.notes if note not in stale]
    return replace(part, notes=(*kept, *notes, *_class_notes(part)))


def _class_notes(index: Index) -> list[str]:
    """Return the notes on classes of which a split has no images."""
    found = []
    for split, entries in index.splits.items():
        filled = {index.classes[label] for label in {entry.label for entry in entries}}
        found += missing_classes(split, filled, index.classes)
    return found


def missing_number(stems: Iterable[str]) -> str | None:
    """Return the first of numbered file names that is missing, without its suffix.

    Names with the same beginning and the same count, as in `train-00000-of-00002`, are one
    sequence. With a count, it begins at 0. Without one, it must begin at 0 or 1 if it does, or if
    its numbers are padded with zeros; one that begins later without them is not checked.
    """
    sequences: dict[tuple[str, str | None], dict[int, str]] = {}
    for stem in stems:
        if matched := _NUMBERED.fullmatch(stem):
            prefix, text, count = matched.groups()
            sequences.setdefault((prefix, count), {})[int(text)] = text
    for (prefix, count), numbers in sequences.items():
        low, texts = min(numbers), numbers.values()
        padded = count or any(text.startswith("0") and len(text) > 1 for text in texts)
        if not padded and low > 1:
            continue
        first = 0 if count or low > 1 else low
        width = len(count or max(texts, key=len)) if padded else 0
        for number in range(first, max(int(count or 0), *numbers)):
            if number not in numbers:
                return f"{prefix}{number:0{width}}{f'-of-{count}' if count else ''}"
    return None


def select_classes(index: Index, names: Sequence[str]) -> Index:
    """Keep some classes; they are renumbered in the order that they had.

    Raises:
        SourceError: a name is not among the classes or comes twice.
    """
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise SourceError(f"--classes names {repeated[0]!r} twice; name each class once")
    known = set(index.classes)
    unknown = [name for name in names if name not in known]
    if unknown:
        others = f" (and {len(unknown) - 1} more of those asked for)" if len(unknown) > 1 else ""
        meant = next((wnid for wnid in named(unknown[0]) if wnid in known), None)
        near = (
            f"did you mean {meant}?" if meant else nearest(unknown[0], [*index.classes, *SUBSETS])
        )
        raise SourceError(
            f"class {unknown[0]!r}{others} is not among the {len(index.classes)} classes of the "
            f"source{near and '; '}{near}"
        )
    kept = tuple(name for name in index.classes if name in set(names))
    new_label = {index.classes.index(name): label for label, name in enumerate(kept)}
    splits: dict[str, tuple[Entry, ...]] = {}
    notes = []
    for split, entries in index.splits.items():
        chosen = [entry for entry in entries if entry.label in new_label]
        if chosen:
            splits[split] = tuple(replace(e, label=new_label[e.label]) for e in chosen)
        elif split == "train":
            raise SourceError(f"train has no images of {', '.join(kept)}")
        else:
            notes.append(f"left out {split}: it has no images of the classes kept")
    return _noted(index, replace(index, classes=kept, splits=splits), notes)


def split_by_hash(index: Index, val_fraction: float) -> Index:
    """Move about `val_fraction` of the only split, `train`, to a new split `val`.

    An entry moves to `val` if the SHA-256 of its key, read as a number in [0, 1), is below the
    fraction. So images that you add later never move an older one.

    Raises:
        SourceError: the fraction is not inside (0, 1), the source has its own splits, or one side
            would be empty.
    """
    if list(index.splits) != ["train"]:
        raise SourceError(
            "--val-fraction is for sources without splits; this source has "
            f"{', '.join(index.splits)}: leave the option out"
        )
    train, val = _hashed(index, "train", ("train", "val"), "--val-fraction", val_fraction)
    return _noted(index, replace(index, splits={"train": train, "val": val}))


def val_and_test(index: Index, fraction: float) -> Index:
    """Divide the only split beside train into `val` and `test`, by a hash of each key.

    Args:
        index: with a split `val` or `test`, not both.
        fraction: an entry moves to `test` if its hash, read as a number in [0, 1), is below this.

    Raises:
        SourceError: the fraction is not inside (0, 1), the source has both splits or none, or a
            side would be empty.
    """
    split = _held_out(index, "--test-fraction", "add --val-fraction, which makes val first")
    names = "val", "test"
    return _divided(index, split, names, _hashed(index, split, names, "--test-fraction", fraction))


def split_by_file(index: Index, file: Path) -> Index:
    """Divide a split by a split file of NAS-Bench-201.

    The lists `xvalid` and `xtest` divide the only split beside train into val and test. `train` and
    `valid` divide train into train and val, and a split beside it becomes test. Both count the
    images of the released batches or of CIFAR from 0.

    Args:
        index: of such a source, or of a store that was built from one.
        file: JSON, such as `{"xvalid": ["int", ["1", "2"]], "xtest": ["int", ["0", "3"]]}`.

    Raises:
        SourceError: the file cannot be read, is no split file, or does not fit the source.
    """
    names, parts = _lists(file)
    flag = f"--split-file {file.name}, which has the lists {' and '.join(names)},"
    of_train = names[0] == "train"
    if of_train and "train" not in index.splits:
        raise SourceError(f"{flag} divides train; this source has {', '.join(index.splits)}")
    held_out = None
    if not of_train or len(index.splits) > 1:
        held_out = _held_out(index, flag, "build from a source that has val or test")
    split = "train" if of_train else str(held_out)
    entries = index.splits[split]
    other = next((entry.key for entry in entries if not _COUNTED.match(entry.key)), None)
    if other is not None:
        raise SourceError(
            f"--split-file {file.name} counts images in the order of the released batches or of "
            f"CIFAR; this source names its images otherwise ({other}): build from one of these, or "
            f"divide by {'--val-fraction' if of_train else '--test-fraction'} 0.5"
        )
    if sorted(parts[0] + parts[1]) != list(range(len(entries))):
        raise SourceError(
            f"--split-file {file.name} must have each of the {len(entries):,} images of {split} "
            f"once, counted from 0; it has {len(parts[0]):,} in {names[0]}, {len(parts[1]):,} in "
            f"{names[1]}, up to {max(parts[0] + parts[1], default=0):,}: choose the classes that "
            "it was made for, such as --classes imagenet16-120"
        )
    made = (tuple(entries[row] for row in sorted(part)) for part in parts)
    if held_out == "val" and of_train:
        val, note = index.splits["val"], "val of the source is test"
        index = replace(index, splits={split: entries, "test": val}, notes=(*index.notes, note))
    return _divided(index, split, ("train", "val") if of_train else ("val", "test"), made)


def _lists(file: Path) -> tuple[tuple[str, str], tuple[list[int], list[int]]]:
    """Read a split file: the names of its two lists, and both."""
    try:
        found = json.loads(file.read_bytes())
        names = next((pair for pair in SPLIT_LISTS if set(pair) <= set(found)), None)
        if names is None:
            raise ValueError(f"it has {', '.join(map(repr, found)) or 'nothing'}")
        # A list is ["int", ["1", "2", ...]].
        one, other = ([int(str(row)) for row in found[name][1]] for name in names)
    except OSError as error:
        raise SourceError(f"--split-file {file} cannot be read: {error}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise SourceError(
            f"--split-file {file} is no split file of NAS-Bench-201: it must be JSON with the "
            'lists "xvalid" and "xtest", or "train" and "valid", such as '
            f'{{"xvalid": ["int", ["1", "2"]], ...}} ({error!s:.200})'
        ) from error
    return names, (one, other)


def _held_out(index: Index, flag: str, without: str) -> str:
    """Return the only split beside train, which a flag needs."""
    found = [split for split in index.splits if split != "train"]
    if len(found) == 1:
        return found[0]
    raise SourceError(
        f"{flag} needs one split beside train, val or test; this source has "
        f"{', '.join(index.splits)}: {'leave it out' if found else without}"
    )


def _divided(
    index: Index, split: str, names: tuple[str, str], parts: Iterable[tuple[Entry, ...]]
) -> Index:
    """Put two parts in the place of a split, with a note of their sizes."""
    made = dict(zip(names, parts, strict=True))
    rest = {name: rows for name, rows in index.splits.items() if name != split} | made
    order: tuple[str, ...] = ("train", "val", "test")
    splits = {name: rest[name] for name in order if name in rest}
    one, other = (f"{len(rows):,}" for rows in made.values())
    note = f"{split} is divided: {one} images are {names[0]}, {other} are {names[1]}"
    return _noted(index, replace(index, splits=splits), [note])


def _hashed(
    index: Index, split: str, names: tuple[str, str], flag: str, fraction: float
) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Divide a split by hashes of its keys: the second part has about `fraction` of the entries."""
    if not 0.0 < fraction < 1.0:
        raise SourceError(f"{flag} must lie between 0 and 1, was {fraction}")
    # val is a part of train by these hashes, and test a part of val, so they must differ.
    salt = "test " if names[1] == "test" else ""
    sides: tuple[list[Entry], list[Entry]] = [], []
    for entry in index.splits[split]:
        digest = hashlib.sha256((salt + entry.key).encode()).digest()
        sides[int.from_bytes(digest[:8], "big") < fraction * 2**64].append(entry)
    for name, side in zip(names, sides, strict=True):
        if not side:
            raise SourceError(
                f"{flag} {fraction} of {len(index.splits[split])} images leaves {name} empty; "
                "choose another fraction"
            )
    return tuple(sides[0]), tuple(sides[1])
