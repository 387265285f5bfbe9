"""The manifest: a store's record of what it holds and where every byte came from.

It is written last, so a folder without one is not a store. It holds no times, host names or
absolute paths: the same source and options give the same manifest, byte for byte.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from lowres.errors import LowresError, StoreError
from lowres.variant import Variant

FILE_NAME = "manifest.json"
FORMAT = "lowres store"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """An entry that the build left out, because it could not be decoded."""

    split: str
    key: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A store's record.

    Attributes:
        source: kind, layout and name of the source, a SHA-256 over its splits, keys and classes,
            and notes on what the source held and the store does not.
        options: the options of the build, as given.
        classes: class names; a label is a 0-based position in them.
        splits: number of pictures in each split.
        variants: names of the variants.
        statistics: for each split and variant, mean and standard deviation of each channel over
            all pixels, in levels (0 to 255).
        skipped: the entries left out, with reasons.
        contents: the content hash of each variant (`content.py`).
        files: SHA-256 (hexadecimal) of every file, by its path in the store.
        versions: the software that built it.
    """

    source: dict[str, Any]
    options: dict[str, Any]
    classes: tuple[str, ...]
    splits: dict[str, int]
    variants: tuple[str, ...]
    statistics: dict[str, dict[str, dict[str, list[float]]]]
    skipped: tuple[Skipped, ...]
    contents: dict[str, str]
    files: dict[str, str]
    versions: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 over the names and checksums of the files: equal digests, equal contents."""
        lines = "".join(f"{path} {sha256}\n" for path, sha256 in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def parsed_variants(self) -> tuple[Variant, ...]:
        """Give the variants as records."""
        return tuple(Variant.parse(name) for name in self.variants)

    def write(self, folder: Path) -> None:
        """Write to `folder` at once: the file is whole or not there."""
        record = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        write_json(folder / FILE_NAME, record)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read and check the manifest of a store.

        Raises:
            StoreError: there is none, it is damaged, or a newer lowres wrote it.
        """
        path = folder / FILE_NAME
        try:
            record = json.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(_missing(folder)) from None
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise StoreError(f"{path} is damaged: {error}; build the store again") from error
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise StoreError(f"{path} is not the manifest of a lowres store")
        if record.get("format_version") != FORMAT_VERSION:
            raise StoreError(
                f"{path} has format version {record.get('format_version')}, and this lowres reads "
                f"{FORMAT_VERSION}: use the lowres that built it, or build it again"
            )
        return cls._from_record(record, path)

    @classmethod
    def _from_record(cls, record: dict[str, Any], path: Path) -> Self:
        try:
            values = {field.name: record[field.name] for field in fields(cls)}
            values["classes"] = tuple(map(str, values["classes"]))
            values["variants"] = tuple(map(str, values["variants"]))
            values["skipped"] = tuple(Skipped(**skipped) for skipped in values["skipped"])
            manifest = cls(**values)
            manifest.parsed_variants()
        except (KeyError, TypeError, AttributeError, LowresError) as error:
            raise StoreError(f"{path} is damaged ({error!r}); build the store again") from error
        return manifest


def _missing(folder: Path) -> str:
    if not folder.exists():
        return f"store {folder} does not exist"
    if not folder.is_dir():
        return f"{folder} is a file, and no store: stores are folders that lowres build writes"
    if (folder / "build.json").exists():
        return f"store {folder} is unfinished: run the same lowres build again to go on"
    return f"{folder} is not a store: it has no {FILE_NAME}"


def sha256_of_file(path: Path) -> str:
    """Hash a file (SHA-256, hexadecimal)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def held(path: Path, *, shared: bool = False) -> Iterator[bool]:
    """Hold a file or folder against others that hold it; give whether it was free.

    The hold ends with the process, however that ends. On file systems that know no locks it is
    always free.

    Args:
        path: the file or folder.
        shared: hold it together with others that share it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    free = True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        free = False
    except OSError as error:  # NFS and others refuse some locks, or all
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF):
            os.close(descriptor)
            raise
    try:
        yield free
    finally:
        os.close(descriptor)


def write_json(path: Path, record: object) -> None:
    """Write a record as JSON so that `path` is whole or as it was, even after a crash."""
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes so that `path` is whole or as it was, even after a crash."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
