"""The optimizer of a recipe, behind one small protocol."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import torch
from torch import nn

from lowres.errors import RunError
from lowres.networks.imported import imported
from lowres.recipe import Recipe
from lowres.training.optimizers.momentum import Momentum
from lowres.training.optimizers.muon import Muon
from lowres.training.optimizers.parameters import decayed_names
from lowres.training.schedule import learning_rate


class Optimizer(Protocol):
    """Updates the weights of a network in place."""

    def step(self, lr: float) -> None:
        """Move the weights by their gradients at a learning rate, and clear the gradients."""

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must keep: tensors and plain values."""

    def load(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave; ValueError where it is of another network."""


def make_optimizer(recipe: Recipe, model: nn.Module, steps: int) -> Optimizer:
    """Make the optimizer of a recipe.

    Args:
        recipe: gives optimizer, momentum, weight decay and what decays.
        model: the network.
        steps: number of steps in the whole run.

    Raises:
        RunError: `optimizer` names nothing that can be called, or makes no optimizer.
    """
    if recipe.optimizer == "muon":
        total = sum(learning_rate(recipe, step, steps) for step in range(steps))
        return Muon(
            model,
            lr=recipe.lr,
            adam_lr=recipe.adam_lr,
            lr_total=total,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            decay_on=recipe.decay_on,
        )
    if recipe.optimizer in ("momentum", "nesterov"):
        return Momentum(
            model,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            decay_on=recipe.decay_on,
            nesterov=recipe.optimizer == "nesterov",
        )
    return Foreign(model, recipe)


class Foreign:
    """An optimizer of torch's kind: called with parameter groups, `lr` and, if it can, `fused`.

    What does not decay is a group of its own, with weight decay 0. `momentum` of the recipe is not
    passed on, because it means something else in each optimizer: a function of one's own sets it.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        make = imported(recipe.optimizer, "optimizer")
        decayed = decayed_names(model, recipe.decay_on)
        named = dict(model.named_parameters())
        parts = (
            (recipe.weight_decay, [p for n, p in named.items() if n in decayed]),
            (0.0, [p for n, p in named.items() if n not in decayed]),
        )
        groups = [{"params": part, "weight_decay": decay} for decay, part in parts if part]
        on_gpu = any(p.is_cuda for p in named.values())
        fused = {"fused": True} if on_gpu and _takes(make, "fused") else {}
        try:
            made = make(groups, lr=recipe.lr, **fused)
        except (TypeError, ValueError) as error:
            raise RunError(
                f"optimizer {recipe.optimizer} does not take parameter groups and lr: {error}"
            ) from error
        if not isinstance(made, torch.optim.Optimizer):
            raise RunError(
                f"optimizer {recipe.optimizer} must make a torch.optim.Optimizer, made a "
                f"{type(made).__name__}"
            )
        self.optimizer = made
        self.shares = [group["lr"] / recipe.lr for group in made.param_groups]

    def step(self, lr: float) -> None:
        """Move the weights by their gradients, and clear the gradients."""
        for group, share in zip(self.optimizer.param_groups, self.shares, strict=True):
            group["lr"] = lr * share
        self.optimizer.step()
        self.optimizer.zero_grad()

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must keep."""
        return self.optimizer.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave.

        Raises:
            ValueError: it is of another network.
        """
        self.optimizer.load_state_dict(state)


def _takes(function: Any, name: str) -> bool:  # noqa: ANN401
    try:
        return name in inspect.signature(function).parameters
    except ValueError:  # built in, without a signature
        return False
