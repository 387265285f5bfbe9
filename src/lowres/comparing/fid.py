"""Reference statistics of a variant for FID: mean and covariance of features, as EDM and ADM read.

The file is an `.npz` without pickles. It has `mu` (D,) and `sigma` (D, D) float64, by the formulas
of both; `mu_s` and `sigma_s` if there are spatial features, and `arr_0` with images if they are
wanted (ADM needs both); and `lowres`, a text that names the set by its content hash.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lowres.errors import StoreError
from lowres.progress import Track, silent
from lowres.store.store import Store
from lowres.variant import Variant
from lowres.work.files import write_bytes

BATCH = 64
"""Images in a batch, as in EDM's script; it does not change the result beyond rounding."""

ABOUT = "lowres"
"""Name of the array with the JSON text on the origin of a file."""

Features: TypeAlias = Callable[[NDArray[np.uint8]], Any]
"""Maps (B, S, S, 3) uint8 RGB to (B, D) features, or to a pair of these: pooled and spatial."""


class Moments:
    """Mean and covariance of rows that come in batches, summed up in float64.

    Attributes:
        count: how many rows have come.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum: Any = 0.0
        self._products: Any = 0.0

    def add(self, rows: ArrayLike) -> None:
        """Add a batch, (B, D)."""
        batch = np.asarray(rows, np.float64)
        self.count += len(batch)
        self._sum = self._sum + batch.sum(axis=0)
        self._products = self._products + batch.T @ batch

    def mean_and_covariance(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (D,) and (D, D) float64; the covariance divides by the count less one."""
        mean = self._sum / self.count
        covariance = (self._products - np.outer(mean, mean) * self.count) / (self.count - 1)
        return mean, covariance


def fid_statistics(
    store: Store,
    out: Path,
    variant: Variant | str,
    features: Features,
    *,
    named: str,
    split: str = "train",
    images: int = 0,
    track: Track = silent,
) -> Path:
    """Write the reference statistics of a variant.

    Args:
        store: where the images are.
        out: the .npz file to write.
        variant: which variant.
        split: which split; all its images take part.
        features: the network.
        named: what to call the network in the file.
        images: how many images to put into `arr_0`, a random choice with a fixed seed.
        track: shows progress.

    Raises:
        StoreError: the store lacks the images, there are fewer than 2, or the network returns
            something else than features.
    """
    if out.suffix != ".npz":
        raise StoreError(f"the file to write must end in .npz, was {out}")
    rows = store.images(split, variant)
    if not 0 <= images <= len(rows) or len(rows) < 2:
        raise StoreError(
            f"{split} has {len(rows)} images: statistics need at least 2, and arr_0 can hold at "
            f"most all of them, not {images}"
        )
    moments = [Moments(), Moments()]
    with track("features", len(rows)) as display:
        for start in range(0, len(rows), BATCH):
            batch = np.array(rows[start : start + BATCH])
            for each, found in zip(moments, _checked(features(batch), len(batch)), strict=False):
                each.add(found)
            display.advance(len(batch))
    about = {
        "set": store.manifest.source["name"],
        "variant": str(variant),
        "split": split,
        "images": len(rows),
        "content": store.manifest.contents[str(variant)],
        "features": named,
        "lowres": version("lowres"),
    }
    arrays: dict[str, Any] = {ABOUT: np.array(json.dumps(about))}
    for suffix, each in zip(("", "_s"), moments, strict=True):
        if each.count:
            arrays[f"mu{suffix}"], arrays[f"sigma{suffix}"] = each.mean_and_covariance()
    if images:
        chosen = np.random.default_rng(0).permutation(len(rows))[:images]
        arrays["arr_0"] = np.array(rows[np.sort(chosen)])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(out, buffer.getvalue())
    return out


def _checked(found: object, count: int) -> list[NDArray[np.float64]]:
    """Return pooled features, and spatial ones if there are, each (B, D) float64."""
    both = list(found) if isinstance(found, tuple) else [found]
    arrays = [np.asarray(each, dtype=np.float64) for each in both]
    shapes = [each.shape for each in arrays]
    right = [len(shape) == 2 and shape[0] == count and shape[1] > 0 for shape in shapes]
    if not (1 <= len(arrays) <= 2 and all(right)):
        raise StoreError(
            f"the network must return features of ({count}, D), or a pair of these, returned "
            f"{', '.join(map(str, shapes))}"
        )
    if not all(np.isfinite(each).all() for each in arrays):
        raise StoreError("the network returned features that are not finite")
    return arrays


def is_fid_file(path: Path) -> bool:
    """Return whether a file is an `.npz` with `mu` and `sigma`."""
    if path.suffix != ".npz" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {"mu.npy", "sigma.npy"} <= set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def describe_fid(path: Path) -> Iterator[str]:
    """Return which set a file of statistics belongs to, a line each, as far as the file says it.

    Raises:
        StoreError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as opened:
            names, size = opened.files, opened["mu"].size
            text = str(opened[ABOUT]) if ABOUT in names else ""
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({error}): fetch or make it again") from error
    spatial = " and of spatial ones" if "mu_s" in names else ""
    yield f"FID statistics {path}: mean and covariance of {size:,} features{spatial}"
    try:
        about = json.loads(text)
        yield (
            f"set: {about['set']}, variant {about['variant']}, {about['images']:,} images of "
            f"{about['split']}, by {about['features']}, with lowres {about['lowres']}"
        )
        yield f"content: {about['content']}; a store with this line in its info is the same set"
    except (ValueError, KeyError, TypeError):
        yield "origin: unknown; the file does not name its set, and no checksums are published"
