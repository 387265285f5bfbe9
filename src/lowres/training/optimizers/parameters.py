"""Which tensors of a network an optimizer treats in which way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from lowres.recipe import DecayOn

Reached = tuple[list[torch.Tensor], ...]


def decayed_names(model: nn.Module, decay_on: DecayOn) -> frozenset[str]:
    """Name the tensors that decay.

    Args:
        model: the network.
        decay_on: `weights-and-scales`: tensors named `weight`, which are those of convolutions,
            dense layers and norm scales, and not biases and norm offsets (Lasagne's tag
            `regularizable`). `everything`: all tensors that are trained.
    """
    return frozenset(
        name
        for name, _ in model.named_parameters()
        if decay_on == "everything" or name.rpartition(".")[2] == "weight"
    )


def matrix_names(model: nn.Module) -> frozenset[str]:
    """Name the tensors that are matrices between hidden layers, convolutions among them.

    They are the weights of two and more dimensions but for the first and the last one, which see
    pixels and give logits (after the advice of Muon's author, K. Jordan 2024).
    """
    weights = [
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim >= 2 and name.rpartition(".")[2] == "weight"
    ]
    return frozenset(weights[1:-1])


def reached(parameters: Sequence[torch.Tensor], *beside: Sequence[torch.Tensor]) -> Reached:
    """Give the tensors that the last backward pass reached; frozen and unused ones it does not.

    Args:
        parameters: of a network.
        beside: what an optimizer keeps for each of them.

    Returns:
        The parameters, their gradients, and a list for each of `beside`.
    """
    rows = [
        (parameter, parameter.grad, *kept)
        for parameter, *kept in zip(parameters, *beside, strict=True)
        if parameter.grad is not None
    ]
    width = 2 + len(beside)
    return tuple([row[column] for row in rows] for column in range(width))


def copy_all(own: Sequence[torch.Tensor], saved: Sequence[torch.Tensor], what: str) -> None:
    """Copy tensors of a checkpoint into those of an optimizer.

    Raises:
        ValueError: number or shapes differ.
    """
    for mine, theirs in zip(own, saved, strict=True):
        if mine.shape != theirs.shape:
            raise ValueError(f"{what} must be {tuple(mine.shape)}, was {tuple(theirs.shape)}")
        mine.copy_(theirs)
