"""Several processes that train one run, as `torchrun` starts them; one alone is a team of one.

Every process holds the whole network and takes an equal part of each batch. Gradients and the
statistics of batch norm are those of the whole batch, so the number of processes changes nothing
but the rounding. The first process alone writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn

from lowres.errors import RunError

TIMEOUT = timedelta(minutes=30)
"""How long the others wait for a process: longer than the first one compiles or writes."""


ASK_EVERY = 8
"""Steps between two looks at the others: an end that one is asked for, all must agree on."""


class Team:
    """The processes that train a run.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        device: where tensors are that the processes exchange.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: str = "cpu") -> None:
        self.rank = rank
        self.size = size
        self.device = device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def added(self, value: torch.Tensor) -> torch.Tensor:
        """Add up a tensor over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def least(self, value: torch.Tensor) -> torch.Tensor:
        """Give the least of a tensor over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(value, distributed.ReduceOp.MIN)
        return value

    def any(self, holds: bool, step: int) -> bool:
        """Tell whether something holds in any process, asking at every eighth step."""
        if self.size == 1:
            return holds
        if step % ASK_EVERY:
            return False
        return bool(self.added(torch.tensor(int(holds), device=self.device)))

    def told(self, value: Any) -> Any:  # noqa: ANN401
        """Give what the first process has; plain values only."""
        if self.size == 1:
            return value
        held = [value]
        distributed.broadcast_object_list(held)
        return held[0]

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            distributed.barrier()

    def pooled(
        self, mean: torch.Tensor, variance: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn mean and variance of this process's part of a batch into those of the whole."""
        whole = _summed(mean) / self.size
        return whole, _summed(variance + (mean - whole) ** 2) / self.size

    def wrapped(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Give a network whose gradients are averaged over the processes."""
        if self.size == 1:
            return model
        devices = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            model, device_ids=devices, broadcast_buffers=False
        )


def _summed(value: torch.Tensor) -> torch.Tensor:
    """Add up over all processes, so that gradients flow back to each."""
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(value)  # type: ignore[no-any-return, no-untyped-call]


def local_device(name: str) -> str:
    """Give each process of a machine a GPU of its own, where `torchrun` started several.

    Args:
        name: of the device, as the user gave it.

    Raises:
        RunError: one GPU is named for several processes.
    """
    number, processes = os.environ.get("LOCAL_RANK"), os.environ.get("LOCAL_WORLD_SIZE", "1")
    if number is None or name == "cpu" or not torch.cuda.is_available():
        return name
    if name.startswith("cuda:") and processes != "1":
        raise RunError(
            f"device {name} is one GPU, and torchrun started {processes} processes here: leave "
            "--device out"
        )
    return name if name.startswith("cuda:") else f"cuda:{number}"


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """Be in the team that `torchrun` started, if it did.

    Args:
        device: cpu or a CUDA device; decides between gloo and NCCL.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or not distributed.is_available():
        yield Team()
        return
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=TIMEOUT)
    try:
        yield Team(distributed.get_rank(), size, device if on_gpu else "cpu")
    finally:
        distributed.destroy_process_group()
