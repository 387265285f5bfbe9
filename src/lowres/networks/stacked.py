"""Wide ResNets of one shape as one network, so that a CPU trains them in one pass.

The channels of K networks lie side by side: convolutions have K groups, norms see each channel for
itself, and the dense layers are one batched product. So no number of one network reaches another.
A small network leaves a CPU idle between calls and in half-filled vectors; K of them less so.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from lowres.networks.wrn import WideResNet


def can_stack(models: Sequence[nn.Module]) -> bool:
    """Return whether networks are Wide ResNets that differ in nothing but their weights."""
    kinds = {(one.shape, one.details) if isinstance(one, WideResNet) else None for one in models}
    return len(kinds) == 1 and None not in kinds


class Stacked:
    """Networks that `can_stack`, joined: (B, K x 3, H, W) float to (K, B, classes) logits.

    The tensors of each network become parts of the joined tensors: an update in place of one is an
    update of both. So each network can be saved, evaluated and optimized as before.

    Args:
        models: the networks; the joined one is in training mode.
    """

    def __init__(self, models: Sequence[WideResNet]) -> None:
        self.count = len(models)
        self.module = copy.deepcopy(models[0]).train()
        self.parameters: list[tuple[nn.Parameter, list[nn.Parameter]]] = []
        layers = [dict(model.named_modules()) for model in models]
        for name, layer in self.module.named_modules():
            self._join(layer, [own[name] for own in layers])
            if isinstance(layer, nn.Conv2d):
                layer.groups = self.count
        dense = self.module.dense
        assert isinstance(dense, nn.Linear)
        self.module.dense = _Heads(dense, self.count)

    def _join(self, layer: nn.Module, own: Sequence[nn.Module]) -> None:
        """Join the tensors of all networks in a layer, and make those of each a part of it."""
        for name, joined in [
            *layer.named_parameters(recurse=False),
            *layer.named_buffers(recurse=False),
        ]:
            theirs = [getattr(one, name) for one in own]
            if not joined.ndim:  # a number of batches, equal in all
                parts = [joined.data] * self.count
            else:
                joined.data = torch.cat([one.data for one in theirs])
                if joined.ndim == 4:
                    joined.data = joined.data.contiguous(memory_format=torch.channels_last)
                parts = list(joined.data.chunk(self.count))
            for one, part in zip(theirs, parts, strict=True):
                one.data = part
            if isinstance(joined, nn.Parameter):
                self.parameters.append((joined, theirs))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the (K, B, classes) logits of (B, K x 3, H, W) images, three channels each."""
        logits: torch.Tensor = self.module(images)
        return logits

    def share_gradients(self) -> None:
        """Move the gradients of the joined tensors to the tensors of each network."""
        for joined, theirs in self.parameters:
            assert joined.grad is not None
            for one, part in zip(theirs, joined.grad.chunk(self.count), strict=True):
                one.grad = part
            joined.grad = None


class _Heads(nn.Module):
    """The dense layers of K networks: (B, K x C) to (K, B, classes).

    Args:
        dense: a layer with their joined tensors, (K x classes, C) and (K x classes,).
        count: their number.
    """

    def __init__(self, dense: nn.Linear, count: int) -> None:
        super().__init__()
        self.weight, self.bias, self.count = dense.weight, dense.bias, count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = x.reshape(len(x), self.count, -1).transpose(0, 1)  # (K, B, C)
        weight = self.weight.view(self.count, -1, hidden.shape[2]).mT  # (K, C, classes)
        return torch.baddbmm(self.bias.view(self.count, 1, -1), hidden, weight)
