"""Muon: steps whose matrices have all singular values near one; Adam for everything else.

After K. Jordan 2024 (kellerjordan.github.io/posts/muon). Its units make the fields of a recipe
tunable one at a time: the learning rate is how far a step moves a matrix, whatever gradient, batch
size and momentum; the weight decay is how much weights shrink over the whole run, whatever the
learning rate and the number of steps.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch
from torch import nn

from lowres.recipe import DecayOn
from lowres.training.optimizers.parameters import copy_all, decayed_names, matrix_names, reached

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration, chosen by Jordan for the steepest slope at 0."""

NEWTON_SCHULZ_STEPS = 5
"""Jordan's number: singular values end between 0.7 and 1.2."""

ADAM_BETAS = (0.9, 0.99)
ADAM_EPS = 1e-10
"""Betas and eps of Jordan's own script for CIFAR-10."""


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Bring the singular values of matrices near 1, singular vectors kept, in bfloat16.

    Args:
        matrices: (count, rows, columns), any float dtype.

    Returns:
        (count, rows, columns) bfloat16; 0 where a matrix is 0.
    """
    a, b, c = NEWTON_SCHULZ
    x: torch.Tensor = matrices.bfloat16()
    upright = x.shape[1] > x.shape[2]
    x = x.mT if upright else x
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if upright else x


class Muon:
    """Updates the weights of a network in place.

    Args:
        model: the network.
        lr: the peak of the schedule.
        adam_lr: Adam's learning rate at the same time.
        lr_total: sum of the learning rates of all steps of the run.
        momentum: share of the averaged gradient that is kept in each step; looks ahead.
        weight_decay: by how much the logarithm of a decaying weight falls over the run.
        decay_on: what decays; see `parameters.decayed_names`. Norm scales never do here.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        lr: float,
        adam_lr: float,
        lr_total: float,
        momentum: float,
        weight_decay: float,
        decay_on: DecayOn = "weights-and-scales",
    ) -> None:
        named = dict(model.named_parameters())
        matrices, decayed = matrix_names(model), decayed_names(model, decay_on)
        self.lr, self.adam_lr, self.lr_total = lr, adam_lr, lr_total
        self.momentum, self.weight_decay = momentum, weight_decay
        self.matrices: list[torch.Tensor] = [p for n, p in named.items() if n in matrices]
        self.others: list[torch.Tensor] = [p for n, p in named.items() if n not in matrices]
        self.decayed: list[torch.Tensor] = [
            p for n, p in named.items() if n in decayed and p.ndim >= 2
        ]
        self.averages = [torch.zeros_like(p) for p in (*self.matrices, *self.others)]
        self.squares = [torch.zeros_like(p) for p in self.others]
        self.steps = 0

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the weights by their gradients, and clear the gradients.

        Args:
            lr: learning rate of this step.
        """
        self.steps += 1
        torch._foreach_mul_(self.decayed, math.exp(-self.weight_decay * lr / self.lr_total))
        self._move_matrices(lr)
        self._move_others(self.adam_lr * lr / self.lr)
        for parameter in (*self.matrices, *self.others):
            parameter.grad = None

    def _move_matrices(self, lr: float) -> None:
        """Take a step of Muon; matrices of one shape are worked on together."""
        shapes: dict[tuple[int, int], list[tuple[torch.Tensor, torch.Tensor]]]
        shapes = defaultdict(list)
        averages = self.averages[: len(self.matrices)]
        for parameter, gradient, average in zip(*reached(self.matrices, averages), strict=True):
            average.lerp_(gradient, 1 - self.momentum)
            ahead = gradient.lerp(average, self.momentum)
            matrix = ahead.flatten(1)
            shapes[matrix.shape[0], matrix.shape[1]].append((parameter, matrix))
        for (rows, columns), members in shapes.items():
            steps = orthogonalised(torch.stack([matrix for _, matrix in members])).float()
            # So that a step changes what comes out of a tall matrix as much as of a square one.
            length = lr * math.sqrt(max(1.0, rows / columns))
            for (parameter, _), step in zip(members, steps, strict=True):
                parameter.add_(step.view(parameter.shape), alpha=-length)

    def _move_others(self, lr: float) -> None:
        """Take a step of Adam."""
        averages = self.averages[len(self.matrices) :]
        others, gradients, first, second = reached(self.others, averages, self.squares)
        beta1, beta2 = ADAM_BETAS
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        scales = torch._foreach_sqrt(second)
        torch._foreach_mul_(scales, 1 / math.sqrt(1 - beta2**self.steps))
        torch._foreach_add_(scales, ADAM_EPS)
        torch._foreach_addcdiv_(others, first, scales, -lr / (1 - beta1**self.steps))

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must keep."""
        return {"averages": self.averages, "squares": self.squares, "steps": self.steps}

    def load(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave.

        Raises:
            ValueError: it is of another network.
        """
        copy_all(self.averages, state["averages"], "an averaged gradient")
        copy_all(self.squares, state["squares"], "an averaged square")
        self.steps = int(state["steps"])
