"""The shape of a Wide ResNet, and its parameters and cost as formulas of it, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from lowres.recipe import Recipe, Stages

STEM_CHANNELS = 16

TRAINING_PASSES = 3
"""Cost of a training step in forward passes: the backward pass costs two, one for the gradients of
the activations and one for those of the weights."""

FLOPS_PER_MAC = 2
"""Floating-point operations in a multiply-add."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers that determine a WRN; its parameters and cost are formulas of them.

    Attributes:
        size: side of the images in pixels.
        width: the k of WRN-N-k; stages have 16k, 32k, ... channels, rounded down.
        classes: number of outputs.
        blocks: residual blocks in each stage.
        conv_bias: whether the second convolution of each block has a bias.
        stage_rule: how many stages the size has, as `Recipe.stages`.
    """

    size: int
    width: float
    classes: int
    blocks: int = 4
    conv_bias: bool = True
    stage_rule: Stages = "script"

    @classmethod
    def of(cls, recipe: Recipe, classes: int) -> Self:
        """Read the shape from a recipe."""
        biased, rule = recipe.conv_bias, recipe.stages
        return cls(recipe.size, recipe.width, classes, recipe.blocks, biased, rule)

    @property
    def stages(self) -> int:
        """Number of stages; both rules agree at 16, 32 and 64 px."""
        if self.stage_rule == "script":
            return 2 + (self.size >= 32) + (self.size >= 64)
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
        """Count the trainable parameters."""
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
        """Count multiply-adds of convolutions and dense layer: one image, forward pass."""
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
