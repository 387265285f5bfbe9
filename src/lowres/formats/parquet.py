"""Parquet files as the Hugging Face Hub stores image sets: encoded images in a table.

lowres reads one file, or a folder in one of the Hub's layouts: `data/train-00000-of-00294.parquet`,
`plain_text/train-00000-of-00001.parquet`, or `default/train/0000.parquet`. The image is a
struct of its bytes and path, or the bytes alone. The label is a number, whose names are in the
files or in README.md, or it is the name itself.

It writes `data/train-00000-of-00002.parquet` and so on, with image, label and key, and beside
them a dataset card and Croissant metadata, which `datasets.load_dataset` and `mlcroissant` read.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres.errors import ImageError, SourceError, require
from lowres.formats.cards import HUB_SPLITS, Part, class_names_in, croissant, dataset_card
from lowres.formats.indexing import check_several, indexed, missing_classes
from lowres.formats.names import class_order, same_class, split_of, taken_for_train
from lowres.formats.parquet_tables import (
    Arrow,
    Labels,
    RowGroups,
    Table,
    files_of,
    folder_has_tables,
    open_table,
    saved_to_disk,
    split_tables,
)
from lowres.formats.sink import Outline, Sink, png
from lowres.formats.source import Entry, Index, Source, check_name
from lowres.formats.unlabelled import NOTE, UNLABELLED as UNLABELLED_CLASS
from lowres.imagenet import recognised
from lowres.text import count
from lowres.work.files import sha256_of_file, write_bytes, write_json

GROUP_ROWS = 1000
"""Most rows in a written row group: a reader of one image reads its whole group."""

SHARD_BYTES = 250_000_000
"""A file that has this many bytes of images is closed, and the next one begins."""

ROW_DIGITS = 7
"""Digits of the row in a key; more if a file has more than 10 million rows."""

UNLABELLED = -1
"""The Hub's label of every image in a test split without labels."""

CARD = "README.md"

Read = dict[str, tuple[Labels, Iterator[str]]]
"""Labels and file names of each table, by its path."""

NULL = "its bytes are null, and images must be inside the table"


class ParquetSource(Source):
    """A Parquet file, or a folder of them, read by row groups."""

    kind = "parquet"
    label_order = "0-based, in the order of the files' class names"

    def __init__(self, path: Path, *, labelled: bool = True) -> None:
        """Open tables, with their column of labels or without."""
        super().__init__(path)
        self.labelled = labelled
        self._tables: dict[str, Table] = {}
        self._groups = RowGroups()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Recognise a Parquet file or a folder of them, without listing large folders."""
        if not path.is_dir():
            return path.suffix.lower() == ".parquet"
        return folder_has_tables(path) or saved_to_disk(path) is not None

    def index(self) -> Index:
        paths, left = split_tables(self.path)
        splits = {split: list(map(self._open, found)) for split, found in paths.items()}
        self._tables = {table.path: table for found in splits.values() for table in found}
        first = next(iter(self._tables.values()))
        for table in self._tables.values():
            table.check_like(first)
        read = {path: table.labels_and_names() for path, table in self._tables.items()}
        notes = _drop_unlabelled(splits, read) if self.labelled else []
        if left:
            notes.append(
                f"left out {count(len(left), 'file')} whose names mean no split: {left[0]} first"
            )
        notes += taken_for_train(paths.get("train", ()), self.path)
        if self.path.is_file() and files_of(self.path) > 1:
            notes.insert(0, f"read {self.path.name} alone, of {files_of(self.path)} files")
        classes, position = self._classes(splits, read, notes)
        found_in: dict[str, list[Entry]] = defaultdict(list)
        for split, found in splits.items():
            for table in found:
                listed = _entries(table, *read[table.path], position)
                for name, part in _by_column(table, split, listed, notes).items():
                    found_in[name] += part
        entries = indexed(found_in)
        if not entries:
            raise SourceError(
                f"{self.path} holds no labelled images: its tables have no labelled rows"
            )
        for split, rows in entries.items():
            filled = {classes[label] for label in {entry.label for entry in rows}}
            notes += missing_classes(split, filled, classes)
        self._check_image(next(iter(entries.values()))[0])
        layout = "parquet file" if self.path.is_file() else "parquet files"
        return Index(classes, entries, layout, tuple(notes), labelled=self.labelled)

    def _check_image(self, entry: Entry) -> None:
        """Check that an entry has bytes, without decoding them."""
        table, group, row = self._place(entry)
        if not table.images(group)[row].is_valid:
            raise SourceError(
                f"{self.describe(entry)}: {NULL}; if all rows are null, write the table again "
                "with its images embedded"
            )

    def _open(self, path: Path) -> Table:
        return open_table(path, labelled=self.labelled)

    def read(self, entry: Entry) -> bytes:
        """Return the bytes of one image; its row group stays in memory for a while."""
        table, group, row = self._place(entry)
        data: bytes | None = self._groups.get(table, group)[row].as_py()
        if data is None:
            raise ImageError(NULL)
        return data

    def _place(self, entry: Entry) -> tuple[Table, int, int]:
        """Return the table of an entry, the row group, and the row in that."""
        table = self._tables.get(entry.location)
        if table is None:
            table = self._tables[entry.location] = self._open(Path(entry.location))
        group = bisect_right(table.starts, entry.offset) - 1
        return table, group, entry.offset - table.starts[group]

    def _classes(
        self, splits: dict[str, list[Table]], read: Read, notes: list[str]
    ) -> tuple[tuple[str, ...], dict[Any, int]]:
        """Return the class names in order, and the position of each stored label."""
        first = next(iter(self._tables.values()))
        if first.label is None:
            notes.append(NOTE)
            return (UNLABELLED_CLASS,), {0: 0}
        if not first.label_is_number:
            stored = {
                split: set().union(*(read[table.path][0] for table in tables))
                for split, tables in splits.items()
            }
            class_of = same_class(stored)
            names = tuple(class_order(set(class_of.values())))
            for name in names:
                check_name(name, f"the classes of {first.path}")
            check_several(names)
            label = {name: place for place, name in enumerate(names)}
            return recognised(names), {name: label[same] for name, same in class_of.items()}
        known = first.class_names
        if known is None:
            folder = self.path if self.path.is_dir() else self.path.parent
            known, more = class_names_in(folder / CARD, first.label)
            notes += more
        for path, (numbers, _) in read.items():
            _check_range(path, first.label, numbers, None if known is None else len(known))
        found = (np.unique(numbers).tolist() for numbers, _ in read.values())
        numbers_used = sorted(set().union(*found)) if known is None else range(len(known))
        names = tuple(map(str, numbers_used)) if known is None else known
        names = tuple(map(same_class({"": set(names)}).__getitem__, names))
        for name in names:
            check_name(name, f"the classes of {first.path}")
        repeated = [name for name, times in Counter(names).items() if times > 1]
        if repeated:
            raise SourceError(
                f"{first.path} has two classes named {repeated[0]!r}: class names must be unique"
            )
        check_several(names)
        return recognised(names), {label: place for place, label in enumerate(numbers_used)}

    def describe(self, entry: Entry) -> str:
        return f"{entry.location}, row {entry.offset}"


def _by_column(
    table: Table, split: str, rows: list[Entry], notes: list[str]
) -> dict[str, list[Entry]]:
    """Sort the rows of a table into splits by its column of splits, if it has one.

    Raises:
        SourceError: the column names another split than the file, which is not train.
    """
    names = table.split_names()
    means = {name: split_of(name) for name in set(names)}
    if not names or set(means.values()) == {split}:
        return {split: rows}
    listed = ", ".join(f"{name or 'nothing'} {times}" for name, times in Counter(names).items())
    if split != "train":
        raise SourceError(
            f"{table.path} means the split {split} by its name, and its column {table.split} has "
            f"{listed}: rename the file, or write it again without the column"
        )
    notes.append(f"{Path(table.path).name}: splits by its column {table.split} ({listed})")
    found: dict[str, list[Entry]] = defaultdict(list)
    for row in rows:
        if known := means[names[row.offset]]:
            found[known].append(row)
    return found


def _drop_unlabelled(splits: dict[str, list[Table]], read: Read) -> list[str]:
    """Leave out each split whose labels are all -1, and return notes on those."""
    notes = []
    for split, tables in list(splits.items()):
        own = [read[table.path][0] for table in tables]
        if any(isinstance(each, list) or (each != UNLABELLED).any() for each in own):
            continue
        for table in splits.pop(split):
            del read[table.path]
        if rows := sum(map(len, own)):
            notes.append(f"left out {split}: its {rows} images are unlabelled (all {UNLABELLED})")
    return notes


def _check_range(path: str, column: str, labels: Labels, classes: int | None) -> None:
    numbers = np.asarray(labels)
    outside = (numbers < 0) | (numbers >= (math.inf if classes is None else classes))
    if outside.any():
        row = int(outside.argmax())
        upper = "up" if classes is None else f"to {classes - 1}"
        raise SourceError(
            f"{path}, row {row}: {column} must be a number from 0 {upper}, was {numbers[row]}; "
            "fix or remove the row"
        )


def _entries(
    table: Table, labels: Labels, names: Iterable[str], position: dict[Any, int]
) -> list[Entry]:
    stem = Path(table.path).stem
    digits = max(ROW_DIGITS, len(str(len(labels))))
    listed = labels if isinstance(labels, list) else labels.tolist()
    entries = []
    for row, (label, path) in enumerate(zip(listed, names, strict=False)):
        name = path.replace("\\", "/").rpartition("/")[2]
        key = f"{stem}/{row:0{digits}}/{name}" if name else f"{stem}/{row:0{digits}}"
        check_name(key, f"{table.path}, row {row}")
        entries.append(Entry(key, position[label], table.path, row))
    return entries


class ParquetSink(Sink):
    """Writes Parquet files of PNG images, a dataset card, and Croissant metadata.

    Raises:
        MissingExtraError: pyarrow or PyYAML is not installed.
    """

    shuffled = True
    takes_unlabelled = True

    def __init__(self, path: Path, outline: Outline) -> None:
        self._arrow = require("pyarrow", "parquet")
        self._parquet = require("pyarrow.parquet", "parquet")
        require("yaml", "parquet")  # for the card, which comes last
        super().__init__(path, outline)
        (self.partial / "data").mkdir()
        self._shards: dict[str, list[tuple[int, int]]] = {}  # rows and bytes of each
        self._split = ""
        self._rows: list[tuple[bytes, str, int, str]] = []
        self._writer: Arrow = None

    def write(self, split: str, key: str, label: int, image: NDArray[np.uint8]) -> None:
        if split != self._split:
            self._close_shard()
            self._split = split
        name = PurePosixPath(key).with_suffix(".png").name
        self._rows.append((png(image), name, label, key))
        if len(self._rows) == GROUP_ROWS:
            self._write_group()

    def complete(self) -> None:
        self._close_shard()
        parts = []
        for split, shards in self._shards.items():
            for number, (rows, size) in enumerate(shards):
                name = f"{HUB_SPLITS[split]}-{number:05}-of-{len(shards):05}.parquet"
                path = self.partial / "data" / f"{split}-{number}"
                path = path.rename(path.with_name(name))
                file = path.stat().st_size, sha256_of_file(path)
                parts.append(Part(f"data/{name}", split, rows, size, *file))
        write_bytes(self.partial / CARD, dataset_card(self.outline, parts).encode())
        write_json(self.partial / "croissant.json", croissant(self.outline, parts))

    def _write_group(self) -> None:
        if not self._rows:
            return
        images, names, labels, keys = zip(*self._rows, strict=True)
        features: dict[str, Any] = {"image": {"_type": "Image"}}  # as `datasets` describes them
        columns = {
            "image": self._arrow.StructArray.from_arrays(
                [self._arrow.array(images, "binary"), self._arrow.array(names, "string")],
                ["bytes", "path"],
            )
        }
        if self.outline.labelled:
            features["label"] = {"names": list(self.outline.classes), "_type": "ClassLabel"}
            columns["label"] = self._arrow.array(labels, "int64")
        features["key"] = {"dtype": "string", "_type": "Value"}
        columns["key"] = self._arrow.array(keys, "string")
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        group = self._arrow.table(columns, metadata=metadata)
        shards = self._shards.setdefault(self._split, [])
        if self._writer is None:
            label = ["label"] if self.outline.labelled else []
            self._writer = self._parquet.ParquetWriter(
                self.partial / "data" / f"{self._split}-{len(shards)}",
                group.schema,
                compression=dict.fromkeys(["image.path", *label, "key"], "SNAPPY")
                | {"image.bytes": "NONE"},
                use_dictionary=label,
                write_statistics=label,
                write_page_checksum=True,
            )
            shards.append((0, 0))
        self._writer.write_table(group)
        rows, size = shards[-1]
        # A label takes 8 bytes; the Hub calls this size num_bytes.
        label_bytes = 8 * len(labels) if self.outline.labelled else 0
        size += sum(map(len, (*images, *names, *keys))) + label_bytes
        shards[-1] = (rows + len(labels), size)
        self._rows.clear()
        if size >= SHARD_BYTES:
            self._close_shard()

    def _close_shard(self) -> None:
        self._write_group()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
