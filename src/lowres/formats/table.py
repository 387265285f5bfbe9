"""A table of images: CSV, TSV, JSON lines or Parquet, with a column of paths and one of labels.

lowres reads one table, whose paths begin at its folder; or a folder of images with a table beside
them: `metadata.csv` (`.jsonl`, `.parquet`) of Hugging Face, in the folder or in its split folders,
or Kaggle's `trainLabels.csv`, `train_labels.csv`, `labels.csv` or `train.csv`.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lowres.errors import SourceError
from lowres.formats.containers.finder import FileFinder
from lowres.formats.containers.rows import SUFFIXES, columns_of, rows_of
from lowres.formats.folder import FolderSource
from lowres.formats.indexing import Labelled, assembled, drained
from lowres.formats.names import SPLIT_NAMES, is_system, split_of
from lowres.formats.parquet_tables import texts_without_images
from lowres.formats.source import Index, check_name
from lowres.formats.unlabelled import UNLABELLED, unlabelled_index
from lowres.reading import Reading

PATH_COLUMNS = (
    "filename", "filepath", "file", "path", "paths", "imagepath", "imagefile", "imagename",
    "image", "img", "imageid", "id", "name",
)  # fmt: skip
LABEL_COLUMNS = ("label", "labels", "class", "classname", "target", "category", "labelname")
SPLIT_COLUMNS = ("split", "subset")
"""Names of columns, in the order of preference, in any case and without `_`, `-` and blanks."""

BESIDE_IMAGES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
OF_COMPETITIONS = ("trainlabels.csv", "train_labels.csv", "labels.csv", "train.csv")

_WHOLE = re.compile(r"[+-]?\d{1,15}(?:\.0*)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_MISSING_NUMBERS = frozenset({"nan", "-1", "-1.0"})
"""Beside numbers, these mean no label: pandas writes NaN, and the Hub -1."""


class ChosenColumns(NamedTuple):
    """The columns to read; the last two may be missing."""

    paths: str
    labels: str | None
    split: str | None


class TableSource(FolderSource):
    """Image files that a table names and labels, read in place.

    Attributes:
        reading: which columns to read, and whether labels are read at all.
    """

    kind = "table"
    label_order = "names, sorted; or numbers, in their order; 0-based here"

    def __init__(self, path: Path, reading: Reading | None = None) -> None:
        super().__init__(path)
        self.reading = reading or Reading()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if path.is_dir():
            return bool(_beside(path))
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES or not path.is_file():
            return False
        return suffix != ".parquet" or bool(_named(texts_without_images(path), PATH_COLUMNS))

    def index(self) -> Index:
        notes: list[str] = []
        found: dict[str, list[Labelled]] = {}
        beside = _beside(self.path) if self.path.is_dir() else [_Beside(self.path, None)]
        if not beside:
            raise SourceError(f"{self.path} is a folder without a table: name the table itself")
        root = self.path if self.path.is_dir() else self.path.parent
        listings = []
        for table, split in beside:
            listing = _Listing(table, root, split, self.reading)
            for name, rows in listing.labelled().items():
                found.setdefault(name, []).extend(rows)
            listings.append(listing)
            notes += listing.notes
        if not any(found.values()):
            raise SourceError(
                f"{self.path} labels no images; {'; '.join(notes) or 'it has no rows'}"
            )
        if self.path.is_dir():
            notes += _left_out(self.path, found)
        layout = f"table {', '.join(listing.described for listing in listings)}"
        if self.reading.unlabelled:
            return unlabelled_index(found, layout, notes)
        return assembled(found, layout, notes)


class _Beside(NamedTuple):
    """A table, and the split of its images, if the folder or file name says it."""

    table: Path
    split: str | None


def _beside(folder: Path) -> list[_Beside]:
    """Return the tables that label the images of a folder; none if it needs no table."""
    with os.scandir(folder) as children:
        kinds = {child.name: child.is_dir() for child in children if not is_system(child.name)}
    splits = {n: split for n in sorted(kinds) if kinds[n] and (split := split_of(n))}
    found = [_Beside(folder / name, None) for name in BESIDE_IMAGES if kinds.get(name) is False]
    for name, split in splits.items():
        found += [
            _Beside(folder / name / table, split)
            for table in BESIDE_IMAGES
            if (folder / name / table).is_file()
        ]
    if not found:
        folders = [name for name in kinds if kinds[name]]
        others = [name for name in folders if split_of(name) is None]
        if len(others) > 1 or any(_has_folders(folder / name) for name in folders):
            return []  # they are classes
        found = [
            _Beside(folder / name, None)
            for name in sorted(kinds)
            if name.lower() in OF_COMPETITIONS and not kinds[name]
        ]
    return [one for one in found if _is_labelled(one.table)]


def _has_folders(folder: Path) -> bool:
    with os.scandir(folder) as children:
        return any(child.is_dir() and not is_system(child.name) for child in children)


def _is_labelled(table: Path) -> bool:
    try:
        return _choose(table, Reading()).labels is not None
    except SourceError:
        return False


def _left_out(folder: Path, found: Mapping[str, Sequence[Labelled]]) -> Iterator[str]:
    """Yield a note for each folder named like a split of which no table names an image."""
    locations = {Path(row.location) for rows in found.values() for row in rows}
    for child in sorted(folder.iterdir()):
        named = split_of(child.name) and child.is_dir() and not is_system(child.name)
        if named and not any(location.is_relative_to(child) for location in locations):
            yield f"left out {child.name}: no table labels its images"


def _choose(table: Path, reading: Reading) -> ChosenColumns:
    """Choose the columns: those of the flags, else those whose names leave no doubt.

    Raises:
        SourceError: there is no such column, or more than one may be meant.
    """
    columns = columns_of(table)
    listed = ", ".join(columns)
    for flag in ("paths", "labels", "split"):
        name = getattr(reading, flag)
        if name is not None and name not in columns:
            raise SourceError(f"{table} has no column {name!r} for --{flag}: it has {listed}")
    paths = reading.paths or next(iter(_named(columns, PATH_COLUMNS)), None)
    if paths is None:
        raise SourceError(
            f"{table} has the columns {listed}: name the one with the paths of the images by "
            "--paths COLUMN, and the one with the classes by --labels COLUMN; the first line of a "
            "CSV must have the names of its columns"
        )
    split = reading.split or next(
        (n for n in _named(columns, SPLIT_COLUMNS) if n != reading.labels), None
    )
    labels = reading.labels
    if labels is None and not reading.unlabelled:
        others = [name for name in columns if name not in (paths, split)]
        if table.name.lower() in BESIDE_IMAGES:  # the only other column may be a caption
            others = []
        candidates = [n for n in _named(columns, LABEL_COLUMNS) if n != paths] or others
        if len(candidates) != 1:
            raise SourceError(
                f"{table} has the columns {listed}: name the one with the classes by --labels "
                "COLUMN, or read the images without labels by --unlabelled"
            )
        labels = candidates[0]
    return ChosenColumns(paths, labels, split)


def _named(columns: Sequence[str], known: tuple[str, ...]) -> list[str]:
    """Return the columns with known names, in the order of preference."""
    plain = {name: re.sub(r"[\s_-]", "", name).lower() for name in columns}
    return sorted((n for n in columns if plain[n] in known), key=lambda n: known.index(plain[n]))


class _Row(NamedTuple):
    line: int
    key: str
    label: str | None
    split: str | None


class _Listing:
    """One pass through a table; it collects what is left out.

    Attributes:
        notes: what was left out.
        described: name of the table and its columns.
    """

    def __init__(self, table: Path, root: Path, split: str | None, reading: Reading) -> None:
        self.table, self.root, self.split = table, root, split
        self.unlabelled = reading.unlabelled
        self.columns = _choose(table, reading)
        self.files = FileFinder(table)
        self.notes: list[str] = []
        used = filter(None, self.columns)
        self.described = f"{table.relative_to(root).as_posix()} ({', '.join(used)})"

    def labelled(self) -> dict[str, list[Labelled]]:
        rows = list(self.rows())
        self.files.forget()
        names = self.class_names(rows)
        splits = self.splits(rows)
        found: dict[str, list[Labelled]] = {split: [] for split in dict.fromkeys(splits) if split}
        seen: dict[str, set[str]] = {split: set() for split in found}
        unlabelled: list[int] = []
        below = self.table.parent.relative_to(self.root).as_posix()
        for row, split in zip(drained(rows), splits, strict=True):
            name = names.get(row.label)
            if split is None:
                continue
            if name is None:
                unlabelled.append(row.line)
                continue
            if row.key in seen[split]:
                lines = (r.line for r, s in zip(self.rows(), splits, strict=True)
                         if (r.key, s) == (row.key, split))  # fmt: skip
                raise SourceError(
                    f"{self.table}, lines {next(lines)} and {row.line} both name {row.key} in "
                    f"{split}: remove one; an image has one class"
                )
            seen[split].add(row.key)
            key = row.key if below == "." else f"{below}/{row.key}"
            found[split].append(
                Labelled(key, name, self.files.location(row.key.rpartition("/")[0]))
            )
        if unlabelled:
            self.notes.append(
                f"left out {len(unlabelled)} images of {self.table.name} without a label, line "
                f"{unlabelled[0]} first"
            )
        return found

    def rows(self) -> Iterator[_Row]:
        """Yield the rows, whose files all exist.

        Raises:
            SourceError: a path is empty, leaves the folder of the table, or names no file.
        """
        missing: list[tuple[int, str]] = []
        shared: dict[str | None, str | None] = {}  # one text for a class, not one a row
        paths, labels, split = self.columns
        for line, values in rows_of(self.table, [name for name in self.columns if name]):
            text = _text(values[paths])
            where = f"{self.table}, line {line}"
            if text is None:
                raise SourceError(f"{where}: {paths} is empty; fix or remove the line")
            key = self.files.find(self.relative(text, where), self.split or self.stem_split())
            if key is None:
                missing.append((line, text))
                continue
            label = self.label(values[labels], where) if labels else UNLABELLED
            named = _text(values[split]) if split else None
            label, named = (shared.setdefault(text, text) for text in (label, named))
            yield _Row(line, check_name(key, where), label, named)
        if missing:
            line, text = missing[0]
            raise SourceError(
                f"{self.table} names {len(missing):,} files that do not exist, {text} in line "
                f"{line} first: paths begin at the folder of the table, {self.table.parent}; fetch "
                "the files, remove the lines, or name another column by --paths"
            )

    def relative(self, text: str, where: str) -> str:
        """Return a path below the folder of the table; Windows' backslashes become slashes."""
        folder = self.table.parent.absolute()
        path = posixpath.normpath(text.replace("\\", "/"))
        if posixpath.isabs(path):
            path = os.path.relpath(path, folder) if Path(path).is_relative_to(folder) else ".."
        if path.split("/")[0] == ".." or re.match(r"[A-Za-z]:/", path):
            raise SourceError(
                f"{where}: {text} leaves the folder of the table, {folder}: move the table to the "
                "folder that holds all of its images, or write paths below that folder"
            )
        return path

    def label(self, value: object, where: str) -> str | None:
        if isinstance(value, (dict, list, tuple, bytes)):
            raise SourceError(
                f"{where}: {self.columns.labels} must be a class name or a whole number, was "
                f"{value!r:.80}"
            )
        return _text(value)

    def class_names(self, rows: list[_Row]) -> dict[str | None, str]:
        """Return the class of each label; of labels that mean no class, nothing."""
        if self.columns.labels is None or self.unlabelled:
            return {row.label: UNLABELLED for row in rows} | {None: UNLABELLED}
        lines: dict[str, int] = {}
        for row in rows:
            if row.label is not None:
                lines.setdefault(row.label, row.line)
        missing = {label for label in lines if label.lower() in _MISSING_NUMBERS}
        present = lines.keys() - missing
        if not present:
            return {}
        where = f"{self.table}, line"
        if all(map(_WHOLE.fullmatch, present)):
            for label in present:
                if label.startswith("-"):
                    raise SourceError(
                        f"{where} {lines[label]}: a label must be a number from 0 up, was {label}"
                    )
            # pandas writes whole numbers as 3.0 if one of them is missing.
            return {label: label.partition(".")[0].lstrip("+") for label in present}
        if all(map(_NUMBER.fullmatch, present)):
            label = next(label for label in lines if not _WHOLE.fullmatch(label))
            raise SourceError(
                f"{where} {lines[label]}: {self.columns.labels} must be a class name or a whole "
                f"number, was {label}; name the column of the classes by --labels"
            )
        return {label: _class_name(label, f"{where} {line}") for label, line in lines.items()}

    def splits(self, rows: list[_Row]) -> list[str | None]:
        """Return the split of each row: by its column, its folder or the table; None if unknown."""
        if self.columns.split is not None:
            known = {row.split: split_of(row.split or "") for row in rows}
            counted = Counter(row.split or "nothing" for row in rows if not known[row.split])
            self.notes += [
                f"left out {times} images of {self.table.name} whose {self.columns.split} is "
                f"{value!r}, which is no split that lowres knows"
                for value, times in sorted(counted.items())
            ]
            return [known[row.split] for row in rows]
        if self.split is not None:
            return [self.split] * len(rows)
        first = {row.key.partition("/")[0] for row in rows if "/" in row.key}
        if len(first) > 1 and all(map(split_of, first)):
            return [split_of(row.key.partition("/")[0]) for row in rows]
        exact = sorted(name for name in first if name.lower() in SPLIT_NAMES)
        if exact and len(first) > 1:
            raise SourceError(
                f"{self.table} names images in {exact[0]} and in {min(first - set(exact))}, which "
                "means no split: add a column with train, val or test in each row, and name it by "
                "--split COLUMN"
            )
        return [self.stem_split()] * len(rows)

    def stem_split(self) -> str:
        """Return the split that the name of the table means, else train."""
        return split_of(self.table.stem) or "train"


def _class_name(label: str, where: str) -> str:
    try:
        return check_name(label, where)
    except SourceError:
        raise SourceError(
            f"{where}: a class name must be one line that can be a folder's, was {label[:80]!r}"
        ) from None


def _text(value: object) -> str | None:
    """Return a value of a table as text; None if it is missing."""
    if value is None or value != value:  # the latter is NaN
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip() or None
