"""The Wide ResNet of the paper, WRN-N-k, as a torch module (`shape.Shape` has its formulas).

It follows the authors' `WRNs_imagenet.py`: pre-activation, four blocks in a stage, and enough
stages to bring the image down to 8 x 8. The parameter counts depend on its quirks, so lowres keeps
them: the second convolution of each block has a bias and the first has none; the first block starts
without batch norm and ReLU and always has a projection; projections see the raw input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import nn
from torch.nn import functional

from lowres.networks.norms import BATCH_NORM_EPS, BATCH_NORM_RATE, InverseDeviationNorm
from lowres.networks.shape import STEM_CHANNELS, Shape
from lowres.recipe import NormAverage, ProjectionOf, Recipe

NARROW_CHANNELS = 16
"""Below, oneDNN may write past a buffer in the gradient of a 1 x 1 convolution with a stride: torch
2.13 on a CPU with AVX-512, channels last. From images of 64 px on, lowres crashed
(https://github.com/uxlfoundation/oneDNN/issues/6035)."""


class Projection(nn.Conv2d):
    """A 1 x 1 convolution without bias. On a CPU, narrow ones pick the pixels of the stride first.

    Args:
        incoming: channels of the input.
        channels: channels of the output.
        stride: distance of the pixels that it takes.
    """

    def __init__(self, incoming: int, channels: int, stride: int) -> None:
        super().__init__(incoming, channels, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.is_cpu and self.groups == 1 and self.in_channels < NARROW_CHANNELS:
            rows, columns = self.stride
            return functional.conv2d(x[:, :, ::rows, ::columns], self.weight)
        return super().forward(x)


class Block(nn.Module):
    """Two 3 x 3 convolutions around a shortcut.

    Args:
        incoming: channels of the input.
        channels: channels of the output.
        stride: stride of the first convolution and the projection.
        first: leave out batch norm and ReLU at the start.
        project: put a 1 x 1 convolution into the shortcut.
        details: variations of the network.
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
        self.projection = Projection(incoming, channels, stride) if project else None
        self.projects_input = details.projection_of == "input"

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
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
        if self.norm_average == "inverse-deviation":
            return InverseDeviationNorm(channels)
        return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_RATE)


class WideResNet(nn.Module):
    """WRN-N-k for images of `shape.size` pixels: (B, 3, H, W) float to (B, classes) logits.

    Initial weights come from torch's global generator, so set its seed first.
    """

    def __init__(self, shape: Shape, details: Details | None = None) -> None:
        super().__init__()
        details = details or Details(conv_bias=shape.conv_bias)
        self.shape, self.details = shape, details
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
        self.dense: nn.Module = nn.Linear(incoming, shape.classes)
        self.apply(_initialise)

    @classmethod
    def of(cls, recipe: Recipe, classes: int) -> Self:
        """Make the network of a recipe."""
        details = Details(
            conv_bias=recipe.conv_bias,
            norm_average=recipe.norm_average,
            projection_of=recipe.projection_of,
        )
        return cls(Shape.of(recipe, classes), details)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
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
