"""The recipe: every decision of a training, each with its default and its source.

The command line makes a flag of every field, with the text below it as help.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from lowres.errors import RecipeError, VariantError, nearest
from lowres.variant import Variant

Precision = Literal["auto", "float32", "bfloat16"]
Flip = Literal["both", "random", "alternating", "none"]
Subtract = Literal["mean-image", "mean-colour"]
DivideBy = Literal["range", "deviation"]
DecayOn = Literal["weights-and-scales", "everything"]
NormAverage = Literal["inverse-deviation", "variance"]
ProjectionOf = Literal["input", "activation"]
RecipeName = Literal["paper", "tensorflow-port", "fast"]


def _check(name: str, value: object, holds: bool, expected: str) -> None:
    finite = not isinstance(value, float) or math.isfinite(value)
    if not (holds and finite):
        raise RecipeError(f"{name} must be {expected}, was {value}")


ADAM_LR = 0.05
OPTIMIZERS = ("momentum", "nesterov", "muon")
OPTIMIZER_FORMS = f"{', '.join(OPTIMIZERS)} or package.module:function, such as torch.optim:AdamW"
MODEL_FORMS = "wrn, timm:NAME or package.module:function"

CHOICES: dict[str, tuple[str, ...]] = {
    "precision": get_args(Precision),
    "flip": get_args(Flip),
    "subtract": get_args(Subtract),
    "divide_by": get_args(DivideBy),
    "decay_on": get_args(DecayOn),
    "norm_average": get_args(NormAverage),
    "projection_of": get_args(ProjectionOf),
}
"""The fields that are one of some words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Every decision of a training.

    Defaults are those of the paper (arXiv 1707.08819) and its authors' script
    `WRNs_imagenet.py`; where paper, script and the group's TensorFlow port differ, the field says
    so. What is meant where they are silent is in docs/recipes.md.

    Raises:
        RecipeError: a value is outside its range.
    """

    variant: str = "32-box"
    """Which variant of the store to train on."""
    model: str = "wrn"
    """The network. wrn: the paper's Wide ResNet. timm:NAME: one of timm. package.module:function:
    what that function returns for the number of classes and the size."""
    width: float = 2.0
    """The k of WRN-N-k: stages have 16k, 32k, 64k, ... channels, rounded down."""
    blocks: int = 4
    """Residual blocks in each stage; N = 2 x blocks x stages + 4 (paper: 4)."""
    epochs: int = 40
    """Passes over the train split; with --flip both, each shows every image twice."""
    batch_size: int = 128
    """Images in one step; the remainder of an epoch is left out, other images each time."""
    lr: float = 0.01
    """Learning rate, per step on the mean loss of a batch; with muon, how far a step moves a
    matrix, as its largest singular value."""
    adam_lr: float = ADAM_LR
    """With muon, the learning rate of Adam, which moves what is no hidden matrix: first and last
    layer, biases and norms; how far a step moves each number."""
    warmup: float = 0.0
    """Fraction of all steps over which the learning rate rises from 0 (paper: none)."""
    cooldown: float = 0.0
    """Fraction of all steps, the last ones, over which it falls to 0 in a line (paper: none)."""
    lr_drop: float = 0.2
    """Factor on the learning rate at each drop."""
    lr_drop_at: tuple[float, ...] = (0.25, 0.5, 0.75)
    """When to drop, as fractions of all steps (paper: after epochs 10, 20 and 30 of 40)."""
    optimizer: str = "momentum"
    """The rule of updates. momentum: classical, lr inside the velocity (script and port). nesterov:
    the same, looking ahead. muon: orthogonal steps for matrices, Adam for the rest.
    package.module:function: that optimizer, such as torch.optim:AdamW."""
    momentum: float = 0.9
    """Share of the velocity kept in each step; with muon, of the averaged gradient."""
    weight_decay: float = 0.001
    """L2 gradient per unit of weight (script: 0.0005 x the sum of squares, so 0.001; TensorFlow
    port: 0.0005 x half of that sum, so 0.0005). With muon, weights shrink by the factor
    exp(-weight_decay) over the run, whatever the learning rate."""
    decay_on: DecayOn = "weights-and-scales"
    """What decays: weights of convolutions and dense layer and batch norm scales (script), or every
    number that is trained (TensorFlow port)."""
    label_smoothing: float = 0.0
    """Share of each label's weight that is spread evenly over all classes (paper: none)."""
    flip: Flip = "both"
    """Mirroring. both: every image plain and mirrored in each epoch (script and port). random:
    half of them, drawn anew. alternating: half of them, and the others in the next epoch. none."""
    shift_px: int = 4
    """Shift by up to this many pixels each way, filling with zeros after subtracting (script and
    port: 4 at every size)."""
    subtract: Subtract = "mean-image"
    """What is subtracted: the mean of train at each pixel (script), or of each channel."""
    divide_by: DivideBy = "range"
    """What is divided by: 255 (script), or the standard deviation of each channel."""
    norm_average: NormAverage = "inverse-deviation"
    """What batch norm averages over steps for use in evaluation: 1 / standard deviation (script, by
    Lasagne), or the variance (TensorFlow port)."""
    conv_bias: bool = True
    """A bias in the second convolution of each block (script; none in the TensorFlow port)."""
    projection_of: ProjectionOf = "input"
    """What a projection shortcut sees: the block's input (script), or what batch norm and ReLU made
    of it (TensorFlow port)."""
    eval_split: str | None = None
    """Split to measure errors on; val if not given, or test where there is no val."""
    precision: Precision = "auto"
    """Numbers in the network: bfloat16 where the device computes it natively, or float32."""
    seed: int = 0
    """Decides the initial weights, the order of images and their augmentation."""

    def __post_init__(self) -> None:
        try:
            Variant.parse(self.variant)
        except VariantError as error:
            raise RecipeError(f"variant: {error}") from error
        _check("width", self.width, self.width >= 1 / 16, "at least 0.0625")
        _check("blocks", self.blocks, self.blocks >= 1, "at least 1")
        _check("epochs", self.epochs, self.epochs >= 1, "at least 1")
        _check("batch_size", self.batch_size, self.batch_size >= 2, "at least 2")
        _check("lr", self.lr, self.lr > 0, "above 0")
        _check("lr_drop", self.lr_drop, 0 < self.lr_drop <= 1, "above 0 and at most 1")
        drops = self.lr_drop_at
        rising = all(0 < a < 1 for a in drops) and list(drops) == sorted(set(drops))
        _check("lr_drop_at", drops, rising, "rising fractions between 0 and 1")
        _check("momentum", self.momentum, 0 <= self.momentum < 1, "at least 0 and below 1")
        _check("weight_decay", self.weight_decay, self.weight_decay >= 0, "at least 0")
        alone = self.optimizer == "muon" or self.adam_lr == ADAM_LR
        _check("adam_lr", self.adam_lr, alone, f"{ADAM_LR} unless the optimizer is muon")
        _check("adam_lr", self.adam_lr, self.adam_lr > 0, "above 0")
        _check("warmup", self.warmup, 0 <= self.warmup <= 1, "from 0 to 1")
        _check("cooldown", self.cooldown, 0 <= self.cooldown <= 1, "from 0 to 1")
        smoothing = self.label_smoothing
        _check("label_smoothing", smoothing, 0 <= smoothing < 1, "at least 0 and below 1")
        _check("model", self.model, self.model == "wrn" or ":" in self.model, MODEL_FORMS)
        known = self.optimizer in OPTIMIZERS or ":" in self.optimizer
        _check("optimizer", self.optimizer, known, OPTIMIZER_FORMS)
        _check("shift_px", self.shift_px, self.shift_px >= 0, "at least 0")
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            _check(name, value, value in choices, f"one of {', '.join(choices)}")
        _check("seed", self.seed, 0 <= self.seed < 2**32, "at least 0 and below 2^32")

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return Variant.parse(self.variant).size

    def to_record(self) -> dict[str, Any]:
        """Give the fields as JSON values."""
        return {**asdict(self), "lr_drop_at": list(self.lr_drop_at)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Read fields from JSON values.

        Raises:
            RecipeError: a field is unknown, has another type or is outside its range.
        """
        for name in record:
            check_field(name)
        values = dict(record)
        try:
            values["lr_drop_at"] = tuple(values["lr_drop_at"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise RecipeError(f"recipe cannot be read: {error!r}") from error

    def digest(self, store_digest: str) -> str:
        """Hash recipe and store contents: equal digests, the same run (8 hexadecimal digits)."""
        text = json.dumps([self.to_record(), store_digest], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def run_name(self, store_digest: str) -> str:
        """Name the run for people, and uniquely by the digest at the end."""
        return (
            f"{self.variant}-k{self.width:g}-lr{self.lr:g}-e{self.epochs}-s{self.seed}-"
            f"{self.digest(store_digest)}"
        )


FIELDS = tuple(field.name for field in fields(Recipe))

RECIPES: dict[RecipeName, Recipe] = {
    "paper": Recipe(),
    "tensorflow-port": Recipe(
        weight_decay=0.0005,
        decay_on="everything",
        norm_average="variance",
        conv_bias=False,
        projection_of="activation",
    ),
    "fast": Recipe(
        optimizer="muon",
        lr=0.04,
        lr_drop_at=(),
        cooldown=0.9,
        weight_decay=1.0,
        label_smoothing=0.1,
        flip="alternating",
        shift_px=0,
    ),
}
"""Recipes by name: the authors' script; the port to TensorFlow by the same group, of which its
README claims the same errors; and the best one that has been shown here (docs/recipes.md)."""


def named_recipe(name: str) -> Recipe:
    """Give a recipe by its name.

    Raises:
        RecipeError: there is none of that name.
    """
    _check("recipe", name, name in RECIPES, f"one of {', '.join(RECIPES)}")
    return RECIPES[name]  # type: ignore[index]


def check_field(name: str) -> None:
    """Refuse a name that is no field of the recipe.

    Raises:
        RecipeError: with the nearest field.
    """
    if name not in FIELDS:
        hint = nearest(name, FIELDS, f"fields are {', '.join(FIELDS)}")
        raise RecipeError(f"the recipe has no field {name!r}; {hint}")
