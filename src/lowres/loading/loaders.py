"""Loaders: a split of a store as batches, for NumPy and for torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lowres.errors import require
from lowres.loading.augment import Draw, draw, gather
from lowres.loading.order import shuffled
from lowres.recipe import DivideBy, Flip, Subtract
from lowres.store.store import Store
from lowres.variant import Variant

if TYPE_CHECKING:
    import torch


class NumpyLoader:
    """Batches of one split, normalised by figures of the train split.

    Each pass over it is one epoch: `epoch` counts up, and with it order and augmentation change.
    The same seed and epoch always give the same batches.

    Args:
        store: where the images are.
        variant: which variant, such as `32-box`.
        split: which split.
        batch_size: images in a batch.
        shuffle: a new order each epoch, leaving out the remainder that fills no batch; without
            it, stored order and every image.
        flip: mirroring, as in `Recipe`; with `both`, an epoch has every image twice.
        shift_px: shift each image by up to this many pixels each way.
        subtract: the mean of train at each pixel, or of each channel.
        divide_by: 255, or the standard deviation of each channel in train.
        seed: decides order and augmentation.
        part: number of this process and how many there are; each gets an equal part of every
            batch, so `batch_size` must be a multiple where `shuffle` is set.

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
        self.mean = mean if subtract == "mean-colour" else store.mean_image(variant)
        # A channel without contrast stays near 0.
        self.std = np.maximum(std, 1.0) if divide_by == "deviation" else np.full(3, 255.0)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.flip = flip
        self.shift_px = shift_px
        self.seed = seed
        self.part = part
        self.epoch = 0

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        whole, rest = divmod(self._shown, self.batch_size)
        return whole + (rest > 0 and not self.shuffle)

    @property
    def _shown(self) -> int:
        """Images of an epoch, each time that one is shown."""
        return len(self.labels) * (2 if self.flip == "both" else 1)

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self.batches(epoch)

    def batches(
        self, epoch: int, first: int = 0
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Give the batches of an epoch, from the first that is wanted on."""
        for places in self.place_batches(epoch, first):
            rows, drawn = self.drawn(places, epoch)
            yield gather(self.images, rows, drawn, self.mean, self.std), self.labels[rows]

    def drawn(self, places: NDArray[np.int64], epoch: int) -> tuple[NDArray[np.int64], Draw]:
        """Give the rows of places, (B,) int64, and their augmentation."""
        rows = places % len(self.labels)
        drawn = draw(
            rows,
            seed=self.seed,
            epoch=epoch,
            flip=self.flip,
            shift_px=self.shift_px,
            second=places >= len(self.labels),
        )
        return rows, drawn

    def place_batches(self, epoch: int, first: int = 0) -> Iterator[NDArray[np.int64]]:
        """Give the places of each batch of an epoch, (B,) int64, from the first wanted on.

        A place is a row; or, where every image is shown twice, N more than that row for the
        second time.
        """
        count = self._shown
        places = shuffled(count, seed=self.seed, epoch=epoch) if self.shuffle else np.arange(count)
        for number in range(first, len(self)):
            batch = places[number * self.batch_size : (number + 1) * self.batch_size]
            rank, processes = self.part
            yield batch[rank::processes]


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
        return _as_tensors(iter(self.batches))

    def from_batch(self, epoch: int, first: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Give the batches of an epoch, from the first that is wanted on."""
        return _as_tensors(self.batches.batches(epoch, first))


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
        flip="random" if training else "none",
        shift_px=size // 8 if training else 0,
        seed=seed,
    )
    return TorchLoader(batches)
