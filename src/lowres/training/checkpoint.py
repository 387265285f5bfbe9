"""The state of a run between two steps, on disk.

A checkpoint is a file of `torch.save` that ends in the SHA-256 of its bytes. The last two are kept.
"""

from __future__ import annotations

import hashlib
import io
import struct
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import PickleError
from typing import Any

import torch
from torch import nn

from lowres.errors import RunError, reason
from lowres.training.optimizers import Optimizer
from lowres.training.run import CHECKPOINT_FILE, EARLIER_CHECKPOINT_FILE
from lowres.work.files import write_bytes

SEAL = b"sha256 "
SEAL_BYTES = len(SEAL) + 64
REMEDY = (
    f"to train the run from its beginning, remove {CHECKPOINT_FILE} and {EARLIER_CHECKPOINT_FILE}"
)
MISFITS = (RuntimeError, LookupError, TypeError, ValueError, EOFError, PickleError)
"""What loading a state of another network may raise."""


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
        note: what the user should know of the checkpoint that was loaded; empty if nothing.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    partial: Partial = field(default_factory=Partial)
    note: str = ""

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
    """Write a checkpoint, and keep the one before; after a crash, at least one of them is whole."""
    buffer = io.BytesIO()
    state = {
        # a copy each, because torch.save writes the whole tensor that a tensor is a part of
        "model": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "optimizer": optimizer.state(),
        "history": progress.history,
        "partial": asdict(progress.partial),
        **asdict(numerics),
    }
    torch.save(state, buffer)
    data = sealed(buffer.getvalue())
    write_bytes(folder / CHECKPOINT_FILE, data, earlier=folder / EARLIER_CHECKPOINT_FILE)


def load(folder: Path, model: nn.Module, optimizer: Optimizer) -> tuple[Progress, Numerics | None]:
    """Load what `save` wrote into network and optimizer; without a file, start from the beginning.

    If the last checkpoint is missing or damaged, the one before is loaded. A checkpoint is used
    only if its SHA-256 is right. It is read as tensors and plain values, so it cannot run code.

    Raises:
        RunError: no checkpoint is whole, or it is of another network.
    """
    damage: list[str] = []
    for path in (folder / CHECKPOINT_FILE, folder / EARLIER_CHECKPOINT_FILE):
        try:
            data = unsealed(path.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            damage.append(f"{path} is damaged ({reason(error)})")
            continue
        try:
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            model.load_state_dict(state["model"])
            optimizer.load(state["optimizer"])
            progress = Progress(state["history"], Partial(**state["partial"]))
            numerics = Numerics(state["precision"], state["threads"], state["compiled"])
        except MISFITS as error:
            raise RunError(
                f"{path} is of another network ({type(error).__name__}: {error}); {REMEDY}"
            ) from error
        progress.note = "".join(f"{one}: resumed from {path.name}" for one in damage)
        return progress, numerics
    if damage:
        raise RunError(f"{'; '.join(damage)}; {REMEDY}")
    return Progress(), None


def sealed(data: bytes) -> bytes:
    """Return a file of torch.save, which is a ZIP without a comment, with its SHA-256 as one."""
    body = data[:-2] + struct.pack("<H", SEAL_BYTES)
    return body + SEAL + hashlib.sha256(body).hexdigest().encode()


def unsealed(data: bytes) -> bytes:
    """Check the SHA-256 of a checkpoint; raise ValueError if it is not the right one."""
    body, seal = data[:-SEAL_BYTES], data[-SEAL_BYTES:]
    if seal != SEAL + hashlib.sha256(body).hexdigest().encode():
        raise ValueError("its SHA-256 does not fit its bytes")
    return data
