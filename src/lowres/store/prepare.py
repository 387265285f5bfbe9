"""A build before its first row: the source, its entries, and what is to be made of them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowres.errors import StoreError
from lowres.formats import open_source
from lowres.formats.indexing import select_classes, split_by_hash
from lowres.formats.source import Index, Source
from lowres.imagenet import expanded
from lowres.store.options import BuildOptions
from lowres.store.render import Job, software_versions
from lowres.variant import Variant
from lowres.work.processes import available_cores


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What is built from what.

    Attributes:
        source: the source, open.
        index: the entries that are taken, one row each.
        options: as given, with classes by name.
        variants: what is made of each entry.
        plan: all that decides about the bytes, as JSON values.
    """

    source: Source
    index: Index
    options: BuildOptions
    variants: tuple[Variant, ...]
    plan: dict[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        """Entries of each split."""
        return {split: len(entries) for split, entries in self.index.splits.items()}

    def job(self, store: Path, *, skip: bool) -> Job:
        """Give the work on each entry.

        Args:
            store: the unfinished store.
            skip: record entries that cannot be decoded, instead of raising.
        """
        taken_as_is = {variant.size for variant in self.variants} == {self.index.native_px}
        return Job(
            source=self.source.path.absolute(),
            store=store.absolute(),
            splits=tuple(self.index.splits),
            variants=self.variants,
            native_px=self.index.native_px if taken_as_is else None,
            exif_rotate=self.options.exif_rotate,
            skip=skip,
            versions=tuple(self.plan["versions"].items()),
            token=uuid.uuid4().hex,
        )


def prepare(path: Path, store: Path, options: BuildOptions | None) -> Prepared:
    """Open and list a source and say what is to be made of it.

    Raises:
        SourceError: the source cannot be read.
        StoreError: the store lies inside the source, or the options do not fit it.
        VariantError: a variant does not exist.
    """
    options = options or BuildOptions()
    options.variants()  # refused before anything is read
    if store.resolve().is_relative_to(path.resolve()):
        raise StoreError(f"store {store} must not lie inside the source {path}: choose another")
    opened = open_source(path)
    index = opened.index()
    options = replace(options, classes=expanded(options.classes, index.classes))
    index = _narrowed(index, options)
    variants = _variants(path, index, options)
    plan = _plan(path, opened, index, options, variants)
    return Prepared(
        source=opened, index=index, options=options, variants=tuple(variants), plan=plan
    )


def _narrowed(index: Index, options: BuildOptions) -> Index:
    if options.classes:
        index = select_classes(index, options.classes)
    if options.val_fraction is not None:
        index = split_by_hash(index, options.val_fraction)
    return index


def _variants(path: Path, index: Index, options: BuildOptions) -> list[Variant]:
    variants = sorted(options.variants(index.native_px))
    others = {variant.size for variant in variants} - {index.native_px}
    if index.is_variant and others:
        raise StoreError(
            f"{path} holds finished images of {index.native_px} px, which are not resampled "
            f"again: leave --size out; for {min(others)} px, take the released batches of that "
            "size, or build from the full images"
        )
    return variants


def _plan(
    path: Path, source: Source, index: Index, options: BuildOptions, variants: Sequence[Variant]
) -> dict[str, Any]:
    """Describe the build in JSON values, without anything that differs between two machines."""
    return {
        "source": {
            "kind": source.kind,
            "layout": index.layout,
            "name": path.resolve().name.encode("utf-8", "replace").decode(),
            "images": {split: len(entries) for split, entries in index.splits.items()},
            "index_sha256": index.digest(),
            "notes": list(index.notes),
        },
        "options": {
            "variants": list(map(str, variants)),
            **options.to_record(),
            "classes": sorted(options.classes),
        },
        "versions": software_versions(),
    }


def threads_for(workers: int | None) -> int:
    """Give the number of threads to work with: as asked, or one for each core.

    Raises:
        StoreError: it is below 1.
    """
    if workers is not None and workers < 1:
        raise StoreError(f"--workers must be at least 1, was {workers}")
    return workers or available_cores()
