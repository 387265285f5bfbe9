"""Small-pixel variants of labelled image sets: build, load, train, and judge how far they stand in.

Names are loaded on first use, so that importing lowres imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowres.comparing.contact_sheet import contact_sheet
    from lowres.errors import LowresError
    from lowres.loading.loaders import NumpyLoader, TorchLoader, torch_loader
    from lowres.recipe import Recipe
    from lowres.report.files import write_report
    from lowres.resampling.resampler import resample
    from lowres.store.build import build
    from lowres.store.export import export
    from lowres.store.options import BuildOptions
    from lowres.store.store import Store, open_store
    from lowres.training.loop import train
    from lowres.training.run import Execution
    from lowres.training.weights import TrainedNetwork, load_network
    from lowres.variant import FILTERS, Variant

_HOMES = {
    "FILTERS": "lowres.variant",
    "BuildOptions": "lowres.store.options",
    "Execution": "lowres.training.run",
    "LowresError": "lowres.errors",
    "NumpyLoader": "lowres.loading.loaders",
    "Recipe": "lowres.recipe",
    "Store": "lowres.store.store",
    "TorchLoader": "lowres.loading.loaders",
    "TrainedNetwork": "lowres.training.weights",
    "Variant": "lowres.variant",
    "build": "lowres.store.build",
    "contact_sheet": "lowres.comparing.contact_sheet",
    "export": "lowres.store.export",
    "load_network": "lowres.training.weights",
    "open_store": "lowres.store.store",
    "resample": "lowres.resampling.resampler",
    "torch_loader": "lowres.loading.loaders",
    "train": "lowres.training.loop",
    "write_report": "lowres.report.files",
}

__all__ = [
    "FILTERS",
    "BuildOptions",
    "Execution",
    "LowresError",
    "NumpyLoader",
    "Recipe",
    "Store",
    "TorchLoader",
    "TrainedNetwork",
    "Variant",
    "build",
    "contact_sheet",
    "export",
    "load_network",
    "open_store",
    "resample",
    "torch_loader",
    "train",
    "write_report",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  any public name
    if name not in _HOMES:
        raise AttributeError(f"module 'lowres' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
