"""The network of a recipe: the paper's, one of timm, or what a function of the user's returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from lowres.errors import RunError, require
from lowres.networks.imported import imported
from lowres.networks.wrn import WideResNet
from lowres.recipe import Recipe

TIMM = "timm:"


@dataclass(frozen=True, slots=True)
class Network:
    """A network and its size.

    Attributes:
        module: takes (B, 3, size, size) float and gives (B, classes) logits.
        name: such as WRN-28-2, or as the recipe names it.
        parameters: count of the numbers that are trained.
        macs: multiply-adds of convolutions and matrix products for one image, one way.
    """

    module: nn.Module
    name: str
    parameters: int
    macs: int


def make_network(recipe: Recipe, classes: int) -> Network:
    """Make the network of a recipe, with initial weights by its seed.

    Torch's global generator is left as it was.

    Raises:
        RunError: `model` names nothing that can be called, or makes no network of that size.
        MissingExtraError: it names one of timm, which is not installed.
    """
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        if recipe.model == "wrn":
            module = WideResNet.of(recipe, classes)
            shape = module.shape
            return Network(module, shape.name, shape.parameters(), shape.macs())
        foreign = _foreign(recipe, classes)
        parameters = sum(p.numel() for p in foreign.parameters() if p.requires_grad)
        return Network(foreign, recipe.model, parameters, _checked_macs(foreign, recipe, classes))


def _foreign(recipe: Recipe, classes: int) -> nn.Module:
    """Make a network by timm or by a function of the user's."""
    try:
        if recipe.model.startswith(TIMM):
            made = _of_timm(recipe.model.removeprefix(TIMM), classes, recipe.size)
        else:
            made = imported(recipe.model, "model")(classes, recipe.size)
    except RunError:
        raise
    except (TypeError, ValueError, RuntimeError, AssertionError, LookupError) as error:
        raise RunError(
            f"model {recipe.model} cannot be made for {classes} classes at {recipe.size} px: "
            f"{error}"
        ) from error
    if not isinstance(made, nn.Module):
        raise RunError(
            f"model {recipe.model} must give a torch.nn.Module, gave a {type(made).__name__}"
        )
    return made


def _of_timm(name: str, classes: int, size: int) -> nn.Module:
    timm: Any = require("timm", "timm")
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name}*")[:5]) or "none with such a name"
        raise RunError(f"timm {timm.__version__} has no model {name!r}; it has {near}")
    make = partial(timm.create_model, name, num_classes=classes, in_chans=3)
    try:
        made: nn.Module = make(img_size=size)
    except TypeError:  # a family that takes images of any size
        made = make()
    return made


def _checked_macs(module: nn.Module, recipe: Recipe, classes: int) -> int:
    """Count multiply-adds, trying the network on one image.

    Raises:
        RunError: it does not take the images, or does not give a logit for each class.
    """
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
            f"model {recipe.model} must give logits of (B, {classes}) for images of "
            f"{recipe.size} px, gave {found}"
        )
    return int(counter.get_total_flops()) // 2
