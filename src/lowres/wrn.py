"""The Wide ResNet of the paper, WRN-N-k, with its size and cost as formulas.

After the authors' `WRNs_imagenet.py`: as many stages as bring the picture down to 8 x 8, four
blocks a stage, pre-activation. Its quirks are kept, because the parameter counts depend on them:
the second convolution of each block has a bias and the first has none; the first block starts
without batch norm and ReLU and has a projection whatever the widths; projections see the raw input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

STEM_CHANNELS = 16
BATCH_NORM_EPS = 1e-4
"""Lasagne's default, which the authors' network uses."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What determines a WRN: everything about it is a formula of these.

    Attributes:
        size: side of the pictures in pixels.
        width: the k of WRN-N-k; stages have 16k, 32k, ... channels, rounded down.
        classes: number of outputs.
        blocks: residual blocks in each stage.
    """

    size: int
    width: float
    classes: int
    blocks: int = 4

    @property
    def stages(self) -> int:
        """Number of stages: log2(size / 8) + 1, rounded up, so that the last map is at most 8."""
        return max(1, math.ceil(math.log2(self.size / 8)) + 1)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(int(16 * 2**stage * self.width) for stage in range(self.stages))

    @property
    def name(self) -> str:
        """WRN-N-k, such as WRN-28-10; N = 2 x blocks x stages + 4."""
        return f"WRN-{2 * self.blocks * self.stages + 4}-{self.width:g}"

    def parameters(self) -> int:
        """Count the trainable numbers."""
        total = 3 * STEM_CHANNELS * 9 + 2 * STEM_CHANNELS
        incoming = STEM_CHANNELS
        for stage, channels in enumerate(self.channels):
            total += incoming * channels  # projection
            for block in range(self.blocks):
                if stage or block:
                    total += 2 * incoming
                total += 9 * incoming * channels + 2 * channels + 9 * channels**2 + channels
                incoming = channels
        return total + 2 * incoming + incoming * self.classes + self.classes

    def macs(self) -> int:
        """Count multiply-adds of convolutions and dense layer for one picture, one way."""
        side = self.size
        total = 3 * STEM_CHANNELS * 9 * side**2
        incoming = STEM_CHANNELS
        for stage, channels in enumerate(self.channels):
            side = math.ceil(side / 2) if stage else side
            total += incoming * channels * side**2  # projection
            for _ in range(self.blocks):
                total += 9 * (incoming * channels + channels**2) * side**2
                incoming = channels
        return total + incoming * self.classes


class Block(nn.Module):
    """Two 3 x 3 convolutions around a shortcut."""

    def __init__(
        self, incoming: int, channels: int, *, stride: int, first: bool, project: bool
    ) -> None:
        super().__init__()
        self.norm1 = None if first else _norm(incoming)
        self.conv1 = nn.Conv2d(incoming, channels, 3, stride, 1, bias=False)
        self.norm2 = _norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=True)
        self.projection = nn.Conv2d(incoming, channels, 1, stride, bias=False) if project else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        """Add what the convolutions make of `x` to `x`."""
        hidden = x if self.norm1 is None else functional.relu(self.norm1(x))
        hidden = self.conv2(functional.relu(self.norm2(self.conv1(hidden))))
        summed: torch.Tensor = hidden + (x if self.projection is None else self.projection(x))
        return summed


class WideResNet(nn.Module):
    """WRN-N-k for pictures of `shape.size` pixels.

    Takes (B, 3, H, W) float, gives (B, classes) logits. Initial weights come from torch's global
    generator, so set its seed first.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.stem = nn.Conv2d(3, STEM_CHANNELS, 3, 1, 1, bias=False)
        self.stem_norm = _norm(STEM_CHANNELS)
        blocks = []
        incoming = STEM_CHANNELS
        for stage, channels in enumerate(shape.channels):
            for block in range(shape.blocks):
                starts = block == 0
                blocks.append(
                    Block(
                        incoming,
                        channels,
                        stride=2 if stage and starts else 1,
                        first=stage == 0 and starts,
                        project=starts,
                    )
                )
                incoming = channels
        self.blocks = nn.Sequential(*blocks)
        self.norm = _norm(incoming)
        self.dense = nn.Linear(incoming, shape.classes)
        self.apply(_initialise)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Compute logits."""
        hidden = functional.relu(self.stem_norm(self.stem(pictures)))
        hidden = functional.relu(self.norm(self.blocks(hidden)))
        logits: torch.Tensor = self.dense(hidden.mean(dim=(2, 3)))
        return logits


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS, momentum=0.1)


def _initialise(module: nn.Module) -> None:
    """Set the authors' initial weights: He for 3 x 3 and dense, Glorot for projections, no bias."""
    if isinstance(module, nn.Conv2d):
        if module.kernel_size == (1, 1):
            nn.init.xavier_uniform_(module.weight)
        else:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
