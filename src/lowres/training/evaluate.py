"""Errors of networks on a split; on a GPU, those of several runs are measured side by side.

A small network computes for a fraction of the time that its kernels take to launch. So a CUDA graph
that repeats the steps of runs is joined by one that repeats the batches of their evaluations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from lowres.loading.device_loader import DeviceLoader
from lowres.training.compiling import BatchLoader
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
        labels: of the images of this process in the order of its batches, (n,) int64.
        predicted: the classes with the highest logits, in the same order.
    """

    top1: float
    top5: float
    loss: float
    labels: torch.Tensor
    predicted: torch.Tensor


class Evaluation:
    """The evaluation of a network on every image of a split, one view each.

    After `begin`, it is called without arguments for each of the first `whole` batches, and
    `errors` measures the others. On a GPU with resident images a call reads its batch from the
    device, so that a CUDA graph can repeat it.

    Args:
        model: returns (B, K) logits.
        loader: batches of the split.
        device: where the network is.
        precision: number format in the network.
        team: the processes that measure parts of one split; default: this process alone.

    Attributes:
        whole: batches of full size that come from the device; 0 unless images are resident.
    """

    def __init__(
        self,
        model: nn.Module,
        loader: BatchLoader,
        device: torch.device,
        precision: torch.dtype,
        team: Team | None = None,
    ) -> None:
        self.model, self.loader, self.device = model, loader, device
        self.precision, self.team = precision, team or Team()
        self.counts = torch.zeros(3, dtype=torch.int64, device=device)  # right, among five, all
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.number = torch.zeros(1, dtype=torch.int64, device=device)
        self.whole, shape = 0, (0, 0)
        if isinstance(loader, DeviceLoader) and loader.on_gpu and self.team.size == 1:
            self.whole, shape = loader.whole, (loader.whole, loader.loader.batch_size)
        self.labels, self.predicted = (
            torch.empty(shape, dtype=torch.int64, device=device) for _ in range(2)
        )

    def begin(self) -> None:
        """Begin with the first image."""
        self.model.eval()
        self.counts.zero_()
        self.loss.zero_()
        if self.whole:
            assert isinstance(self.loader, DeviceLoader)
            self.loader.begin(0)
            self.number.zero_()

    def __call__(self) -> None:
        """Measure the next batch from the device."""
        assert isinstance(self.loader, DeviceLoader)
        images, labels = self.loader.next_batch()
        self.labels.index_copy_(0, self.number, labels[None])
        self.predicted.index_copy_(0, self.number, self._predict(images, labels)[None])
        self.number += 1

    def errors(self) -> Errors:
        """Measure the other batches, and return the errors of all."""
        all_labels, predicted = [self.labels.flatten()], [self.predicted.flatten()]
        for images, labels in self.loader.batches(0, self.whole):
            if len(labels):  # a process has none if its team is larger than the last batch
                labels = labels.to(self.device)
                all_labels.append(labels)
                predicted.append(self._predict(images.to(self.device), labels))
        counts, loss = self.team.sum(self.counts), self.team.sum(self.loss)
        right1, right5, count = counts.tolist()
        return Errors(
            1 - right1 / count,
            1 - right5 / count,
            float(loss) / count,
            torch.cat(all_labels),
            torch.cat(predicted),
        )

    @torch.no_grad()
    def _predict(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Count the errors of a batch, and return the predicted classes, (B,) int64."""
        reduced = self.precision == torch.bfloat16
        # A CUDA graph must not hold weights that a cache has cast outside of it.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=reduced, cache_enabled=False):
            logits = self.model(images)
        logits = logits.float()  # (B, K)
        highest = logits.topk(min(TOP_K, logits.shape[1])).indices
        hits = highest == labels[:, None]
        self.counts += torch.stack([hits[:, 0].sum(), hits.sum(), torch.ones_like(labels).sum()])
        self.loss += functional.cross_entropy(logits, labels, reduction="sum").double()
        predicted: torch.Tensor = highest[:, 0]
        return predicted


def evaluate(
    evaluations: Sequence[Evaluation], take: Callable[[], None] | None = None
) -> list[Errors]:
    """Measure networks, and return the errors of each.

    Args:
        evaluations: with `take`, of splits with equally many images.
        take: calls each evaluation once, side by side; default: one after another.
    """
    for one in evaluations:
        one.begin()
    calls = (
        [take] * evaluations[0].whole if take else [c for c in evaluations for _ in range(c.whole)]
    )
    for call in calls:
        call()
    return [one.errors() for one in evaluations]
