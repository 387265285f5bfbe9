"""Optimizers: momentum as the paper's scripts have it, Muon, and any torch optimizer by its name.

Momentum (classical, and Nesterov's): the learning rate is inside the velocity, v = m v - lr (g +
wd w), then w = w + v. So a drop of the learning rate leaves the velocity unchanged (Lasagne's
`updates.momentum`). `torch.optim.SGD` has the rate outside: each drop scales the whole velocity.
Nesterov's, w = w + m v - lr g with the new v, is Lasagne's `updates.nesterov_momentum`. Momentum
also starts faster: creating any optimizer of torch imports its compiler, which takes two seconds.

Muon (K. Jordan 2024, kellerjordan.github.io/posts/muon): all singular values of a matrix update are
near one; Adam updates everything else. The fields of a recipe can then be tuned one at a time. The
learning rate is how far a step moves a matrix, for any gradient, batch size and momentum. The
weight decay is how much weights shrink over the whole run, for any learning rate and step count.
"""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

import torch
from torch import nn

from lowres.call import Call
from lowres.errors import RunError
from lowres.networks.imported import imported
from lowres.recipe import DecayOn, Recipe
from lowres.training.schedule import learning_rates

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration, chosen by Jordan for the steepest slope at 0."""

NEWTON_SCHULZ_STEPS = 5
"""Jordan's number: singular values end between 0.7 and 1.2."""

ADAM_BETAS = (0.9, 0.99)
ADAM_EPS = 1e-10
"""Betas and eps of Jordan's own script for CIFAR-10."""


Rate: TypeAlias = float | torch.Tensor
"""A learning rate: a number, or a float64 tensor of no dimension on the device of the weights."""

Closure: TypeAlias = Callable[[], torch.Tensor]
"""Computes the loss of the batch and adds its gradients to those of the weights."""


class Optimizer(Protocol):
    """Updates the weights of a network in place."""

    graphable: bool
    """Whether a step reads everything from tensors, so that a CUDA graph can repeat it."""
    in_place: bool
    """Whether a step changes the weights where they are, so that they may be parts of others."""
    needs_closure: bool = False
    """Whether a step computes gradients itself, several times, as that of LBFGS does."""

    def step(self, lr: Rate, closure: Closure | None = None) -> None:
        """Update the weights by their gradients at a learning rate, and clear the gradients.

        Args:
            lr: the learning rate.
            closure: computes the gradients, if `needs_closure`; None: they are there.
        """

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold: tensors and plain values."""

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned; raise ValueError if it is of another network."""

    def train(self) -> None:
        """Prepare the weights for training; only schedule-free optimizers change them."""
        return

    def eval(self) -> None:
        """Prepare the weights for evaluation; only schedule-free optimizers change them."""
        return


def make_optimizer(recipe: Recipe, model: nn.Module, steps: int) -> Optimizer:
    """Make the optimizer of a recipe, for a run of a number of steps.

    Raises:
        RunError: `optimizer` cannot be called, makes no optimizer, or has no weight decay.
    """
    if recipe.optimizer == "muon":
        return Muon(model, recipe, steps)
    if recipe.optimizer in ("momentum", "nesterov"):
        return Momentum(model, recipe)
    return TorchOptimizer(model, recipe)


def decayed_names(model: nn.Module, decay_on: DecayOn) -> frozenset[str]:
    """Name the tensors that decay.

    Args:
        model: the network.
        decay_on: `weights-and-scales`: tensors named `weight`: of convolutions, dense layers and
            norm scales, but not biases and norm offsets (Lasagne's tag `regularizable`).
            `everything`: all trainable tensors.
    """
    return frozenset(
        name
        for name, _ in model.named_parameters()
        if decay_on == "everything" or name.rpartition(".")[2] == "weight"
    )


def matrix_names(model: nn.Module) -> frozenset[str]:
    """Name the weights of hidden layers that have two or more dimensions.

    The first and the last weight are left out: they see pixels and compute logits (advice of Muon's
    author, K. Jordan 2024).
    """
    weights = [
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim >= 2 and name.rpartition(".")[2] == "weight"
    ]
    return frozenset(weights[1:-1])


def _with_gradient(
    parameters: Sequence[torch.Tensor], *states: Sequence[torch.Tensor]
) -> tuple[list[torch.Tensor], ...]:
    """Select the parameters that have a gradient; frozen and unused ones have none.

    Returns:
        The parameters, their gradients, and the matching tensors of each of `states`.
    """
    rows = [
        (parameter, parameter.grad, *kept)
        for parameter, *kept in zip(parameters, *states, strict=True)
        if parameter.grad is not None
    ]
    return tuple([row[column] for row in rows] for column in range(2 + len(states)))


def _copy_all(own: Sequence[torch.Tensor], saved: Sequence[torch.Tensor], what: str) -> None:
    """Copy tensors of a checkpoint; raise ValueError if their number or shapes differ."""
    for mine, theirs in zip(own, saved, strict=True):
        if mine.shape != theirs.shape:
            raise ValueError(f"{what} must be {tuple(mine.shape)}, was {tuple(theirs.shape)}")
        mine.copy_(theirs)


def _like(number: Rate, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return a number as a tensor of no dimension, of the dtype and on the device of others."""
    if not tensors:
        return torch.as_tensor(number)
    return torch.as_tensor(number, dtype=tensors[0].dtype, device=tensors[0].device)


class Momentum(Optimizer):
    """Classical momentum with the learning rate inside the velocity, or Nesterov's."""

    graphable = True
    in_place = True

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        names, named = decayed_names(model, recipe.decay_on), dict(model.named_parameters())
        self.momentum, self.weight_decay = recipe.momentum, recipe.weight_decay
        self.nesterov = recipe.optimizer == "nesterov"
        self.parameters: list[torch.Tensor] = list(named.values())
        self.decayed: list[torch.Tensor] = [p for name, p in named.items() if name in names]
        self.velocity = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self, lr: Rate, closure: Closure | None = None) -> None:
        if self.weight_decay:
            decayed, gradients = _with_gradient(self.decayed)
            torch._foreach_add_(gradients, decayed, alpha=self.weight_decay)
        parameters, gradients, velocity = _with_gradient(self.parameters, self.velocity)
        torch._foreach_mul_(velocity, self.momentum)
        torch._foreach_mul_(gradients, _like(-lr, gradients))
        torch._foreach_add_(velocity, gradients)
        if self.nesterov:
            torch._foreach_add_(parameters, velocity, alpha=self.momentum)
            torch._foreach_add_(parameters, gradients)
        else:
            torch._foreach_add_(parameters, velocity)
        for parameter in parameters:
            parameter.grad = None

    def state(self) -> dict[str, Any]:
        return {"velocity": self.velocity}

    def load(self, state: dict[str, Any]) -> None:
        _copy_all(self.velocity, state["velocity"], "a velocity")


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Bring the singular values of matrices near 1 and keep their singular vectors, in bfloat16.

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


class Muon(Optimizer):
    """Muon for the matrices of hidden layers, Adam for all others; norm scales never decay."""

    graphable = True
    in_place = True

    def __init__(self, model: nn.Module, recipe: Recipe, steps: int) -> None:
        named = dict(model.named_parameters())
        matrices, decayed = matrix_names(model), decayed_names(model, recipe.decay_on)
        self.recipe = recipe
        self.lr_total = sum(map(learning_rates(recipe, steps), range(steps)))
        self.matrices: list[torch.Tensor] = [p for n, p in named.items() if n in matrices]
        self.others: list[torch.Tensor] = [p for n, p in named.items() if n not in matrices]
        self.decayed: list[torch.Tensor] = [
            p for n, p in named.items() if n in decayed and p.ndim >= 2
        ]
        self.averages = [torch.zeros_like(p) for p in (*self.matrices, *self.others)]
        self.squares = [torch.zeros_like(p) for p in self.others]
        self.steps = torch.zeros((), dtype=torch.float64, device=self.averages[0].device)

    @torch.no_grad()
    def step(self, lr: Rate, closure: Closure | None = None) -> None:
        self.steps += 1
        lr = torch.as_tensor(lr, dtype=torch.float64, device=self.steps.device)
        kept = torch.exp(-self.recipe.weight_decay * lr / self.lr_total)
        torch._foreach_mul_(self.decayed, _like(kept, self.decayed))
        self._step_matrices(lr)
        self._step_others(self.recipe.adam_lr * lr / self.recipe.lr)
        for parameter in (*self.matrices, *self.others):
            parameter.grad = None

    def _step_matrices(self, lr: torch.Tensor) -> None:
        """Take a step of Muon; one batched product handles all matrices of one shape."""
        shapes: dict[tuple[int, int], list[tuple[torch.Tensor, torch.Tensor]]]
        shapes = defaultdict(list)
        averages = self.averages[: len(self.matrices)]
        parameters, gradients, averages = _with_gradient(self.matrices, averages)
        torch._foreach_lerp_(averages, gradients, 1 - self.recipe.momentum)
        ahead = torch._foreach_lerp(gradients, averages, self.recipe.momentum)
        for parameter, gradient in zip(parameters, ahead, strict=True):
            matrix = gradient.flatten(1)
            shapes[matrix.shape[0], matrix.shape[1]].append((parameter, matrix))
        for (rows, columns), members in shapes.items():
            steps = orthogonalised(torch.stack([matrix for _, matrix in members])).float()
            # A step then changes the output of a tall matrix as much as that of a square one.
            steps *= -lr * math.sqrt(max(1.0, rows / columns))
            torch._foreach_add_(
                [parameter for parameter, _ in members],
                [step.view(p.shape) for (p, _), step in zip(members, steps, strict=True)],
            )

    def _step_others(self, lr: torch.Tensor) -> None:
        """Take a step of Adam."""
        averages = self.averages[len(self.matrices) :]
        others, gradients, first, second = _with_gradient(self.others, averages, self.squares)
        beta1, beta2 = ADAM_BETAS
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        scales = torch._foreach_sqrt(second)
        torch._foreach_mul_(scales, _like((1 - beta2**self.steps).rsqrt(), scales))
        torch._foreach_add_(scales, ADAM_EPS)
        changes = torch._foreach_div(first, scales)
        torch._foreach_mul_(changes, _like(-lr / (1 - beta1**self.steps), changes))
        torch._foreach_add_(others, changes)

    def state(self) -> dict[str, Any]:
        return {"averages": self.averages, "squares": self.squares, "steps": int(self.steps)}

    def load(self, state: dict[str, Any]) -> None:
        _copy_all(self.averages, state["averages"], "an averaged gradient")
        _copy_all(self.squares, state["squares"], "an averaged square")
        self.steps.fill_(int(state["steps"]))


class TorchOptimizer(Optimizer):
    """An optimizer of torch's interface, which the recipe names; lowres sets its learning rates.

    It is made from parameter groups, `lr`, the arguments in its name and, if it takes it, `fused`.
    Tensors that do not decay are a group with weight decay 0; if none decays, there is one group.
    The recipe's `momentum` is not passed on, because its meaning differs between optimizers:
    `torch.optim:SGD(momentum=0.9)` sets it.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        make = imported(recipe.optimizer, "optimizer")
        for name in Call.parse(recipe.optimizer).arguments:
            if name in ("lr", "weight_decay"):
                raise RunError(
                    f"optimizer {recipe.optimizer} must not set {name}, a field of the recipe: use "
                    f"--{name.replace('_', '-')}"
                )
        decayed = decayed_names(model, recipe.decay_on)
        named = dict(model.named_parameters())
        parts = (
            (recipe.weight_decay, [p for n, p in named.items() if n in decayed]),
            (0.0, [p for n, p in named.items() if n not in decayed]),
        )
        if not recipe.weight_decay:  # one group, as LBFGS takes no more
            parts = ((0.0, list(named.values())), (0.0, []))
        groups = [{"params": part, "weight_decay": decay} for decay, part in parts if part]
        on_gpu = any(p.is_cuda for p in named.values())
        known = _parameters_of(make)
        options: dict[str, Any] = {"fused": True} if on_gpu and "fused" in known else {}
        # Torch's own optimizers with this option keep their state, and the rate, in tensors.
        self.graphable = on_gpu and "capturable" in known and _is_of_torch(make)
        rate: Rate = recipe.lr
        if self.graphable:
            options["capturable"] = True
            rate = torch.tensor(recipe.lr, device=next(iter(named.values())).device)
        _refuse_decay(make, recipe)
        try:
            made = make(groups, lr=rate, **options)
        except (TypeError, ValueError) as error:
            raise RunError(
                f"optimizer {recipe.optimizer} does not take parameter groups and lr: {error}"
            ) from error
        if not isinstance(made, torch.optim.Optimizer):
            raise RunError(
                f"optimizer {recipe.optimizer} must make a torch.optim.Optimizer, made a "
                f"{type(made).__name__}"
            )
        _refuse_decay(type(made), recipe)
        self.optimizer = made
        self.needs_closure = _needs_closure(type(made))
        self.in_place = _is_of_torch(make) and not self.needs_closure
        self.shares = [float(group["lr"]) / recipe.lr for group in made.param_groups]

    def step(self, lr: Rate, closure: Closure | None = None) -> None:
        for group, share in zip(self.optimizer.param_groups, self.shares, strict=True):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].copy_(torch.as_tensor(lr * share))
            else:
                group["lr"] = float(lr) * share
        if closure is None:
            self.optimizer.step()
        else:
            again: Callable[[], Any] = partial(_afresh, self.optimizer, closure)
            self.optimizer.step(again)
        self.optimizer.zero_grad()

    def state(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)

    def train(self) -> None:
        if callable(switch := getattr(self.optimizer, "train", None)):
            switch()

    def eval(self) -> None:
        if callable(switch := getattr(self.optimizer, "eval", None)):
            switch()


def _afresh(optimizer: torch.optim.Optimizer, closure: Closure) -> torch.Tensor:
    """Call a closure with cleared gradients and return the loss."""
    optimizer.zero_grad()
    loss = closure()
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        if parameter.grad is not None:
            parameter.grad = parameter.grad.contiguous()  # LBFGS views them as one vector
    return loss


def _is_of_torch(make: object) -> bool:
    function = make.func if isinstance(make, partial) else make
    return getattr(function, "__module__", "").startswith("torch.")


def _refuse_decay(kind: object, recipe: Recipe) -> None:
    """Raise RunError if the recipe has a weight decay, and a class of torch takes none."""
    kind = kind.func if isinstance(kind, partial) else kind
    ours = isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and _is_of_torch(kind)
    if recipe.weight_decay and ours and "weight_decay" not in _parameters_of(kind):
        raise RunError(f"optimizer {recipe.optimizer} has no weight decay: add --weight-decay 0")


def _needs_closure(kind: object) -> bool:
    closure = _parameters_of(getattr(kind, "step", None)).get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _parameters_of(function: object) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters) if callable(function) else {}
    except ValueError:  # built in, without a signature
        return {}
