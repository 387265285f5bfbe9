"""Several processes that train one run, as `torchrun` starts them; a single one is a team of one.

Every process holds the whole network and takes an equal part of each batch. Gradients and batch
norm statistics are those of the whole batch, so the number of processes changes only the rounding.
Only the first process writes.
"""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from lowres.work.signals import uninterrupted

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""How long processes wait for each other: longer than the first one compiles or writes."""

ASK_EVERY = 8
"""Steps between two exchanges about stopping: all processes must stop after the same step."""


@dataclass(frozen=True, slots=True)
class Team:
    """The processes that train a run.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        device: device of the tensors that the processes exchange.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Add up a tensor over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def min(self, value: torch.Tensor) -> torch.Tensor:
        """Take the minimum of a tensor over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(value, distributed.ReduceOp.MIN)
        return value

    def any(self, holds: bool, step: int) -> bool:
        """Return whether something holds in any process; several exchange it every eighth step."""
        if self.size == 1:
            return holds
        if step % ASK_EVERY:
            return False
        return bool(self.sum(torch.tensor(int(holds), device=self.device)))

    def broadcast(self, value: T) -> T:
        """Return the value of the first process in all of them; plain values only."""
        if self.size == 1:
            return value
        held = [value]
        distributed.broadcast_object_list(held)
        return held[0]

    def wait(self) -> None:
        """Wait until every process has called this."""
        if self.size > 1:
            distributed.barrier()

    def pooled(
        self, mean: torch.Tensor, variance: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn mean and variance of this process's part of a batch into those of the whole.

        One exchange carries both; in float64 the difference of squares loses nothing.
        """
        own, square = mean.double(), variance.double() + mean.double() ** 2
        add: Callable[[torch.Tensor], torch.Tensor] = _Sum.apply
        whole, square = add(torch.stack([own, square])) / self.size
        return whole.to(mean.dtype), (square - whole**2).to(variance.dtype)

    def wrapped(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the network with gradients that are averaged over the processes."""
        if self.size == 1:
            return model
        devices = [device.index] if device.type == "cuda" else None
        wrapper = nn.parallel.DistributedDataParallel
        # All processes hold the same buffers. PyTorch 2.13 renamed the flag that says so.
        new, old = "forward_sync_buffers", "broadcast_buffers"
        flags: dict[str, Any] = {new if new in signature(wrapper).parameters else old: False}
        return wrapper(model, device_ids=devices, **flags)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes. Its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: object, value: torch.Tensor) -> torch.Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, *grads: torch.Tensor) -> torch.Tensor:
        return _Sum.forward(ctx, *grads)


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """Join the processes that `torchrun` started; without it, be a team of one.

    Args:
        device: cpu (gloo) or a CUDA device (NCCL).
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or not distributed.is_available():
        yield Team()
        return
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(device)
    # DistributedDataParallel imports this module, whose defaults keep the group of that moment.
    # Imported now, it keeps none, and the group's threads end before the interpreter does.
    import_module("torch.distributed.nn.functional")
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=TIMEOUT)
    try:
        yield Team(distributed.get_rank(), size, device if on_gpu else "cpu")
    except BaseException as error:
        _forget(error)
        raise
    finally:
        # DistributedDataParallel must end before the group. If it were the last to hold the group,
        # it would wait for the group's threads while it keeps them from Python's objects.
        with uninterrupted():
            gc.collect()
            distributed.destroy_process_group()


def _forget(error: BaseException | None) -> None:
    """Clear what the functions that an error passed through still hold, such as networks."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def launcher() -> tuple[str, ...]:
    """Return the words that start as many processes as these before `lowres`; none for one."""
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if os.environ.get("WORLD_SIZE", "1") == "1" or processes != os.environ["WORLD_SIZE"]:
        return ()
    return ("torchrun", "--nproc-per-node", processes, "-m")
