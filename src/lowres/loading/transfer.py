"""Images on their way to a device: all at once if they fit, otherwise the rows of each batch.

Processes that share a GPU decide one after another whether their images fit: each holds the lock of
that GPU from asking for free memory until it has taken its part.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lowres.work.files import held

FREE_SHARE = 0.6
"""Share of a GPU's free memory that images may take; the rest is for activations."""

CHUNK_BYTES = 2**28
"""Bytes of images that the host holds while it copies them to the device."""

AHEAD = 3
"""Batches to read and send ahead while the device works."""


def placed(
    images: NDArray[np.uint8], device: torch.device, *, share: float = FREE_SHARE
) -> torch.Tensor | None:
    """Copy all images to a device, if they take at most a share of its free memory.

    Args:
        images: (N, H, W, 3) uint8.
        device: a GPU; the CPU has room for any images.
        share: `inf` copies them in any case.

    Returns:
        (N, H, W, 3) uint8 on the device; None if they do not fit.

    Raises:
        torch.OutOfMemoryError: `share` is larger than what is free.
    """
    with _locked(device):
        if device.type == "cuda" and images.nbytes > share * torch.cuda.mem_get_info(device)[0]:
            return None
        stored = torch.empty(images.shape, dtype=torch.uint8, device=device)
    step = max(1, CHUNK_BYTES // images[0].nbytes)  # so that the host never holds all of them
    for start in range(0, len(images), step):
        chunk = np.array(images[start : start + step])  # a copy: memory maps are read-only
        stored[start : start + len(chunk)].copy_(torch.from_numpy(chunk))
    return stored


@contextmanager
def _locked(device: torch.device) -> Iterator[None]:
    """Hold the lock of a GPU; wait while another process of this machine holds it."""
    if device.type != "cuda":
        yield
        return
    # The number of a GPU depends on CUDA_VISIBLE_DEVICES. An old torch has one lock for all.
    name = getattr(torch.cuda.get_device_properties(device), "uuid", "any")
    path = Path(tempfile.gettempdir()) / f"lowres-gpu-{name}.lock"
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL)
        os.fchmod(descriptor, 0o644)  # other users lock it, too
        os.close(descriptor)
    with held(path, wait=True):
        yield


class Copies:
    """Copies in a CUDA stream of their own: they run while the GPU works on earlier batches.

    Args:
        device: where batches are copied; for the CPU there is nothing to copy.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.on_gpu = device, device.type == "cuda"
        if self.on_gpu:
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.cuda.Event | None]:
        """Queue the copy of a batch, and an event that follows it; any thread may call this.

        Torch does not reuse the pinned memory of the batch before the copy has ended.
        """
        if not self.on_gpu:
            return batch, None
        with torch.cuda.stream(self.stream):
            there = batch.to(self.device, non_blocking=True)
            return there, self.stream.record_event()

    def receive(self, there: torch.Tensor, copied: torch.cuda.Event | None) -> torch.Tensor:
        """Make the current stream wait for a copy, and return the batch on the device.

        When the caller drops the batch, its memory goes back to the stream of the copies. Torch
        gives it to a later copy only after all work that the current stream has been given by then.
        """
        if copied is not None:
            work = torch.cuda.current_stream(self.device)
            work.wait_event(copied)
            there.record_stream(work)
        return there


def streamed(
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    bounds: Sequence[tuple[int, int]],
    copies: Copies,
) -> Iterator[torch.Tensor]:
    """Yield the rows of each batch on the device; a thread reads and sends ahead while it works.

    Args:
        images: (N, H, W, 3) uint8.
        rows: (n,) int64, of all batches.
        bounds: where each batch begins and ends in `rows`.
        copies: to the device.

    Yields:
        (B, H, W, 3) uint8 on the device.
    """

    def send(start: int, stop: int) -> tuple[torch.Tensor, torch.cuda.Event | None]:
        shape = (stop - start, *images.shape[1:])
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=copies.on_gpu)
        np.take(images, rows[start:stop], axis=0, out=batch.numpy(), mode="clip")
        return copies.send(batch)

    waiting = iter(bounds)
    with ThreadPoolExecutor(1, thread_name_prefix="lowres-reader") as reader:
        ahead = deque(reader.submit(send, *bound) for bound in islice(waiting, AHEAD))
        while ahead:
            sent = ahead.popleft().result()
            ahead.extend(reader.submit(send, *bound) for bound in islice(waiting, 1))
            yield copies.receive(*sent)
