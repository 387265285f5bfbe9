"""Rows of tables: CSV, TSV, JSON lines and Parquet, with every damage as a `SourceError`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from lowres.errors import SourceError, require

SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})

HEADER_CHARACTERS = 2**20
"""The most characters of the first line; that of a table of images has a few dozen."""

Values = dict[str, Any]
"""The values of a row, by column; of CSV and TSV always text."""


def columns_of(path: Path) -> list[str]:
    """Return the names of the columns.

    Raises:
        SourceError: the table is damaged, or has no names of columns.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        return list(_parquet(path).schema_arrow.names)
    if kind in (".jsonl", ".ndjson"):
        return list(next((record for _, record in _records(path)), {}))
    with path.open(encoding="utf-8-sig", newline="") as file:
        return _header(path, file)[0]


def rows_of(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Values]]:
    """Yield line and values of each row.

    Lines are counted from 1, with the header; rows of Parquet from 0.

    Raises:
        SourceError: the table is damaged.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        row = 0
        try:
            for batch in _parquet(path).iter_batches(columns=list(columns)):
                for values in batch.to_pylist():
                    yield row, values
                    row += 1
        except (OSError, ValueError) as error:  # pyarrow's own are of these
            raise SourceError(f"{path} is damaged after row {row}: {error}") from error
    elif kind in (".jsonl", ".ndjson"):
        for line, record in _records(path):
            yield line, {name: record.get(name) for name in columns}
    else:
        yield from _csv_rows(path)


def _csv_rows(path: Path) -> Iterator[tuple[int, Values]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        names, reader = _header(path, file)
        try:
            for values in reader:
                if len(values) == len(names):
                    yield reader.line_num, dict(zip(names, values, strict=True))
                elif values:
                    raise SourceError(
                        f"{path}, line {reader.line_num} must have {len(names)} values, was "
                        f"{len(values)}; a value with {reader.dialect.delimiter!r} must be quoted"
                    )
        except (csv.Error, UnicodeDecodeError) as error:
            raise SourceError(
                f"{path}, after line {reader.line_num}: {error}; save it again as UTF-8"
            ) from error


def _header(path: Path, file: IO[str]) -> tuple[list[str], Any]:
    """Read the names of the columns, and return them with the reader of the rows below."""
    try:
        first = file.readline(HEADER_CHARACTERS)
        file.seek(0)
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        if delimiter not in first:  # as spreadsheets of other countries write them
            delimiter = next((other for other in ";\t" if other in first), delimiter)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(reader, [])]
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceError(f"{path} is no table: {error}; save it again as UTF-8") from error
    named = [name for name in names if name]
    if not named:
        raise SourceError(f"{path} must begin with a line of column names, and has none")
    if repeated := [name for name in named if names.count(name) > 1]:
        raise SourceError(f"{path} has two columns named {repeated[0]}: rename one")
    return names, reader


def _records(path: Path) -> Iterator[tuple[int, Values]]:
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                record = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise SourceError(f"{path}, line {line} is no JSON: {error}") from error
            if not isinstance(record, dict):
                raise SourceError(f"{path}, line {line} must be a JSON object, was {text[:80]!r}")
            yield line, record


def _parquet(path: Path) -> Any:  # noqa: ANN401  pyarrow has no types
    parquet = require("pyarrow.parquet", "parquet")
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} is no Parquet file, or damaged: {error}") from error
