"""Callbacks of a training: yours by name, and two that log to MLflow and to Weights & Biases.

A callback is `function(run, record)`. It is called after each epoch with that line of
`metrics.jsonl`, and at the end with `result.json`, which alone has the key `status`. An error in it
ends the training; `lowres train RUN` resumes it after that epoch.
"""

from __future__ import annotations

import os
from typing import Any

from lowres.errors import require
from lowres.networks.imported import imported
from lowres.text import is_number
from lowres.training.execution import Callback, Execution
from lowres.training.run import Run

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
