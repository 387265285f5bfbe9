"""A store as a source: build a subset of it, or compare it with any other set.

Its images are finished, so a build copies them and resamples nothing:

    lowres build STORE NEWSTORE --classes imagenet16-120
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres import formats
from lowres.errors import SourceError, StoreError
from lowres.formats.source import Entry, Index, Source, file_stamp
from lowres.store.manifest import FILE_NAME
from lowres.store.options import PRESETS, BuildOptions
from lowres.store.rows import RowFile
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
            raise StoreError(
                f"{path} has {', '.join(map(str, self.store.variants))}, not {', '.join(missing)}: "
                "choose from these (lowres does not resample a store), or build from the full "
                "images"
            )
        self._files: dict[tuple[str, Variant], RowFile] = {}

    def choose(self, options: BuildOptions) -> StoreSource:
        """Return a source of the variants that the options name; all variants by default.

        Raises:
            StoreError: the store has no variant of a size, filter, fit or rule.
        """
        wanted: dict[str, tuple[object, ...]] = {
            "size": options.size,
            "filter": () if "all" in options.filter else options.filter,
            "fit": options.fit,
            "rule": options.rule,
        }
        if options.preset is not None:
            wanted |= {k: (v,) for k, v in PRESETS[options.preset]._asdict().items()}
        chosen = [
            variant
            for variant in self.variants
            if all(not some or getattr(variant, part) in some for part, some in wanted.items())
        ]
        values = [(part, value) for part, some in wanted.items() for value in some]
        if not all(any(getattr(v, part) == value for v in chosen) for part, value in values):
            asked = ", ".join(f"{part} {value}" for part, value in values)
            raise StoreError(
                f"{self.path} has {', '.join(map(str, self.variants))}, not all of {asked}: choose "
                "from these (lowres does not resample a store), or build from the full images"
            )
        return StoreSource(self.path, chosen)

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
            notes=(*manifest.source["notes"], origin),
            native_px=sizes.pop() if len(sizes) == 1 else None,
            is_variant=True,
        )

    def read(self, entry: Entry) -> NDArray[np.uint8]:
        """Read an image, (H, W, 3) uint8 RGB.

        Raises:
            StoreError: several variants are open.
        """
        if len(self.variants) > 1:
            raise StoreError(
                f"{self.path} has {', '.join(map(str, self.variants))}: choose one of them"
            )
        split = Path(entry.location).name
        image: NDArray[np.uint8] = self.images(split, self.variants[0], [entry.offset])[0]
        return image

    def images(
        self, split: str, variant: Variant, rows: Sequence[int] | NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        """Read some images of a variant: (len(rows), H, W, 3) uint8.

        Raises:
            StoreError: the file is missing or damaged.
        """
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


def open_source(path: Path | str, variant: Variant | str | None = None) -> Source:
    """Open a labelled set of images: a store, or any format that lowres reads.

    Args:
        path: a store; or a folder or file in one of the formats of docs/formats.md.
        variant: which variant of a store, such as `32-box`; all of them by default.

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
    return formats.open_source(path)
