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
    """What a network gets wrong.

    Attributes:
        top1: share of images whose class is not the highest logit, 0 to 1.
        top5: share whose class is not among the five highest (all, where there are fewer).
        loss: mean cross-entropy in nats.
    """

    top1: float
    top5: float
    loss: float


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    device: torch.device,
    precision: torch.dtype,
    team: Team | None = None,
) -> Errors:
    """Measure a network on every image, one view each.

    Args:
        model: gives (B, K) logits.
        batches: images, (B, 3, H, W), and labels, (B,) int64.
        device: where the network is.
        precision: numbers in the network.
        team: the processes that measure parts of one split.
    """
    model.eval()
    counts = torch.zeros(3, dtype=torch.int64, device=device)  # right, among five, all
    loss = torch.zeros((), dtype=torch.float64, device=device)
    for images, labels in batches:
        if not len(labels):  # more processes than images in the last batch
            continue
        images, labels = images.to(device), labels.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = model(images)
        logits = logits.float()  # (B, K)
        hits = logits.topk(min(TOP_K, logits.shape[1])).indices == labels[:, None]
        counts += torch.stack([hits[:, 0].sum(), hits.sum(), torch.ones_like(labels).sum()])
        loss += functional.cross_entropy(logits, labels, reduction="sum").double()
    if team is not None:
        counts, loss = team.added(counts), team.added(loss)
    right1, right5, count = counts.tolist()
    return Errors(1 - right1 / count, 1 - right5 / count, float(loss) / count)
