"""Where curves go: event files of TensorBoard; callbacks, of which two log to MLflow and W&B.

A callback is `function(run, record)`. It is called after each epoch with that line of
`metrics.jsonl`, and at the end with `result.json`, which alone has the key `status`. An error in it
ends the training; `lowres train RUN` resumes it after that epoch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lowres.errors import require
from lowres.networks.imported import imported
from lowres.text import is_number
from lowres.training.execution import Callback, Execution, Log
from lowres.training.run import Run

EVENTS_FOLDER = "tensorboard"

RUN_TAG = "lowres.run"
"""Tag of MLflow by which a run that is resumed finds its earlier epochs."""


def callback_of(execution: Execution) -> Callback:
    """Return the callback of an execution; without one, a function that does nothing.

    Raises:
        RunError: its name cannot be imported.
    """
    found = execution.callback
    if found is None:
        return lambda _run, _record: None
    return imported(found, "callback") if isinstance(found, str) else found


def mlflow(run: Run, record: dict[str, Any]) -> None:
    """Log to MLflow, where its own environment says (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME).

    Raises:
        MissingExtraError: mlflow is not installed.
    """
    tracking: Any = require("mlflow", "mlflow")
    name, ended = run.path.name, "status" in record
    found = tracking.search_runs(
        filter_string=f"tags.`{RUN_TAG}` = '{name}'", max_results=1, output_format="list"
    )
    run_id = found[0].info.run_id if found else None
    tags = {RUN_TAG: name, "lowres.status": record.get("status", "started")}
    with tracking.start_run(run_id, run_name=name, tags=tags, nested=True) as active:
        if not found:
            tracking.log_params(run.recipe.to_record())
        prefix = "result_" if ended else ""  # the same name would be a further point of the curve
        tracking.log_metrics(
            {f"{prefix}{key}": value for key, value in numbers(record).items()},
            step=record["epochs" if ended else "epoch"],
        )
    if not ended:  # leaving the block declared it finished
        tracking.MlflowClient().update_run(active.info.run_id, status="RUNNING")


def wandb(run: Run, record: dict[str, Any]) -> None:
    """Log to Weights & Biases, where its own environment says (WANDB_PROJECT, WANDB_MODE, ...).

    Raises:
        MissingExtraError: wandb is not installed.
    """
    tracking: Any = require("wandb", "wandb")
    name = run.path.name
    if name not in _connections:
        _connections[name] = tracking.init(
            project=os.environ.get("WANDB_PROJECT", "lowres"),
            id=name,
            name=name,
            resume="allow",
            reinit="create_new",
            config=run.recipe.to_record(),
        )
    if "status" in record:
        connection = _connections.pop(name)
        connection.summary.update(record)
        connection.finish()
    else:
        _connections[name].log(numbers(record), step=record["epoch"])


_connections: dict[str, Any] = {}
"""Runs that are open at Weights & Biases; one process may train several side by side."""


def numbers(record: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a record, without truth values and missing ones."""
    return {name: float(value) for name, value in record.items() if is_number(value)}


@contextmanager
def event_files(
    path: Path, log: Log, epochs: int, *, writes: bool
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield the function that writes the record of an epoch into TensorBoard's event files.

    Args:
        path: directory of the run.
        log: the function writes nothing unless this is `tensorboard`.
        epochs: number of finished epochs; later ones in files of an earlier attempt are hidden.
        writes: whether this process writes.

    Raises:
        MissingExtraError: tensorboard is wanted and not installed.
    """
    if log != "tensorboard" or not writes:
        yield lambda _: None
        return
    require("tensorboard", "tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(path / EVENTS_FOLDER), purge_step=epochs + 1) as writer:

        def write(record: dict[str, Any]) -> None:
            for name, value in record.items():
                if name != "epoch" and value is not None:
                    measured = name in ("top1_error", "top5_error", "eval_loss")
                    group = "test" if name.startswith("test_") else "eval" if measured else "train"
                    writer.add_scalar(f"{group}/{name}", value, record["epoch"])
            writer.flush()

        yield write
