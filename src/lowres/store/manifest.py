"""The manifest: a store's record of what it contains and where every byte came from.

It is written last, so a folder without one is not a store. It contains no times, host names or
absolute paths: the same source and options make the same manifest, byte for byte.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired, Self, TypeAlias, TypedDict

from msgspec import Meta

from lowres.errors import StoreError, VariantError
from lowres.store.findings import notes
from lowres.variant import Variant
from lowres.work.files import write_json
from lowres.work.records import Count, FileName, RecordError, decoded, typed

FILE_NAME = "manifest.json"
FORMAT = "lowres store"
FORMAT_VERSION = 1

LABELS = "labels.npy"
KEYS = "keys.txt"
SOURCE_MEAN = "train/source-mean.npy"

Triple: TypeAlias = Annotated[list[float], Meta(min_length=3, max_length=3)]
"""A number for each of red, green and blue."""


def array_path(split: str, variant: Variant | str) -> str:
    """Return the path of an image array inside a store."""
    return f"{split}/{variant}.npy"


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """An entry without a row, because its image cannot be decoded."""

    split: str
    key: str
    reason: str


class SourceRecord(TypedDict):
    """Where the images of a store come from."""

    kind: str
    layout: str
    name: str
    images: NotRequired[dict[str, Count]]
    index_sha256: str
    notes: list[str]
    labelled: NotRequired[bool]


class Levels(TypedDict):
    """Mean and standard deviation of each channel, in levels."""

    mean: Triple
    std: Triple


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A store's record.

    Attributes:
        source: kind, layout and name of the source, a SHA-256 over its splits, keys and classes,
            and notes on what the store leaves out.
        options: the options of the build.
        classes: class names; a label is a 0-based position in them.
        splits: number of images in each split.
        variants: names of the variants.
        statistics: for each split and variant, mean and standard deviation of each channel over
            all pixels, in levels (0 to 255).
        skipped: the entries without a row, with reasons.
        contents: the content hash of each variant (`content.py`).
        files: SHA-256 (hexadecimal) of every file, by its path in the store.
        versions: the software that built it.
        findings: number of images by what the build found in them (`findings.py`).
        added: the variants that were added later; the digest leaves them out, so that runs and
            studies of the store continue.
    """

    source: SourceRecord
    options: dict[str, Any]
    classes: tuple[str, ...]
    splits: dict[FileName, Count]
    variants: tuple[str, ...]
    statistics: dict[str, dict[str, Levels]]
    skipped: tuple[Skipped, ...]
    contents: dict[str, str]
    files: dict[str, str]
    versions: dict[str, str]
    findings: dict[str, Count] = field(default_factory=dict)
    added: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the store leaves out, and what the build found in the images, a sentence each."""
        return (*self.source["notes"], *self.finding_notes)

    @property
    def finding_notes(self) -> tuple[str, ...]:
        """What the build found in the images."""
        px = max(Variant.parse(name).size for name in self.variants)
        return tuple(notes(self.findings, self.splits, self.options, px))

    @property
    def digest(self) -> str:
        """SHA-256 over the names and checksums of the files of the first build.

        Equal digests mean equal contents.
        """
        later = {array_path(split, variant) for split in self.splits for variant in self.added}
        named = sorted((path, sha256) for path, sha256 in self.files.items() if path not in later)
        lines = "".join(f"{path} {sha256}\n" for path, sha256 in named)
        return hashlib.sha256(lines.encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write to `folder`; after a crash or a power cut, the file is whole or missing."""
        record = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        if not self.added:
            del record["added"]
        write_json(folder / FILE_NAME, record)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read and check the manifest of a store.

        Raises:
            StoreError: it is missing or damaged, or another version of lowres wrote it.
        """
        path = folder / FILE_NAME
        try:
            record = decoded(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(_missing(folder)) from None
        except RecordError as error:
            raise StoreError(_damaged(path, error)) from error
        if record.get("format") != FORMAT:
            raise StoreError(f"{path} is not the manifest of a lowres store")
        if record.get("format_version") != FORMAT_VERSION:
            raise StoreError(
                f"{path} has format version {record.get('format_version')}, and this lowres reads "
                f"version {FORMAT_VERSION}: use the lowres that built it, or build it again"
            )
        try:
            manifest = typed(record, cls)
            manifest._check()
            return manifest
        except (RecordError, VariantError) as error:
            raise StoreError(_damaged(path, error)) from error

    def _check(self) -> None:
        """Check what types do not say: every split and variant has all that belongs to it."""
        if not (self.splits and self.variants):
            raise RecordError("splits and variants must not be empty")
        for name in self.variants:
            Variant.parse(name)
            if name not in self.contents:
                raise RecordError(f"contents must have a hash of {name}")
        for split in self.splits:
            lacking = [name for name in self.variants if name not in self.statistics.get(split, {})]
            if lacking:
                raise RecordError(f"statistics must have {split} of {lacking[0]}")
        for name in self.files:
            if name.startswith("/") or "\0" in name or ".." in name.split("/"):
                raise RecordError(f"files must be inside the store, was {name!r}")


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"{path} is damaged: {error}; to build the store again, remove the folder {path.parent} "
        "first"
    )


def _missing(folder: Path) -> str:
    if not folder.exists():
        return f"store {folder} does not exist"
    if not folder.is_dir():
        return f"{folder} is a file; a store is a folder that lowres build writes"
    if (folder / "build.json").exists():
        return f"store {folder} is unfinished: run the same lowres build again to resume"
    return f"{folder} is not a store: it has no {FILE_NAME}"
