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
from lowres.training.optimizers import Optimizer
from lowres.work.files import write_bytes

FILE_NAME = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class Partial:
    """The part of an epoch that is trained.

    Attributes:
        steps: steps taken.
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
        history: one record for each finished epoch.
        partial: the epoch in progress.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    partial: Partial = field(default_factory=Partial)

    def pause(self, partial: Partial) -> None:
        """Note how far the epoch in progress is."""
        self.partial = partial

    def finish_epoch(self, record: dict[str, Any]) -> None:
        """Add the record of an epoch and begin the next one."""
        self.history.append(record)
        self.partial = Partial()


@dataclass(frozen=True, slots=True)
class Numerics:
    """What decides the bits of a result beside the recipe; a resumed run uses the same again.

    Attributes:
        precision: number format in the network, such as `bfloat16`.
        threads: CPU threads; another number rounds sums differently.
        compiled: whether the network is compiled.
    """

    precision: str
    threads: int
    compiled: bool


def save(
    folder: Path, model: nn.Module, optimizer: Optimizer, progress: Progress, numerics: Numerics
) -> None:
    """Write a checkpoint; after a crash the file is the new one or the earlier one."""
    buffer = io.BytesIO()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state(),
        **asdict(progress),
        **asdict(numerics),
    }
    torch.save(state, buffer)
    write_bytes(folder / FILE_NAME, buffer.getvalue())


def load(folder: Path, model: nn.Module, optimizer: Optimizer) -> tuple[Progress, Numerics | None]:
    """Load what `save` wrote into network and optimizer; without a file, start from the beginning.

    It reads tensors and plain values only, so a checkpoint cannot run code.

    Raises:
        RunError: the checkpoint is damaged or of another network.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return Progress(), None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load(state["optimizer"])
        progress = Progress(state["history"], Partial(**state["partial"]))
        return progress, Numerics(state["precision"], state["threads"], state["compiled"])
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
