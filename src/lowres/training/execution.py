"""How a run is executed: device, threads, compiling, loading and logs; no decision of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from lowres.errors import RunError

if TYPE_CHECKING:
    from lowres.training.run import Run

Compile = Literal["auto", "on", "off"]
CudaGraph = Literal["auto", "on", "off"]
Loading = Literal["auto", "resident", "streamed"]
Log = Literal["jsonl", "tensorboard"]
if TYPE_CHECKING:
    Callback: TypeAlias = Callable[[Run, dict[str, Any]], object]
else:  # the flags of the command line are made without an import of NumPy
    Callback = Callable[..., object]
"""What is called after each epoch and at the end (`trackers.py`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """How a run is executed: nothing here is a decision of the recipe.

    Raises:
        RunError: a value is outside its range.
    """

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int | None = None
    """CPU threads. Default: as many as the run started with, or torch's own number."""
    compile: Compile = "auto"
    """torch.compile. auto: if it saves more time within the run than it costs. A run that is
    resumed keeps its first choice."""
    loading: Loading = "auto"
    """Where images are while a GPU trains. resident: on the GPU, as bytes. streamed: in the store.
    auto: resident if they fit. The CPU always reads the store's memory map."""
    cuda_graph: CudaGraph = "auto"
    """Whether a GPU repeats each step as one CUDA graph. auto: if the images are resident, and
    the network is the paper's or of timm, and the optimizer keeps its state in tensors. on: with
    networks of your own, too; they must not decide anything in Python during a step."""
    together: int | Literal["auto"] = "auto"
    """How many of several runs are trained side by side; each has its own result. auto: on a GPU,
    as many small networks as keep it busy; on the CPU, up to 8 where that is faster. On the CPU
    sums are then rounded differently; 1: with the bits of a run alone."""
    log: Log = "jsonl"
    """jsonl: metrics.jsonl alone. tensorboard: event files below RUN/tensorboard as well."""
    callback: str | Callback | None = None
    """package.module:function, called with the run and the record of each epoch, and at the end
    with the result (docs/training.md). lowres.training.trackers:mlflow and :wandb are two."""

    def __post_init__(self) -> None:
        fields = {"compile": Compile, "cuda_graph": CudaGraph, "loading": Loading, "log": Log}
        for name, choices in fields.items():
            value = getattr(self, name)
            if value not in get_args(choices):
                raise RunError(
                    f"{name} must be one of {', '.join(get_args(choices))}, was {value!r}"
                )
        for name in ("threads", "together"):
            value = getattr(self, name)
            if isinstance(value, int) and value < 1:
                raise RunError(f"{name} must be at least 1, was {value}")
        named = isinstance(self.callback, str)
        if self.callback is not None and (
            ":" not in str(self.callback) if named else not callable(self.callback)
        ):
            kind = "package.module:function" if named else "a function or its name"
            raise RunError(f"callback must be {kind}, was {self.callback!r}")
