import pytest

from lowres.errors import LowresError
from lowres.recipe import Recipe
from lowres.study.axes import Axis, expand


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("lr=0.01,0.05", "lr", (0.01, 0.05)),
        ("variant=16-box,32-box", "variant", ("16-box", "32-box")),
        ("batch-size=64,128", "batch_size", (64, 128)),
        ("conv-bias=true,no", "conv_bias", (True, False)),
        ("eval_split=none,test", "eval_split", (None, "test")),
        ("lr_drop_at=0.5+0.75,0.6", "lr_drop_at", ((0.5, 0.75), (0.6,))),
        ("precision=float32,bfloat16", "precision", ("float32", "bfloat16")),
        ("seed=3,3,1", "seed", (3, 1)),
        (" width = 1 , 2 ", "width", (1.0, 2.0)),
    ],
)
def test_values_get_the_type_of_their_field(text, name, values):
    assert Axis.parse(text) == Axis(name, values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr", "written FIELD=VALUE,VALUE, such as lr=0.01,0.05; was 'lr'"),
        ("lr=", "was 'lr='"),
        ("lr=0.1,,0.2", "was 'lr=0.1,,0.2'"),
        ("learning_rate=0.1", "no field 'learning_rate'; "),
        ("widht=1", "did you mean width"),
        ("lr=fast", "lr must be a number, was 'fast'"),
        ("epochs=2.5", "epochs must be a whole number, was '2.5'"),
        ("conv_bias=maybe", "conv_bias must be true or false, was 'maybe'"),
    ],
)
def test_bad_axes(text, words):
    with pytest.raises(LowresError, match=words):
        Axis.parse(text)


def test_expansion_is_the_product_with_the_last_axis_fastest():
    recipes = expand(Recipe(), [Axis("lr", (0.1, 0.2)), Axis("seed", (0, 1))])
    assert [(r.lr, r.seed) for r in recipes] == [(0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)]
    assert expand(Recipe(), []) == [Recipe()]


def test_an_axis_given_twice_and_a_bad_value():
    with pytest.raises(LowresError, match="axis lr is given twice"):
        expand(Recipe(), [Axis("lr", (0.1,)), Axis("lr", (0.2,))])
    with pytest.raises(LowresError, match="lr must be above 0"):
        expand(Recipe(), [Axis("lr", (0.1, -1.0))])
