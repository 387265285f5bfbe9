"""Loaders: a split of a store as batches, for NumPy and for torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lowres.errors import require
from lowres.loading.augment import draw, gather
from lowres.loading.order import shuffled
from lowres.store import Store
from lowres.variant import Variant

if TYPE_CHECKING:
    import torch


class NumpyLoader:
    """Batches of one split, normalised by the train split's mean and standard deviation.

    Each pass over it is one epoch: `epoch` counts up, and with it order and augmentation change.
    The same seed and epoch always give the same batches.

    Args:
        store: where the pictures are.
        variant: which variant, such as `32-box`.
        split: which split.
        batch_size: pictures in a batch.
        shuffle: a new order each epoch, leaving out the remainder that fills no batch; without
            it, stored order and every picture.
        flip: mirror each picture with probability one half.
        shift_px: shift each picture by up to this many pixels each way.
        seed: decides order and augmentation.

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
        flip: bool = False,
        shift_px: int = 0,
        seed: int = 0,
    ) -> None:
        self.images = store.images(split, variant)
        self.labels = store.labels(split)
        self.mean, self.std = store.statistics("train", variant)
        self.std = np.maximum(self.std, 1.0)  # a channel without contrast stays near 0
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.flip = flip
        self.shift_px = shift_px
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        whole, rest = divmod(len(self.labels), self.batch_size)
        return whole + (rest > 0 and not self.shuffle)

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        for rows in self.row_batches(epoch):
            drawn = draw(rows, seed=self.seed, epoch=epoch, flip=self.flip, shift_px=self.shift_px)
            yield gather(self.images, rows, drawn, self.mean, self.std), self.labels[rows]

    def row_batches(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Give the row numbers of each batch of an epoch, (B,) int64."""
        count = len(self.labels)
        rows = shuffled(count, seed=self.seed, epoch=epoch) if self.shuffle else np.arange(count)
        for number in range(len(self)):
            yield rows[number * self.batch_size : (number + 1) * self.batch_size]


class TorchLoader:
    """The batches of a `NumpyLoader` as tensors, without a copy.

    Yields:
        Images, (B, 3, H, W) float32 in channels-last memory, and labels, (B,) int64.

    Raises:
        MissingExtraError: torch is not installed.
    """

    def __init__(self, batches: NumpyLoader) -> None:
        require("torch", "train")
        self.batches = batches

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        import torch

        for images, labels in self.batches:
            yield torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)


def torch_loader(
    store: Store,
    variant: Variant | str,
    split: str = "train",
    *,
    batch_size: int = 128,
    seed: int = 0,
) -> TorchLoader:
    """Load a split for torch: train shuffled, mirrored and shifted, other splits as they are.

    Shifts go up to an eighth of the size.

    Raises:
        StoreError: the store has no such split or variant.
        MissingExtraError: torch is not installed.
    """
    training = split == "train"
    size = Variant.parse(str(variant)).size
    batches = NumpyLoader(
        store,
        variant,
        split,
        batch_size=batch_size,
        shuffle=training,
        flip=training,
        shift_px=size // 8 if training else 0,
        seed=seed,
    )
    return TorchLoader(batches)
