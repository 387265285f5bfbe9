"""Batches made on the device: images stay bytes until the last step, which is one expression.

A set that fits lives on the device; one that does not is streamed from the store, the rows of a
batch at a time, through pinned memory. Both give the batches of the `NumpyLoader` they are made of.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from lowres.loading.loaders import NumpyLoader

FREE_SHARE = 0.6
"""How much of a GPU's free memory images may take; the rest is for activations."""

CHUNK_BYTES = 2**28
AHEAD = 3
"""Batches that are read ahead while the device works."""


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
    """Pick rows, normalise, mirror, shift and cast them; `augment.gather`, on any device.

    Args:
        stored: (N, H, W, 3) uint8.
        rows: (B,) int64.
        mirror: (B,) bool, which are mirrored, before they are shifted.
        down: (B,) int64, shift in pixels, positive is down.
        right: (B,) int64, positive is right.
        scale: (3,) float32, multiplied with.
        offset: (H, W, 3) float32, added.
        dtype: of the result; everything before is float32.

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
        batches: decides rows and augmentation.
        device: where batches are made.
        dtype: of the images.
        resident: keep the set on the device; else stream it.

    Yields:
        Images, (B, 3, H, W) in channels-last memory, and labels, (B,) int64, on the device.
    """

    def __init__(
        self, batches: NumpyLoader, device: torch.device, dtype: torch.dtype, *, resident: bool
    ) -> None:
        self.batches, self.device, self.dtype = batches, device, dtype
        self.assemble = assembled
        mean, std = batches.mean, batches.std
        image = np.broadcast_to(-mean / std, batches.images.shape[1:]).astype(np.float32)
        self.scale = torch.from_numpy((1.0 / std).astype(np.float32)).to(device)
        self.offset = torch.from_numpy(image).to(device)
        self.labels = torch.from_numpy(np.array(batches.labels, np.int64)).to(device)
        self.stored = _copied(batches.images, device) if resident else None

    def compile(self) -> None:
        """Make one kernel of what makes a batch; the first batch then waits for the compiler."""
        self.assemble = torch.compile(assembled, dynamic=False)

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        epoch, self.batches.epoch = self.batches.epoch, self.batches.epoch + 1
        return self.from_batch(epoch, 0)

    def from_batch(self, epoch: int, first: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Give the batches of an epoch, from the first that is wanted on."""
        places = list(self.batches.place_batches(epoch, first))
        if not places:
            return
        rows, draw = self.batches.drawn(np.concatenate(places), epoch)
        sent = self._sent(rows)
        drawn = [self._sent(part) for part in (draw.mirror, draw.down, draw.right)]
        ends = np.cumsum([len(part) for part in places]).tolist()
        bounds = list(zip([0, *ends[:-1]], ends, strict=True))
        for (start, stop), stored in zip(bounds, self._holders(rows, bounds), strict=True):
            chosen = sent[start:stop]
            inside = chosen
            if self.stored is None:  # the batch itself, in order
                inside = torch.arange(stop - start, device=self.device)
            mirror, down, right = (part[start:stop] for part in drawn)
            images = self.assemble(
                stored, inside, mirror, down, right, self.scale, self.offset, self.dtype
            )
            yield images, self.labels[chosen]

    def _sent(self, values: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def _holders(
        self, rows: NDArray[np.int64], bounds: list[tuple[int, int]]
    ) -> Iterator[torch.Tensor]:
        """Give what holds the images of each batch: the whole set, or its rows in order."""
        if self.stored is not None:
            for _ in bounds:
                yield self.stored
        else:
            yield from _streamed(self.batches.images, rows, bounds, self.device)


def fits(images: NDArray[np.uint8], device: torch.device) -> bool:
    """Tell whether images may live on a device: always on CPU."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return images.nbytes <= FREE_SHARE * free


def _copied(images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Copy images to a device, some at a time, so that the host never holds them all."""
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
    """Read the rows of batch after batch in a thread, and send them while the device works."""
    ready: queue.Queue[torch.Tensor | BaseException] = queue.Queue(AHEAD)
    ended = threading.Event()

    def put(item: torch.Tensor | BaseException) -> None:
        while not ended.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def read() -> None:
        try:
            for start, stop in bounds:
                shape = (stop - start, *images.shape[1:])
                batch = torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
                np.take(images, rows[start:stop], axis=0, out=batch.numpy(), mode="clip")
                put(batch)
                if ended.is_set():
                    return
        except BaseException as error:  # noqa: BLE001  told where the batches are used
            put(error)

    reader = threading.Thread(target=read, name="lowres-reader", daemon=True)
    reader.start()
    try:
        for _ in bounds:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            # torch keeps a pinned block from reuse until the copy that was queued is over.
            yield item.to(device, non_blocking=True)
    finally:
        ended.set()
        reader.join()
