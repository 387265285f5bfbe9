"""A finished store, opened for reading and checked against its manifest.

A store is a folder of plain `.npy` and JSON files (docs/format.md), so NumPy alone reads it, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres.errors import StoreError, reason
from lowres.imagenet import devkit_ids
from lowres.progress import Track, silent
from lowres.store.manifest import KEYS, LABELS, SOURCE_MEAN, Manifest, array_path
from lowres.store.rows import HEADER_DAMAGE, RowFile, content_hash, image_digests
from lowres.variant import Variant
from lowres.work.files import sha256_of_file


class Store:
    """A finished store, opened for reading. Arrays are memory maps and cost nothing to open.

    Attributes:
        path: the store's folder.
        manifest: its record.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest = Manifest.read(self.path)

    def __len__(self) -> int:
        """Count the images of all splits."""
        return sum(self.splits.values())

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        """Describe the store in one line."""
        splits = ", ".join(f"{count:,} {split}" for split, count in self.splits.items())
        return (
            f"Store({str(self.path)!r}): {splits}; {len(self.classes):,} classes; "
            f"{', '.join(self.manifest.variants)}"
        )

    def _repr_html_(self) -> str:
        """Return a contact sheet for notebooks."""
        from lowres.store.preview import page_of

        return page_of(self)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is a 0-based position in them."""
        return self.manifest.classes

    @property
    def labelled(self) -> bool:
        """Whether the classes mean something; a set without labels has one, for all images."""
        return bool(self.manifest.source.get("labelled", True))

    def require_labels(self) -> None:
        """Raise StoreError if the store has no labels to train or measure a classifier with."""
        if not self.labelled:
            raise StoreError(
                f"{self.path} has no labels (it was built with --unlabelled), and a classifier "
                "needs them: build a store with labels; or, for a generative model, run: lowres "
                f"export {self.path} FOLDER --to folder"
            )

    @property
    def devkit_ids(self) -> tuple[int, ...] | None:
        """The devkit id of each class (the labels of the released data), if all are ImageNet's."""
        return devkit_ids(self.classes)

    @property
    def splits(self) -> dict[str, int]:
        """Number of images in each split."""
        return self.manifest.splits

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """The variants; every split has all of them."""
        return tuple(map(Variant.parse, self.manifest.variants))

    def images(self, split: str, variant: Variant | str) -> NDArray[np.uint8]:
        """Open the images of a split.

        Returns:
            (N, H, W, 3) uint8 RGB, a read-only memory map; row i has label and key i.

        Raises:
            StoreError: the split or variant does not exist, or the file is missing or damaged.
        """
        if str(variant) not in self.manifest.variants:
            raise StoreError(
                f"{self.path} has no variant {variant}; it has {', '.join(self.manifest.variants)}"
            )
        size = Variant.parse(str(variant)).size
        name = array_path(self._known(split), variant)
        return self._open(name, (self.splits[split], size, size, 3), "uint8")

    def mean_image(self, variant: Variant | str) -> NDArray[np.float64]:
        """Average the images of train, (H, W, 3) in levels."""
        rows = self.rows("train", variant)
        total = np.zeros(rows.shape[1:], np.int64)
        for block in rows.blocks():
            total += block.sum(axis=0, dtype=np.int64)
        rows.close()
        return total / len(rows)

    def rows(self, split: str, variant: Variant | str) -> RowFile:
        """Open the images of a split for reading block by block, without a memory map."""
        self.images(split, variant)
        path = self.path / array_path(split, variant)
        try:
            return RowFile(path)
        except (OSError, ValueError) as error:
            raise self._damaged(path, error) from error

    def labels(self, split: str) -> NDArray[np.int64]:
        """Read the labels of a split: (N,) int64, 0-based."""
        array = self._open(f"{self._known(split)}/{LABELS}", (self.splits[split],), "int64")
        if array.size and not 0 <= array.min() <= array.max() < len(self.classes):
            raise StoreError(
                f"{self.path / split / LABELS} must lie in 0 to {len(self.classes) - 1}, was "
                f"{array.min()} to {array.max()}; build the store again"
            )
        return np.array(array)

    def keys(self, split: str) -> list[str]:
        """Read the keys of a split, the names of the entries in the source."""
        path = self.path / self._known(split) / KEYS
        try:
            text = path.read_bytes().decode("utf-8")  # not read_text: it changes carriage returns
        except (OSError, UnicodeDecodeError) as error:
            raise self._damaged(path, error) from error
        keys = text.split("\n")[:-1]
        if len(keys) != self.splits[split]:
            raise StoreError(
                f"{path} has {len(keys)} keys for {self.splits[split]} images; build the store "
                "again"
            )
        return keys

    def statistics(
        self, split: str, variant: Variant | str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation of each channel: two (3,) float64, in levels."""
        recorded = self.manifest.statistics[self._known(split)][str(variant)]
        return np.array(recorded["mean"]), np.array(recorded["std"])

    def source_mean(self) -> NDArray[np.float64] | None:
        """Read the mean image of train that the source contained, if any.

        Returns:
            (H, W, 3) float64 in levels. Released batches have it, over all their train images.
        """
        return self._open(SOURCE_MEAN) if SOURCE_MEAN in self.manifest.files else None

    def _known(self, split: str) -> str:
        if split not in self.splits:
            raise StoreError(f"{self.path} has no split {split!r}; it has {', '.join(self.splits)}")
        return split

    def _open(
        self, name: str, shape: tuple[int, ...] | None = None, dtype: str = ""
    ) -> NDArray[Any]:
        path = self.path / name
        try:
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except OSError as error:
            raise self._damaged(path, error) from error
        except HEADER_DAMAGE as error:  # NumPy advises to load some of them unsafely
            raise StoreError(f"{path} is damaged: it is not a whole array of numbers") from error
        if shape is not None and (array.shape, str(array.dtype)) != (shape, dtype):
            raise StoreError(
                f"{path} must be {shape} {dtype}, was {array.shape} {array.dtype}; build the store "
                "again"
            )
        return array

    def _damaged(self, path: Path, error: Exception) -> StoreError:
        """Return the error of a file that cannot be read, or of a store that was removed."""
        if not self.path.exists():
            return StoreError(
                f"store {self.path} was removed while lowres read it: restore it, or build it "
                "again, and run the same command"
            )
        return StoreError(f"{path} is missing or damaged ({reason(error)}); build the store again")

    def problems(self, track: Track = silent) -> Iterator[str]:
        """Check a store by reading all of it.

        Every file must have the SHA-256 of the manifest, every variant the content hash, and
        shapes and counts must agree.

        Yields:
            A sentence for each problem; nothing if the store is whole.
        """
        shapes = list(dict.fromkeys(self.misshapen()))
        yield from shapes
        arrays = {array_path(*key) for key in product(self.splits, self.manifest.variants)}
        with track("verify", len(self.manifest.files)) as display:
            for name, recorded in self.manifest.files.items():
                if name not in arrays:
                    yield from self._changed(name, recorded, sha256_of_file)
                    display.advance()
            for variant in self.manifest.variants:  # one at a time, to save memory
                digests: dict[str, NDArray[np.uint8]] = {}
                changed: list[str] = []
                for split in self.splits:
                    name = array_path(split, variant)
                    hashed = partial(_hash_images, digests=digests, split=split)
                    changed += self._changed(name, self.manifest.files.get(name, ""), hashed)
                    display.advance()
                yield from changed
                if not shapes and not changed and len(digests) == len(self.splits):
                    yield from self._other_images(variant, digests)

    def _changed(self, name: str, recorded: str, hashed: Callable[[Path], str]) -> Iterator[str]:
        """Yield a problem if a file has another SHA-256 than `recorded`, or cannot be read."""
        try:
            if recorded and hashed(self.path / name) != recorded:
                yield f"{name} has changed: its SHA-256 is not the one in the manifest"
        except FileNotFoundError:
            yield f"{name} is missing"
        except (OSError, ValueError) as error:
            yield f"{name} cannot be read: {reason(error)}"

    def _other_images(
        self, variant: str, digests: Mapping[str, NDArray[np.uint8]]
    ) -> Iterator[str]:
        """Yield a problem if the images of a variant are not those that its content hash names."""
        try:
            sets = {split: (self.labels(split), digests[split]) for split in self.splits}
        except StoreError as error:  # removed since its SHA-256 was computed
            yield str(error)
            return
        size = Variant.parse(variant).size
        if content_hash(size, sets, self.classes) != self.manifest.contents.get(variant):
            yield (
                f"{variant} has other images than those that were built: their content hash is "
                "not the one in the manifest"
            )

    def misshapen(self) -> Iterator[str]:
        """Check that all files are there, and that shapes and counts agree, without their images.

        Yields:
            A sentence for each problem.
        """
        for split in self.splits:
            checks: dict[str, Callable[[], object]] = {
                **{array_path(split, v): partial(self.images, split, v) for v in self.variants},
                f"{split}/{LABELS}": partial(self.labels, split),
                f"{split}/{KEYS}": partial(self.keys, split),
            }
            for name, check in checks.items():
                if name not in self.manifest.files:
                    yield f"{name} has no SHA-256 in the manifest"
                try:
                    check()
                except StoreError as error:
                    yield str(error)


def _hash_images(path: Path, *, digests: dict[str, NDArray[np.uint8]], split: str) -> str:
    """Read an array of images once; return its SHA-256, and note (N, 32) uint8 of its images."""
    with closing(RowFile(path)) as rows:
        whole, each = hashlib.sha256(rows.header), []
        for block in rows.blocks():
            whole.update(block.data)
            each.append(image_digests(block))
    digests[split] = np.concatenate(each)
    return whole.hexdigest()


def open_store(path: Path | str) -> Store:
    """Open a finished store.

    Raises:
        StoreError: it is missing, unfinished or damaged.
    """
    return Store(path)
