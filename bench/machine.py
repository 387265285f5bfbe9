"""What a figure was measured on and with; the columns at the end of a bench's table."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def machine() -> dict[str, object]:
    """Describe the processor, Python and the packages that decide the speed."""
    packages = {name: installed(name) for name in ("numpy", "numba", "pillow", "simplejpeg")}
    cores = {"processor": processor(), "cores": os.cpu_count()}
    return {**cores, "python": platform.python_version(), **packages}


def installed(package: str) -> str:
    """Return a package's version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    for text in info.read_text().splitlines() if info.exists() else ():
        if text.startswith("model name"):
            return text.partition(":")[2].strip()
    return platform.processor()
