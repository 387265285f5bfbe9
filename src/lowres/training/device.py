"""Where a run is trained, and in which number format."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from lowres.errors import RunError
from lowres.recipe import Precision


def choose_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is a CUDA GPU if there is one, and the CPU otherwise.

    Raises:
        RunError: the name is unknown, or there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    unknown = f"device must be auto, cpu, cuda or cuda:N, was {name!r}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RunError(unknown) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RunError(
            f"device {name} does not exist: torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA GPUs"
        )
    if device.type not in ("cpu", "cuda"):
        raise RunError(unknown)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return device


def local_device(name: str) -> str:
    """Return the device of this process; `torchrun` gets a GPU for each of its processes.

    Args:
        name: device as the user wrote it.

    Raises:
        RunError: one GPU is named for several processes, or there are fewer GPUs than processes.
    """
    number, processes = os.environ.get("LOCAL_RANK"), os.environ.get("LOCAL_WORLD_SIZE", "1")
    if number is None or name == "cpu" or not torch.cuda.is_available():
        return name
    if name.startswith("cuda:") and processes != "1":
        raise RunError(
            f"device {name} is one GPU, and torchrun started {processes} processes here: leave "
            "--device out"
        )
    if int(processes) > torch.cuda.device_count():  # each process finds it and says the same
        raise RunError(
            f"torchrun started {processes} processes here, and torch sees "
            f"{torch.cuda.device_count()} CUDA GPUs: start one process a GPU with --nproc-per-node"
        )
    return name if name.startswith("cuda:") else f"cuda:{number}"


def use_gpu(device: torch.device) -> None:
    """Make a GPU the current one, and set on purpose how cuDNN and cuBLAS compute.

    float32 means float32 and not TF32, which rounds inputs to 10 bits. cuDNN may time its
    algorithms and take the fastest: all batches of a run have one shape.
    """
    torch.cuda.set_device(device)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True


def choose_precision(wanted: Precision, device: torch.device) -> torch.dtype:
    """Return the dtype of a precision; `auto` is bfloat16 if the device has instructions for it."""
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bfloat16" else torch.float32
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:  # torch older than 2.10 has no get_capabilities
        found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        native = any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if native else torch.float32


def describe_hardware(device: torch.device) -> dict[str, Any]:
    """Name the hardware of a run, for its result."""
    if device.type == "cuda":
        return {
            "device": torch.cuda.get_device_name(device),
            "tf32": torch.backends.cudnn.allow_tf32,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        }
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return {"device": name, "threads": torch.get_num_threads()}
