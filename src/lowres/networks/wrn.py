"""The Wide ResNet of the paper, WRN-N-k, with its size and cost as formulas.

After the authors' `WRNs_imagenet.py`: as many stages as bring the image down to 8 x 8, four
blocks a stage, pre-activation. Its quirks are kept, because the parameter counts depend on them:
the second convolution of each block has a bias and the first has none; the first block starts
without batch norm and ReLU and has a projection whatever the widths; projections see the raw input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn
from torch.nn import functional

from lowres.networks.norms import BATCH_NORM_EPS, BATCH_NORM_RATE, InverseDeviationNorm
from lowres.recipe import NormAverage, ProjectionOf, Recipe

STEM_CHANNELS = 16


@dataclass(frozen=True, slots=True)
class Shape:
    """What determines a WRN: everything about it is a formula of these.

    Attributes:
        size: side of the images in pixels.
        width: the k of WRN-N-k; stages have 16k, 32k, ... channels, rounded down.
        classes: number of outputs.
        blocks: residual blocks in each stage.
        conv_bias: the second convolution of each block has a bias.
    """

    size: int
    width: float
    classes: int
    blocks: int = 4
    conv_bias: bool = True

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
                total += 9 * incoming * channels + 2 * channels + 9 * channels**2
                total += channels if self.conv_bias else 0
                incoming = channels
        return total + 2 * incoming + incoming * self.classes + self.classes

    def macs(self) -> int:
        """Count multiply-adds of convolutions and dense layer for one image, one way."""
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
    """Two 3 x 3 convolutions around a shortcut.

    Args:
        incoming: channels of the input.
        channels: of the output.
        stride: of the first convolution and the projection.
        first: without batch norm and ReLU at its beginning.
        project: with a 1 x 1 convolution in the shortcut.
        details: of the network.
    """

    def __init__(
        self,
        incoming: int,
        channels: int,
        *,
        stride: int,
        first: bool,
        project: bool,
        details: Details,
    ) -> None:
        super().__init__()
        self.norm1 = None if first else details.norm(incoming)
        self.conv1 = nn.Conv2d(incoming, channels, 3, stride, 1, bias=False)
        self.norm2 = details.norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=details.conv_bias)
        self.projection = nn.Conv2d(incoming, channels, 1, stride, bias=False) if project else None
        self.projects_input = details.projection_of == "input"

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        """Add what the convolutions make of `x` to `x`."""
        active = x if self.norm1 is None else functional.relu(self.norm1(x))
        hidden = self.conv2(functional.relu(self.norm2(self.conv1(active))))
        if self.projection is not None:
            x = self.projection(x if self.projects_input else active)
        summed: torch.Tensor = hidden + x
        return summed


@dataclass(frozen=True, kw_only=True, slots=True)
class Details:
    """Where the authors' script and the TensorFlow port differ; see the fields of `Recipe`."""

    conv_bias: bool = True
    norm_average: NormAverage = "inverse-deviation"
    projection_of: ProjectionOf = "input"

    def norm(self, channels: int) -> nn.BatchNorm2d:
        """Make a batch norm."""
        if self.norm_average == "inverse-deviation":
            return InverseDeviationNorm(channels)
        return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_RATE)


class WideResNet(nn.Module):
    """WRN-N-k for images of `shape.size` pixels.

    Takes (B, 3, H, W) float, gives (B, classes) logits. Initial weights come from torch's global
    generator, so set its seed first.
    """

    def __init__(self, shape: Shape, details: Details | None = None) -> None:
        super().__init__()
        details = details or Details(conv_bias=shape.conv_bias)
        self.shape = shape
        self.stem = nn.Conv2d(3, STEM_CHANNELS, 3, 1, 1, bias=False)
        self.stem_norm = details.norm(STEM_CHANNELS)
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
                        details=details,
                    )
                )
                incoming = channels
        self.blocks = nn.Sequential(*blocks)
        self.norm = details.norm(incoming)
        self.dense = nn.Linear(incoming, shape.classes)
        self.apply(_initialise)

    @classmethod
    def of(cls, recipe: Recipe, classes: int) -> Self:
        """Make the network of a recipe."""
        shape = Shape(recipe.size, recipe.width, classes, recipe.blocks, recipe.conv_bias)
        details = Details(
            conv_bias=recipe.conv_bias,
            norm_average=recipe.norm_average,
            projection_of=recipe.projection_of,
        )
        return cls(shape, details)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute logits."""
        hidden = functional.relu(self.stem_norm(self.stem(images)))
        hidden = functional.relu(self.norm(self.blocks(hidden)))
        logits: torch.Tensor = self.dense(hidden.mean(dim=(2, 3)))
        return logits


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
