"""The network of a recipe: the paper's, a model of timm, or the result of your own function."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from lowres.call import Call
from lowres.errors import RunError, require
from lowres.networks.imported import imported
from lowres.networks.wrn import WideResNet
from lowres.recipe import Recipe

TIMM = "timm:"

FROM_FILES = ("pretrained", "checkpoint", "cache_dir")
"""Arguments of timm that begin so read files or download them, which a stranger may have chosen."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network and its size.

    Attributes:
        module: maps (B, 3, size, size) float to (B, classes) logits.
        name: such as WRN-28-2; or the model as the recipe names it.
        parameters: number of trainable parameters.
        macs: multiply-adds of convolutions and matrix products: one image, forward pass.
    """

    module: nn.Module
    name: str
    parameters: int
    macs: int


def make_network(recipe: Recipe, classes: int) -> Network:
    """Make the network of a recipe; its seed decides the initial weights.

    Torch's global generator keeps its state.

    Raises:
        RunError: `model` cannot be called, or does not make a network for this size.
        MissingExtraError: `model` is one of timm, which is not installed.
    """
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        if recipe.model == "wrn":
            module = WideResNet.of(recipe, classes)
            shape = module.shape
            return Network(module, shape.name, shape.parameters(), shape.macs())
        foreign = _make_foreign(recipe, classes)
        parameters = sum(p.numel() for p in foreign.parameters() if p.requires_grad)
        return Network(foreign, recipe.model, parameters, _count_macs(foreign, recipe, classes))


def _make_foreign(recipe: Recipe, classes: int) -> nn.Module:
    try:
        if recipe.model.startswith(TIMM):
            made = _make_timm(Call.parse(recipe.model), classes, recipe.size)
        else:
            made = imported(recipe.model, "model")(classes, recipe.size)
    except RunError:
        raise
    except (TypeError, ValueError, RuntimeError, AssertionError, LookupError) as error:
        own = isinstance(error, TypeError) and not recipe.model.startswith(TIMM)
        called = "; lowres calls it as function(classes, size, arguments by name)" if own else ""
        raise RunError(
            f"model {recipe.model} cannot be made for {classes} classes at {recipe.size} px: "
            f"{error}{called}"
        ) from error
    if not isinstance(made, nn.Module):
        raise RunError(
            f"model {recipe.model} must return a torch.nn.Module, returned a {type(made).__name__}"
        )
    return made


def _make_timm(call: Call, classes: int, size: int) -> nn.Module:
    timm: Any = require("timm", "timm")
    name = call.name.removeprefix(TIMM)
    for argument in call.arguments:
        if argument.startswith(FROM_FILES):
            raise RunError(
                f"model {call} must not set {argument}: a recipe reads no weights; name a function "
                "of yours, which reads them, with --model package.module:function"
            )
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name}*")[:5]) or "no similar name"
        raise RunError(f"timm {timm.__version__} has no model {name!r}; it has {near}")
    make = partial(timm.create_model, name, num_classes=classes, in_chans=3, **call.arguments)
    try:
        made: nn.Module = make(img_size=size)
    except TypeError:  # this family takes images of any size
        made = make()
    return made


def _count_macs(module: nn.Module, recipe: Recipe, classes: int) -> int:
    """Count multiply-adds by running the network on one image, which also checks its output."""
    from torch.utils.flop_counter import FlopCounterMode

    image = torch.zeros(1, 3, recipe.size, recipe.size)
    training = module.training
    module.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            logits = module(image)
    except (RuntimeError, ValueError, TypeError, AssertionError, LookupError) as error:
        raise RunError(
            f"model {recipe.model} does not take images of (B, 3, {recipe.size}, "
            f"{recipe.size}): {error}"
        ) from error
    module.train(training)
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, classes):
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise RunError(
            f"model {recipe.model} must return logits of (B, {classes}) for images of "
            f"{recipe.size} px, returned {found}"
        )
    return int(counter.get_total_flops()) // 2
