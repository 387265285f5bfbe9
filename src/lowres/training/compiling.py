"""`torch.compile`: whether it pays back within a run, and its warm-up before the clock starts."""

from __future__ import annotations

import os
import shutil
import time
from typing import get_args

import torch
from torch import nn
from torch.nn import functional

from lowres.errors import RunError
from lowres.training.run import Compile

PAYS_FROM_MACS = {"cpu": 2e13, "cuda": 1e16}
"""Multiply-adds of a run from which the compiler's minute comes back.

CPU, for each thread, measured (docs/log.md): 16 to 22 s of compiling on a quiet machine and 63 to
77 s on a busy one save 19 to 36 % of a step of WRN-20-1 at 16 px and WRN-28-2 at 32 px, so it pays
after some 100 to 220 s at 0.6e11 to 1.3e11 multiply-adds a second.
CUDA: three minutes at 6e13 a second, assumed and not measured. A count and not a clock decides, so
that the same run always decides alike.
"""


def settle(
    wanted: Compile, *, train_macs: float, device: torch.device, threads: int, processes: int
) -> bool:
    """Decide whether to compile.

    Args:
        wanted: `auto`: where it pays back within the run, a compiler is there, and one process
            trains (batch norm that processes share breaks the graph into pieces).
        train_macs: multiply-adds of the whole run.
        device: where it runs.
        threads: CPU threads.
        processes: how many train the run.

    Raises:
        RunError: `on`, and there is no C++ compiler for the CPU.
    """
    if wanted not in get_args(Compile):
        raise RunError(f"compile must be one of {', '.join(get_args(Compile))}, was {wanted!r}")
    if wanted == "off":
        return False
    missing = device.type == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is None
    if wanted == "on":
        if missing:
            raise RunError("--compile on needs a C++ compiler for the CPU: install g++, or set CXX")
        return True
    pays_from = PAYS_FROM_MACS[device.type] * (threads if device.type == "cpu" else 1)
    return not missing and processes == 1 and train_macs >= pays_from


def compiled(model: nn.Module, device: torch.device) -> nn.Module:
    """Give a network that is compiled when it is first called; on CUDA, with CUDA graphs."""
    mode = "reduce-overhead" if device.type == "cuda" else None
    made: nn.Module = torch.compile(model, dynamic=False, mode=mode)  # type: ignore[assignment]
    return made


def warm_up(
    forward: nn.Module, model: nn.Module, images: torch.Tensor, precision: torch.dtype
) -> float:
    """Compile by one step that leaves no trace in the network; give the seconds it took.

    Args:
        forward: the compiled network.
        model: the network itself.
        images: (B, 3, H, W), as in training.
        precision: numbers in the network.
    """
    began = time.perf_counter()
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    device = images.device
    model.train()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for _ in range(3 if device.type == "cuda" else 1):  # CUDA graphs are recorded later
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
                logits = forward(images)
            labels = torch.zeros(len(images), dtype=torch.int64, device=device)
            loss = functional.cross_entropy(logits.float(), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            # A CUDA graph reuses its memory: gradients of the pass before must be gone by then.
            for parameter in model.parameters():
                parameter.grad = None
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(kept[name])
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
