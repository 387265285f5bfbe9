"""Errors of a network on a split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from lowres.loading.loaders import TorchLoader

TOP_K = 5


@dataclass(frozen=True, slots=True)
class Errors:
    """What a network gets wrong.

    Attributes:
        top1: share of pictures whose class is not the highest logit, 0 to 1.
        top5: share whose class is not among the five highest (all, where there are fewer).
        loss: mean cross-entropy in nats.
    """

    top1: float
    top5: float
    loss: float


@torch.no_grad()
def evaluate(
    model: nn.Module, loader: TorchLoader, device: torch.device, precision: torch.dtype
) -> Errors:
    """Measure a network on every picture of a loader, one view each."""
    model.eval()
    correct = torch.zeros(2, dtype=torch.int64, device=device)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    count = 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)  # (B, 3, H, W), (B,)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = model(images)
        logits = logits.float()  # (B, K)
        hits = logits.topk(min(TOP_K, logits.shape[1])).indices == labels[:, None]
        correct += torch.stack([hits[:, 0].sum(), hits.sum()])
        loss += functional.cross_entropy(logits, labels, reduction="sum").double()
        count += len(labels)
    right1, right5 = correct.tolist()
    return Errors(1 - right1 / count, 1 - right5 / count, float(loss) / count)
