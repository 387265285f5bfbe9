"""`torch.compile`: whether it pays back within a run, and its warm-up before the clock starts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from lowres.errors import RunError
from lowres.loading.device_loader import DeviceLoader
from lowres.training.execution import Compile

PAYS_FROM_MACS = {"cpu": 2e13, "cuda": 6e15}
"""Multiply-adds of a run from which on compiling saves more time than it takes.

CPU, for each thread, measured (docs/log.md): compiling takes 16 to 22 s on a quiet machine and 63
to 77 s on a busy one. It saves 19 to 36 % of a step of WRN-20-1 at 16 px and WRN-28-2 at 32 px. So
it pays after about 100 to 220 s at 0.6e11 to 1.3e11 multiply-adds a second. CUDA, measured on an
H100: compiling WRN-28-2 at 32 px takes 35 s and saves 27 % of a step in a CUDA graph, which is 130
s at 4.3e13 multiply-adds a second. The decision counts multiply-adds and steps and reads no clock,
so that equal runs decide equally.
"""

PAYS_FROM_STEPS = {"cpu": None, "cuda": 100_000}
"""Steps of a run from which on compiling pays whatever the network, by the launches that it saves.

CUDA, measured on an H100: compiling WRN-8-1 at 16 px takes 7 s and saves 115 us of a step.
"""

SMALLEST_STEP_MACS = {"cpu": 1e9, "cuda": 0.0}
"""Multiply-adds of a step below which compiling never pays: it made WRN-6-0.5 at 8 px 14 % slower.
"""


class BatchLoader(Protocol):
    """A split as batches on a device: images, (B, 3, H, W), and labels, (B,) int64."""

    def __len__(self) -> int:
        """Count the batches of an epoch."""

    def batches(self, epoch: int, first: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of an epoch from batch `first` on."""

    def positions(self, epoch: int, first: int = 0) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of each batch of this process, (B,) int64."""


@dataclass(frozen=True, slots=True)
class Forward:
    """A network as training calls it.

    Attributes:
        function: maps images to logits; compiled, or not.
        compiled: whether it is compiled.
        compile_s: seconds of compiling.
        note: why it is not compiled although that was planned; empty otherwise.
    """

    function: Callable[[torch.Tensor], torch.Tensor]
    compiled: bool = False
    compile_s: float = 0.0
    note: str = ""


def compile_pays(
    steps: int, step_macs: float, device: torch.device, *, threads: int, processes: int
) -> bool:
    """Return whether compiling pays back within a run.

    Args:
        steps: steps of the whole run.
        step_macs: multiply-adds of a step.
        device: where it runs.
        threads: CPU threads.
        processes: number of processes that train the run. For several the answer is no, because
            batch norm that they share breaks the graph into pieces.
    """
    if processes > 1 or step_macs < SMALLEST_STEP_MACS[device.type]:
        return False
    from_macs = PAYS_FROM_MACS[device.type] * (threads if device.type == "cpu" else 1)
    from_steps = PAYS_FROM_STEPS[device.type]
    return steps * step_macs >= from_macs or (from_steps is not None and steps >= from_steps)


def compile_forward(
    wanted: Compile,
    forward: Callable[[torch.Tensor], torch.Tensor],
    model: nn.Module,
    loader: BatchLoader,
    precision: torch.dtype,
    device: torch.device,
    *,
    graphed: bool = False,
) -> Forward:
    """Compile a network, and the batches of a `DeviceLoader`, before training.

    Args:
        wanted: with `on`, a failure raises; otherwise it is a note, and the run trains without.
        forward: the network as training calls it.
        model: the network itself.
        loader: batches of train.
        precision: number format in the network.
        device: where it runs.
        graphed: a CUDA graph will hold the whole step, so that the compiler makes none.

    Raises:
        RunError: `on`, and the network cannot be compiled.
    """
    cause, reason = None, missing_tools(device)
    if not reason:
        images, _ = next(loader.batches(0))
        began = time.perf_counter()
        # The compiler's own CUDA graphs are recorded in the second and third pass.
        own_graphs = device.type == "cuda" and not graphed
        mode, passes = ("reduce-overhead", 3) if own_graphs else (None, 1)
        try:
            function = torch.compile(forward, dynamic=False, mode=mode)
            warm_up(function, model, images, precision, passes=passes)
            if isinstance(loader, DeviceLoader):
                loader.compile()
        except Exception as error:  # noqa: BLE001  torch.compile raises errors of all its parts
            cause = error
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        else:
            return Forward(function, compiled=True, compile_s=time.perf_counter() - began)
    if wanted == "on":
        raise RunError(
            f"torch.compile cannot compile this network ({reason}): use --compile off"
        ) from cause
    return Forward(forward, note=f"training without torch.compile, which failed: {reason}")


def missing_tools(device: torch.device) -> str:
    """Name the programs that torch.compile lacks on this machine, with a remedy; empty if none."""
    if device.type == "cpu":
        found = shutil.which(os.environ.get("CXX", "g++"))
        return "" if found else "no C++ compiler: install g++, or set CXX"
    if importlib.util.find_spec("triton") is None:
        return "no Triton: pip install triton"
    names = [os.environ["CC"]] if os.environ.get("CC") else ["gcc", "clang", "cc"]
    return "" if any(map(shutil.which, names)) else "no C compiler: install gcc, or set CC"


def warm_up(
    forward: Callable[[torch.Tensor], torch.Tensor],
    model: nn.Module,
    images: torch.Tensor,
    precision: torch.dtype,
    *,
    passes: int = 1,
) -> None:
    """Compile by forward and backward passes that leave the network unchanged.

    Args:
        forward: the compiled network.
        model: the network itself.
        images: (B, 3, H, W), as in training.
        precision: number format in the network.
        passes: number of passes.
    """
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    device = images.device
    labels = torch.zeros(len(images), dtype=torch.int64, device=device)
    model.train()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            for _ in range(passes):
                reduced = precision == torch.bfloat16
                with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
                    logits = forward(images)
                loss = functional.cross_entropy(logits.float(), labels)
                torch.autograd.backward(loss)
                # A CUDA graph reuses its memory, so no gradient may survive until the next pass.
                model.zero_grad(set_to_none=True)
    finally:
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(kept[name])
    if device.type == "cuda":
        torch.cuda.synchronize(device)
