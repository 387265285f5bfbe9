"""Loaders: a split of a store as batches, for NumPy and for torch.

All loaders have one method `batches(epoch, first)`, and an iteration is one epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lowres.errors import require
from lowres.loading.augment import Draw, draw, gather, shuffled
from lowres.recipe import DivideBy, Flip, Subtract, file_sizes
from lowres.store.store import Store
from lowres.variant import Variant

if TYPE_CHECKING:
    import torch


IMAGENET16_MEAN = np.array([122.68, 116.66, 104.01])
IMAGENET16_STD = np.array([63.22, 61.26, 65.09])
"""Levels that NAS-Bench-201 normalises ImageNet16-120 by. Its deviations are those at each pixel,
averaged, so they are below those over all pixels."""


class NumpyLoader:
    """Batches of one split, normalised by the statistics of the train split.

    Each iteration is one epoch: `epoch` counts up, and order and augmentation change with it.
    Equal seed and epoch give equal batches.

    Args:
        store: the store.
        variant: variant to load, such as `32-box`.
        split: split to load.
        batch_size: images in a batch.
        shuffle: use a new order in each epoch, and skip the rest that does not fill a batch.
            Without it, batches have every image in stored order.
        files: with `shuffle`, shuffle and skip within each of the ten files of the released data,
            one after the other; other sets are cut into ten once, at random.
        flip: mirroring, as in `Recipe`; with `both`, an epoch has every image twice.
        shift_px: largest random shift in pixels, in each direction.
        subtract: the mean of train at each pixel, or of each channel; or that of NAS-Bench-201.
        divide_by: 255, or the standard deviation of each channel in train; or NAS-Bench-201's.
        seed: seed of order and augmentation.
        part: rank of this process and number of processes; each gets an equal part of every
            batch. With `shuffle`, `batch_size` must be a multiple of the number.

    Yields:
        Images, (B, H, W, 3) float32, and labels, (B,) int64.

    Raises:
        StoreError: the store has no such split or variant.
    """

    def __init__(
        self,
        store: Store,
        variant: Variant | str,
        split: str = "train",
        *,
        batch_size: int = 128,
        shuffle: bool = False,
        files: bool = False,
        flip: Flip = "none",
        shift_px: int = 0,
        subtract: Subtract = "mean-colour",
        divide_by: DivideBy = "deviation",
        seed: int = 0,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.images = store.images(split, variant)
        self.labels = store.labels(split)
        mean, std = store.statistics("train", variant)
        # At least 1, so that a channel without contrast stays near 0.
        deviations = {"deviation": np.maximum(std, 1.0), "range": np.full(3, 255.0)}
        self.std = deviations.get(divide_by, IMAGENET16_STD)
        means = {"mean-colour": mean, "imagenet16": IMAGENET16_MEAN}
        self.mean = means[subtract] if subtract in means else store.mean_image(variant)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.flip = flip
        self.shift_px = shift_px
        self.seed = seed
        self.part = part
        self.epoch = 0
        self.shown = len(self.labels) * (2 if flip == "both" else 1)
        self.files = _files(store, split) if files and shuffle else []

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        if self.files:
            showings = self.shown // len(self.labels)
            return sum(len(rows) * showings // self.batch_size for rows in self.files)
        whole, rest = divmod(self.shown, self.batch_size)
        return whole + (rest > 0 and not self.shuffle)

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self.batches(epoch)

    def batches(
        self, epoch: int, first: int = 0
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Yield the batches of an epoch from batch `first` on."""
        for positions in self.positions(epoch, first):
            rows, drawn = self.draw(positions, epoch)
            yield gather(self.images, rows, drawn, self.mean, self.std), self.labels[rows]

    def positions(self, epoch: int, first: int = 0) -> Iterator[NDArray[np.int64]]:
        """Yield the positions of each batch of an epoch, (B,) int64, from batch `first` on.

        A position is a row; with `flip="both"`, row + N is the second showing of that row.
        """
        order = self._order(epoch)
        rank, processes = self.part
        for number in range(first, len(self)):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield batch[rank::processes]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Return the positions of an epoch in their order, (n,) int64."""
        if not self.shuffle:
            return np.arange(self.shown)
        if not self.files:
            return shuffled(self.shown, seed=self.seed, epoch=epoch)
        pieces = []
        for number, rows in enumerate(self.files):
            shown = rows
            if self.flip == "both":
                shown = np.concatenate([rows, rows + len(self.labels)])
            order = shuffled(len(shown), seed=self.seed, epoch=len(self.files) * epoch + number)
            pieces.append(shown[order[: len(shown) // self.batch_size * self.batch_size]])
        return np.concatenate(pieces)

    def draw(self, positions: NDArray[np.int64], epoch: int) -> tuple[NDArray[np.int64], Draw]:
        """Return the rows of positions, (B,) int64, and their augmentation."""
        rows = positions % len(self.labels)
        drawn = draw(
            rows,
            seed=self.seed,
            epoch=epoch,
            flip=self.flip,
            shift_px=self.shift_px,
            second=positions >= len(self.labels),
        )
        return rows, drawn


def _files(store: Store, split: str) -> list[NDArray[np.int64]]:
    """Return the rows of each file of train as the authors had them, ten arrays of int64."""
    count = store.splits[split]
    rows = np.arange(count)
    if not store.keys(split)[0].startswith("train_data_batch_"):
        rows = shuffled(count, seed=0, epoch=0)  # the authors permuted train before they cut it
    return np.split(rows, np.cumsum(file_sizes(count))[:-1])


class TorchLoader:
    """The batches of a `NumpyLoader` as tensors that share its memory.

    Yields:
        Images, (B, 3, H, W) float32 in channels-last memory, and labels, (B,) int64.

    Raises:
        MissingExtraError: torch is not installed.
    """

    def __init__(self, loader: NumpyLoader) -> None:
        require("torch", "train")
        self.loader = loader

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return _as_tensors(iter(self.loader))

    def positions(self, epoch: int, first: int = 0) -> Iterator[NDArray[np.int64]]:
        """Yield the positions of each batch; see `NumpyLoader.positions`."""
        return self.loader.positions(epoch, first)

    def batches(self, epoch: int, first: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of an epoch from batch `first` on."""
        return _as_tensors(self.loader.batches(epoch, first))


def _as_tensors(
    batches: Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]],
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    import torch

    for images, labels in batches:
        yield torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)


def torch_loader(
    store: Store,
    variant: Variant | str,
    split: str = "train",
    *,
    batch_size: int = 128,
    seed: int = 0,
) -> TorchLoader:
    """Load a split for torch: train shuffled, mirrored and shifted; other splits unchanged.

    Shifts are at most an eighth of the size.

    Raises:
        StoreError: the store has no such split or variant.
        MissingExtraError: torch is not installed.
    """
    training = split == "train"
    loader = NumpyLoader(
        store,
        variant,
        split,
        batch_size=batch_size,
        shuffle=training,
        flip="random" if training else "none",
        shift_px=Variant.parse(str(variant)).size // 8 if training else 0,
        seed=seed,
    )
    return TorchLoader(loader)
