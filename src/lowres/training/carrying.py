"""Weights that a run takes over from another one, such as the same configuration at a smaller size.

A layer is taken over where the other network has one of the same name, and all its tensors have the
same names and shapes: weights, scales and biases, and batch norm's running averages. What has no
like there stays as its seed made it, and so does the optimizer.

Between the paper's networks of two sizes that is the stem and every stage that both have: stages
are counted from the images' side, and their widths do not depend on the size. Their dense layer
and last batch norm are as wide as the last stage, so they are fresh where the number of stages
differs (it rises at 16, 32 and 64 px).
"""

from __future__ import annotations

import torch
from torch import nn

from lowres.errors import RunError, require
from lowres.training.run import Run
from lowres.work.files import sha256_of_file


def carry(run: Run, model: nn.Module) -> tuple[str, ...]:
    """Load what fits of the weights that a run begins with, if they are another run's.

    Args:
        run: the run.
        model: its network, with initial weights.

    Returns:
        The names of the tensors that were taken over.

    Raises:
        RunError: the weights are missing, not those that were planned, or nothing of them fits.
    """
    if run.warm_start is None:
        return ()
    tensors, own = _read(run), model.state_dict()
    other = {
        _layer(name)
        for name, tensor in own.items()
        if name not in tensors or tensors[name].shape != tensor.shape
    }
    names = tuple(name for name in own if _layer(name) not in other)
    if not names:
        raise RunError(
            f"{run.path} begins with the weights of {run.warm_start.run}, and no layer of its "
            "network has the same name and shapes as one of these: train it without them"
        )
    with torch.no_grad():
        for name in names:
            own[name].copy_(tensors[name])
    return names


def _layer(name: str) -> str:
    """Name the layer of a tensor: a bias alone fits more than it belongs to."""
    return name.rpartition(".")[0]


def _read(run: Run) -> dict[str, torch.Tensor]:
    assert run.warm_start is not None
    safetensors, file = require("safetensors", "train"), run.warm_start.file
    try:
        if sha256_of_file(file) != run.warm_start.sha256:
            raise RunError(
                f"{file} is damaged: it is not the weights of {run.warm_start.run} that {run.path} "
                "was planned with; remove the run, and plan it again"
            )
        with safetensors.safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(
            f"{file} cannot be read: {error}; remove the run, and plan it again"
        ) from error
