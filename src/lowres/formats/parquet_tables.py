"""Parquet tables of images: their files, their columns, and their row groups in memory."""

from __future__ import annotations

import json
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, islice, repeat
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError, require
from lowres.formats.indexing import missing_number
from lowres.formats.names import by_split, is_system, split_of

IMAGE_COLUMNS = ("image", "img", "picture", "jpg", "png", "jpeg", "webp", "Image")
LABEL_COLUMNS = ("label", "labels", "fine_label", "cls", "class", "target", "category", "digit")
SPLIT_COLUMNS = ("split", "subset")
"""Names of columns, in the order of preference."""

SUFFIX = ".parquet"
BESIDE_IMAGES = "metadata.parquet"
"""A table that `datasets` puts beside loose images: not a set of its own."""

MOST_FOLDERS = 32
MOST_NAMES = 1000
"""How many folders are searched for tables, and how many names in each."""

GROUPS_BYTES = 512_000_000
"""Memory for row groups. Threads read adjacent ranges of rows, so together they need about as many
rows as threads x rows of a chunk: 16 x 64 images of 110 kB are 113 MB."""

Arrow: TypeAlias = Any
"""An object of pyarrow, which has no types and is imported where it is used."""

Labels = NDArray[np.int64] | list[str]
"""The label of each row of a table: the number as stored, or the class name."""

_PART = re.compile(r"(.*)-(\d+)-of-(\d+)(-[0-9a-f]+)?\.parquet")


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One Parquet file with a column of images and one of labels.

    Attributes:
        metadata: the file's footer.
        starts: the first row of each row group.
        image: the column of encoded bytes; within a struct, `image.bytes`.
        name: the column of file names, or None.
        label: the column of labels; None if they are not read.
        label_is_number: labels are whole numbers, else strings.
        class_names: names of the numbers, if the file has them.
        split: the column that may name the split of each row, or None.
    """

    path: str
    metadata: Arrow
    starts: tuple[int, ...]
    image: str
    name: str | None
    label: str | None
    label_is_number: bool
    class_names: tuple[str, ...] | None
    split: str | None

    def check_like(self, first: Table) -> None:
        """Check that columns and class names are those of the first table."""
        for part in ("image", "label", "label_is_number", "class_names"):
            if getattr(self, part) != getattr(first, part):
                raise SourceError(
                    f"{self.path} and {first.path} must have the same columns and class names; "
                    f"their {part.replace('_', ' ')} differ: they belong to two sets"
                )

    def labels_and_names(self) -> tuple[Labels, Iterator[str]]:
        """Read the labels, none of them null, and the file names, which may be empty.

        All labels are 0 if they are not read.
        """
        labels, names = [], []
        columns = list(filter(None, [self.label, self.name]))
        for group, start in enumerate(self.starts if columns else ()):
            read = self._read(group, columns)
            label = read.column(self.label) if self.label else None
            if label is not None and label.null_count:
                row = start + int(label.is_null().to_numpy().argmax())
                raise SourceError(f"{self.path}, row {row}: {self.label} is null: fix the row")
            with _arrow_errors(self.path):
                if label is not None:
                    labels.append(label.cast("int64" if self.label_is_number else "string"))
                    labels[-1].validate(full=True)
                if self.name is not None:
                    names.append(read.column(self.name).cast("string"))
                    names[-1].validate(full=True)
        # Names stay packed, as arrow holds them, until they are used.
        texts = (name or "" for column in names for name in column.to_pylist())
        found: Labels
        if self.label is None:
            found = np.zeros(self.metadata.num_rows, np.int64)
        elif self.label_is_number:
            found = np.concatenate([np.empty(0, np.int64), *(c.to_numpy() for c in labels)])
        else:
            known: dict[str, str] = {}  # one object for a class, not one a row
            found = [known.setdefault(name, name) for c in labels for name in c.to_pylist()]
        return found, repeat("") if self.name is None else texts

    def split_names(self) -> list[str]:
        """Read what the column `split` has in each row; nothing if no value means a split."""
        found: list[str] = []
        for group in range(len(self.starts) if self.split else 0):
            column = self._read(group, [str(self.split)]).column(str(self.split))
            with _arrow_errors(self.path):
                found += [text or "" for text in column.cast("string").to_pylist()]
        return found if any(map(split_of, set(found))) else []

    def images(self, group: int) -> Arrow:
        """Read the encoded bytes of a row group: a column with a value for each row."""
        return self._read(group, [self.image]).column(self.image)

    def group_bytes(self, group: int) -> int:
        """Return the size of a row group in memory, all columns together."""
        # Not column(n) nor its statistics: if a footer is damaged, pyarrow aborts the process.
        return int(self.metadata.row_group(group).total_byte_size)

    def _read(self, group: int, columns: list[str]) -> Arrow:
        """Read columns of a row group in this thread; parts of structs become columns."""
        parquet = require("pyarrow.parquet", "parquet")
        options = {"metadata": self.metadata, "page_checksum_verification": True}
        with _arrow_errors(self.path), parquet.ParquetFile(self.path, **options) as file:
            read = file.read_row_group(group, columns=columns, use_threads=False).flatten()
            expected = self.metadata.row_group(group).num_rows
        if read.num_rows != expected:
            raise SourceError(
                f"{self.path} is damaged: its row group {group} must have {expected} rows, had "
                f"{read.num_rows}; fetch it again"
            )
        return read


class RowGroups:
    """Row groups in memory; one thread reads each, and the least recently used are dropped."""

    def __init__(self, most_bytes: int = GROUPS_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[str, int], tuple[Future[Arrow], int]] = OrderedDict()

    def get(self, table: Table, group: int) -> Arrow:
        """Return the images of a row group; threads that need the same one wait for the first."""
        key = (table.path, group)
        with self._lock:
            found = self._held.get(key)
            future = found[0] if found else Future()
            if found:
                self._held.move_to_end(key)
            else:
                self._held[key] = (future, table.group_bytes(group))
                # Two stay, even if they are large: threads on both sides of a border need them.
                held = sum(size for _, size in self._held.values())
                while held > self._most_bytes and len(self._held) > 2:
                    held -= self._held.popitem(last=False)[1][1]
        if not found:
            try:
                future.set_result(table.images(group))
            except BaseException as error:  # noqa: BLE001 - raised again in every thread that waits
                with self._lock:
                    self._held.pop(key, None)
                future.set_exception(error)
        return future.result()


def folder_has_tables(folder: Path) -> bool:
    """Return whether Parquet files lie where the Hub puts them, without listing large folders."""
    if _has_tables(folder):
        return True
    with os.scandir(folder) as children:
        names = [child.name for child in islice(children, MOST_NAMES) if child.is_dir()]
    folders = [folder / name for name in (names if len(names) <= MOST_FOLDERS else ["data"])]
    return any(
        _has_tables(child) or any(map(_has_tables, _split_folders(child))) for child in folders
    )


def saved_to_disk(folder: Path) -> str | None:
    """Return why a folder is refused that `datasets` wrote by `save_to_disk`, or None."""
    several = (folder / "dataset_dict.json").is_file()
    if not several and not ((folder / "state.json").is_file() and any(folder.glob("*.arrow"))):
        return None
    call = f"load_from_disk({str(folder)!r})"
    convert = f"d.{call}.to_parquet('NEW/train.parquet')"
    if several:
        convert = f"[s.to_parquet(f'NEW/{{n}}.parquet') for n, s in d.{call}.items()]"
    return (
        f"{folder} holds Arrow files of datasets' save_to_disk, which lowres does not read: make "
        f'Parquet files of them and build from NEW: python -c "import datasets as d; {convert}"'
    )


def split_tables(root: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Return the Parquet files of each split, by the names of files and folders, and the others.

    The others have names that mean no split (`names.by_split`).
    """
    if root.is_file():
        return {split_of(root.name) or "train": [root]}, []
    if arrow := saved_to_disk(root):
        raise SourceError(arrow)
    files = []
    for depth in range(3):
        for path in sorted(root.glob("*/" * depth + f"*{SUFFIX}")):
            within = path.relative_to(root)
            if all(map(_is_of_set, within.parts)):
                files.append((path, [path.stem, *(f.name for f in within.parents if f.name)]))
                _check_hive(path, within)
    if not files:
        raise SourceError(f"{root} holds no Parquet files, at its top or up to two folders deep")
    splits, others = by_split(files, root)
    folders = {path.parent for paths in splits.values() for path in paths}
    configurations = sorted(
        {folder.parent if split_of(folder.name) else folder for folder in folders}
    )
    if len(configurations) > 1 and len(splits) > 1:
        raise SourceError(
            f"{root} has more than one configuration, in {configurations[0]} and in "
            f"{configurations[1]}: build from the folder of one"
        )
    for split, paths in splits.items():
        first, last = paths[0].parent, paths[-1].parent
        if first != last:
            raise SourceError(
                f"{root} has the split {split} twice, in {first} and in {last}: build from the "
                "folder of one configuration"
            )
        _check_parts(split, paths)
    return splits, others


def files_of(path: Path) -> int:
    """Return how many files the set has, by the name of one."""
    matched = _PART.fullmatch(path.name)
    return int(matched[3]) if matched else 1


def texts_without_images(path: Path) -> list[str]:
    """Return the columns of text of a Parquet file that has no column of encoded images.

    A damaged file has none: reading it says what is wrong.
    """
    parquet = require("pyarrow.parquet", "parquet")
    try:
        with _arrow_errors(str(path)):
            schema = parquet.read_schema(path)
    except SourceError:
        return []
    kinds = [schema.field(name).type for name in IMAGE_COLUMNS if name in schema.names]
    if not all(_is(kind, "string") for kind in kinds):
        return []
    return [field.name for field in schema if _is_text(field.type)]


def open_table(path: Path, *, labelled: bool = True) -> Table:
    """Read the footer of a Parquet file, and find the columns of images and, if asked, labels."""
    parquet = require("pyarrow.parquet", "parquet")
    with _arrow_errors(str(path)), parquet.ParquetFile(path) as file:
        metadata, schema = file.metadata, file.schema_arrow
        rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    image, name = _image_column(path, schema)
    label, is_number = _label_column(path, schema) if labelled else (None, True)
    return Table(
        path=str(path),
        metadata=metadata,
        starts=tuple(accumulate(rows, initial=0))[:-1],
        image=image,
        name=name,
        label=label,
        label_is_number=is_number,
        class_names=None if label is None else _class_names(path, schema, label),
        split=next(
            (n for n in SPLIT_COLUMNS if n in schema.names and _is_text(schema.field(n).type)), None
        ),
    )


def _has_tables(folder: Path) -> bool:
    if is_system(folder.name) or not folder.is_dir():
        return False
    try:
        with os.scandir(folder) as children:
            names = [child.name for child in islice(children, MOST_NAMES)]
    except PermissionError:  # lost+found, say
        return False
    return any(name.endswith(SUFFIX) and _is_of_set(name) for name in names)


def _split_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder that are named like splits, or like Hive's partitions."""
    try:
        with os.scandir(folder) as children:
            some = [Path(child) for child in islice(children, MOST_NAMES) if child.is_dir()]
    except OSError:  # not there, or closed to us
        return []
    return [child for child in some if split_of(child.name) or "=" in child.name]


def _check_hive(path: Path, within: Path) -> None:
    """Check that no folder such as `label=cat` has the label, as Spark and Hive write it."""
    for part in within.parts[:-1]:
        column, equals, _ = part.partition("=")
        if equals and column.lower() in LABEL_COLUMNS:
            root = str(path)[: -len(str(within))].rstrip("/")
            raise SourceError(
                f"{path} has its {column} in the name of its folder, {part}: write the table again "
                'with all columns in one file, and build from that: python -c "import '
                "pyarrow.dataset as d, pyarrow.parquet as p; p.write_table(d.dataset("
                f"{root!r}, partitioning='hive').to_table(), 'train.parquet')\""
            )


def _is_of_set(name: str) -> bool:
    return not is_system(name) and name != BESIDE_IMAGES


def _check_parts(split: str, paths: Sequence[Path]) -> None:
    """Check that no part of a split is missing, and that all parts belong to one set."""
    seen: dict[tuple[str, int], Path] = {}
    totals: dict[str, tuple[int, Path]] = {}
    for path in paths:
        if matched := _PART.fullmatch(path.name):
            prefix, total = matched[1], int(matched[3])
            before = totals.setdefault(prefix, (total, path))
            other = seen.setdefault((prefix, int(matched[2])), path)
            if before[0] != total or other is not path:
                raise SourceError(
                    f"{path.parent} has parts of two sets for the split {split}: "
                    f"{before[1].name} and {path.name}; remove the older ones"
                )
    gap = missing_number(path.stem for path in paths)
    if gap is not None:
        count = sum(total for total, _ in totals.values())
        why = f"the split {split} has {count} files, and {len(paths)} of them exist; fetch the rest"
        raise SourceError(
            f"{paths[0].parent / gap}{SUFFIX} is missing"
            + (f": {why}" if totals else ", by the numbers of the others; fetch it")
        )


def _image_column(path: Path, schema: Arrow) -> tuple[str, str | None]:
    """Return the column of bytes, and that of file names if there is one."""
    column = _first_of(path, schema, IMAGE_COLUMNS, "images", ". If the table names "
                       "image files, name their column by --paths COLUMN")  # fmt: skip
    kind = schema.field(column).type
    if _is(kind, "binary"):
        return column, None
    is_struct = require("pyarrow", "parquet").types.is_struct(kind)
    fields = {field.name: field.type for field in kind} if is_struct else {}
    if not _is(fields.get("bytes"), "binary"):
        raise SourceError(
            f"{path}: {column} must be encoded images (bytes, or a struct with bytes), was "
            f"{kind}; if it only names files, embed the images in the table"
        )
    return f"{column}.bytes", f"{column}.path" if _is(fields.get("path"), "string") else None


def _label_column(path: Path, schema: Arrow) -> tuple[str, bool]:
    """Return the column of labels, and whether they are numbers."""
    label = _first_of(path, schema, LABEL_COLUMNS, "labels", ". For images without labels, add "
                      "--unlabelled")  # fmt: skip
    types, kind = require("pyarrow", "parquet").types, schema.field(label).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    is_number = bool(types.is_integer(kind))
    if not is_number and not _is(kind, "string"):
        raise SourceError(f"{path}: {label} must be whole numbers or class names, was {kind}")
    return label, is_number


def _first_of(path: Path, schema: Arrow, names: Sequence[str], what: str, advice: str = "") -> str:
    for name in names:
        if name in schema.names:
            return name
    raise SourceError(
        f"{path} has no column of {what}: looked for {', '.join(names)}; it has "
        f"{', '.join(schema.names) or 'none'}{advice}"
    )


def _class_names(path: Path, schema: Arrow, label: str) -> tuple[str, ...] | None:
    """Return the names of a ClassLabel, which `datasets` writes into the schema."""
    try:
        record = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        feature = record.get("info", {}).get("features", {}).get(label, {})
        if feature.get("_type") != "ClassLabel":
            return None
        return tuple(map(str, feature["names"]))
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(
            f"{path} has a damaged schema: what datasets wrote under huggingface must be a JSON "
            f"record with the names of the classes ({error!r})"
        ) from error


def _is(kind: Arrow, name: str) -> bool:
    """Return whether a type of pyarrow, or None, is that of `binary` or `string` in any form."""
    types = require("pyarrow", "parquet").types
    tests = (f"is_{name}", f"is_large_{name}", f"is_{name}_view")
    return kind is not None and any(getattr(types, test)(kind) for test in tests)


def _is_text(kind: Arrow) -> bool:
    """Return whether a type of pyarrow is text, or a dictionary of texts."""
    is_coded = require("pyarrow", "parquet").types.is_dictionary(kind)
    return _is(kind.value_type if is_coded else kind, "string")


@contextmanager
def _arrow_errors(path: str) -> Iterator[None]:
    """Turn what pyarrow raises on a damaged file into a SourceError."""
    arrow = require("pyarrow", "parquet")
    try:
        yield
    except (arrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        reason = str(error).partition("\n")[0]
        raise SourceError(
            f"{path} is damaged or is not a Parquet file ({reason}): fetch it again"
        ) from error
