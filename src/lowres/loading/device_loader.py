"""Batches made on the device: images stay bytes until one expression turns them into a batch.

If all images fit, they stay on the device. If not, a thread reads the rows of each batch from the
store and sends them through pinned memory. Both yield the batches of the `NumpyLoader`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, repeat

import numpy as np
import torch
from numpy.typing import NDArray

from lowres.loading.loaders import NumpyLoader

FREE_SHARE = 0.6
"""Share of a GPU's free memory that images may take; the rest is for activations."""

CHUNK_BYTES = 2**28
"""Bytes of images that the host holds while it copies them to the device."""

AHEAD = 3
"""Batches to read ahead while the device works."""


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
        resident: keep all images on the device; otherwise stream them.

    Yields:
        Images, (B, 3, H, W) in channels-last memory, and labels, (B,) int64, on the device.
    """

    def __init__(
        self, loader: NumpyLoader, device: torch.device, dtype: torch.dtype, *, resident: bool
    ) -> None:
        self.loader, self.device, self.dtype = loader, device, dtype
        self.assemble = assembled
        mean, std = loader.mean, loader.std
        image = np.broadcast_to(-mean / std, loader.images.shape[1:]).astype(np.float32)
        self.scale = torch.from_numpy((1.0 / std).astype(np.float32)).to(device)
        self.offset = torch.from_numpy(image).to(device)
        self.labels = torch.from_numpy(np.array(loader.labels, np.int64)).to(device)
        self.stored = _copied(loader.images, device) if resident else None

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

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return len(self.loader)

    def positions(self, epoch: int, first: int = 0) -> Iterator[NDArray[np.int64]]:
        """Yield the positions of each batch; see `NumpyLoader.positions`."""
        return self.loader.positions(epoch, first)

    def batches(self, epoch: int, first: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of an epoch from batch `first` on."""
        positions = list(self.loader.positions(epoch, first))
        if not positions:
            return
        rows, drawn = self.loader.draw(np.concatenate(positions), epoch)
        sent, mirror, down, right = (
            torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
            for values in (rows, drawn.mirror, drawn.down, drawn.right)
        )
        ends = np.cumsum([len(part) for part in positions]).tolist()
        bounds = list(zip([0, *ends[:-1]], ends, strict=True))
        resident = self.stored is not None
        holders = (
            _streamed(self.loader.images, rows, bounds, self.device)
            if self.stored is None
            else repeat(self.stored)
        )
        for (start, stop), stored in zip(bounds, holders, strict=False):
            part = slice(start, stop)
            chosen = sent[part] if resident else torch.arange(stop - start, device=self.device)
            images = self.assemble(
                stored, chosen, mirror[part], down[part], right[part], self.scale, self.offset,
                self.dtype,
            )  # fmt: skip
            yield images, self.labels[sent[part]]


def fits(images: NDArray[np.uint8], device: torch.device) -> bool:
    """Return whether images may stay on a device; on the CPU they always may."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return images.nbytes <= FREE_SHARE * free


def _copied(images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Copy images to a device in chunks, so that the host never holds all of them."""
    stored = torch.empty(images.shape, dtype=torch.uint8, device=device)
    step = max(1, CHUNK_BYTES // images[0].nbytes)
    for start in range(0, len(images), step):
        chunk = np.array(images[start : start + step])  # a copy: memory maps are read-only
        stored[start : start + len(chunk)] = torch.from_numpy(chunk).to(device)
    return stored


def _streamed(
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    bounds: list[tuple[int, int]],
    device: torch.device,
) -> Iterator[torch.Tensor]:
    """Yield the rows of each batch on the device; a thread reads ahead while it works."""

    def read(start: int, stop: int) -> torch.Tensor:
        shape = (stop - start, *images.shape[1:])
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
        np.take(images, rows[start:stop], axis=0, out=batch.numpy(), mode="clip")
        return batch

    waiting = iter(bounds)
    with ThreadPoolExecutor(1, thread_name_prefix="lowres-reader") as reader:
        ahead = deque(reader.submit(read, *bound) for bound in islice(waiting, AHEAD))
        while ahead:
            batch = ahead.popleft().result()
            ahead.extend(reader.submit(read, *bound) for bound in islice(waiting, 1))
            # torch does not reuse a pinned block before the queued copy has ended.
            yield batch.to(device, non_blocking=True)
