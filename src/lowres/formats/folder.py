"""Folders of images, one folder a class.

lowres reads these layouts:

- `split/class/...`, with splits by their names (`names.py`), also in numbered parts;
- `class/...`, which becomes the split train;
- `split/...` and `...` with ImageNet's WNID in the name of every file;
- Tiny ImageNet's own: `train/WNID/images/...`, and `val/images/...` labelled by
  `val/val_annotations.txt`, also if val is sorted into class folders, whole or in part.

It writes `split/class/name.png` and `classes.txt`, the class names in the order of the labels.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError, StoreError, reason
from lowres.formats.containers.streams import read_at
from lowres.formats.indexing import Labelled, assembled
from lowres.formats.names import (
    MAGIC_BYTES,
    is_image_data,
    is_image_name,
    is_system,
    split_of,
    unread_form,
    wnid_in,
)
from lowres.formats.sink import Outline, Sink, png
from lowres.formats.source import (
    Entry,
    Index,
    LeaveOut,
    Source,
    check_name,
    file_stamp,
    is_one_line,
    odd_name,
    refused,
    stamp_of,
)
from lowres.formats.tree import ANNOTATIONS, ClassFolder, Folder, understood
from lowres.text import count

CLASSES = "classes.txt"
"""Beside the splits: one class name a line, in the order of the labels."""

LISTS = (".csv", ".tsv", ".jsonl", ".parquet")
"""Suffixes of files that may label the images beside them."""

NAMES_KEPT = 20

LONGEST_NAME_BYTES = 255
"""The limit of one name in a path, in all common file systems."""


class FolderSource(Source):
    """A folder of class folders, read in place; links are followed."""

    kind = "folder"
    label_order = "names of folders; 0-based in sorted order here, numbers as numbers"

    def __init__(self, path: Path, class_level: int | None = None) -> None:
        """Open a folder whose classes lie `class_level` levels below it or below its splits."""
        super().__init__(path)
        self.class_level = class_level

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.is_dir()

    def index(self) -> Index:
        scan = FolderScan(self.path, self.leave_out)
        tree = scan.tree()
        if not tree.count:
            names = sorted(child.name for child in self.path.iterdir())
            hint = unread_form(sorted(scan.other_names))
            raise SourceError(
                f"{self.path} holds no labelled images: expected class/image.jpg or "
                f"train/class/image.jpg; found {', '.join(names[:5]) or 'nothing'}"
                f"{'; ' if hint else ''}{hint or ''}"
            )
        read = understood(tree, self.path, self.class_level)
        found = {split: scan.labelled(folders) for split, folders in read.splits.items()}
        order = class_list(self.path)
        if set(order) != {row.name for rows in found.values() for row in rows}:
            order = []  # a list of other things
        return assembled(found, read.layout, [*read.notes, *scan.notes()], order)

    def read(self, entry: Entry) -> bytes:
        return self.read_stamped(entry)[0]

    def read_stamped(self, entry: Entry) -> tuple[bytes, str]:
        # Without the objects that Python makes for a file: there are a million.
        descriptor = os.open(self.describe(entry), os.O_RDONLY)
        try:
            status = os.fstat(descriptor)
            return read_at(descriptor, 0, status.st_size), stamp_of(status)
        finally:
            os.close(descriptor)

    def stamp(self, entry: Entry) -> str:
        return file_stamp(self.describe(entry))

    def describe(self, entry: Entry) -> str:
        # A million entries share a thousand locations, their folders.
        return f"{entry.location}/{entry.key.rpartition('/')[2]}"


def split_folders(root: Path) -> dict[str, Path]:
    """Return the folders in a folder that are named like splits, without listing them.

    Raises:
        SourceError: two folders are named like one split.
    """
    found: dict[str, Path] = {}
    with os.scandir(root) as children:
        for child in sorted(children, key=lambda child: child.name):
            if is_system(child.name) or not (split := split_of(child.name)) or not child.is_dir():
                continue
            first = found.setdefault(split, root / child.name)
            if first.name != child.name:
                raise SourceError(
                    f"{root} has two folders for the split {split}: {first.name} and "
                    f"{child.name}; rename or move one"
                )
    return found


def class_list(root: Path) -> list[str]:
    """Return the lines of `classes.txt` in a folder, or none if it has no such list of names."""
    try:
        return (root / CLASSES).read_text("utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError):
        return []


class FolderScan:
    """One pass through a folder on disk; it counts the files that are no images.

    Args:
        root: the folder.
        leave_out: `Source.leave_out`, called with each name and folder that cannot be taken.

    Attributes:
        others: the number of these files by suffix.
        other_names: names of some, `NAMES_KEPT` or fewer of each folder.
    """

    def __init__(self, root: Path, leave_out: LeaveOut = refused) -> None:
        self.root, self.leave_out = root, leave_out
        self.others: Counter[str] = Counter()
        self.other_names: set[str] = set()

    def tree(self) -> Folder:
        """List the folder and all folders below.

        Raises:
            SourceError: a link leads to a folder above itself.
        """
        return self._listed(str(self.root), "", (self.root.stat(),))

    def _listed(self, path: str, below: str, above: tuple[os.stat_result, ...]) -> Folder:
        folder = Folder(below)
        inner, others = [], []
        try:
            children = os.scandir(path)
        except PermissionError as error:
            what = f"the folder {path!r} cannot be read: {reason(error)}"
            self.leave_out(what, "change its permission")
            folder.is_closed = True
            return folder
        with children:
            for child in children:
                name = child.name
                if name.startswith("."):
                    continue
                try:
                    is_folder, is_file = child.is_dir(), child.is_file()
                except OSError as error:  # a loop of links
                    what = f"{child.path!r} cannot be read: {reason(error)}"
                    self.leave_out(what, "remove it")
                    continue
                if is_folder:
                    inner.append(child)
                # A pipe or device might never end; the build reports a link to nothing.
                elif is_file or not Path(child.path).exists():
                    if is_image_name(name) or _is_image(child.path):
                        folder.images.append(name)
                    else:
                        others.append(name)
        others = sorted(name for name in others if not is_system(name))
        self.others.update(PurePosixPath(name).suffix.lower() for name in others)
        self.other_names.update(others[:NAMES_KEPT])
        folder.lists = [n for n in others if n == ANNOTATIONS or n.lower().endswith(LISTS)]
        inner = [child for child in inner if not is_system(child.name)]
        for child in sorted(inner, key=lambda child: child.name):
            status = child.stat()
            if any(os.path.samestat(status, each) for each in above):
                raise SourceError(f"{child.path} links to a folder above itself; remove the link")
            within = f"{below}/{child.name}" if below else child.name
            folder.folders[child.name] = self._listed(child.path, within, (*above, status))
        return folder

    def labelled(self, class_folders: Sequence[ClassFolder]) -> list[Labelled]:
        """List the images of one split, and drop their names from the tree, to save memory.

        Raises:
            SourceError: a name is not one line of UTF-8, or does not fit Tiny ImageNet's list.
        """
        rows: list[Labelled] = []
        listed = next((each for each in class_folders if each.is_listed), None)
        names = self.annotations(listed.base) if listed else {}
        for label, top, base, _ in class_folders:
            for folder in top.walk():
                location = str(self.root / folder.path)
                prefix = f"{folder.path.removeprefix(base.path).removeprefix('/')}/".lstrip("/")
                for image in folder.images:
                    key = prefix + image
                    if not is_one_line(key):
                        self.leave_out(odd_name(key, location), "rename the file")
                        continue
                    if listed:
                        name = self.annotated(names, image, location, label)
                        rows.append(Labelled(key, name, location))
                    elif label is None:
                        wnid = str(wnid_in(image))
                        rows.append(Labelled(f"{wnid}/{image}", wnid, location))
                    else:
                        rows.append(Labelled(key, label, location))
                folder.images = []
        if listed and names:
            raise SourceError(
                f"{self.root / listed.base.path / ANNOTATIONS} lists {len(names)} images that are "
                f"not in {self.root / listed.base.path / 'images'}, {min(names)} first"
            )
        return rows

    def annotations(self, base: Folder) -> dict[str, str]:
        """Read Tiny ImageNet's val: one line for each image, with its name, a tab and its WNID."""
        path = self.root / base.path / ANNOTATIONS
        names = {}
        text = self.text(f"{base.path}/{ANNOTATIONS}".lstrip("/"))
        for number, line in enumerate(text.splitlines(), 1):
            name, tab, rest = line.partition("\t")
            if not tab:
                raise SourceError(f"{path}, line {number} must be NAME<tab>CLASS..., was {line!r}")
            names[name] = rest.partition("\t")[0]
        return names

    def text(self, path: str) -> str:
        """Read a list in the folder."""
        return (self.root / path).read_text("utf-8", "replace")

    def annotated(self, names: dict[str, str], image: str, place: str, label: str | None) -> str:
        """Return the class of an image of Tiny ImageNet's val, and strike it off the list."""
        listed = names.pop(image, None)
        if listed is None:
            raise SourceError(f"{place}/{image} is not in {ANNOTATIONS}; remove it")
        if label not in (None, listed):
            raise SourceError(
                f"{place}/{image} must be in the class {listed} by {ANNOTATIONS}; move it"
            )
        return listed

    def notes(self) -> list[str]:
        """Return a note on the files that are no images, by suffix."""
        if not self.others:
            return []
        counts = sorted(self.others.items())
        kinds = ", ".join(f"{suffix or 'no suffix'} {n}" for suffix, n in counts)
        number = count(self.others.total(), "file that is no image", "files that are no images")
        return [f"left out {number}: {kinds}"]


class FolderSink(Sink):
    """Writes PNG files as `split/class/name.png`, which every ImageFolder reader reads.

    Names of folders inside a class become parts of the file name: `class/a/b.jpg` is
    `class/a_b.png`. `classes.txt` has the class names in the order of the labels. A set without
    labels has no class folders and no `classes.txt`: `split/KEY.png`.

    Raises:
        StoreError: a class name cannot be the name of a class folder.
    """

    takes_unlabelled = True

    def __init__(self, path: Path, outline: Outline) -> None:
        for name in outline.classes:
            if "/" in name or is_system(name) or len(os.fsencode(name)) > LONGEST_NAME_BYTES:
                raise StoreError(
                    f"class {name[:80]!r} cannot be the name of a folder, which has no /, no dot "
                    f"first and at most {LONGEST_NAME_BYTES} bytes: choose another format by --to"
                )
        super().__init__(path, outline)

    def write(self, split: str, key: str, label: int, image: NDArray[np.uint8]) -> None:
        if not self.outline.labelled:
            target = self.partial.joinpath(split, check_name(key, "the store")).with_suffix(".png")
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():  # x.jpg and x.png
                target = target.with_name(f"{PurePosixPath(key).name}.png")
            target.write_bytes(png(image))
            return
        name = check_name(self.outline.classes[label], "the store")
        parts = PurePosixPath(check_name(key, "the store")).parts
        below = parts[1:] if parts[0] == name and len(parts) > 1 else parts
        flat = "_".join(below)
        if len(os.fsencode(flat)) > LONGEST_NAME_BYTES - len("-00.png"):
            flat = below[-1]
        folder = self.partial / split / name
        folder.mkdir(parents=True, exist_ok=True)
        # x.jpg and x.png of one class, or a/b.jpg and a_b.jpg
        stems = itertools.chain(
            [PurePosixPath(flat).stem, flat], (f"{flat}-{n}" for n in itertools.count(2))
        )
        target = next(path for stem in stems if not (path := folder / f"{stem}.png").exists())
        target.write_bytes(png(image))

    def complete(self) -> None:
        if not self.outline.labelled:
            return
        names = "".join(f"{name}\n" for name in self.outline.classes)
        (self.partial / CLASSES).write_text(names, "utf-8")


def _is_image(path: str) -> bool:
    """Return whether a file begins like an image."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  a million Paths cost a second
            return is_image_data(file.read(MAGIC_BYTES))
    except OSError:
        return False
