"""A build before its first row: the source, its entries, and what is made of them.

A store is a source, too: build a subset of it, or compare it with any other set. Its images are
finished, so a build copies them and resamples nothing:

    lowres build STORE NEWSTORE --classes imagenet16-120
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres import formats
from lowres.errors import SourceError, StoreError
from lowres.formats.indexing import select_classes, split_by_file, split_by_hash, val_and_test
from lowres.formats.source import Entry, Index, Source, file_stamp
from lowres.formats.unlabelled import index_of
from lowres.imagenet import devkit_ids, expanded
from lowres.reading import Reading
from lowres.resampling.decode import background_of
from lowres.store.manifest import FILE_NAME
from lowres.store.options import DEFAULT_SIZES_PX, PRESETS, BuildOptions
from lowres.store.rows import RowFile
from lowres.store.sample import default_sizes, short_side
from lowres.store.store import Store
from lowres.variant import Variant


class StoreSource(Source):
    """The images of some variants of a store.

    Attributes:
        store: the store.
        variants: the variants that are read, all of the store by default.

    Raises:
        StoreError: there is no finished store at the path, or it lacks one of the variants.
    """

    kind = "store"
    label_order = "0-based, in the order of the store's class names"

    def __init__(self, path: Path, variants: Sequence[Variant] = ()) -> None:
        super().__init__(path)
        self.store = Store(path)
        self.variants = tuple(variants) or self.store.variants
        missing = [str(variant) for variant in self.variants if variant not in self.store.variants]
        if missing:
            raise self._lacking(", ".join(missing))
        self._files: dict[tuple[str, Variant], RowFile] = {}

    def choose(self, options: BuildOptions) -> StoreSource:
        """Return a source of the variants that the options name; all variants by default.

        Raises:
            StoreError: the store has no variant of a size, filter, fit or rule.
        """
        parts = ("size", *(() if "all" in options.filter else ("filter",)), "fit", "rule")
        asked = [(part, value) for part in parts for value in getattr(options, part)]
        if options.preset is not None:
            asked += PRESETS[options.preset]._asdict().items()
        named = {part for part, _ in asked}
        chosen = [
            v for v in self.variants if all((part, getattr(v, part)) in asked for part in named)
        ]
        if any(all(getattr(v, part) != value for v in chosen) for part, value in asked):
            raise self._lacking("all of " + ", ".join(f"{part} {value}" for part, value in asked))
        return StoreSource(self.path, chosen)

    def _lacking(self, asked: str) -> StoreError:
        return StoreError(
            f"{self.path} has {', '.join(map(str, self.store.variants))}, not {asked}: choose from "
            "these (lowres does not resample a store), or build from the full images"
        )

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return (path / FILE_NAME).is_file()

    def index(self) -> Index:
        return self._index

    @cached_property
    def _index(self) -> Index:
        manifest = self.store.manifest
        made_by = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
        origin = (
            f"copied from a store with contents {manifest.digest[:16]}, which was built from "
            f"{manifest.source['kind']} {manifest.source['name']} with {made_by}"
        )
        sizes = {variant.size for variant in self.variants}
        return Index(
            classes=self.store.classes,
            splits={
                split: tuple(
                    Entry(key, label, str(self.path / split), row)
                    for row, (key, label) in enumerate(
                        zip(self.store.keys(split), self.store.labels(split).tolist(), strict=True)
                    )
                )
                for split in self.store.splits
            },
            layout=", ".join(map(str, self.variants)),
            notes=(
                *manifest.source["notes"],
                *(f"in the store that was copied: {note}" for note in manifest.finding_notes),
                origin,
            ),
            native_px=sizes.pop() if len(sizes) == 1 else None,
            is_variant=True,
            labelled=self.store.labelled,
        )

    def read(self, entry: Entry) -> NDArray[np.uint8]:
        if len(self.variants) > 1:
            raise StoreError(
                f"{self.path} has {', '.join(map(str, self.variants))}: choose one of them"
            )
        return self.copies([entry]).reshape(self.variants[0].size, -1, 3)

    def images(
        self, split: str, variant: Variant, rows: Sequence[int] | NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        """Read some images of a variant: (len(rows), H, W, 3) uint8."""
        if (split, variant) not in self._files:
            # Of two threads that come first, each opens the file; Python closes the spare one.
            self._files[split, variant] = self.store.rows(split, variant)
        try:
            return self._files[split, variant].read(np.asarray(rows))
        except OSError as error:
            raise StoreError(f"{self.path / split} cannot be read: {error}") from error

    def copies(self, entries: Sequence[Entry]) -> NDArray[np.uint8]:
        """Read all variants of some entries of one split of the store.

        Returns:
            One-dimensional uint8: the images of the first variant, then those of the next, in
            sorted order.
        """
        split, rows = Path(entries[0].location).name, [entry.offset for entry in entries]
        return np.concatenate(
            [self.images(split, variant, rows).reshape(-1) for variant in sorted(self.variants)]
        )

    def stamp(self, entry: Entry) -> str:
        return file_stamp(self.path / FILE_NAME)

    def mean(self) -> NDArray[np.float64] | None:
        mean = self.store.source_mean()
        fits = mean is not None and {v.size for v in self.variants} == {len(mean)}
        return mean if fits else None


def open_source(
    path: Path | str, variant: Variant | str | None = None, reading: Reading | None = None
) -> Source:
    """Open a labelled set of images: a store, or any format that lowres reads.

    Args:
        path: a store; or a folder or file in one of the formats of docs/formats.md.
        variant: which variant of a store, such as `32-box`; all of them by default.
        reading: what the source does not say itself, such as the columns of a table.

    Raises:
        SourceError: nothing is there, no format fits, or the set has no labels.
        StoreError: the store lacks the variant.
        VariantError: the variant does not exist.
    """
    path = Path(path)
    if StoreSource.recognises(path):
        return StoreSource(path, () if variant is None else (Variant.parse(str(variant)),))
    if variant is not None:
        raise SourceError(f"{path} is not a store, so it has no variant {variant}: leave it out")
    return formats.open_source(path, reading)


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


def _in_devkit_order(index: Index) -> Index:
    """Renumber classes by their devkit ids.

    Raises:
        SourceError: the classes are not ImageNet's.
    """
    ids = devkit_ids(index.classes)
    if ids is None:
        raise SourceError(
            "--class-order devkit needs ImageNet's classes, named by WNID; this source has other "
            f"classes ({', '.join(index.classes[:3])}, ...): leave it out"
        )
    order = np.argsort(ids).tolist()
    new_label = {old: new for new, old in enumerate(order)}
    splits = {
        split: tuple(replace(entry, label=new_label[entry.label]) for entry in entries)
        for split, entries in index.splits.items()
    }
    return replace(index, classes=tuple(index.classes[old] for old in order), splits=splits)


def _default_sizes(source: Source, index: Index) -> tuple[tuple[int, ...], Index]:
    """Return the default sizes that do not enlarge most images, and the index with a note."""
    side = short_side(source, index)
    sizes = default_sizes(side)
    left_out = [str(size) for size in DEFAULT_SIZES_PX if size not in sizes]
    if not left_out:
        return sizes, index
    note = (
        f"no {' or '.join(left_out)} px by default, which would enlarge most images: "
        f"their shorter side is {side} px (median of a sample)"
    )
    return sizes, replace(index, notes=(*index.notes, note))


def _divided(index: Index, options: BuildOptions) -> Index:
    """Divide train into train and val, and then val into val and test, as the options ask."""
    if options.split_file is not None:
        for other in ("val_fraction", "test_fraction"):
            if getattr(options, other) is not None:
                flag = f"--{other.replace('_', '-')}"
                raise SourceError(f"{flag} and --split-file exclude each other: choose one")
        return split_by_file(index, Path(options.split_file))
    if options.val_fraction is not None:
        index = split_by_hash(index, options.val_fraction)
    if options.test_fraction is not None:
        index = val_and_test(index, options.test_fraction)
    return index


def prepare(
    path: Path, store: Path, options: BuildOptions | None, *, skip: bool = False
) -> Prepared:
    """Open and list a source, and plan what is made of it.

    Args:
        path: the source.
        store: the folder that will be written.
        options: what to make.
        skip: leave out names and folders of the source that cannot be taken, and note them.

    Raises:
        SourceError: the source cannot be read.
        StoreError: the store lies inside the source, or the options do not fit the source.
        VariantError: a variant does not exist.
    """
    from PIL import features

    options = options or BuildOptions()
    options.variants()  # raises before anything is read
    if options.background is not None:
        options = replace(options, background=background_of(options.background))
    real = Path(os.path.realpath(path))  # `resolve` may raise RuntimeError for a loop of links
    if Path(os.path.realpath(store)).is_relative_to(real):
        raise StoreError(f"store {store} must not lie inside the source {path}: choose another")
    source = open_source(path, reading=options)
    if isinstance(source, StoreSource):
        source = source.choose(options)
    source.skips = skip
    index = index_of(source, options)
    options = replace(options, classes=expanded(options.classes, index.classes))
    if options.classes:
        index = select_classes(index, options.classes)
    if options.class_order == "devkit":
        index = _in_devkit_order(index)
    index = _divided(index, options)
    copies = source.variants if isinstance(source, StoreSource) else ()
    fixed = copies or options.size or index.native_px is not None
    sizes: tuple[int, ...] = (index.native_px or DEFAULT_SIZES_PX[0],)
    if not fixed:
        sizes, index = _default_sizes(source, index)
    variants = sorted(copies or options.variants(sizes))
    others = {variant.size for variant in variants} - {index.native_px}
    if index.is_variant and others and not copies:
        raise StoreError(
            f"{path} contains finished images of {index.native_px} px, which lowres does not "
            f"resample again: leave --size out. For {min(others)} px, take the released batches "
            "of that size, or build from the full images"
        )
    try:
        simplejpeg = version("simplejpeg")
    except PackageNotFoundError:
        simplejpeg = "none"
    plan = {
        "source": {
            "kind": source.kind,
            "layout": index.layout,
            "name": real.name.encode("utf-8", "replace").decode(),
            "images": {split: len(entries) for split, entries in index.splits.items()},
            "index_sha256": index.digest(),
            "notes": list(index.notes),
            **({} if index.labelled else {"labelled": False}),
        },
        "options": {
            "variants": list(map(str, variants)),
            **options.to_record(),
            "classes": sorted(options.classes),
        },
        "versions": {
            "lowres": version("lowres"),
            "pillow": version("pillow"),
            "libjpeg-turbo": features.version_feature("libjpeg_turbo") or "none",
            "simplejpeg": simplejpeg,
            "numpy": version("numpy"),
        },
    }
    return Prepared(
        source=source,
        index=index,
        options=options,
        variants=tuple(variants),
        native_px=None if others else index.native_px,
        plan=plan,
    )
