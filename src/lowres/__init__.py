"""Small-pixel variants of labelled image sets: build, load, train, and judge how far they stand in.

Names are loaded on first use, so that importing lowres imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowres.comparing.check import check as check
    from lowres.comparing.compare import compare as compare
    from lowres.comparing.contact_sheet import contact_sheet as contact_sheet
    from lowres.errors import LowresError as LowresError
    from lowres.loading.loaders import (
        NumpyLoader as NumpyLoader,
        TorchLoader as TorchLoader,
        torch_loader as torch_loader,
    )
    from lowres.loading.torch_dataset import torch_dataset as torch_dataset
    from lowres.networks.imported import trust as trust
    from lowres.recipe import Recipe as Recipe
    from lowres.report.files import write_report as write_report
    from lowres.report.targets import times_to_error as times_to_error
    from lowres.resampling.resampler import resample as resample
    from lowres.statistics.verdict import judge as judge
    from lowres.store.build import build as build
    from lowres.store.export import export as export
    from lowres.store.options import BuildOptions as BuildOptions, Working as Working
    from lowres.store.prepare import open_source as open_source
    from lowres.store.store import Store as Store, open_store as open_store
    from lowres.study.axes import Axis as Axis
    from lowres.study.runs import runs as runs
    from lowres.study.search.search import Search as Search
    from lowres.study.study import Study as Study
    from lowres.training.execution import Execution as Execution
    from lowres.training.loop import train as train
    from lowres.training.weights import (
        TrainedNetwork as TrainedNetwork,
        load_network as load_network,
    )
    from lowres.variant import FILTERS as FILTERS, Variant as Variant

_HOMES = {
    "FILTERS": "lowres.variant",
    "Axis": "lowres.study.axes",
    "BuildOptions": "lowres.store.options",
    "Execution": "lowres.training.execution",
    "LowresError": "lowres.errors",
    "NumpyLoader": "lowres.loading.loaders",
    "Recipe": "lowres.recipe",
    "Search": "lowres.study.search.search",
    "Store": "lowres.store.store",
    "Study": "lowres.study.study",
    "TorchLoader": "lowres.loading.loaders",
    "TrainedNetwork": "lowres.training.weights",
    "Variant": "lowres.variant",
    "Working": "lowres.store.options",
    "build": "lowres.store.build",
    "check": "lowres.comparing.check",
    "compare": "lowres.comparing.compare",
    "contact_sheet": "lowres.comparing.contact_sheet",
    "export": "lowres.store.export",
    "judge": "lowres.statistics.verdict",
    "load_network": "lowres.training.weights",
    "open_source": "lowres.store.prepare",
    "open_store": "lowres.store.store",
    "resample": "lowres.resampling.resampler",
    "runs": "lowres.study.runs",
    "times_to_error": "lowres.report.targets",
    "torch_dataset": "lowres.loading.torch_dataset",
    "torch_loader": "lowres.loading.loaders",
    "train": "lowres.training.loop",
    "trust": "lowres.networks.imported",
    "write_report": "lowres.report.files",
}
"""Public names and the modules that hold them."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:  # noqa: ANN401  any public name
    if name == "__version__":
        from importlib.metadata import version

        return version("lowres")
    if name not in _HOMES:
        raise AttributeError(f"module 'lowres' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
