"""Weights: what a finished run publishes, and how another run starts from them.

::

    RUN/weights.safetensors    the network's tensors by their names, input.mean and input.std, and
                               as metadata, JSON: recipe, class names and the store's digest

The file holds no code. A warm start copies the weights of another run, such as the same
configuration at a smaller size, into the layers that both networks have. A layer counts as common
if all its tensors have the same names and shapes: weights, scales, biases and the running averages
of batch norm. Other layers keep their random initialisation; optimizer state is never transferred.

Two of the paper's networks have the stem and the first stages in common, since stages are counted
from the image's side and their widths do not depend on the size. If the number of stages differs
(it rises at 16, 32 and 64 px), the dense layer and the last batch norm start fresh.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lowres.errors import RunError, UntrustedError, require
from lowres.networks.make import make_network
from lowres.recipe import Recipe
from lowres.text import command
from lowres.training.run import WEIGHTS_FILE, Run
from lowres.work.files import sha256_of_file, write_bytes
from lowres.work.records import decoded, typed

METADATA = "lowres"
MEAN, STD = "input.mean", "input.std"


class Published(TypedDict):
    """The metadata of a file of weights."""

    recipe: dict[str, Any]
    classes: tuple[str, ...]
    store: str


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """A network with its weights, ready for images.

    Attributes:
        module: the network, in evaluation mode.
        recipe: the recipe that trained it.
        classes: names, by label.
        mean: (3,) or (H, W, 3) float32 in levels, subtracted from images.
        std: (3,) float32 in levels, divisor of images.
    """

    module: nn.Module
    recipe: Recipe
    classes: tuple[str, ...]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    @torch.no_grad()
    def logits(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """Return (B, K) float32 logits of (B, size, size, 3) uint8 RGB images.

        Raises:
            ValueError: images have another shape or dtype.
        """
        size = self.recipe.size
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
            raise ValueError(
                f"images must be (B, {size}, {size}, 3) uint8, were {images.shape} {images.dtype}"
            )
        values = torch.from_numpy((images - self.mean) / self.std).permute(0, 3, 1, 2)
        logits: torch.Tensor = self.module(values).float()
        return logits

    def save(self, file: Path, store_digest: str) -> None:
        """Write the weights, with recipe and class names in the metadata."""
        save = require("safetensors.torch", "train").save
        tensors = {
            # a copy each, because safetensors refuses tensors that share memory
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.module.state_dict().items()
        }
        tensors |= {MEAN: torch.from_numpy(self.mean), STD: torch.from_numpy(self.std)}
        record = {
            "recipe": self.recipe.to_record(),
            "classes": self.classes,
            "store": store_digest,
        }
        # One entry, because safetensors writes several in an order that varies.
        write_bytes(file, save(tensors, {METADATA: json.dumps(record)}))


def load_network(path: Path | str) -> TrainedNetwork:
    """Load the network of a finished run, or of its weights.safetensors alone.

    If the recipe names a function as its model, that function is imported only if you passed its
    name to `lowres.trust`.

    Args:
        path: the directory of a run, or the file.

    Raises:
        RunError: the weights are missing, damaged, or of another network.
        UntrustedError: the recipe names code that you did not trust.
    """
    file = Path(path) / WEIGHTS_FILE if Path(path).is_dir() else Path(path)
    safetensors = require("safetensors", "train")
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            record = typed(decoded((opened.metadata() or {})[METADATA]), Published)
            tensors = {name: opened.get_tensor(name) for name in sorted(opened.keys())}
        recipe, classes = Recipe.from_record(record["recipe"]), record["classes"]
        mean, std = (tensors.pop(name).numpy() for name in (MEAN, STD))
        module = make_network(recipe, len(classes)).module
        module.load_state_dict(tensors)
    except FileNotFoundError:
        raise RunError(
            f"{file} does not exist: weights are written at the end of a run; finish it with: "
            f"{command('train', file.parent)}"
        ) from None
    except UntrustedError:
        raise
    except (OSError, RuntimeError, LookupError, ValueError, safetensors.SafetensorError) as error:
        raise RunError(f"{file} is damaged or of another network: {error}") from error
    return TrainedNetwork(module.eval(), recipe, classes, mean, std)


def weights_digest(model: nn.Module) -> str:
    """Hash all weights and running averages (SHA-256, hexadecimal)."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def warm_start(run: Run, model: nn.Module) -> tuple[str, ...]:
    """Copy the weights with which a run starts into the layers that both networks have.

    Args:
        run: the run; one without such weights leaves the network unchanged.
        model: its network, with initial weights.

    Returns:
        The names of the tensors that were copied.

    Raises:
        RunError: the weights are missing, differ from the planned ones, or fit no layer.
    """
    start = run.warm_start
    if start is None:
        return ()
    safetensors, again = require("safetensors", "train"), "remove the run, and plan it again"
    try:
        if sha256_of_file(start.file) != start.sha256:
            raise RunError(
                f"{start.file} is damaged: it does not hold the weights of {start.run} that "
                f"{run.path} was planned with; {again}"
            )
        with safetensors.safe_open(start.file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in sorted(opened.keys())}
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"{start.file} cannot be read: {error}; {again}") from error
    own = model.state_dict()
    layers = {name: name.rpartition(".")[0] for name in own}
    differing = {
        layers[name]
        for name, tensor in own.items()
        if name not in tensors or tensors[name].shape != tensor.shape
    }
    names = tuple(name for name in own if layers[name] not in differing)
    if not names:
        raise RunError(
            f"{run.path} starts from the weights of {start.run}, and no layer of its network has "
            "the same name and shapes as one of these: train it without them"
        )
    with torch.no_grad():
        for name in names:
            own[name].copy_(tensors[name])
    return names
