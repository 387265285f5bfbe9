"""Classical momentum, as the paper's scripts have it.

The learning rate is inside the velocity: v = m v - lr (g + wd w), then w = w + v. So a drop of the
learning rate leaves the running velocity as it is (Lasagne's `updates.momentum`). `torch.optim.SGD`
has it outside, and scales the whole velocity with each drop.

It is also the quicker to start: making any optimizer of torch imports its compiler, two seconds
that a short run would notice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lowres.recipe import DecayOn


class Momentum:
    """Updates the weights of a network in place.

    Args:
        model: the network.
        momentum: share of the velocity that is kept in each step.
        weight_decay: L2 gradient per unit of weight.
        decay_on: `weights-and-scales`: on tensors named `weight`, which are those of convolutions,
            dense layers and batch norm scales, and not on biases and batch norm offsets (Lasagne's
            tag `regularizable`). `everything`: on all tensors that are trained.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        momentum: float,
        weight_decay: float,
        decay_on: DecayOn = "weights-and-scales",
    ) -> None:
        named = dict(model.named_parameters())
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.parameters: list[torch.Tensor] = list(named.values())
        self.decayed: list[torch.Tensor] = [
            p
            for name, p in named.items()
            if decay_on == "everything" or name.rpartition(".")[2] == "weight"
        ]
        self.velocity = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the weights by their gradients, and clear the gradients.

        Args:
            lr: learning rate of this step, on the mean loss of a batch.
        """
        if self.weight_decay:
            gradients = [p.grad for p in self.decayed if p.grad is not None]
            torch._foreach_add_(gradients, self.decayed, alpha=self.weight_decay)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        torch._foreach_mul_(self.velocity, self.momentum)
        torch._foreach_add_(self.velocity, gradients, alpha=-lr)
        torch._foreach_add_(self.parameters, self.velocity)
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must keep."""
        return {"velocity": self.velocity}

    def load(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave.

        Raises:
            ValueError: it is of another network.
        """
        for own, saved in zip(self.velocity, state["velocity"], strict=True):
            if own.shape != saved.shape:
                raise ValueError(f"a velocity must be {tuple(own.shape)}, was {saved.shape}")
            own.copy_(saved)
