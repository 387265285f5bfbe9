"""A tree of image files, and which of its folders are splits and which are classes.

The tree is a list of names: of a folder on disk or of an archive. A level is a folder below the
source or, if there are splits, below a split. `understood` finds the level of the classes where no
other reading makes sense, and refuses the tree where two readings do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from lowres.errors import SourceError
from lowres.formats.names import SPLIT_NAMES, are_parts, is_wnid, series, split_of, wnid_in
from lowres.text import command, count

ANNOTATIONS = "val_annotations.txt"
"""Tiny ImageNet's list of the classes of val."""

UNLABELLED = frozenset({"unlabeled", "unlabelled", "unsup", "unsupervised"})
"""Names of folders, in any case, of images without labels."""

BESIDE = frozenset(
    {
        "images", "image", "imgs", "img", "jpegimages", "jpg", "jpeg", "png", "annotations",
        "annots", "masks", "trimaps", "segmentationclass", "segmentationobject",
    }
)  # fmt: skip
"""Names of folders, in any case, that hold the images of all classes, or what is drawn on them."""

NAMED = 3
"""Folders named in a message."""

FLAG = "--class-level"

ARCHIVES = (".zip", ".tar")
"""Suffixes of files that are trees of images; no command can name a folder inside."""


@dataclass(eq=False)
class Folder:
    """A folder of a source, without what systems put there.

    Attributes:
        path: its path below the source, with `/`; empty for the source itself.
        images: names of the images directly inside.
        folders: the folders inside, by name, sorted.
        lists: names of files inside that may label images: tables, and Tiny ImageNet's list.
        is_closed: it cannot be listed, so nobody knows whether it has images.
    """

    path: str
    images: list[str] = field(default_factory=list)
    folders: dict[str, Folder] = field(default_factory=dict)
    lists: list[str] = field(default_factory=list)
    is_closed: bool = False

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @cached_property
    def count(self) -> int:
        """Number of images in it and below."""
        return len(self.images) + sum(below.count for below in self.folders.values())

    @cached_property
    def filled(self) -> list[Folder]:
        """The folders directly inside that have images."""
        return [below for below in self.folders.values() if below.count]

    @property
    def is_flat(self) -> bool:
        """Whether no folder below it has images."""
        return not self.filled

    def walk(self) -> Iterator[Folder]:
        """Yield it and every folder below."""
        yield self
        for below in self.folders.values():
            yield from below.walk()

    def at(self, level: int) -> Iterator[Folder]:
        """Yield the folders with images that lie `level` levels below."""
        if level == 0:
            yield self
        for below in self.filled if level else ():
            yield from below.at(level - 1)


class ClassFolder(NamedTuple):
    """A folder whose images are of one class.

    Attributes:
        name: the class; None if a file's own name or a list has it.
        base: the folder of its split; keys are paths below it.
        is_listed: Tiny ImageNet's list labels the images.
    """

    name: str | None
    folder: Folder
    base: Folder
    is_listed: bool = False


@dataclass(frozen=True, slots=True)
class Understood:
    """The class folders of each split, the layout, and notes on what is left out."""

    splits: dict[str, list[ClassFolder]]
    layout: str
    notes: list[str]


def understood(
    root: Folder, where: Path, level: int | None = None, *, split: str = "train"
) -> Understood:
    """Find the splits and the classes of a tree.

    Args:
        root: the tree; folders of systems are not in it.
        where: its path, for messages.
        level: how many levels below the source, or below each split, the classes lie; None to
            find it.
        split: the split of a tree without split folders.

    Raises:
        SourceError: there are no labelled images, or more than one reading makes sense.
    """
    if level is not None and level < 1:
        raise SourceError(f"{FLAG} must be 1 or more, was {level}")
    return _Tree(where, level).of(root, split)


class _Tree:
    """One attempt to understand a tree."""

    def __init__(self, where: Path, level: int | None) -> None:
        self.where = where
        self.level = level
        self.notes: list[str] = []

    def of(self, root: Folder, split: str) -> Understood:
        splits = self.splits(root)
        inner = root
        while not splits and not inner.images and len(inner.filled) == 1:
            inner = inner.filled[0]
            splits = self.splits(inner)
        if inner is not root and splits:
            self.notes.append(f"read {inner.path}, the only folder with images")
        if not splits:
            if inner is not root and len(inner.filled) > 1 and _all_wnids(inner.filled):
                root = inner
                self.notes.append(f"read {inner.path}, the only folder with images")
            splits = {split: [root]}
            layout = "class"
        else:
            layout = "split/class"
        level = self.class_level(next(iter(splits.values())))
        found = {name: self.classes(name, parts, level) for name, parts in splits.items()}
        if any(each.is_listed for each in found.get("val", ())):
            layout = "Tiny ImageNet"
        self.note_joined(found, level)
        return Understood(found, layout, self.notes)

    def splits(self, base: Folder) -> dict[str, list[Folder]]:
        """Return the folders of each split, or none if the folders are no splits.

        Raises:
            SourceError: they may be splits and may be classes, and no level was given.
        """
        named = [(below, split) for below in base.filled if (split := split_of(below.name))]
        if not named:
            return {}
        folders = [below for below, _ in named]
        others = [below for below in base.filled if below not in folders]
        nested = not all(below.is_flat for below in folders)
        by_name = not nested and not others and all(wnid_in(i) for f in folders for i in f.images)
        if not by_name:
            doubt = self.doubt(named, others) if nested else self.flat_doubt(base, named, others)
            if doubt and self.level is None:
                raise SourceError(f"{self.path(base)} {doubt}")
            if doubt or not nested:
                return {}
        if others:
            names = ", ".join(below.name for below in others)
            self.notes.append(f"left out the folders beside the splits: {names}")
        return self.joined(named)

    def doubt(self, named: Sequence[tuple[Folder, str]], others: Sequence[Folder]) -> str | None:
        """Return why folders named like splits, with folders inside, may be classes; or None."""
        splits = {split for _, split in named}
        exact = {split for below, split in named if below.name.lower() in SPLIT_NAMES}
        names = _names([below for below, _ in named])
        if "train" not in splits:
            way = f"name a folder train, or {self.build_from(named[0][0])}"
            names += " but no train"
        elif others and (splits == {"train"} or (len(exact) < 2 and not _share_classes(named))):
            train = next(below for below, split in named if split == "train")
            way = f"{self.build_from(train)}, or rename the folders"
            names += f" beside {_names(others)}, which may be splits or classes"
        else:
            return None
        return f"has {names}: {way}; or, if all of them are classes, add {FLAG} 1"

    def flat_doubt(
        self, base: Folder, named: Sequence[tuple[Folder, str]], others: Sequence[Folder]
    ) -> str | None:
        """Return why folders named like splits, without folders inside, may be no classes."""
        splits = {split for _, split in named}
        exact = {split for below, split in named if below.name.lower() in SPLIT_NAMES}
        parts = len({series(below.name) for below, _ in named}) == 1
        if len(exact if others else splits) > 1 or (not others and (exact or parts)):
            return self.flat(base, [below for below, _ in named])
        if exact - {"train"}:
            return (
                f"has {named[0][0].name} beside {_names(others)}, which may be a split or a class: "
                f"move it away, or add {FLAG} 1 if it is a class"
            )
        return None  # a class called train

    def joined(self, named: Sequence[tuple[Folder, str]]) -> dict[str, list[Folder]]:
        """Join the parts of each split; two folders that are no parts of one are refused."""
        splits: dict[str, list[Folder]] = {}
        for split in ("train", "val", "test"):
            folders = [below for below, of in named if of == split]
            numbers = sorted(_last_number(below.name) for below in folders)
            parts = len({series(below.name) for below in folders}) == 1
            if len(folders) > 1 and not (
                parts and numbers in (list(range(len(folders))), list(range(1, len(folders) + 1)))
            ):
                raise SourceError(
                    f"{self.path(folders[0]).parent} has two folders for the split {split}: "
                    f"{folders[0].name} and {folders[1].name}; rename or move one. Parts of one "
                    "split are numbered from 0 or 1 without a gap"
                )
            if len(folders) > 1:
                self.notes.append(f"{split} is in {len(folders)} parts: {_names(folders)}")
            if folders:
                splits[split] = [_unwrapped(below, split) for below in folders]
        return splits

    def class_level(self, parts: Sequence[Folder]) -> int:
        """Return how many levels below the parts of train the classes lie."""
        tops = [below for part in parts for below in part.filled]
        if self.level is not None:
            if not any(found for part in parts for found in part.at(self.level)):
                raise SourceError(
                    f"{FLAG} {self.level}: {self.path(parts[0])} has no folders with images "
                    f"{count(self.level, 'level')} below it; choose a smaller level"
                )
            return self.level
        base = parts[0]
        if not tops:
            return 1
        if doubt := self.class_doubt(base, tops):
            raise SourceError(f"{self.path(base)} has {doubt}")
        inside = {below.name for top in tops for below in top.filled}
        one_inside = len(inside) == 1 and all(below.is_flat for t in tops for below in t.filled)
        if any(top.images for top in tops) or _all_wnids(tops) or one_inside:
            if are_parts([top.name for top in tops]):
                raise SourceError(
                    f"{self.path(base)} {self.flat(base, tops)}; or, if {_names(tops)} are the "
                    f"classes, add {FLAG} 1"
                )
            return 1
        depth = _depth_of_wnids(parts)
        if depth:
            return depth
        raise SourceError(self.nested(parts, tops))

    def class_doubt(self, base: Folder, tops: Sequence[Folder]) -> str | None:
        """Return why the folders of train may not be the classes, or None."""
        names = {top.name for top in tops}
        if len(names) == 1:
            return self.one_class(base, tops[0])
        no_class = UNLABELLED | BESIDE
        if found := [name for name in sorted(names) if name.lower() in no_class]:
            return (
                f"a folder {found[0]}, which is no class by its name: move it away, build from the "
                f"folder that has the class folders, or add {FLAG} 1 if it is a class"
            )
        for top, below in [(each, below) for each in tops for below in each.filled]:
            inner = f"{top.name}/{below.name}"
            if below.name.lower() in SPLIT_NAMES:
                return (
                    f"splits inside its folders, such as {inner}: lowres reads split/class/image; "
                    f"{self.build_from(top)}, move the images, or add {FLAG} 1 if {below.name} is "
                    "no split"
                )
            if below.name in names and below.name != top.name:
                return (
                    f"a folder {below.name} and a folder {inner}, so the level of the classes is "
                    f"not clear: move one of them; or, if {_names(tops)} are the classes, add "
                    f"{FLAG} 1"
                )
        return None

    def classes(self, split: str, parts: Sequence[Folder], level: int) -> list[ClassFolder]:
        """List the class folders of one split."""
        found: list[ClassFolder] = []
        for base in parts:
            if ANNOTATIONS in base.lists:
                listed = base.folders.get("images", Folder(""))
                found.append(ClassFolder(None, listed, base, is_listed=True))
                found += [
                    ClassFolder(below.name, below, base)
                    for below in base.filled
                    if below is not listed
                ]
                continue
            above = [at for depth in range(level) for at in base.at(depth) if at.images]
            if base.is_flat and base.images and all(map(wnid_in, base.images)):
                found.append(ClassFolder(None, base, base))
                above = []
            elif base.is_flat and split == "train":
                raise SourceError(f"{self.path(base)} {self.flat(base, [base])}")
            found += [ClassFolder(_class_of(at.name), at, base) for at in base.at(level)]
            if loose := sum(len(at.images) for at in above):
                what = count(loose, "image that is", "images that are")
                places = ", ".join(f"{at.name or self.where.name} {len(at.images)}" for at in above)
                self.notes.append(f"left out {what} in no class folder: {places}")
            empty = [b for b in base.folders.values() if not (b.count or b.is_closed)]
            if empty and base.filled and level == 1 and split == "train":
                raise SourceError(
                    f"{self.path(empty[0])} holds no images, so it is no class; without it, the "
                    "labels of other classes would change: fill or remove the folder"
                )
        return found

    def note_joined(self, found: Mapping[str, Sequence[ClassFolder]], level: int) -> None:
        """Note the classes that join the images of several folders, and how to separate them."""
        joined: dict[str, tuple[str, int]] = {}
        same: dict[str, str] = {}
        for rows in found.values():
            places: dict[tuple[int, str], list[str]] = defaultdict(list)
            for name, top, base, _ in rows:
                if name is None:
                    continue
                places[id(base), name].append(top.path)
                for at in top.walk():
                    parts = [at.path] * bool(at.images) + [below.path for below in at.filled]
                    if len(parts) > 1:
                        depth = at.path.count("/") - top.path.count("/") + level + 1
                        joined.setdefault(name, (" and ".join(parts[:2]), depth))
            for (_, name), paths in places.items():
                if len(paths) > 1:
                    same.setdefault(name, " and ".join(paths[:2]))
        if joined and self.level is None:
            example, depth = next(iter(joined.values()))
            self.notes.append(
                f"{count(len(joined), 'class joins', 'classes join')} the images of several "
                f"folders, such as {example}; if those are the classes, add {FLAG} {depth}"
            )
        if same:
            self.notes.append(
                f"{count(len(same), 'class joins', 'classes join')} folders of the same name, such "
                f"as {next(iter(same.values()))}"
            )

    def path(self, folder: Folder) -> Path:
        return self.where / folder.path

    def build_from(self, folder: Folder) -> str:
        """Return the advice to build from one folder; an archive must be unpacked for that."""
        if self.where.suffix.lower() in ARCHIVES:
            return f"unpack {self.where.name} and build from its folder {folder.path}"
        return f"build from {self.path(folder)}"

    def flat(self, base: Folder, folders: Sequence[Folder]) -> str:
        """Return why images without class folders are refused, and what labels them perhaps."""
        held = ", ".join(f"{below.name or self.where.name} {below.count}" for below in folders)
        advice = self.table(base, folders) or "expected class/image.jpg or train/class/image.jpg"
        return f"holds no labelled images: its images lie in no class folders ({held}); {advice}"

    def table(self, base: Folder, folders: Sequence[Folder]) -> str | None:
        """Return the advice to build from a table in or beside the folders, if there is one."""
        tables = [
            self.path(place) / name
            for place in dict.fromkeys((base, *folders))
            for name in place.lists
            if name != ANNOTATIONS
        ]
        if not tables:
            return None
        return (
            f"if {tables[0].name} labels them, run: {command('build', tables[0])} STORE "
            "--paths COLUMN --labels COLUMN"
        )

    def one_class(self, base: Folder, top: Folder) -> str:
        advice, inner = "add the folders of other classes", top
        while not inner.images and len(inner.filled) == 1:
            inner = inner.filled[0]
        if inner.is_flat and (table := self.table(base, list(top.walk()))):
            advice = f"{table}; else {advice}"
        elif len(inner.filled) > 1:
            what = f"the {len(inner.filled)} folders in it ({_names(inner.filled)})"
            way = self.build_from(inner)
            if self.where.suffix.lower() in ARCHIVES:
                way = f"add {FLAG} {inner.path.count('/') - top.path.count('/') + 2}"
            advice = f"if {what} are the classes, {way}; else {advice}"
        return (
            f"one class alone, {top.name}, and classification needs two: {advice}; for images "
            "without labels, add --unlabelled"
        )

    def nested(self, parts: Sequence[Folder], tops: Sequence[Folder]) -> str:
        """Return why folders without images of their own are refused, with each way out."""
        base, ways = parts[0], []
        level = 1
        while found := [at for part in parts for at in part.at(level)]:
            example = found[0].path.removeprefix(f"{base.path}/")
            kinds = len({at.name for at in found})
            ways.append(f"{FLAG} {level} if the {kinds} folders such as {example} are the classes")
            level += 1
        inner = tops[0]
        while inner.filled and not any(below.images for below in inner.filled):
            inner = inner.filled[0]
        return (
            f"{self.path(base)} has folders in folders, so the level of the classes is not clear: "
            f"add {', or '.join(ways)}; or {self.build_from(inner)}"
        )


def _unwrapped(folder: Folder, split: str) -> Folder:
    """Return the folder inside of the same split, as in `seg_train/seg_train/class`."""
    inner = folder.filled
    if folder.images or len(inner) != 1 or split_of(inner[0].name) != split:
        return folder
    return _unwrapped(inner[0], split)


def _share_classes(named: Sequence[tuple[Folder, str]]) -> bool:
    """Return whether train shares a class folder with another split."""
    inside = {
        is_train: {
            below.name
            for folder, split in named
            if (split == "train") == is_train
            for below in _unwrapped(folder, split).filled
        }
        for is_train in (True, False)
    }
    return bool(inside[True] & inside[False])


def _all_wnids(folders: Sequence[Folder]) -> bool:
    return all(is_wnid(below.name) for below in folders)


def _depth_of_wnids(parts: Sequence[Folder]) -> int | None:
    """Return the level at which all folders are WNIDs, each once in each part; or None."""
    level = 2
    while found := [[at.name for at in part.at(level)] for part in parts]:
        names = [name for each in found for name in each]
        if not names:
            return None
        if all(map(is_wnid, names)):
            return level if all(len(set(each)) == len(each) for each in found) else None
        level += 1
    return None


def _class_of(name: str) -> str:
    """Return the class of a folder; `label=cat`, as Spark and Hive name partitions, is cat."""
    return name.partition("=")[2] if name.lower().startswith(("label=", "class=")) else name


def _last_number(name: str) -> int:
    digits = "".join(c if c.isdigit() else " " for c in name).split()
    return int(digits[-1]) if digits else -1


def _names(folders: Iterator[Folder] | Sequence[Folder]) -> str:
    names = [folder.name for folder in folders]
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
