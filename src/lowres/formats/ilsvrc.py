"""ILSVRC2012, ImageNet's 1,000 classes, as distributed and as commonly unpacked; read in place.

Train is `ILSVRC2012_img_train.tar`, a tar of one tar a class (`nWNID.tar`); or a folder of those;
or class folders. Validation is `ILSVRC2012_img_val.tar`, or its images in one flat folder; their
classes are in the development kit, packed or not, or in Kaggle's `LOC_val_solution.csv`.
The source may be the top of Kaggle's tree `ILSVRC/Data/CLS-LOC`.

In every form the key of an image is `WNID/name`, so all forms have the rows of `train/WNID`,
`val/WNID`.
"""

from __future__ import annotations

import csv
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from lowres.errors import SourceError
from lowres.formats.containers.streams import Gunzipped
from lowres.formats.containers.tar import Member, members
from lowres.formats.folder import FolderScan, FolderSource, split_folders
from lowres.formats.indexing import Labelled, assembled
from lowres.formats.names import SPLIT_NAMES, is_image_name, split_of
from lowres.formats.source import Entry, Index, LeaveOut, Source, ignored, is_one_line, odd_name
from lowres.formats.tree import understood
from lowres.imagenet import devkit_wnids, find

TRAIN_TAR = "ILSVRC2012_img_train.tar"
VAL_TAR = "ILSVRC2012_img_val.tar"
KAGGLE_TREES = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")
"""Where Kaggle's download has the images, from its top, from `ILSVRC` and from `Data`."""

DEVKIT = "ILSVRC2012_devkit_t12"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
KAGGLE_SOLUTION = "LOC_val_solution.csv"
WANTED = f"{DEVKIT}.tar.gz (or {GROUND_TRUTH} from it, or Kaggle's {KAGGLE_SOLUTION})"

PARENTS = 3
"""How many folders above the images are searched: Kaggle's list lies three above `CLS-LOC`."""

GROUND_TRUTH_BYTES = 2**22
"""The most bytes read as ground truth; 50,000 images have about 200 kB."""

SAMPLED = 100
"""Names read to decide whether a folder holds PNG files."""

_WNID = re.compile(r"n\d{8}", re.ASCII)
_CLASS_TAR = re.compile(r"(n\d{8})\.tar", re.ASCII)
_VAL_NAME = re.compile(r"ILSVRC2012_val_\d{8}\.\w+", re.ASCII)
_SMALL_NAME = re.compile(r"(?:train|valid)_(?:32x32|64x64)", re.ASCII)
"""Of folders of PNG files, or tars, of the "small ImageNet"."""


TAR_OF_TARS, CLASS_TARS, CLASS_FOLDERS = "tar of class tars", "class tars", "class folders"
FLAT_TAR, FLAT_FOLDER = "tar", "flat folder"

Truth = dict[str, str]
"""WNID by the name of the image without suffix."""

Part = tuple[str, Path]
"""Train or validation: its form, and the tar or folder."""


class IlsvrcSource(FolderSource):
    """ILSVRC2012 in tars, or with its validation images in one folder."""

    kind = "ilsvrc"
    label_order = "WNIDs; devkit ids, 1-based, for val; 0-based by sorted WNID here"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Recognise a path by names and, for a tar, its first header."""
        if path.is_file():
            if path.suffix != ".tar" or path.name.startswith("ILSVRC2012_img_"):
                return path.name.startswith("ILSVRC2012_img_")
            try:
                first = next(members(path, leave_out=ignored), None)
            except SourceError:
                return False
            return first is not None and bool(_CLASS_TAR.fullmatch(first.name))
        if not path.is_dir():
            return False
        root = _tree(path)
        try:
            forms = {form for form, _ in _parts(root).values()}
        except SourceError:  # ambiguous: the folder format reports it
            return False
        return root != path or not forms <= {CLASS_FOLDERS}

    def index(self) -> Index:
        return _Look(self.path, self.leave_out).index()

    def read_stamped(self, entry: Entry) -> tuple[bytes, str]:
        if not _in_tar(entry):
            return super().read_stamped(entry)
        stamp = self.stamp(entry)
        return self.ranges.read(entry.location, entry.offset, entry.length, entry.key), stamp

    def describe(self, entry: Entry) -> str:
        return Source.describe(self, entry) if _in_tar(entry) else super().describe(entry)

    def stamp(self, entry: Entry) -> str:
        return Source.stamp(self, entry) if _in_tar(entry) else super().stamp(entry)


def small_imagenet(path: Path) -> str | None:
    """Return why lowres refuses the "small ImageNet" of the PixelRNN paper, if `path` is that."""
    named = [path] if _SMALL_NAME.match(path.name) else []
    if not named and path.is_dir():
        with os.scandir(path) as children:
            for child in children:
                if child.name.startswith(".") or not (
                    child.is_dir() or child.name.endswith(".tar")
                ):
                    continue
                if not _SMALL_NAME.match(child.name):
                    return None
                named.append(Path(child.path))
    if not named or not all(map(_is_small, named)):
        return None
    return (
        f'{path} is the "small" ImageNet of the PixelRNN paper: PNG files without labels, '
        "1,281,149 in train and 49,999 in validation, resampled in another way. It is not "
        "ImageNet32 or ImageNet64 of Chrabaszcz et al., and results on the two must not be "
        "compared. Build from ILSVRC2012, or from the released batches of ImageNet32 or ImageNet64"
    )


class _Look:
    """One pass through train and validation; it collects what is left out."""

    def __init__(self, path: Path, leave_out: LeaveOut) -> None:
        self.path, self.leave_out = path, leave_out
        self.root = _tree(path)
        self.notes: list[str] = []
        self.odd: list[str] = []

    def index(self) -> Index:
        forms: dict[str, Callable[[Path], list[Labelled] | None]] = {
            TAR_OF_TARS: self.tar_of_tars,
            CLASS_TARS: self.class_tars,
            CLASS_FOLDERS: self.class_folders,
            FLAT_TAR: self.flat_tar,
            FLAT_FOLDER: self.flat_folder,
        }
        found, layout = {}, []
        for split, (form, path) in self.parts().items():
            rows = forms[form](path)
            if rows is not None:
                found[split] = rows
                layout.append(f"{split} as {form}")
        if not any(found.values()):
            raise SourceError(
                f"{self.path} holds no labelled images of ILSVRC2012: expected {TRAIN_TAR}, or "
                f"{VAL_TAR} with {WANTED}; {'; '.join(self.notes)}"
            )
        self.note_others()
        return assembled(found, f"ILSVRC2012, {', '.join(layout)}", self.notes)

    def parts(self) -> dict[str, Part]:
        """Return the parts in the path; of a single tar, itself, with a note on the other tar."""
        if not self.path.is_file():
            return _parts(self.root)
        if self.path.name.startswith("ILSVRC2012_img_test"):
            raise SourceError(f"{self.path} has no labels; build from {TRAIN_TAR} or its folder")
        val = self.path.name.startswith("ILSVRC2012_img_val")
        other = self.path.with_name(TRAIN_TAR if val else VAL_TAR)
        if other.exists():
            self.notes.append(f"left out {other.name}: build from the folder to read both tars")
        return {"val": (FLAT_TAR, self.path)} if val else {"train": (TAR_OF_TARS, self.path)}

    def tar_of_tars(self, path: Path) -> list[Labelled]:
        rows: list[Labelled] = []
        seen: set[str] = set()
        for member in members(path, leave_out=self.leave_out):
            if PurePosixPath(member.name).suffix != ".tar" or member.name.startswith("."):
                self.odd.append(f"{path.name}: {member.name}")
                continue
            matched = _CLASS_TAR.fullmatch(member.name)
            if not matched or matched[1] in seen:
                reason = "comes twice" if matched else "must be named nNNNNNNNN.tar, by its WNID"
                raise SourceError(f"{path}: {member.name} {reason}; fetch or pack the tar again")
            seen.add(matched[1])
            rows += self.one_class(path, matched[1], member)
        return rows

    def class_tars(self, folder: Path) -> list[Labelled]:
        rows: list[Labelled] = []
        unpacked = min(
            (f.name for f in folder.iterdir() if _WNID.fullmatch(f.name) and f.is_dir()),
            default=None,
        )
        for path in sorted(folder.iterdir()):
            matched = _CLASS_TAR.fullmatch(path.name)
            if matched and unpacked:
                raise SourceError(
                    f"{folder} has class tars ({path.name}) and class folders ({unpacked}): finish "
                    "unpacking and remove the tars, or move the folders away"
                )
            if matched:
                rows += self.one_class(path, matched[1], None)
        return rows

    def one_class(self, path: Path, wnid: str, within: Member | None) -> list[Labelled]:
        where, location = f"{path}: {within.name}" if within else str(path), str(path)
        rows = [
            Labelled(f"{wnid}/{member.name}", wnid, location, member.offset, member.length)
            for member in self.flat_images(members(path, within, self.leave_out), where)
        ]
        if not rows:
            raise SourceError(
                f"{where} holds no images, so it is no class; without it, the labels of other "
                "classes would change: fetch it again or remove it"
            )
        return rows

    def class_folders(self, folder: Path) -> list[Labelled]:
        scan = FolderScan(folder, self.leave_out)
        split = split_of(folder.name) or "train"
        read = understood(scan.tree(), folder, 1, split=split)
        rows = scan.labelled(read.splits[split])
        self.notes += [*read.notes, *scan.notes()]
        return rows

    def flat_tar(self, path: Path) -> list[Labelled]:
        images = list(self.flat_images(members(path, leave_out=self.leave_out), str(path)))
        found = _truth_beside(path.parent)
        if found is None:
            raise SourceError(
                f"{path} needs the labels of its images: put {WANTED} beside it"
                + (f", or build from {TRAIN_TAR} alone" if "train" in _parts(path.parent) else "")
            )
        return _with_truth(images, str(path), *found)

    def flat_folder(self, folder: Path) -> list[Labelled] | None:
        """List validation images in one folder, or return None if nothing labels them."""
        with os.scandir(folder) as children:
            files = [Member(child.name, 0, 0) for child in children]
        for odd in [file for file in files if not is_one_line(file.name)]:
            self.leave_out(odd_name(odd.name, folder), "rename the file")
            files.remove(odd)
        images = list(self.flat_images(files, str(folder)))
        found = _truth_beside(folder.parent)
        if found is None:
            self.notes.append(
                f"left out {folder.name}: nothing labels its {len(images)} images "
                f"ILSVRC2012_val_*, which lie in no class folders; put {WANTED} beside the folder"
            )
            return None
        return _with_truth(images, str(folder), *found)

    def flat_images(self, listed: Iterable[Member], where: str) -> Iterator[Member]:
        """Yield the images, which must not lie in folders."""
        for member in listed:
            hidden = member.name.rpartition("/")[2].startswith(".")
            if hidden or not is_image_name(member.name):
                self.odd.append(f"{Path(where).name}: {member.name}")
                continue
            if "/" in member.name:
                raise SourceError(
                    f"{where}: {member.name} lies in a folder, and ILSVRC2012's images lie at the "
                    "top: unpack the tar and build from the folder"
                )
            yield member

    def note_others(self) -> None:
        """Note what lowres does not read."""
        if self.odd:
            self.notes.append(
                f"left out {len(self.odd)} files that are not images: {min(self.odd)} first"
            )
        if not self.root.is_dir():
            return
        taken = {path.name for _, path in self.parts().values()}
        for child in sorted(self.root.iterdir()):
            unread = child.name not in taken
            if child.name.startswith("ILSVRC2012_img_test") or (
                child.is_dir() and SPLIT_NAMES.get(child.name.lower()) == "test"
            ):
                self.notes.append(f"left out {child.name}: it has no labels here")
            elif unread and child.is_dir() and child.name.lower() in SPLIT_NAMES:
                self.notes.append(
                    f"left out {child.name}: lowres read the tar beside it; move the tar away to "
                    "build from the folder"
                )
            elif unread and child.name.startswith("ILSVRC2012_img_"):
                self.notes.append(f"left out {child.name}")


def _with_truth(
    images: list[Member], location: str, truth_path: Path, truth: Truth
) -> list[Labelled]:
    """Label images by the stems of their names; each image and each label must have its other."""
    left = dict(truth)
    rows = []
    for member in sorted(images):
        wnid = left.pop(PurePosixPath(member.name).stem, None)
        if wnid is None:
            raise SourceError(
                f"{location}: {member.name} has no label of its own in {truth_path}, which labels "
                f"{len(truth)} images; fetch the one that is damaged again"
            )
        rows.append(Labelled(f"{wnid}/{member.name}", wnid, location, member.offset, member.length))
    if left:
        raise SourceError(
            f"{truth_path} labels {len(truth)} images, and {location} has {len(images)}: "
            f"{min(left)} is missing first; fetch the images again"
        )
    return rows


def _in_tar(entry: Entry) -> bool:
    return entry.offset > 0  # before the first content comes a header


def _tree(path: Path) -> Path:
    """Return the folder that has train and val; in Kaggle's download it lies deeper."""
    trees = (path / below for below in KAGGLE_TREES)
    return next((tree for tree in trees if tree.is_dir()), path)


def _parts(root: Path) -> dict[str, Part]:
    """Return train and validation, as far as they are below a folder."""
    parts: dict[str, Part] = {}
    for split, tar, tar_form, name, form in (
        ("train", TRAIN_TAR, TAR_OF_TARS, _CLASS_TAR, CLASS_TARS),
        ("val", VAL_TAR, FLAT_TAR, _VAL_NAME, FLAT_FOLDER),
    ):
        if (root / tar).is_file():
            parts[split] = tar_form, root / tar
        elif split == "train" and _has(root, name):
            parts[split] = form, root
        elif folder := split_folders(root).get(split):
            parts[split] = (form if _has(folder, name) else CLASS_FOLDERS), folder
    return parts


def _has(folder: Path, name: re.Pattern[str]) -> bool:
    with os.scandir(folder) as children:
        return any(name.fullmatch(child.name) for child in children)


def _is_small(candidate: Path) -> bool:
    if candidate.is_dir():  # the tar has a folder of the same name at its top
        inner = candidate / candidate.name
        with os.scandir(inner if inner.is_dir() else candidate) as children:
            return any(child.name.endswith(".png") for child in islice(children, SAMPLED))
    if candidate.suffix != ".tar" or not _SMALL_NAME.fullmatch(candidate.stem):
        return False
    try:
        names = [member.name for member in islice(members(candidate, leave_out=ignored), 3)]
    except SourceError:
        return True
    return not any(name.endswith((".cls", ".json")) for name in names)


def _truth_beside(folder: Path) -> tuple[Path, Truth] | None:
    """Read the file that labels the validation images, in a folder or up to three above."""
    forms: tuple[tuple[str, Callable[[Path], Truth]], ...] = (
        (f"{DEVKIT}.tar.gz", _packed_truth),
        (f"{DEVKIT}/data/{GROUND_TRUTH}", _plain_truth),
        (GROUND_TRUTH, _plain_truth),
        (KAGGLE_SOLUTION, _kaggle_truth),
    )
    for place in (folder, *islice(folder.absolute().parents, PARENTS)):
        for name, read in forms:
            if (place / name).is_file():
                return place / name, read(place / name)
    return None


def _packed_truth(path: Path) -> Truth:
    try:
        with (
            path.open("rb") as raw,
            tarfile.open(fileobj=Gunzipped(raw, str(path)), mode="r|") as archive,
        ):
            for member in archive:
                if member.isreg() and member.name.endswith(f"data/{GROUND_TRUTH}"):
                    file = archive.extractfile(member)
                    data = file.read(GROUND_TRUTH_BYTES) if file else b""
                    return _numbered_truth(data, f"{path}: {member.name}")
    except SourceError:
        raise
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, LookupError) as error:
        raise SourceError(f"{path} is damaged or not gzipped: {error}; fetch it again") from error
    raise SourceError(f"{path} has no data/{GROUND_TRUTH}; fetch it again")


def _plain_truth(path: Path) -> Truth:
    with path.open("rb") as file:
        return _numbered_truth(file.read(GROUND_TRUTH_BYTES), str(path))


def _numbered_truth(data: bytes, where: str) -> Truth:
    """Read one devkit id a line; line N is image N, from 1."""
    wnids = devkit_wnids()
    truth = {}
    for number, line in enumerate(data.decode("ascii", "replace").rstrip().splitlines(), 1):
        text = line.strip()
        devkit_id = int(text) if text.isdecimal() and len(text) < 6 else 0
        if not 1 <= devkit_id <= len(wnids):
            raise SourceError(
                f"{where}, line {number} must be a devkit id from 1 to {len(wnids)}, was "
                f"{text[:40]!r}; fetch the file again"
            )
        truth[f"ILSVRC2012_val_{number:08}"] = wnids[devkit_id - 1]
    if not truth:
        raise SourceError(f"{where} is empty; fetch the file again")
    return truth


def _kaggle_truth(path: Path) -> Truth:
    """Read `ImageId,PredictionString`; the first word of the second is the WNID."""
    truth: Truth = {}
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.reader(file)
        try:
            if next(rows, []) != ["ImageId", "PredictionString"]:
                raise SourceError(
                    f"{path} must begin with ImageId,PredictionString; fetch it again"
                )
            for row in rows:
                name, wnid = (row[0], row[1].partition(" ")[0]) if len(row) == 2 else ("", "")
                if find(wnid) is None or name in truth:
                    raise SourceError(
                        f"{path}, line {rows.line_num} must be a new ImageId and a WNID with "
                        f"boxes, was {','.join(row)[:80]!r}; fetch the file again"
                    )
                truth[name] = wnid
        except csv.Error as error:
            raise SourceError(f"{path}, line {rows.line_num}: {error}; fetch it again") from error
    return truth
