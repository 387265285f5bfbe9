"""A tar or zip of class folders, read in place by the rules of a folder (`folder.py`).

In a folder of archives that are named like splits, such as `train.tar` and `val.tar`, each archive
is read as a folder of its name. Keys, classes and splits are those of the unpacked folder, so a
store of either has the same bytes. Packed tars cannot be read in place: every image would cost the
unpacking of all before it.
"""

from __future__ import annotations

import itertools
import os
import shlex
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from lowres.errors import SourceError
from lowres.formats.containers.tar import Member, members
from lowres.formats.containers.zip import read_member, zip_members
from lowres.formats.edm import LABELS
from lowres.formats.folder import CLASSES, LISTS, NAMES_KEPT, FolderScan
from lowres.formats.indexing import Labelled, assembled
from lowres.formats.names import (
    MAGIC_BYTES,
    is_image_data,
    is_image_name,
    is_system,
    split_of,
    unread_form,
)
from lowres.formats.source import Entry, Index, Source, ignored
from lowres.formats.tree import ANNOTATIONS, ARCHIVES, ClassFolder, Folder, understood
from lowres.formats.unlabelled import unlabelled_tree
from lowres.reading import Reading
from lowres.text import count

LOOKED_AT = 200
"""Members of a tar that are looked at to recognise it."""

MOST_UNPACKED = 2**24
"""Packed bytes that are unpacked to see whether a member without a known suffix is an image."""

PACKED = (".tgz", ".tbz2", ".txz", ".tzst", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
"""Suffixes of archives that must be unpacked first."""


MOST_FILES = 1000
"""Files of a folder that are looked at to recognise a folder of archives."""


class ArchiveSource(Source):
    """A tar or zip of images in class folders, or a folder of those, one or more a split.

    Attributes:
        reading: the level of the classes, or whether labels are read at all.
    """

    kind = "archive"
    label_order = "names of folders; 0-based in sorted order here, numbers as numbers"

    def __init__(self, path: Path, reading: Reading | None = None) -> None:
        super().__init__(path)
        self.reading = reading or Reading()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Recognise a zip without EDM's list, a tar of images in folders, and a folder of these."""
        if path.is_dir():
            return any(split_of(part) and cls.recognises(file) for part, file in _parts(path))
        if not path.is_file():
            return False
        if is_zip(path):
            try:
                with zipfile.ZipFile(path) as archive:
                    return LABELS not in archive.NameToInfo
            except (zipfile.BadZipFile, OSError, NotImplementedError):
                return False
        if path.suffix.lower() != ".tar":
            return False
        try:
            return _has_class_folders(itertools.islice(members(path, leave_out=ignored), LOOKED_AT))
        except SourceError:
            return False

    def index(self) -> Index:
        scan = MembersScan(self.path, self.listing(), self.content, self.begins, parts=self.parts)
        index = scan.index(self.reading, "in archives" if self.parts else "in archive")
        if not self.parts:
            return index
        others = sorted(
            child.name
            for child in self.path.iterdir()
            if child.stem not in self.parts and not is_system(child.name)
        )
        beside = count(len(others), "file") + f" beside the archives: {others[0]}" if others else ""
        return replace(index, notes=(*index.notes, *([f"left out {beside}"] if others else [])))

    @cached_property
    def parts(self) -> dict[str, Path]:
        """The archives of a folder, by what stands in for their folders; none for one archive."""
        return dict(_parts(self.path)) if self.path.is_dir() else {}

    def listing(self) -> Iterator[Member]:
        """List the members; those of a folder of archives begin with the name of their archive."""
        for part, path in self.parts.items() or [("", self.path)]:
            for name, offset, length in (zip_members if is_zip(path) else members)(
                path, leave_out=self.leave_out
            ):
                yield Member(f"{part}/{name}" if part else name, offset, length)

    def read(self, entry: Entry) -> bytes:
        return self._member(Path(entry.location), Member(entry.key, entry.offset, entry.length))

    def content(self, member: Member) -> bytes:
        """Read a member of the listing."""
        part, _, name = member.name.partition("/")
        if part in self.parts:
            return self._member(self.parts[part], Member(name, member.offset, member.length))
        return self._member(self.path, member)

    def _member(self, path: Path, member: Member) -> bytes:
        if is_zip(path):
            return read_member(self.ranges, str(path), member)
        return self.ranges.read(str(path), member.offset, member.length, member.name)

    def begins(self, member: Member) -> bytes:
        """Read the first bytes of a member, or none of a long one that must be unpacked."""
        path = self.parts.get(member.name.partition("/")[0], self.path)
        return first_bytes(member, self.content, packed=is_zip(path))


class MembersScan(FolderScan):
    """One pass through a list of files, as `FolderScan` through a folder on disk.

    Args:
        root: the archive, or the folder that has the files.
        listing: the files; folders are not listed.
        content: reads one of them.
        begins: reads its first bytes, to see whether it is an image; `MAGIC_BYTES` are enough.
        own_files: each is a file of its own in a folder, and not a part of the archive.
        parts: the archives by the first folder in the names of their members, if there are several.
    """

    def __init__(
        self,
        root: Path,
        listing: Iterable[Member],
        content: Callable[[Member], bytes],
        begins: Callable[[Member], bytes],
        *,
        own_files: bool = False,
        parts: Mapping[str, Path] | None = None,
    ) -> None:
        super().__init__(root)
        self.listing = listing
        self.content = content
        self.begins = begins
        self.own_files = own_files
        self.parts = parts or {}
        self.members: dict[str, Member] = {}

    def index(self, reading: Reading, form: str) -> Index:
        """Find splits and classes; `form` is how the files are kept, for the layout.

        Raises:
            SourceError: as for a folder.
        """
        tree = self.tree()
        if reading.unlabelled:
            return unlabelled_tree(tree, self, self.root)
        if not tree.count:
            why = self.notes() or ["it holds no files"]
            if hint := unread_form(sorted(self.other_names)):
                why.append(hint)
            raise SourceError(
                f"{self.root} holds no labelled images: expected class/image.jpg or "
                f"train/class/image.jpg; {'; '.join(why)}"
            )
        read = understood(tree, self.root, reading.class_level)
        found = {split: self.labelled(folders) for split, folders in read.splits.items()}
        named = split_of(self.root.stem)
        if list(found) == ["train"] and named:  # val.tar beside train.tar
            found = {named: found["train"]}
        order = self.class_list()
        if set(order) != {row.name for rows in found.values() for row in rows}:
            order = []
        return assembled(found, f"{read.layout} {form}", [*read.notes, *self.notes()], order)

    def tree(self) -> Folder:
        """List the folders that have files.

        Raises:
            SourceError: the archive is damaged or hostile, or has two members of one name.
        """
        top = Folder("")
        folders: dict[str, Folder] = {"": top}
        for member in self.listing:
            path, _, name = member.name.rpartition("/")
            if any(map(is_system, member.name.split("/"))):
                continue
            if member.name in self.members:
                raise SourceError(
                    f"{self.root} has two members named {member.name}: make the archive again"
                )
            folder = folders.get(path) or _made(folders, path)
            if is_image_name(name) or self._is_image(member):
                folder.images.append(name)
                self.members[member.name] = member
                continue
            self.others[PurePosixPath(name).suffix.lower()] += 1
            if len(self.other_names) < NAMES_KEPT:
                self.other_names.add(name)
            if name in (ANNOTATIONS, CLASSES) or name.lower().endswith(LISTS):
                self.members[member.name] = member
                folder.lists += [name] if name != CLASSES else []
        for folder in folders.values():
            folder.folders = dict(sorted(folder.folders.items()))
        return top

    def labelled(self, class_folders: Sequence[ClassFolder]) -> list[Labelled]:
        labelled = super().labelled(class_folders)
        if self.own_files:
            return labelled
        location, root = str(self.root), f"{self.root}/"
        rows = []
        for row in labelled:
            name = f"{row.location}/{row.key.rpartition('/')[2]}".removeprefix(root)
            _, offset, length = self.members.pop(name)
            place = str(self.parts.get(name.partition("/")[0], location))
            rows.append(Labelled(row.key, row.name, place, offset, length))
        return rows

    def class_list(self) -> list[str]:
        """Return the lines of `classes.txt` at the top, or none."""
        text = self.text(CLASSES) if CLASSES in self.members else ""
        return text.removesuffix("\n").split("\n") if text else []

    def text(self, path: str) -> str:
        return self.content(self.members[path]).decode("utf-8", "replace")

    def _is_image(self, member: Member) -> bool:
        try:
            return is_image_data(self.begins(member))
        except (SourceError, OSError):
            return False


def first_bytes(member: Member, content: Callable[[Member], bytes], *, packed: bool) -> bytes:
    """Return the first bytes of a member of an archive; none of a long one that is packed."""
    if packed:
        return content(member)[:MAGIC_BYTES] if member.length <= MOST_UNPACKED else b""
    return content(Member(member.name, member.offset, min(member.length, MAGIC_BYTES)))


def _parts(folder: Path) -> list[tuple[str, Path]]:
    """List the archives of a folder without folders, each with its name without the suffix.

    None if there are other folders, too many files, or a name in two forms.
    """
    with os.scandir(folder) as children:
        found = list(itertools.islice(children, MOST_FILES))
    kept = [child for child in found if not is_system(child.name)]
    if len(found) == MOST_FILES or any(child.is_dir() for child in kept):
        return []
    paths = sorted(folder / child.name for child in kept)
    archives = [(path.stem, path) for path in paths if path.suffix.lower() in ARCHIVES]
    return archives if len(dict(archives)) == len(archives) else []


def is_zip(path: Path) -> bool:
    """Return whether a file is named like a zip."""
    return path.suffix.lower() == ".zip"


def unpack_first(path: Path) -> str | None:
    """Return what to do with a packed archive, or a folder of those; None for all else."""
    if path.is_dir():
        names = sorted(name for name in os.listdir(path) if not is_system(name))  # noqa: PTH208
        packed = [path / name for name in names if name.lower().endswith(PACKED)]
        packed = [child for child in packed if _is_packed(child)]
        if not packed or any((path / name).is_dir() for name in names):
            return None
        return (
            f"{path} holds packed archives, {packed[0].name} first, which lowres cannot read in "
            f"place: unpack them; shards of WebDataset with: gunzip {shlex.quote(str(path))}/*.gz"
        )
    if not _is_packed(path):
        return None
    folder = shlex.quote(path.name.partition(".")[0])
    return (
        f"{path} is a packed archive, which lowres cannot read in place: unpack it and build from "
        f"the folder: mkdir {folder} && tar -xf {shlex.quote(str(path))} -C {folder} && lowres "
        f"build {folder} STORE"
    )


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() in PACKED and path.is_file()


def _made(folders: dict[str, Folder], path: str) -> Folder:
    """Make a folder and those above it."""
    above, _, name = path.rpartition("/")
    folder = folders[path] = Folder(path)
    parent = folders.get(above) or _made(folders, above)
    parent.folders[name] = folder
    return folder


def _has_class_folders(found: Iterator[Member]) -> bool:
    """Return whether images lie in folders, and none has a label of WebDataset beside it."""
    parts: dict[str, set[str]] = defaultdict(set)
    in_folders = False
    for member in found:
        stem, _, suffix = member.name.rpartition(".")
        parts[stem].add(suffix.lower())
        in_folders |= "/" in member.name and is_image_name(member.name)
    return in_folders and not any(
        suffixes & {"cls", "json"} and len(suffixes) > 1 for suffixes in parts.values()
    )
