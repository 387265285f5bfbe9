"""The state of a run between two steps, on disk."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import PickleError
from typing import Any

import torch
from torch import nn

from lowres.errors import RunError
from lowres.training.optimizers.make import Optimizer
from lowres.work.files import write_bytes

FILE_NAME = "checkpoint.pt"


@dataclass(slots=True)
class Partial:
    """How far an epoch is.

    Attributes:
        steps: taken.
        loss: sum of their losses.
        bad_step: number in the run of the first step whose loss was not finite, or -1.
        train_s: seconds spent on them.
    """

    steps: int = 0
    loss: float = 0.0
    bad_step: int = -1
    train_s: float = 0.0


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        history: one record for each epoch that is over.
        partial: the epoch that is under way.
        precision: the numbers settled on when the run began.
        threads: CPU threads used so far; with others, sums round differently.
        compiled: whether the network is compiled; None before that is settled.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    partial: Partial = field(default_factory=Partial)
    precision: str = ""
    threads: int = 0
    compiled: bool | None = None


def save(folder: Path, model: nn.Module, optimizer: Optimizer, progress: Progress) -> None:
    """Write a checkpoint at once: the file is whole, or as it was before."""
    buffer = io.BytesIO()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state(),
        "history": progress.history,
        "partial": asdict(progress.partial),
        "precision": progress.precision,
        "threads": progress.threads,
        "compiled": progress.compiled,
    }
    torch.save(state, buffer)
    write_bytes(folder / FILE_NAME, buffer.getvalue())


def load(folder: Path, model: nn.Module, optimizer: Optimizer) -> Progress:
    """Take up the state that `save` wrote; fresh progress where there is none.

    Nothing but tensors and plain values is read, so a checkpoint cannot run code.

    Raises:
        RunError: the checkpoint is damaged or of another network.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return Progress()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load(state["optimizer"])
        partial = Partial(**state["partial"])
        settled = (state[name] for name in ("precision", "threads", "compiled"))
        return Progress(state["history"], partial, *settled)
    except (
        OSError,
        RuntimeError,
        LookupError,
        TypeError,
        ValueError,
        EOFError,
        PickleError,
    ) as error:
        raise RunError(
            f"{path} is damaged or of another network ({type(error).__name__}); remove it to "
            "train the run from its beginning"
        ) from error
