"""Momentum, classical and Nesterov's, as the paper's scripts have it.

The learning rate is inside the velocity: v = m v - lr (g + wd w), then w = w + v. So a drop of the
learning rate leaves the running velocity as it is (Lasagne's `updates.momentum`). `torch.optim.SGD`
has it outside, and scales the whole velocity with each drop. Nesterov's, w = w + m v - lr g with
the new v, is Lasagne's `updates.nesterov_momentum`.

It is also the quicker to start: making any optimizer of torch imports its compiler, two seconds
that a short run would notice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lowres.recipe import DecayOn
from lowres.training.optimizers.parameters import copy_all, decayed_names, reached


class Momentum:
    """Updates the weights of a network in place.

    Args:
        model: the network.
        momentum: share of the velocity that is kept in each step.
        weight_decay: L2 gradient per unit of weight.
        decay_on: what decays; see `parameters.decayed_names`.
        nesterov: look ahead by one step of the velocity.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        momentum: float,
        weight_decay: float,
        decay_on: DecayOn = "weights-and-scales",
        nesterov: bool = False,
    ) -> None:
        names, named = decayed_names(model, decay_on), dict(model.named_parameters())
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        self.parameters: list[torch.Tensor] = list(named.values())
        self.decayed: list[torch.Tensor] = [p for name, p in named.items() if name in names]
        self.velocity = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the weights by their gradients, and clear the gradients.

        Args:
            lr: learning rate of this step, on the mean loss of a batch.
        """
        if self.weight_decay:
            decayed, gradients = reached(self.decayed)
            torch._foreach_add_(gradients, decayed, alpha=self.weight_decay)
        parameters, gradients, velocity = reached(self.parameters, self.velocity)
        torch._foreach_mul_(velocity, self.momentum)
        torch._foreach_add_(velocity, gradients, alpha=-lr)
        if self.nesterov:
            torch._foreach_add_(parameters, velocity, alpha=self.momentum)
            torch._foreach_add_(parameters, gradients, alpha=-lr)
        else:
            torch._foreach_add_(parameters, velocity)
        for parameter in parameters:
            parameter.grad = None

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must keep."""
        return {"velocity": self.velocity}

    def load(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave.

        Raises:
            ValueError: it is of another network.
        """
        copy_all(self.velocity, state["velocity"], "a velocity")
