"""Batches made on the device: images stay bytes until one expression turns them into a batch.

If all images fit, they stay on the device; otherwise the rows of each batch are sent (`transfer`).
Both yield the batches of the `NumpyLoader`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from lowres.loading.loaders import NumpyLoader
from lowres.loading.transfer import Copies, streamed


def assembled(
    stored: torch.Tensor,
    rows: torch.Tensor,
    mirror: torch.Tensor,
    down: torch.Tensor,
    right: torch.Tensor,
    scale: torch.Tensor,
    offset: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Pick rows, normalise, mirror, shift and cast them: `augment.gather` on any device.

    Args:
        stored: (N, H, W, 3) uint8.
        rows: (B,) int64.
        mirror: (B,) bool, which images are mirrored, before the shift.
        down: (B,) int64, shift in pixels, positive is down.
        right: (B,) int64, shift in pixels, positive is right.
        scale: (3,) float32, factor.
        offset: (H, W, 3) float32, summand.
        dtype: dtype of the result; everything before is float32.

    Returns:
        (B, 3, H, W), channels last in memory.
    """
    _, height, width, _ = stored.shape
    y = torch.arange(height, device=stored.device) - down[:, None]  # (B, H)
    x = torch.arange(width, device=stored.device) - right[:, None]  # (B, W)
    seen = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    y, x = y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)
    x = torch.where(mirror[:, None], width - 1 - x, x)[:, None, :]
    normalised = stored[rows[:, None, None], y, x] * scale + offset[y, x]
    return torch.where(seen[..., None], normalised, 0.0).to(dtype).permute(0, 3, 1, 2)


class DeviceLoader:
    """The batches of a `NumpyLoader`, made on a device.

    Args:
        loader: decides rows and augmentation.
        device: where batches are made.
        dtype: dtype of the images.
        stored: all images, (N, H, W, 3) uint8 on the device; without them, each batch is sent.

    Yields:
        Images, (B, 3, H, W) in channels-last memory, and labels, (B,) int64, on the device.
    """

    def __init__(
        self,
        loader: NumpyLoader,
        device: torch.device,
        dtype: torch.dtype,
        stored: torch.Tensor | None = None,
    ) -> None:
        self.loader, self.device, self.dtype = loader, device, dtype
        self.assemble = assembled
        mean, std = loader.mean, loader.std
        image = np.broadcast_to(-mean / std, loader.images.shape[1:]).astype(np.float32)
        self.scale = torch.from_numpy((1.0 / std).astype(np.float32)).to(device)
        self.offset = torch.from_numpy(image).to(device)
        self.labels = torch.from_numpy(np.array(loader.labels, np.int64)).to(device)
        self.stored = stored
        self.epoch: _Epoch | None = None
        self.ahead: tuple[int, Future[_Draws]] | None = None

    def compile(self) -> None:
        """Compile the expression that makes a batch into one kernel, by making a batch.

        If the compiler raises, the loader stays as it was.
        """
        self.assemble = torch.compile(assembled, dynamic=False)
        try:
            next(self.batches(0))
        except Exception:
            self.assemble = assembled
            raise

    @property
    def on_gpu(self) -> bool:
        """Whether the images are on a GPU."""
        return self.stored is not None and self.device.type == "cuda"

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return len(self.loader)

    @property
    def whole(self) -> int:
        """Number of batches of full size in an epoch; at most one other follows."""
        return min(len(self), self.loader.shown // self.loader.batch_size)

    def positions(self, epoch: int, first: int = 0) -> Iterator[NDArray[np.int64]]:
        """Yield the positions of each batch; see `NumpyLoader.positions`."""
        return self.loader.positions(epoch, first)

    def batches(self, epoch: int, first: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of an epoch from batch `first` on."""
        bounds, draws = self._draws(epoch, first)
        rows = draws[0]
        sent, mirror, down, right = (torch.from_numpy(values).to(self.device) for values in draws)
        if self.stored is None:
            holders = streamed(self.loader.images, rows, bounds, Copies(self.device))
            places = torch.arange(self.loader.batch_size, device=self.device)
        else:
            holders = repeat(self.stored)
        for (start, stop), stored in zip(bounds, holders, strict=False):
            part = slice(start, stop)
            chosen = places[: stop - start] if self.stored is None else sent[part]
            images = self.assemble(
                stored, chosen, mirror[part], down[part], right[part], self.scale, self.offset,
                self.dtype,
            )  # fmt: skip
            yield images, self.labels[sent[part]]

    def begin(self, epoch: int, first: int = 0) -> None:
        """Draw an epoch for `next_batch`, and the next one ahead if each has an order of its own.

        The images must be resident. `next_batch` makes the first `whole` batches.
        """
        if self.epoch is None or self.epoch.number != epoch:
            if self.ahead is not None and self.ahead[0] == epoch:
                draws = self.ahead[1].result()
            else:
                draws = self._draws(epoch)[1]
            tensors = [torch.from_numpy(values) for values in draws]
            if self.epoch is None:
                position = torch.zeros((), dtype=torch.int64, device=self.device)
                batch = torch.arange(self.loader.batch_size, device=self.device)
                draws_there = [torch.empty_like(values, device=self.device) for values in tensors]
                self.epoch = _Epoch(epoch, position, batch, *draws_there)
            self.epoch.number = epoch
            held = (self.epoch.rows, self.epoch.mirror, self.epoch.down, self.epoch.right)
            for buffer, values in zip(held, tensors, strict=True):
                buffer.copy_(values)
            if self.loader.shuffle:
                self.ahead = (epoch + 1, _drawing().submit(lambda: self._draws(epoch + 1)[1]))
        self.epoch.position.fill_(first * self.loader.batch_size)

    def next_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Make the next batch of the epoch that `begin` has drawn.

        It reads its place in the epoch from the device, so a CUDA graph can hold it.
        """
        assert self.epoch is not None
        assert self.stored is not None
        index = self.epoch.position + self.epoch.batch
        rows = self.epoch.rows[index]
        images = self.assemble(
            self.stored,
            rows,
            self.epoch.mirror[index],
            self.epoch.down[index],
            self.epoch.right[index],
            self.scale,
            self.offset,
            self.dtype,
        )
        self.epoch.position += len(self.epoch.batch)
        return images, self.labels[rows]

    def _draws(self, epoch: int, first: int = 0) -> tuple[list[tuple[int, int]], _Draws]:
        """Return where each batch of an epoch begins and ends, and its rows and augmentation."""
        positions = list(self.loader.positions(epoch, first))
        if not positions:
            none = np.zeros(0, np.int64)
            return [], (none, none.astype(bool), none, none)
        rows, drawn = self.loader.draw(np.concatenate(positions), epoch)
        ends = np.cumsum([len(part) for part in positions]).tolist()
        mirror, shifts = np.ascontiguousarray(drawn.mirror), (drawn.down, drawn.right)
        down, right = map(np.ascontiguousarray, shifts)
        return list(zip([0, *ends[:-1]], ends, strict=True)), (rows, mirror, down, right)


_Draws: TypeAlias = tuple[
    NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]
]


@dataclass(slots=True)
class _Epoch:
    """The draws of an epoch on the device: tensors that keep their place in memory.

    Attributes:
        number: of the epoch.
        position: (), the place of the next batch.
        batch: (B,), 0 to B - 1.
        rows, mirror, down, right: of every image in the order of the epoch, (n,).
    """

    number: int
    position: torch.Tensor
    batch: torch.Tensor
    rows: torch.Tensor
    mirror: torch.Tensor
    down: torch.Tensor
    right: torch.Tensor


@cache
def _drawing() -> ThreadPoolExecutor:
    """Return the thread that draws epochs ahead, for all loaders of this process."""
    return ThreadPoolExecutor(1, thread_name_prefix="lowres-draws")
