"""WebDataset: tar shards in which the members of a sample share a name up to the first dot.

lowres reads `KEY.jpg` with `KEY.cls` or `KEY.json`, without unpacking, from a folder of shards, one
tar, or a pattern such as `set-train-{000000..000012}.tar`. A key may have dots where its image and
label share it: `IMG.v2.jpg` and `IMG.v2.cls`. It writes `SPLIT-NUMBER.tar` with `KEY.png`,
`KEY.cls` and `KEY.json`.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError
from lowres.formats.containers.shards import is_pattern, is_sharded, shards_of
from lowres.formats.containers.tar import Member, members
from lowres.formats.indexing import Labelled, assembled
from lowres.formats.names import IMAGE_SUFFIXES, taken_for_train
from lowres.formats.sink import Outline, Sink, png
from lowres.formats.source import Entry, Index, Source, check_name
from lowres.formats.unlabelled import UNLABELLED, unlabelled_index
from lowres.imagenet import devkit_ids, recognised
from lowres.text import count

IMAGES = frozenset(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES)
LABELS = frozenset({"cls", "json"})
"""Extensions of the members that lowres reads, in any case."""

LABEL_BYTES = 2**20
"""The longest `.cls` or `.json`; they hold a number and a few words."""

SHARD_SAMPLES = 10_000
"""Samples in a written shard: about 50 MB of photographs at 32 px."""

_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)


class Label(NamedTuple):
    """The class of a sample: a number, with or without a name; or a name alone."""

    number: int | None
    name: str | None


NO_LABEL = Label(None, None)

Sample = tuple[str, Label, str, int, int]
"""As `Labelled`, before the classes have names."""


class WebDatasetSource(Source):
    """Tar shards, read in place."""

    kind = "webdataset"
    label_order = "as the shards number them"

    def __init__(self, path: Path, *, labelled: bool = True) -> None:
        """Open shards, with the labels of their samples or without."""
        super().__init__(path)
        self.labelled = labelled

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Recognise a tar, a folder of tars, or a pattern of tars."""
        if path.is_dir():
            return is_sharded(path)
        return path.name.lower().endswith(".tar") and (path.is_file() or is_pattern(path))

    def index(self) -> Index:
        return _Listing(self).index()

    def read(self, entry: Entry) -> bytes:
        return self.ranges.read(entry.location, entry.offset, entry.length, entry.key)


class WebDatasetSink(Sink):
    """Writes tar shards of samples `KEY.png`, `KEY.cls` and `KEY.json`, equal bytes for equal sets.

    `KEY` counts the samples of a split in the order written. The JSON has the image's own key, its
    class name and split. `classes.txt` lists the class names in the order of the labels. A set
    without labels has no `.cls` and no `classes.txt`.
    """

    shuffled = True
    takes_unlabelled = True

    def __init__(self, path: Path, outline: Outline) -> None:
        super().__init__(path, outline)
        self._written: Counter[str] = Counter()
        self._shards: list[tarfile.TarFile] = []

    def write(self, split: str, key: str, label: int, image: NDArray[np.uint8]) -> None:
        number = self._written[split]
        if number % SHARD_SAMPLES == 0:
            self._close_shard()
            path = self.partial / f"{split}-{number // SHARD_SAMPLES:06}.tar"
            shard = tarfile.TarFile(path, "w", format=tarfile.USTAR_FORMAT)
            self._shards.append(self.closing.enter_context(shard))
        self._written[split] += 1
        about = {"key": key, "split": split}
        parts = {"png": png(image)}
        if self.outline.labelled:
            about = {"key": key, "class": self.outline.classes[label], "split": split}
            parts["cls"] = str(label).encode("ascii")
        parts["json"] = json.dumps(about, ensure_ascii=False).encode()
        for suffix, data in parts.items():
            info = tarfile.TarInfo(f"{number:08}.{suffix}")  # time 0, owner 0, mode 644
            info.size = len(data)
            self._shards[-1].addfile(info, io.BytesIO(data))

    def complete(self) -> None:
        self._close_shard()
        if self.outline.labelled:
            lines = "".join(f"{name}\n" for name in self.outline.classes)
            (self.partial / "classes.txt").write_text(lines, "utf-8")

    def _close_shard(self) -> None:
        if self._shards:
            self._shards[-1].close()


class _Listing:
    """One pass through the shards; it collects what is left out."""

    def __init__(self, source: WebDatasetSource) -> None:
        self.path = source.path
        self.labelled = source.labelled
        self.ranges, self.leave_out = source.ranges, source.leave_out
        self.notes: list[str] = []
        self.others: Counter[str] = Counter()
        self.labels: dict[Label, Label] = {}
        self.first: dict[bool, str] = {}

    def index(self) -> Index:
        samples: dict[str, list[Sample]] = defaultdict(list)
        shards, left = shards_of(self.path)
        for split, paths in shards.items():
            samples[split] = [row for path in paths for row in self.shard(path)]
        if left:
            self.notes.append(
                f"left out {count(len(left), 'shard')} whose names mean no split: {left[0]} first"
            )
        self.notes += taken_for_train(shards.get("train", ()), self.path)
        if not any(samples.values()):
            raise SourceError(
                f"{self.path} holds no samples: expected tars with KEY.jpg and KEY.cls or KEY.json"
            )
        names, order = self.classes() if self.labelled else ({NO_LABEL: UNLABELLED}, [])
        found = {
            split: [Labelled(row[0], names[row[1]], *row[2:]) for row in samples.pop(split)]
            for split in list(samples)
        }
        if self.others:
            suffixes = ", ".join(sorted(self.others)[:5])
            self.notes.append(
                f"left out {self.others.total()} members that are neither images nor labels "
                f"({suffixes})"
            )
        if not self.labelled:
            return unlabelled_index(found, "shards", self.notes)
        return assembled(found, "shards", self.notes, order)

    def shard(self, path: Path) -> list[Sample]:
        """List the samples of one shard.

        The key of a sample ends at the first dot, as for WebDataset. If a key has no image and
        label of its own, or is left with members such as `v2.png` and `v2.cls`, these keys end at
        the last dot.
        """
        parts: dict[str, dict[str, Member]] = defaultdict(dict)
        dotted: dict[str, dict[str, dict[str, Member]]] = defaultdict(lambda: defaultdict(dict))
        for member in members(path, leave_out=self.leave_out):
            stem, suffix = _parted(member.name)
            inner, dot, last = suffix.rpartition(".")
            if last not in IMAGES | LABELS:
                self.others[f".{suffix}" if suffix else "no suffix"] += 1
                continue
            group = dotted[stem][f"{stem}.{inner}"] if dot else parts[stem]
            if last in group:
                raise SourceError(f"{path}: {stem} has two members .{suffix}; pack the shard again")
            group[last] = member
        for stem, inner_groups in dotted.items():
            for inner, group in inner_groups.items():
                if self.is_sample(group) or not self.is_sample(parts.get(stem, {})):
                    parts[inner] = group
                else:  # more fields of a sample, such as seg.png
                    self.others.update(f".{_parted(m.name)[1]}" for m in group.values())
        return [self.sample(path, stem, found) for stem, found in parts.items()]

    def is_sample(self, found: Mapping[str, Member]) -> bool:
        has_label = not self.labelled or any(suffix in LABELS for suffix in found)
        return has_label and any(suffix in IMAGES for suffix in found)

    def sample(self, path: Path, stem: str, found: dict[str, Member]) -> Sample:
        where = f"{path}: sample {stem}"
        images = [member for suffix, member in found.items() if suffix in IMAGES]
        if len(images) != 1:
            raise SourceError(
                f"{where} must have one image (.jpg, .png, .webp, ...), was "
                f"{', '.join(member.name for member in images) or 'none'}; pack the shard again"
            )
        label = self.label(path, where, found) if self.labelled else NO_LABEL
        kept = self.labels.setdefault(label, label)  # one object a class, not one an image
        self.first.setdefault(label.number is None, where)
        member = images[0]
        return f"{path.stem}/{member.name}", kept, str(path), member.offset, member.length

    def label(self, path: Path, where: str, found: dict[str, Member]) -> Label:
        texts = {
            suffix: self.text(path, where, found[suffix])
            for suffix in ("cls", "json")
            if suffix in found
        }
        label = _label(texts.get("cls"), texts.get("json", "{}"), where)
        if label.number is None and not label.name:
            raise SourceError(
                f"{where} must have a label: a number or name as .cls, or a .json with a number as "
                "label or cls, or with a name as class; pack the shard again. For images without "
                "labels, add --unlabelled"
            )
        if label.number is not None and label.number < 0:
            raise SourceError(
                f"{where} must have a label from 0 up, was {label.number}; remove such samples"
            )
        try:
            check_name(label.name or "0", where)
        except SourceError:
            raise SourceError(
                f"{where} must have a class name in one line that can be a folder's, was "
                f"{(label.name or '')[:80]!r}"
            ) from None
        return label

    def text(self, path: Path, where: str, member: Member) -> str:
        if member.length > LABEL_BYTES:
            raise SourceError(
                f"{where}: {member.name} must have at most {LABEL_BYTES} bytes, was {member.length}"
            )
        data = self.ranges.read(str(path), member.offset, member.length, member.name)
        try:
            return data.decode().strip()
        except UnicodeDecodeError as error:
            raise SourceError(f"{where}: {member.name} must be UTF-8: {error}") from error

    def classes(self) -> tuple[dict[Label, str], list[str]]:
        """Return the class name of each label, and the names in the order of the numbers."""
        if len(self.first) > 1:
            raise SourceError(
                f"labels must all be numbers or all be names: {self.first[False]} has a number, "
                f"{self.first[True]} a name"
            )
        if True in self.first:
            return {label: label.name or "" for label in self.labels}, []
        names: dict[int, set[str | None]] = defaultdict(set)
        for number, name in self.labels:
            names[number or 0].add(name)
        numbers = sorted(names)
        order = [next(iter(names[number])) or "" for number in numbers]
        single = all(len(found) == 1 for found in names.values())
        if not (single and all(order) and len(set(order)) == len(order)):
            if any(name for found in names.values() for name in found):
                self.notes.append(
                    "class names are the numbers: numbers and names do not correspond one to one"
                )
            order = list(map(str, numbers))
        order = list(recognised(order))
        by_number = dict(zip(numbers, order, strict=True))
        if devkit_ids(order) is not None:  # ImageNet's classes have one order everywhere
            order.sort()
        return {label: by_number[label.number or 0] for label in self.labels}, order


def _parted(name: str) -> tuple[str, str]:
    """Split a member's name at the first dot of its last part, as WebDataset does.

    Hidden files, and those called `__like this__`, are not samples.
    """
    last = name.rpartition("/")[2]
    stem, _, suffix = last.partition(".")
    if not stem or name.startswith("__"):
        return name, ""
    return name[: len(name) - len(last)] + stem, suffix.lower()


def _label(text: str | None, about: str, where: str) -> Label:
    """Return number and name from `.cls` and `.json`; the number of `.cls` comes first."""
    try:
        record = json.loads(about)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where} has a .json that is damaged: {error}") from error
    if not isinstance(record, dict):
        record = {}
    named = (record.get(field) for field in ("class", "class_name", "wnid", "label"))
    name = next((value for value in named if isinstance(value, str) and value), None)
    if text is not None:
        return Label(int(text), name) if _INTEGER.fullmatch(text) else Label(None, text)
    numbers = (record.get(field) for field in ("label", "cls"))
    number = next((n for n in numbers if isinstance(n, int) and not isinstance(n, bool)), None)
    return Label(number, name)
