"""A build before its first row: the source, its entries, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lowres.errors import StoreError
from lowres.formats.indexing import select_classes, split_by_hash
from lowres.formats.source import Index, Source
from lowres.imagenet import expanded
from lowres.store.as_source import StoreSource, open_source
from lowres.store.options import BuildOptions
from lowres.variant import Variant


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What is built from what.

    Attributes:
        source: the source, open.
        index: the entries that are taken, one row each.
        options: as given, with classes by name.
        variants: what is made of each entry, sorted.
        native_px: side of all images if they are taken at their own size, else None.
        plan: everything that the bytes depend on, as JSON values that are equal on all machines.
    """

    source: Source
    index: Index
    options: BuildOptions
    variants: tuple[Variant, ...]
    native_px: int | None
    plan: dict[str, Any]

    @property
    def images(self) -> int:
        """Number of entries, over all splits."""
        return sum(map(len, self.index.splits.values()))


def prepare(path: Path, store: Path, options: BuildOptions | None) -> Prepared:
    """Open and list a source, and plan what is made of it.

    Raises:
        SourceError: the source cannot be read.
        StoreError: the store lies inside the source, or the options do not fit the source.
        VariantError: a variant does not exist.
    """
    options = options or BuildOptions()
    options.variants()  # raises before anything is read
    if store.resolve().is_relative_to(path.resolve()):
        raise StoreError(f"store {store} must not lie inside the source {path}: choose another")
    source = open_source(path)
    if isinstance(source, StoreSource):
        source = source.choose(options)
    index = source.index()
    options = replace(options, classes=expanded(options.classes, index.classes))
    if options.classes:
        index = select_classes(index, options.classes)
    if options.val_fraction is not None:
        index = split_by_hash(index, options.val_fraction)
    copies = source.variants if isinstance(source, StoreSource) else ()
    variants = sorted(copies or options.variants(index.native_px))
    others = {variant.size for variant in variants} - {index.native_px}
    if index.is_variant and others and not copies:
        raise StoreError(
            f"{path} contains finished images of {index.native_px} px, which lowres does not "
            f"resample again: leave --size out. For {min(others)} px, take the released batches "
            "of that size, or build from the full images"
        )
    plan = {
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
    return Prepared(
        source=source,
        index=index,
        options=options,
        variants=tuple(variants),
        native_px=None if others else index.native_px,
        plan=plan,
    )


def software_versions() -> dict[str, str]:
    """Return the versions of the software that the bytes depend on."""
    from PIL import features

    try:
        simplejpeg = version("simplejpeg")
    except PackageNotFoundError:
        simplejpeg = "none"
    return {
        "lowres": version("lowres"),
        "pillow": version("pillow"),
        "libjpeg-turbo": features.version_feature("libjpeg_turbo") or "none",
        "simplejpeg": simplejpeg,
        "numpy": version("numpy"),
    }
