"""Folders of images, one folder a class.

lowres reads these layouts:

- `split/class/...` with splits called train, val (or valid, validation) and test;
- `class/...`, which becomes the split train;
- Tiny ImageNet's own: `train/WNID/images/...`, and `val/images/...` labelled by
  `val/val_annotations.txt`.

It writes `split/class/name.png`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError, StoreError, reason
from lowres.formats.containers.streams import read_at
from lowres.formats.indexing import (
    SPLIT_NAMES,
    Labelled,
    assembled,
    is_hidden,
    is_image_name,
)
from lowres.formats.sink import Outline, Sink, png
from lowres.formats.source import Entry, Index, Source, check_name, file_stamp, refused

ANNOTATIONS = "val_annotations.txt"
LONGEST_NAME_BYTES = 255
"""The limit of one name in a path, in all common file systems."""


class FolderSource(Source):
    """A folder of class folders, read in place; links are followed."""

    kind = "folder"
    label_order = "names of folders; 0-based in sorted order here"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.is_dir()

    def index(self) -> Index:
        scan = FolderScan(self.path, self.leave_out)
        index = scan.index()
        return replace(index, notes=(*index.notes, *self.left_out))

    def read(self, entry: Entry) -> bytes:
        # Without the objects that Python makes for a file: there are a million.
        descriptor = os.open(path_of(entry), os.O_RDONLY)
        try:
            return read_at(descriptor, 0, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)

    def stamp(self, entry: Entry) -> str:
        return file_stamp(path_of(entry))

    def describe(self, entry: Entry) -> str:
        return path_of(entry)


def path_of(entry: Entry) -> str:
    """Return the path of an entry; a million share a thousand locations, their class folders."""
    return f"{entry.location}/{entry.key.partition('/')[2]}"


class FolderScan:
    """One pass through a folder; `notes` and suffixes of other files are what it leaves out.

    Args:
        root: the folder.
        leave_out: `Source.leave_out`, called with each name and folder that cannot be taken.
    """

    def __init__(self, root: Path, leave_out: Callable[[str, str], None] = refused) -> None:
        self.root, self.leave_out = root, leave_out
        self.closed: set[str] = set()
        self.notes: list[str] = []
        self.other_suffixes: Counter[str] = Counter()

    def index(self) -> Index:
        splits = self.split_folders()
        if splits:
            found = {split: self.labelled(split, folder) for split, folder in splits.items()}
            beside = [f.name for f in _folders(self.root) if f.name.lower() not in SPLIT_NAMES]
            if beside:
                self.notes.append(f"left out the folders beside the splits: {', '.join(beside)}")
        else:
            found = {"train": self.labelled("train", self.root)}
        if not found["train"]:
            names = sorted(child.name for child in self.root.iterdir())
            raise SourceError(
                f"{self.root} holds no labelled images: expected class/image.jpg or "
                f"train/class/image.jpg; found {', '.join(names[:5]) or 'nothing'}"
            )
        self.note_others()
        flat_val = "val" in splits and _is_annotated(splits["val"])
        layout = "split/class" if splits else "class"
        return assembled(found, "Tiny ImageNet" if flat_val else layout, self.notes)

    def split_folders(self) -> dict[str, Path]:
        """Return the split folders, or none if the class folders come first."""
        splits = self.named_splits()
        train = splits.get("train")
        if not train and splits and all(_folders(f) for f in _folders(self.root)):
            raise SourceError(
                f"{self.root} has {', '.join(sorted(splits))} but no train: name a folder train, "
                "or build from the folder that holds the classes"
            )
        if not train or not _folders(train):
            return {}
        return {name: splits[name] for name in ("train", "val", "test") if name in splits}

    def named_splits(self) -> dict[str, Path]:
        """Return the folders that are named like splits, at most one for each."""
        splits: dict[str, Path] = {}
        for folder in _folders(self.root, SPLIT_NAMES):
            split = SPLIT_NAMES[folder.name.lower()]
            if split in splits:
                raise SourceError(
                    f"{self.root} has two folders for the split {split}: {splits[split].name} and "
                    f"{folder.name}; rename or move one"
                )
            splits[split] = folder
        return splits

    def labelled(self, split: str, folder: Path) -> list[Labelled]:
        """List the images of a split by class folders, or by Tiny ImageNet's list."""
        if _is_annotated(folder):
            return self.annotated(folder)
        class_folders = _folders(folder)
        labelled = [
            Labelled(key, class_folder.name, location)
            for class_folder, location in zip(class_folders, map(str, class_folders), strict=True)
            for key in self.images(class_folder, f"{class_folder.name}/")
        ]
        with os.scandir(folder) as children:
            loose = sum(
                is_image_name(child.name) and not is_hidden(child.name) and not child.is_dir()
                for child in children
            )
        if loose:
            self.notes.append(f"left out {loose} images in {folder.name} without a class folder")
        filled = {row.name for row in labelled}
        empty = [
            child.name
            for child in class_folders
            if child.name not in filled and str(child) not in self.closed
        ]
        if empty and filled and split == "train":
            raise SourceError(
                f"{folder / empty[0]} holds no images, so it is no class; without it, the labels "
                "of other classes would change: fill or remove the folder"
            )
        return labelled

    def annotated(self, folder: Path) -> list[Labelled]:
        """Read Tiny ImageNet's val: one line for each image, with its name, a tab and its WNID."""
        path = folder / ANNOTATIONS
        names = {}
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            name, tab, rest = line.partition("\t")
            if not tab:
                raise SourceError(f"{path}, line {number} must be NAME<tab>CLASS..., was {line!r}")
            names[name] = rest.partition("\t")[0]
        labelled = []
        location = str(folder / "images")
        for key in self.images(folder / "images", "images/"):
            name = PurePosixPath(key).name
            if name not in names:
                raise SourceError(f"{folder / key} is not in {path}")
            labelled.append(Labelled(key, names.pop(name), location))
        if names:
            raise SourceError(
                f"{path} lists {len(names)} images that are not in {folder / 'images'}, "
                f"{min(names)} first"
            )
        return labelled

    def images(self, folder: Path, prefix: str) -> Iterator[str]:
        """Yield the key of each image below a folder."""
        for key, path in self.walk(str(folder), prefix, (folder.stat(),)):
            if not is_image_name(key):
                self.other_suffixes[PurePosixPath(key).suffix.lower()] += 1
                continue
            # Names that are not UTF-8 come with halves of surrogate pairs.
            if "\n" in key or (not key.isascii() and re.search("[\ud800-\udfff]", key)):
                what = f"a file name must be UTF-8 in one line, was {path!r}"
                self.leave_out(what, "rename the file")
                continue
            yield key

    def walk(
        self, folder: str, prefix: str, above: tuple[os.stat_result, ...]
    ) -> Iterator[tuple[str, str]]:
        """Yield key and path of every file below a folder, links followed."""
        try:
            with os.scandir(folder) as children:
                found = [child for child in children if not is_hidden(child.name)]
        except PermissionError as error:
            self.closed.add(folder)
            what = f"the folder {folder!r} cannot be read: {reason(error)}"
            self.leave_out(what, "change its permission")
            return
        for child in found:
            if not child.is_dir():
                # A pipe or device might never end; the build reports a link to nothing.
                if child.is_file() or not Path(child.path).exists():
                    yield prefix + child.name, child.path
                continue
            status = child.stat()
            if any(os.path.samestat(status, each) for each in above):
                raise SourceError(f"{child.path} links to a folder above itself; remove the link")
            yield from self.walk(child.path, f"{prefix}{child.name}/", (*above, status))

    def note_others(self) -> None:
        """Note the files that are not named like images."""
        if self.other_suffixes:
            suffixes = ", ".join(suffix or "no suffix" for suffix in sorted(self.other_suffixes))
            self.notes.append(
                f"left out {self.other_suffixes.total()} files not named like images ({suffixes})"
            )


class FolderSink(Sink):
    """Writes PNG files as `split/class/name.png`, which every ImageFolder reader reads.

    Raises:
        StoreError: a class name cannot be the name of a class folder.
    """

    def __init__(self, path: Path, outline: Outline) -> None:
        for name in outline.classes:
            if "/" in name or is_hidden(name) or len(os.fsencode(name)) > LONGEST_NAME_BYTES:
                raise StoreError(
                    f"class {name[:80]!r} cannot be the name of a folder, which has no /, no dot "
                    f"first and at most {LONGEST_NAME_BYTES} bytes: choose another format by --to"
                )
        super().__init__(path, outline)

    def write(self, split: str, key: str, label: int, image: NDArray[np.uint8]) -> None:
        name = check_name(self.outline.classes[label], "the store")
        parts = PurePosixPath(check_name(key, "the store")).parts
        below = parts[1:] if parts[0] == name and len(parts) > 1 else parts
        whole = self.partial.joinpath(split, name, *below)
        target = whole.with_suffix(".png")
        if target.exists():  # x.jpg and x.png of one class
            target = whole.with_name(f"{whole.name}.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(png(image))

    def complete(self) -> None:
        pass


def _is_annotated(folder: Path) -> bool:
    return (folder / ANNOTATIONS).is_file() and (folder / "images").is_dir()


def _folders(folder: Path, called: Collection[str] | None = None) -> list[Path]:
    """List the folders in a folder by name; with `called`, those of these names in any case."""
    with os.scandir(folder) as children:
        names = [
            child.name
            for child in children
            if called is None or child.name.lower() in called
            if not is_hidden(child.name) and child.is_dir()
        ]
    return [folder / name for name in sorted(names)]
