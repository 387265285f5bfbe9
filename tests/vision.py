"""torchvision and timm, which imports it, beside a torch for the CPU.

PyPI's torchvision for Linux is compiled for CUDA. Beside another torch its operators for boxes are
missing, and its import fails. Its transforms need none of them, so that a declaration is enough.
"""

import importlib
from types import ModuleType

import pytest

BOX_OPERATORS: list[object] = []
"""Keeps the declarations alive."""


def vision(name: str) -> ModuleType:
    """Import torchvision, timm or a module of theirs; skip the test if it is not installed."""
    torch = pytest.importorskip("torch")
    try:
        importlib.import_module("torchvision")
    except ImportError:
        pytest.skip("torchvision is not installed")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        BOX_OPERATORS.append(library)
    return pytest.importorskip(name)
