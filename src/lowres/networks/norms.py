"""Batch norm: Lasagne's running average, and statistics of a batch that several processes share."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional

BATCH_NORM_EPS = 1e-4
"""Lasagne's default, which the authors' network and the TensorFlow port use."""

BATCH_NORM_RATE = 0.1
"""Weight of a new batch in the running averages (Lasagne's `alpha`; 1 - 0.9 in the port)."""


class Pool(Protocol):
    """Several processes, each with an equal part of every batch."""

    @property
    def size(self) -> int:
        """Number of processes."""

    def pooled(
        self, mean: torch.Tensor, variance: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn mean and variance of this process's part, (C,), into those of the whole batch."""


class InverseDeviationNorm(nn.BatchNorm2d):
    """Batch norm that averages 1 / standard deviation over steps, as Lasagne does.

    It trains as torch's batch norm does. In evaluation the two differ if the deviation changes from
    batch to batch: the mean of inverses is not the inverse of the mean.

    Attributes:
        running_inverse: (C,) float32, average of 1 / sqrt(variance + eps) over steps.
        pool: joins the statistics of several processes; None for one process.
    """

    running_inverse: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_RATE)
        del self.running_var
        self.register_buffer("running_inverse", torch.ones(channels))
        self.pool: Pool | None = None

    def share(self, pool: Pool) -> None:
        """Use the statistics of the whole batch from now on."""
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        if not self.training:
            # (x - mean) / sqrt(1) x weight x inverse + bias, in torch's own kernel.
            ones = torch.ones_like(self.running_inverse)
            scale = self.weight * self.running_inverse
            return functional.batch_norm(x, self.running_mean, ones, scale, self.bias, eps=0.0)
        # torch.compile returns the statistics of native_batch_norm in the wrong precision; it
        # fuses the other branch into one kernel.
        if self.pool is None and not torch.compiler.is_compiling():
            normal, mean, inverse = torch.native_batch_norm(
                x, self.weight, self.bias, None, None, True, 0.0, self.eps
            )
        else:
            normal, mean, variance = _normalised(x, self, self.pool)
            inverse = torch.rsqrt(variance + self.eps)
        with torch.no_grad():
            for running, new in ((self.running_mean, mean), (self.running_inverse, inverse)):
                assert running is not None
                running.lerp_(new.to(running.dtype), BATCH_NORM_RATE)
        return normal


class PooledNorm(nn.BatchNorm2d):
    """Torch's batch norm over a batch that several processes share, on any device.

    Args:
        norm: the norm to replace; its tensors are used, not copied.
        pool: joins the statistics of the processes.
    """

    def __init__(self, norm: nn.BatchNorm2d, pool: Pool) -> None:
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        self.pool = pool
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        if not self.training:
            return super().forward(x)
        normal, mean, variance = _normalised(x, self, self.pool)
        if self.track_running_stats:
            count = self.pool.size * x.numel() / x.shape[1]
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            with torch.no_grad():
                self.num_batches_tracked += 1
                rate = self.momentum or 1 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, rate)
                self.running_var.lerp_(variance * count / (count - 1), rate)
        return normal


def share_batches(model: nn.Module, pool: Pool) -> None:
    """Make every batch norm of a network see the whole batch that several processes share."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, InverseDeviationNorm):
                child.share(pool)
            elif isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, PooledNorm(child, pool))


def _normalised(
    batch: torch.Tensor, norm: nn.BatchNorm2d, pool: Pool | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the normalised batch in its own dtype, and mean and variance in float32."""
    x = batch.float()
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    if pool is not None:
        mean, variance = pool.pooled(mean, variance)
    scale = torch.rsqrt(variance + norm.eps)
    shift = -mean * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    normal = x * scale[:, None, None] + shift[:, None, None]
    return normal.to(batch.dtype), mean.detach(), variance.detach()
