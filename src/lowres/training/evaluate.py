"""Errors of a network on a split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from lowres.training.distributed import Team

TOP_K = 5


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of a network on a split.

    Attributes:
        top1: share of images whose class is not the highest logit, 0 to 1.
        top5: share of images whose class is not among the five highest logits; 0 for at most five
            classes.
        loss: mean cross-entropy in nats.
        labels: for each batch of this process, (B,) int64.
        predicted: the same of the classes with the highest logits.
    """

    top1: float
    top5: float
    loss: float
    labels: tuple[torch.Tensor, ...]
    predicted: tuple[torch.Tensor, ...]


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    device: torch.device,
    precision: torch.dtype,
    team: Team | None = None,
) -> Errors:
    """Measure a network on every image of a split, one view each.

    Args:
        model: returns (B, K) logits.
        batches: images, (B, 3, H, W), and labels, (B,) int64.
        device: where the network is.
        precision: number format in the network.
        team: the processes that measure parts of one split.
    """
    model.eval()
    counts = torch.zeros(3, dtype=torch.int64, device=device)  # right, among five, all
    loss = torch.zeros((), dtype=torch.float64, device=device)
    all_labels, predicted = [], []
    for images, labels in batches:
        if not len(labels):  # more processes than images in the last batch
            continue
        images, labels = images.to(device), labels.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = model(images)
        logits = logits.float()  # (B, K)
        highest = logits.topk(min(TOP_K, logits.shape[1])).indices
        hits = highest == labels[:, None]
        all_labels.append(labels)
        predicted.append(highest[:, 0])
        counts += torch.stack([hits[:, 0].sum(), hits.sum(), torch.ones_like(labels).sum()])
        loss += functional.cross_entropy(logits, labels, reduction="sum").double()
    if team is not None:
        counts, loss = team.sum(counts), team.sum(loss)
    right1, right5, count = counts.tolist()
    return Errors(
        1 - right1 / count,
        1 - right5 / count,
        float(loss) / count,
        tuple(all_labels),
        tuple(predicted),
    )
