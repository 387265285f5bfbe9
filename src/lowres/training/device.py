"""Where a run is trained, and in which numbers."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from lowres.errors import RunError
from lowres.recipe import Precision


def choose_device(name: str) -> torch.device:
    """Settle a device name; `auto` is a CUDA GPU where there is one, and the CPU elsewhere.

    Raises:
        RunError: the name is unknown, or there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RunError(f"device must be auto, cpu, cuda or cuda:N, was {name!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RunError(
            f"device {name} is not there: torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA GPUs"
        )
    if device.type not in ("cpu", "cuda"):
        raise RunError(f"device must be auto, cpu, cuda or cuda:N, was {name!r}")
    return device


def choose_precision(wanted: Precision, device: torch.device) -> torch.dtype:
    """Settle `auto`: bfloat16 where the device has instructions for it, else float32."""
    if wanted == "auto":
        return torch.bfloat16 if _computes_bfloat16(device) else torch.float32
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32


def _computes_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not hasattr(torch.cpu, "get_capabilities"):  # torch older than 2.10
        return False
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))


def describe_hardware(device: torch.device) -> dict[str, Any]:
    """Name what a run was trained on, for its result."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device)}
    return {"device": _cpu_name(), "threads": torch.get_num_threads()}


def _cpu_name() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
