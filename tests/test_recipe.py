import re

import pytest

from lowres.errors import RecipeError
from lowres.recipe import FIELDS, Recipe, file_sizes, named_recipe


def test_record_round_trip():
    recipe = Recipe(variant="16-lanczos", lr_drop_at=(0.5,), shift_px=3, eval_split="test")
    assert Recipe.from_record(recipe.to_record()) == recipe


def test_defaults_are_the_papers():
    recipe = Recipe()
    assert (recipe.lr, recipe.epochs, recipe.batch_size, recipe.momentum) == (0.01, 40, 128, 0.9)
    assert [fraction * recipe.epochs for fraction in recipe.lr_drop_at] == [10, 20, 30]


def test_recipes_by_name():
    assert named_recipe("paper") == Recipe()
    port = named_recipe("tensorflow-port")
    assert (port.weight_decay, port.decay_on, port.conv_bias) == (0.0005, "everything", False)
    with pytest.raises(
        RecipeError, match=r"recipe must be one of paper, paper-strict, .*, was pap"
    ):
        named_recipe("pap")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"variant": "32"}, "variant: a variant is named SIZE-FILTER"),
        ({"width": 0.0}, "width must be from 0.0625 to 1024, was 0.0"),
        ({"width": float("nan")}, "width must be from 0.0625 to 1024"),
        ({"blocks": 0}, "blocks must be from 1 to 1024"),
        ({"epochs": 0}, "epochs must be from 1 to 1000000"),
        ({"batch_size": 1}, "batch_size must be from 2 to 1000000"),
        ({"lr": -1.0}, "lr must be from 1e-30 to 1e30, was -1.0"),
        ({"lr": float("inf")}, "lr must be from 1e-30 to 1e30, was inf"),
        ({"lr_drop": 1.5}, "lr_drop must be above 0 and at most 1"),
        ({"lr_drop_at": (0.5, 0.5)}, "lr_drop_at must be rising fractions"),
        ({"lr_drop_at": (10.0, 20.0)}, "lr_drop_at must be rising fractions between 0 and 1"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"weight_decay": -0.1}, "weight_decay must be from 0 to 1e6"),
        ({"warmup": 1.5}, "warmup must be from 0 to 1"),
        ({"cooldown": -0.1}, "cooldown must be from 0 to 1"),
        ({"label_smoothing": 1.0}, "label_smoothing must be at least 0 and below 1"),
        ({"optimizer": "adam"}, "optimizer must be momentum, nesterov, muon or package.module:f"),
        ({"adam_lr": 0.01}, "adam_lr must be 0.05 unless the optimizer is muon, was 0.01"),
        ({"adam_lr": 0.0, "optimizer": "muon"}, "adam_lr must be from 1e-30 to 1e30"),
        ({"shift_px": -1}, "shift_px must be from 0 to 1024"),
        ({"precision": "float16"}, "precision must be one of auto, float32, bfloat16"),
        ({"flip": "yes"}, "flip must be one of both, random, alternating, none, was yes"),
        ({"decay_on": "biases"}, "decay_on must be one of weights-and-scales, everything"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_values_outside_their_range(fields, words):
    with pytest.raises(RecipeError, match=words):
        Recipe(**fields)


def test_records_with_unknown_fields():
    record = Recipe().to_record()
    with pytest.raises(RecipeError, match="no field 'wdith'; did you mean width"):
        Recipe.from_record(record | {"wdith": 2})


def test_digest_changes_with_every_field():
    other = {
        "variant": "16-box", "width": 3.0, "blocks": 2, "epochs": 2, "batch_size": 64, "lr": 0.5,
        "lr_drop": 0.5, "lr_drop_at": (0.5,), "momentum": 0.5, "weight_decay": 0.5, "flip": "none",
        "shift_px": 1, "eval_split": "test", "precision": "float32", "seed": 1,
        "decay_on": "everything", "subtract": "mean-colour", "divide_by": "deviation",
        "model": "own:network", "optimizer": "muon", "warmup": 0.1, "cooldown": 0.1,
        "label_smoothing": 0.1, "adam_lr": 0.1,
        "norm_average": "variance", "conv_bias": False, "projection_of": "activation",
        "schedule": "cosine", "stages": "to-8px", "shuffle": "ten-files",
    }  # fmt: skip
    assert set(other) == set(FIELDS)
    needs = {"adam_lr": {"optimizer": "muon"}}
    digests = {
        Recipe(**{name: value}, **needs.get(name, {})).digest("store")
        for name, value in other.items()
    }
    digests |= {Recipe().digest("store"), Recipe().digest("another store")}
    assert len(digests) == len(FIELDS) + 2


def test_run_names_are_readable_safe_and_unique():
    names = [
        Recipe(model=model, width=width).run_name("store")
        for model, width in (
            ("wrn", 2.0),
            ("timm:resnet18.a1_in1k", 2.0),
            ("own.nets:wide", 2.0),
            ("own.nets_wide:" + 99 * "x", 2.0),
            ("é:é", 2.0),
            ("é:e", 3.0),
        )
    ]
    starts = [name.rpartition("-lr0.01-e40-s0-")[0] for name in names]
    assert starts[:3] == ["32-box-k2", "32-box-timm-resnet18.a1_in1k", "32-box-own.nets-wide"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name) for name in names)
    assert len({name.rpartition("-")[2] for name in names}) == len(names)


def test_steps():
    assert Recipe(flip="both", batch_size=10).steps_per_epoch(24) == 4
    assert Recipe(flip="random", batch_size=10, epochs=3).steps(24) == 6


@pytest.mark.parametrize(
    ("fields", "splits", "words"),
    [
        ({}, {"train": 24}, "the store has neither val nor test .*are train: .*--val-fraction 0.1"),
        (
            {"eval_split": "dev"},
            {"train": 24, "val": 5},
            "the store has no split dev .* train, val",
        ),
        ({"batch_size": 64}, {"train": 24, "val": 5}, "train has 24 images, fewer than a batch of"),
        ({}, {"val": 5}, "train has 0 images"),
    ],
)
def test_splits_on_which_a_recipe_cannot_be_trained(fields, splits, words):
    with pytest.raises(RecipeError, match=words):
        Recipe(**{"batch_size": 8, **fields}).check_splits(splits)


def test_the_split_for_errors():
    assert Recipe().measured_split(["train", "test", "val"]) == "val"
    assert Recipe().measured_split(["train", "test"]) == "test"
    assert Recipe(eval_split="test").measured_split(["train", "val"]) == "test"
    Recipe(batch_size=48).check_splits({"train": 24, "test": 1})


def test_schedule_is_the_papers():
    recipe = Recipe()
    steps = 40 * 100
    by_epoch = [recipe.learning_rate(epoch * 100, steps) for epoch in range(40)]
    assert by_epoch[:10] == [0.01] * 10
    assert by_epoch[10:20] == pytest.approx([0.002] * 10)
    assert by_epoch[20:30] == pytest.approx([0.0004] * 10)
    assert by_epoch[30:] == pytest.approx([0.00008] * 10)
    assert recipe.learning_rate(999, steps) == 0.01


def test_warm_up_and_cool_down_are_lines():
    recipe = Recipe(lr=1.0, lr_drop_at=(), warmup=0.2, cooldown=0.5)
    rates = [recipe.learning_rate(step, 10) for step in range(10)]
    assert rates == pytest.approx([0.25, 0.75, 1, 1, 1, 0.9, 0.7, 0.5, 0.3, 0.1])


def test_paper_strict_takes_the_steps_of_the_authors_script():
    """2,001 batches of each doubled file: 20,010 an epoch and 800,400 in all."""
    strict = named_recipe("paper-strict")
    assert file_sizes(1_281_167) == [128_116] * 9 + [128_123]
    assert strict.steps_per_epoch(1_281_167) == 20_010
    assert strict.steps(1_281_167) == 800_400
    assert named_recipe("paper").steps_per_epoch(1_281_167) == 20_018
    differ = {
        name for name in FIELDS if getattr(strict, name) != getattr(named_recipe("paper"), name)
    }
    assert differ == {"shuffle", "precision"}
    with pytest.raises(RecipeError, match="fewer than a batch of 128 in each of its ten files"):
        strict.check_splits({"train": 500, "val": 10})


def test_the_cosine_of_nas_bench_201():
    """lr/2 (1 + cos(pi t / T)), in every step; it reaches 0 after the last one."""
    recipe = named_recipe("nas-bench-201")
    assert recipe.learning_rate(0, 1000) == 0.1
    assert recipe.learning_rate(500, 1000) == pytest.approx(0.05)
    assert recipe.learning_rate(250, 1000) == pytest.approx(0.05 * (1 + 0.5**0.5))
    assert 0 < recipe.learning_rate(999, 1000) < 1e-6
    assert (recipe.epochs, recipe.batch_size, recipe.shift_px) == (200, 256, 2)
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay) == ("nesterov", 0.9, 5e-4)
    with pytest.raises(RecipeError, match="schedule must be steps where lr_drop or lr_drop_at is"):
        Recipe(schedule="cosine", lr_drop_at=(0.5,))
