"""How a run is carried out: nothing here is a decision of the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from lowres.errors import RunError

Compile = Literal["auto", "on", "off"]
Loading = Literal["auto", "resident", "streamed"]
Log = Literal["jsonl", "tensorboard"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """How a run is carried out.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; if not given, as many as the run began with, or torch's own number.
        compile: by `torch.compile`: `auto` where it pays back within the run, `on` or `off`. A run
            goes on as it began.
        loading: where images are while a GPU trains: `resident` on the GPU, as bytes, `streamed`
            from the store, or `auto`, resident where they fit. The CPU reads from the store's
            memory map with `auto`, by its own kernel.
        log: `jsonl` writes metrics.jsonl alone, `tensorboard` event files beside it.

    Raises:
        RunError: a value is none of these.
    """

    device: str = "auto"
    threads: int | None = None
    compile: Compile = "auto"
    loading: Loading = "auto"
    log: Log = "jsonl"

    def __post_init__(self) -> None:
        for name, choices in (("compile", Compile), ("loading", Loading), ("log", Log)):
            value = getattr(self, name)
            if value not in get_args(choices):
                raise RunError(
                    f"{name} must be one of {', '.join(get_args(choices))}, was {value!r}"
                )
        if self.threads is not None and self.threads < 1:
            raise RunError(f"threads must be at least 1, was {self.threads}")
