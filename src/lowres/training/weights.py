"""Published weights: safetensors with what it takes to use them, and no code.

::

    RUN/weights.safetensors    the network's tensors by their names, input.mean and input.std, and
                               as metadata, JSON: recipe, class names and the store's digest
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lowres.errors import RunError, require
from lowres.networks.make import make_network
from lowres.recipe import Recipe
from lowres.training.run import WEIGHTS_FILE, Run
from lowres.training.session import Session
from lowres.work.files import write_bytes

FILE_NAME = WEIGHTS_FILE
METADATA = "lowres"
MEAN, STD = "input.mean", "input.std"


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """A network with its weights, ready for images.

    Attributes:
        module: the network, in evaluation mode.
        recipe: what it was trained by.
        classes: names, by label.
        mean: (3,) or (H, W, 3) float32 in levels, subtracted from images.
        std: (3,) float32 in levels, divided by.
    """

    module: nn.Module
    recipe: Recipe
    classes: tuple[str, ...]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    @torch.no_grad()
    def logits(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """Give (B, K) float32 logits of (B, size, size, 3) uint8 RGB images.

        Raises:
            ValueError: images have another form.
        """
        size = self.recipe.size
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
            raise ValueError(
                f"images must be (B, {size}, {size}, 3) uint8, were {images.shape} {images.dtype}"
            )
        values = torch.from_numpy((images - self.mean) / self.std).permute(0, 3, 1, 2)
        logits: torch.Tensor = self.module(values).float()
        return logits


def publish(run: Run, session: Session) -> None:
    """Write the weights of a run that is over."""
    save = require("safetensors.torch", "train").save
    tensors = {
        # a copy each, because tensors that share memory cannot be written
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in session.network.module.state_dict().items()
    }
    tensors |= {MEAN: torch.from_numpy(session.mean), STD: torch.from_numpy(session.std)}
    record = {
        "recipe": session.recipe.to_record(),
        "classes": session.classes,
        "store": run.store_digest,
    }
    # One entry, because several are written in an order that changes from time to time.
    write_bytes(run.path / FILE_NAME, save(tensors, {METADATA: json.dumps(record)}))


def load_network(path: Path | str) -> TrainedNetwork:
    """Load the network of a finished run, or of its weights.safetensors alone.

    A network of a recipe that names a function of its own needs that function to be there.

    Args:
        path: the directory of a run, or the file.

    Raises:
        RunError: there are no such weights, they are damaged, or of another network.
    """
    file = Path(path) / FILE_NAME if Path(path).is_dir() else Path(path)
    safetensors = require("safetensors", "train")
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            record = json.loads((opened.metadata() or {})[METADATA])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        recipe, classes = Recipe.from_record(record["recipe"]), tuple(record["classes"])
        mean, std = (tensors.pop(name).numpy() for name in (MEAN, STD))
        module = make_network(recipe, len(classes)).module
        module.load_state_dict(tensors)
    except FileNotFoundError:
        raise RunError(f"{file} is not there: weights are written when a run is over") from None
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
