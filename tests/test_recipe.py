import pytest

from lowres.errors import RecipeError
from lowres.recipe import FIELDS, Recipe, named_recipe


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
        RecipeError, match="recipe must be one of paper, tensorflow-port, fast, was pap"
    ):
        named_recipe("pap")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"variant": "32"}, "variant: a variant is named SIZE-FILTER"),
        ({"width": 0.0}, "width must be at least 0.0625, was 0.0"),
        ({"width": float("nan")}, "width must be at least"),
        ({"blocks": 0}, "blocks must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"lr": -1.0}, "lr must be above 0, was -1.0"),
        ({"lr": float("inf")}, "lr must be above 0, was inf"),
        ({"lr_drop": 1.5}, "lr_drop must be above 0 and at most 1"),
        ({"lr_drop_at": (0.5, 0.5)}, "lr_drop_at must be rising fractions"),
        ({"lr_drop_at": (10.0, 20.0)}, "lr_drop_at must be rising fractions between 0 and 1"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
        ({"warmup": 1.5}, "warmup must be from 0 to 1"),
        ({"cooldown": -0.1}, "cooldown must be from 0 to 1"),
        ({"label_smoothing": 1.0}, "label_smoothing must be at least 0 and below 1"),
        ({"optimizer": "adam"}, "optimizer must be momentum, nesterov, muon or package.module:f"),
        ({"adam_lr": 0.01}, "adam_lr must be 0.05 unless the optimizer is muon, was 0.01"),
        ({"adam_lr": 0.0, "optimizer": "muon"}, "adam_lr must be above 0"),
        ({"shift_px": -1}, "shift_px must be at least 0"),
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
    }  # fmt: skip
    assert set(other) == set(FIELDS)
    needs = {"adam_lr": {"optimizer": "muon"}}
    digests = {
        Recipe(**{name: value}, **needs.get(name, {})).digest("store")
        for name, value in other.items()
    }
    digests |= {Recipe().digest("store"), Recipe().digest("another store")}
    assert len(digests) == len(FIELDS) + 2
