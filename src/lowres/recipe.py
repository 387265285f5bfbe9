"""The recipe: every decision of a training, each with its default and its source.

The command line makes a flag of every field, with the text below it as help.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from lowres.errors import RecipeError, VariantError
from lowres.variant import Variant

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Every decision of a training.

    Defaults are the paper's (arXiv 1707.08819) where its scripts settle them; where ours differ,
    the field says so.

    Raises:
        RecipeError: a value is outside its range.
    """

    variant: str = "32-box"
    """Which variant of the store to train on."""
    width: float = 2.0
    """The k of WRN-N-k: stages have 16k, 32k, 64k, ... channels, rounded down."""
    blocks: int = 4
    """Residual blocks in each stage; N = 2 x blocks x stages + 4 (paper: 4)."""
    epochs: int = 40
    """Passes over the train split."""
    batch_size: int = 128
    """Pictures in one step; the remainder of an epoch is left out, other pictures each time."""
    lr: float = 0.01
    """Learning rate at the start, per step on the mean loss of a batch."""
    lr_drop: float = 0.2
    """Factor on the learning rate at each drop."""
    lr_drop_at: tuple[float, ...] = (0.25, 0.5, 0.75)
    """When to drop, as fractions of all steps (paper: after epochs 10, 20 and 30 of 40)."""
    momentum: float = 0.9
    """Share of the velocity kept in each step; classical momentum, lr inside the velocity."""
    weight_decay: float = 0.001
    """L2 gradient per unit of weight, on weights and batch norm scales; not on biases
    (0.0005 x the sum of squares in the authors' script)."""
    flip: bool = True
    """Mirror half of the pictures, drawn anew in each epoch."""
    shift_px: int | None = None
    """Shift by up to this many pixels each way; an eighth of the size if not given
    (authors' script: 4 at every size)."""
    eval_split: str | None = None
    """Split to measure errors on; val if not given, or test where there is no val."""
    precision: Precision = "auto"
    """Numbers in the network: bfloat16 where the device computes it natively, or float32."""
    seed: int = 0
    """Decides the initial weights, the order of pictures and their augmentation."""

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
        rising = all(0 < a < b < 1 for a, b in zip(drops, (*drops[1:], 0.9999999), strict=True))
        _check("lr_drop_at", drops, rising, "rising fractions between 0 and 1")
        _check("momentum", self.momentum, 0 <= self.momentum < 1, "at least 0 and below 1")
        _check("weight_decay", self.weight_decay, self.weight_decay >= 0, "at least 0")
        _check("shift_px", self.shift_px, (self.shift_px or 0) >= 0, "at least 0")
        known = self.precision in get_args(Precision)
        _check("precision", self.precision, known, f"one of {', '.join(get_args(Precision))}")
        _check("seed", self.seed, 0 <= self.seed < 2**32, "at least 0 and below 2^32")

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return Variant.parse(self.variant).size

    @property
    def shift(self) -> int:
        """Largest shift in pixels, settled."""
        return self.size // 8 if self.shift_px is None else self.shift_px

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


def check_field(name: str) -> None:
    """Refuse a name that is no field of the recipe.

    Raises:
        RecipeError: with the nearest field.
    """
    if name not in FIELDS:
        near = difflib.get_close_matches(name, FIELDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"fields are {', '.join(FIELDS)}"
        raise RecipeError(f"the recipe has no field {name!r}; {hint}")


def _check(name: str, value: object, holds: bool, expected: str) -> None:
    finite = not isinstance(value, float) or math.isfinite(value)
    if not (holds and finite):
        raise RecipeError(f"{name} must be {expected}, was {value}")
