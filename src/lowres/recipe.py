"""The recipe: every decision of a training, each with its default and its source.

The command line turns every field into a flag; the text below the field is the help of that flag.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from lowres.call import Call
from lowres.errors import RecipeError, VariantError, nearest
from lowres.variant import Variant
from lowres.work.records import RecordError, typed

Precision = Literal["auto", "float32", "bfloat16"]
Flip = Literal["both", "random", "alternating", "none"]
Subtract = Literal["mean-image", "mean-colour", "imagenet16"]
DivideBy = Literal["range", "deviation", "imagenet16"]
DecayOn = Literal["weights-and-scales", "everything"]
NormAverage = Literal["inverse-deviation", "variance"]
ProjectionOf = Literal["input", "activation"]
Stages = Literal["script", "to-8px"]
Shuffle = Literal["all", "ten-files"]
RecipeName = Literal["paper", "paper-strict", "tensorflow-port", "nas-bench-201", "fast"]


def _check(name: str, value: object, holds: bool, expected: str) -> None:
    finite = not isinstance(value, float) or math.isfinite(value)
    if not (holds and finite):
        raise RecipeError(f"{name} must be {expected}, was {value}")


ADAM_LR = 0.05
LR_DROPS = (0.2, (0.25, 0.5, 0.75))
"""Defaults of `lr_drop` and `lr_drop_at`."""
OPTIMIZERS = ("momentum", "nesterov", "muon")
OPTIMIZER_FORMS = f"{', '.join(OPTIMIZERS)} or package.module:function, such as torch.optim:AdamW"
MODEL_FORMS = "wrn, timm:NAME or package.module:function"
SCHEDULES = ("steps", "constant", "cosine")
SCHEDULE_FORMS = f"{', '.join(SCHEDULES)} or package.module:function"

CHOICES: dict[str, tuple[str, ...]] = {
    "precision": get_args(Precision),
    "flip": get_args(Flip),
    "subtract": get_args(Subtract),
    "divide_by": get_args(DivideBy),
    "decay_on": get_args(DecayOn),
    "norm_average": get_args(NormAverage),
    "projection_of": get_args(ProjectionOf),
    "stages": get_args(Stages),
    "shuffle": get_args(Shuffle),
}
"""The allowed words of every field that has a fixed list of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Every decision of a training.

    Defaults are those of the paper (arXiv 1707.08819) and of its authors' script
    `WRNs_imagenet.py`. A field says where paper, script and the group's TensorFlow port differ.
    docs/recipes.md says what lowres does where all three are silent.

    Raises:
        RecipeError: a value is outside its range.
    """

    variant: str = "32-box"
    """Variant of the store to train on."""
    model: str = "wrn"
    """The network. wrn: the paper's Wide ResNet. timm:NAME: a model of timm.
    package.module:function: your function of the number of classes and the size; it returns a
    network. Both take arguments: my.nets:cell(depth=3)."""
    width: float = 2.0
    """The k of WRN-N-k: stages have 16k, 32k, 64k, ... channels, rounded down."""
    blocks: int = 4
    """Residual blocks in each stage; N = 2 x blocks x stages + 4 (paper: 4)."""
    stages: Stages = "script"
    """How many stages the network has at a size. script: 2 below 32 px, 3 from 32 px, 4 from 64 px.
    to-8px: as many as bring the last map to at most 8 x 8, one at 8 px and five at 128 px."""
    epochs: int = 40
    """Passes over the train split; with --flip both, one epoch shows each image twice."""
    batch_size: int = 128
    """Images in one step. Images that do not fill a last batch are skipped, different ones in each
    epoch."""
    lr: float = 0.01
    """Learning rate of a step, on the mean loss of a batch. With muon: the largest singular value
    of the update of a matrix."""
    adam_lr: float = ADAM_LR
    """With muon: learning rate of Adam, which updates the first and last layer, biases and norm
    parameters."""
    warmup: float = 0.0
    """Fraction of all steps, at the start, over which the learning rate rises linearly from 0
    (paper: none)."""
    cooldown: float = 0.0
    """Fraction of all steps, at the end, over which the learning rate falls linearly to 0 (paper:
    none)."""
    schedule: str = "steps"
    """How the learning rate falls. steps: by the factor lr_drop at lr_drop_at, which are for steps
    only. constant: only by warmup and cooldown. cosine: along half a cosine from lr to 0.
    package.module:function: your function of a step and the number of steps; it returns a factor on
    lr."""
    cycles: int = 1
    """With cosine: number of cosines; each restarts at lr (warm restarts, SGDR)."""
    cycle_growth: float = 1.0
    """With cosine: each cycle is this many times as long as the one before (SGDR: T_mult)."""
    lr_drop: float = LR_DROPS[0]
    """Factor on the learning rate at each drop."""
    lr_drop_at: tuple[float, ...] = LR_DROPS[1]
    """When the learning rate drops, as fractions of all steps (paper: after epochs 10, 20 and 30 of
    40)."""
    optimizer: str = "momentum"
    """The update rule. momentum: classical, lr inside the velocity (script and port). nesterov: the
    same with Nesterov's look-ahead. muon: orthogonal updates for matrices, Adam for the rest.
    package.module:function: your own, or one of torch's, with arguments if it needs some:
    torch.optim:AdamW(betas=(0.9, 0.95))."""
    momentum: float = 0.9
    """Fraction of the velocity that each step keeps; with muon, of the averaged gradient."""
    weight_decay: float = 0.001
    """L2 gradient per unit of weight (script: 0.0005 x the sum of squares, so 0.001; TensorFlow
    port: 0.0005 x half of that sum, so 0.0005). With muon: the whole run shrinks weights by the
    factor exp(-weight_decay), at any learning rate."""
    decay_on: DecayOn = "weights-and-scales"
    """What decays. weights-and-scales: weights of convolutions and of the dense layer, and batch
    norm scales (script). everything: all trainable parameters (TensorFlow port)."""
    label_smoothing: float = 0.0
    """Fraction of each label that is spread evenly over all classes (paper: none)."""
    flip: Flip = "both"
    """Mirroring. both: each epoch shows every image plain and mirrored (script and port). random: a
    new random half is mirrored in each epoch. alternating: one half is mirrored, the other half in
    the next epoch. none: no mirroring."""
    shuffle: Shuffle = "all"
    """Order of images. all: a new order of train in each epoch. ten-files: train in ten parts, one
    after the other, each in a new order and without the images that do not fill its last batch
    (script). The parts are the files of the released data, or a fixed random choice elsewhere."""
    shift_px: int = 4
    """Largest random shift in pixels, in each direction; uncovered pixels are 0 after subtraction
    (script and port: 4 at every size)."""
    subtract: Subtract = "mean-image"
    """What is subtracted from an image. mean-image: the mean of train at each pixel (script).
    mean-colour: the mean of each channel. imagenet16: the mean of NAS-Bench-201, (122.68, 116.66,
    104.01)."""
    divide_by: DivideBy = "range"
    """What an image is divided by. range: 255 (script). deviation: the standard deviation of each
    channel. imagenet16: that of NAS-Bench-201, (63.22, 61.26, 65.09)."""
    norm_average: NormAverage = "inverse-deviation"
    """What batch norm averages over steps for evaluation. inverse-deviation: 1 / standard deviation
    (script, by Lasagne). variance: the variance (TensorFlow port)."""
    conv_bias: bool = True
    """Add a bias to the second convolution of each block (script; the TensorFlow port has none)."""
    projection_of: ProjectionOf = "input"
    """Input of a projection shortcut. input: the input of the block (script). activation: that
    input after batch norm and ReLU (TensorFlow port)."""
    eval_split: str | None = None
    """Split on which errors are measured. Default: val, or test if there is no val."""
    precision: Precision = "auto"
    """Number format in the network. auto: bfloat16 where the device computes it natively, float32
    elsewhere. float32, bfloat16: that one."""
    seed: int = 0
    """Seed of the initial weights, the order of images and their augmentation."""

    def __post_init__(self) -> None:
        try:
            Variant.parse(self.variant)
        except VariantError as error:
            raise RecipeError(f"variant: {error}") from error
        _check("width", self.width, 1 / 16 <= self.width <= 1024, "from 0.0625 to 1024")
        _check("blocks", self.blocks, 1 <= self.blocks <= 1024, "from 1 to 1024")
        _check("epochs", self.epochs, 1 <= self.epochs <= 10**6, "from 1 to 1000000")
        _check("batch_size", self.batch_size, 2 <= self.batch_size <= 10**6, "from 2 to 1000000")
        _check("lr", self.lr, 1e-30 <= self.lr <= 1e30, "from 1e-30 to 1e30")
        _check("lr_drop", self.lr_drop, 0 < self.lr_drop <= 1, "above 0 and at most 1")
        drops = self.lr_drop_at
        rising = all(0 < a < 1 for a in drops) and list(drops) == sorted(set(drops))
        _check("lr_drop_at", drops, rising, "rising fractions between 0 and 1")
        self._check_schedule()
        _check("momentum", self.momentum, 0 <= self.momentum < 1, "at least 0 and below 1")
        _check("weight_decay", self.weight_decay, 0 <= self.weight_decay <= 1e6, "from 0 to 1e6")
        alone = self.optimizer == "muon" or self.adam_lr == ADAM_LR
        _check("adam_lr", self.adam_lr, alone, f"{ADAM_LR} unless the optimizer is muon")
        _check("adam_lr", self.adam_lr, 1e-30 <= self.adam_lr <= 1e30, "from 1e-30 to 1e30")
        _check("warmup", self.warmup, 0 <= self.warmup <= 1, "from 0 to 1")
        _check("cooldown", self.cooldown, 0 <= self.cooldown <= 1, "from 0 to 1")
        smoothing = self.label_smoothing
        _check("label_smoothing", smoothing, 0 <= smoothing < 1, "at least 0 and below 1")
        self._check_calls()
        _check("shift_px", self.shift_px, 0 <= self.shift_px <= 1024, "from 0 to 1024")
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            _check(name, value, value in choices, f"one of {', '.join(choices)}")
        _check("seed", self.seed, 0 <= self.seed < 2**32, "at least 0 and below 2^32")

    def _check_schedule(self) -> None:
        known = self.schedule in SCHEDULES or ":" in self.schedule
        _check("schedule", self.schedule, known, SCHEDULE_FORMS)
        unused = self.schedule == "steps" or (self.lr_drop, self.lr_drop_at) == LR_DROPS
        _check("schedule", self.schedule, unused, "steps where lr_drop or lr_drop_at is set")
        _check("cycles", self.cycles, 1 <= self.cycles <= 100, "from 1 to 100")
        _check("cycle_growth", self.cycle_growth, 1 <= self.cycle_growth <= 16, "from 1 to 16")
        alone = self.schedule == "cosine" or self.cycles == 1
        _check("cycles", self.cycles, alone, "1 unless the schedule is cosine")
        alone = self.cycles > 1 or self.cycle_growth == 1
        _check("cycle_growth", self.cycle_growth, alone, "1 unless there are several cycles")

    def _check_calls(self) -> None:
        """Check the fields that name functions, and write each in its one spelling."""
        for field, words, forms in (
            ("model", ("wrn",), MODEL_FORMS),
            ("optimizer", OPTIMIZERS, OPTIMIZER_FORMS),
            ("schedule", SCHEDULES, SCHEDULE_FORMS),
        ):
            text = getattr(self, field)
            if text in words:
                continue
            try:
                call = Call.parse(text)
            except ValueError as error:
                raise RecipeError(f"{field} {error}") from error
            known = field == "model" and call.name.startswith("timm:")
            _check(field, text, known or call.names_code, forms)
            object.__setattr__(self, field, str(call))

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return Variant.parse(self.variant).size

    def on(self, variants: Iterable[Variant]) -> Recipe:
        """Return the recipe with the filter, fit and rule that the variants of a store share.

        If the variants differ in more than their size, the recipe stays as it is.
        """
        looks = {(one.filter, one.fit, one.rule) for one in variants}
        if len(looks) != 1:
            return self
        ((filtered, fit, rule),) = looks
        own = Variant.parse(self.variant)
        return replace(self, variant=str(replace(own, filter=filtered, fit=fit, rule=rule)))

    def to_record(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {name: getattr(self, name) for name in FIELDS} | {"lr_drop_at": [*self.lr_drop_at]}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Read fields from JSON values; fields that are missing have their defaults.

        Raises:
            RecipeError: a field is unknown, has another type or is outside its range.
        """
        for name in record:
            check_field(name)
        try:
            return typed(record, cls)
        except RecordError as error:
            raise RecipeError(str(error)) from error

    def digest(self, store_digest: str) -> str:
        """Hash recipe and store contents (8 hexadecimal digits): equal digests, same run."""
        record = self.to_record()
        decided = {
            name: value
            for name, value in record.items()
            if name not in ADDED_FIELDS or value != ADDED_FIELDS[name]
        }
        text = json.dumps([decided, store_digest], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def run_name(self, store_digest: str) -> str:
        """Return a readable name of the run that is safe as a file name and unique by its digest.

        `32-box-k2-lr0.01-e40-s0-` and the digest; other networks have their model in place of `k2`,
        with its arguments.
        """
        network = f"k{self.width:g}"
        if self.model != "wrn":
            most = MOST_WITH_ARGUMENTS if "(" in self.model else MOST_OF_MODEL
            network = re.sub(r"[^A-Za-z0-9._]+", "-", self.model)[:most].strip("-.") or "model"
        return (
            f"{self.variant}-{network}-lr{self.lr:g}-e{self.epochs}-s{self.seed}-"
            f"{self.digest(store_digest)}"
        )

    def steps_per_epoch(self, images: int) -> int:
        """Count the steps of one epoch over a number of images; partial batches are skipped."""
        showings = 2 if self.flip == "both" else 1
        parts = file_sizes(images) if self.shuffle == "ten-files" else [images]
        return sum(part * showings // self.batch_size for part in parts)

    def steps(self, images: int) -> int:
        """Count the steps of the whole run, for a number of images in train."""
        return self.epochs * self.steps_per_epoch(images)

    def learning_rate(self, step: int, steps: int, factor: float | None = None) -> float:
        """Return the learning rate of a step: `lr` times schedule, warm-up and cool-down.

        Warm-up and cool-down are lines through the middles of steps, so no step has rate 0.

        Args:
            step: number of the step, from 0.
            steps: number of steps in the whole run.
            factor: what the schedule returns, if it is a function of yours.
        """
        if ":" in self.schedule:
            if factor is None:
                raise RecipeError(
                    f"the factor of schedule {self.schedule} at step {step} is missing"
                )
            rate = self.lr * factor
        elif self.schedule == "constant":
            rate = self.lr
        elif self.schedule == "cosine":
            start, length = self._cycle(step, steps)
            rate = self.lr * (1 + math.cos(math.pi * (step - start) / length)) / 2
        else:
            drops = sum(step >= fraction * steps for fraction in self.lr_drop_at)
            rate = self.lr * self.lr_drop**drops
        middle = (step + 0.5) / steps
        if middle < self.warmup:
            rate *= middle / self.warmup
        if 1 - middle < self.cooldown:
            rate *= (1 - middle) / self.cooldown
        return float(rate)

    def _cycle(self, step: int, steps: int) -> tuple[float, float]:
        """Return the first step of the cycle that a step belongs to, and its length in steps."""
        growth = self.cycle_growth
        shares = [growth**number for number in range(self.cycles)]
        whole = sum(shares)
        starts = [steps * sum(shares[:number]) / whole for number in range(self.cycles)]
        number = max(n for n, start in enumerate(starts) if start <= step)
        return starts[number], steps * shares[number] / whole

    def measured_split(self, splits: Iterable[str]) -> str:
        """Name the split on which errors are measured: `eval_split`, else val, else test."""
        return self.eval_split or ("val" if "val" in splits else "test")

    def final_split(self, splits: Iterable[str]) -> str | None:
        """Name the split that is measured once, at the end: test, if errors are of another one."""
        named = "test" in splits and self.measured_split(splits) != "test"
        return "test" if named else None

    def check_splits(self, splits: Mapping[str, int]) -> None:
        """Refuse splits of a store that this recipe cannot train and be measured on.

        Args:
            splits: number of images by name of the split.

        Raises:
            RecipeError: train has fewer images than a batch, or the split for errors is missing.
        """
        images = splits.get("train", 0)
        if not self.steps_per_epoch(images):
            parts = " in each of its ten files" if self.shuffle == "ten-files" else ""
            raise RecipeError(
                f"train has {images} images, fewer than a batch of {self.batch_size}{parts}: "
                "choose a smaller --batch-size"
            )
        if self.measured_split(splits) not in splits:
            missing = f"no split {self.eval_split}" if self.eval_split else "neither val nor test"
            raise RecipeError(
                f"the store has {missing} to measure errors on; its splits are "
                f"{', '.join(splits)}: choose one with --eval-split, or build the store again with "
                "--val-fraction 0.1"
            )


FILES = 10
"""Files of train in the released data."""


def file_sizes(images: int) -> list[int]:
    """Return how many images each of the ten files of train has; the last one has the rest."""
    return [images // FILES] * (FILES - 1) + [images - images // FILES * (FILES - 1)]


MOST_OF_MODEL, MOST_WITH_ARGUMENTS = 40, 120
"""Characters of a model in the name of a run; a cell of NAS-Bench-201 needs 100."""

ADDED_FIELDS = {"cycles": 1, "cycle_growth": 1.0}
"""Fields that older runs lack, and the values that older lowres implied: equal names, same run."""

FIELDS = tuple(field.name for field in fields(Recipe))

RECIPES: dict[str, Recipe] = {
    "paper": Recipe(),
    "paper-strict": Recipe(shuffle="ten-files", precision="float32"),
    "tensorflow-port": Recipe(
        weight_decay=0.0005,
        decay_on="everything",
        norm_average="variance",
        conv_bias=False,
        projection_of="activation",
    ),
    "nas-bench-201": Recipe(
        variant="16-box",
        epochs=200,
        batch_size=256,
        lr=0.1,
        schedule="cosine",
        optimizer="nesterov",
        weight_decay=0.0005,
        decay_on="everything",
        norm_average="variance",
        conv_bias=False,
        flip="random",
        shift_px=2,
        subtract="imagenet16",
        divide_by="imagenet16",
        precision="float32",
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
"""Recipes by name (docs/recipes.md).

paper: the authors' script, but for the order of images, the images that fill no batch, and bfloat16
on devices that have it. paper-strict: without these three exceptions. tensorflow-port: the port by
the same group, whose README claims the same errors. nas-bench-201: the training of that benchmark
on ImageNet16-120, for networks of yours. fast: the best recipe measured with lowres at equal cost.
"""


def named_recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        RecipeError: no recipe has that name.
    """
    _check("recipe", name, name in RECIPES, f"one of {', '.join(RECIPES)}")
    return RECIPES[name]


def check_field(name: str) -> None:
    """Refuse a name that is not a field of the recipe.

    Raises:
        RecipeError: no field has that name; the message has the nearest one.
    """
    if name not in FIELDS:
        hint = nearest(name, FIELDS, f"fields are {', '.join(FIELDS)}")
        raise RecipeError(f"the recipe has no field {name!r}; {hint}")
