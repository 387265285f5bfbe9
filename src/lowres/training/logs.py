"""TensorBoard's event files of a run, beside its metrics.jsonl."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from lowres.errors import require
from lowres.training.run import Log

FOLDER = "tensorboard"


class EventLog:
    """Writes the record of each epoch as scalars, or nothing.

    Args:
        run: directory of the run.
        log: where logs go; event files only with `tensorboard`.
        epochs: how many are over already; later ones in files of an earlier attempt are hidden.
        writes: whether this process writes.

    Raises:
        MissingExtraError: tensorboard is wanted and not installed.
    """

    def __init__(self, run: Path, log: Log, epochs: int, *, writes: bool) -> None:
        self.writer: Any = None
        if log == "tensorboard" and writes:
            require("tensorboard", "tensorboard")
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(run / FOLDER), purge_step=epochs + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.writer is not None:
            self.writer.close()

    def write(self, record: dict[str, Any]) -> None:
        """Write the figures of an epoch, at its number."""
        if self.writer is None:
            return
        for name, value in record.items():
            if name != "epoch" and value is not None:
                group = "eval" if name in ("top1_error", "top5_error", "eval_loss") else "train"
                self.writer.add_scalar(f"{group}/{name}", value, record["epoch"])
        self.writer.flush()
