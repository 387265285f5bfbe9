import pytest

from lowres.errors import LowresError, StudyError
from lowres.recipe import Recipe
from lowres.study.axes import Axis, Together, expand


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
        ("width=1,1.0,2", "width", (1.0, 2.0)),
        ("size=8,16,8", "size", (8, 16)),
        ("rule=pillow,release-2017", "rule", ("pillow", "release-2017")),
        ("lr=log:0.001:0.1:7", "lr", (0.001, 0.00215, 0.00464, 0.01, 0.0215, 0.0464, 0.1)),
        ("width=lin:1:4:4", "width", (1.0, 2.0, 3.0, 4.0)),
        ("lr=lin:0.5:1:4", "lr", (0.5, 0.667, 0.833, 1.0)),
        ("lr=lin:1000:1003:4", "lr", (1000.0, 1001.0, 1002.0, 1003.0)),
        ("batch_size=log:16:256:5", "batch_size", (16, 32, 64, 128, 256)),
        ("lr=log:1:0.01:3", "lr", (1.0, 0.1, 0.01)),
        ("lr=0.3,lin:0.1:0.2:2", "lr", (0.3, 0.1, 0.2)),
        ("lr=log:0.1:0.1:1", "lr", (0.1,)),
        ("lr=log:1e-300:1e300:3", "lr", (1e-300, 1.0, 1e300)),
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
        ("", "was ''"),
        ("=1", "no field ''"),
        ("sise=8", "did you mean size"),
        ("size=big", "size must be a whole number, was 'big'"),
        ("size=8.5", "size must be a whole number, was '8.5'"),
        ("lr=log:0:1:3", "lr: range 'log:0:1:3' must have ends above 0"),
        ("lr=log:-1:1:3", "must have ends above 0"),
        ("lr=lin:1:1:3", "two or more values between two ends, or one end alone"),
        ("lr=lin:1:2:1", "two or more values between two ends, or one end alone"),
        ("lr=lin:1:2:0", "must have 1 to 1000 values"),
        ("lr=lin:1:2:-3", "must have 1 to 1000 values"),
        ("lr=log:1:2:1000000000", "must have 1 to 1000 values"),
        ("lr=log:1:2", "must be written lin:FIRST:LAST:COUNT or log:FIRST:LAST:COUNT"),
        ("lr=log:1:2:3:4", "must be written lin:FIRST:LAST:COUNT or log:FIRST:LAST:COUNT"),
        ("lr=log:a:2:3", "two numbers and a whole number of values"),
        ("lr=log:1:2:2.5", "two numbers and a whole number of values"),
        ("lr=lin:1:inf:3", "must have finite ends"),
        ("lr=lin:nan:1:3", "must have finite ends"),
        ("epochs=lin:1:3:9", "has only 3 different whole numbers: ask for fewer"),
        ("epochs=lin:1.5:3:2", "begin and end with whole numbers, as epochs is one"),
        ("lr=lin:1:1.0000000000000002:4", "different numbers: ask for fewer"),
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
    with pytest.raises(LowresError, match="axis lr is swept twice"):
        expand(Recipe(), [Axis("lr", (0.1,)), Axis("lr", (0.2,))])
    with pytest.raises(LowresError, match="lr must be from 1e-30"):
        expand(Recipe(), [Axis("lr", (0.1, -1.0))])


def test_an_axis_without_values():
    with pytest.raises(StudyError, match="axis lr must have one or more values, and has none"):
        Axis("lr", ())


def variants(base, *axes):
    return [recipe.variant for recipe in expand(base, [Axis.parse(axis) for axis in axes])]


def test_parts_change_the_variant_of_the_base():
    cut = Recipe(variant="32-lanczos-crop")
    assert variants(cut, "size=8,16") == ["8-lanczos-crop", "16-lanczos-crop"]
    assert variants(cut, "fit=squash,crop", "rule=pillow,release-2017") == [
        "32-lanczos",
        "32-lanczos-release-2017",
        "32-lanczos-crop",
        "32-lanczos-crop-release-2017",
    ]


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (["variant=8-box,16-box", "size=8,16"], "variant and its part size cannot both be"),
        (["filter=box", "variant=8-box"], "variant and its part filter cannot both be"),
        (["filter=boxx"], "filter must be one of .*did you mean box"),
        (["size=0"], "size must be 1 to 1024 pixels, was 0"),
        (["seed=lin:0:999:1000", "lr=lin:1:50:50"], "at most 10,000 runs, .* span 50,000"),
    ],
)
def test_axes_that_do_not_go_together(axes, words):
    with pytest.raises(LowresError, match=words):
        variants(Recipe(), *axes)


def test_a_huge_study_is_refused_before_it_is_made():
    axes = [Axis(name, tuple(range(1, 1001))) for name in ("seed", "epochs", "blocks", "size")]
    with pytest.raises(StudyError, match="span 1,000,000,000,000"):
        expand(Recipe(), axes)


def test_what_varies_together():
    zipped = Together((Axis("width", (1.0, 2.0, 2.0)), Axis("epochs", (4, 2, 1))))
    recipes = expand(Recipe(), [zipped, Axis("lr", (0.1, 0.2))])
    assert [(r.width, r.epochs, r.lr) for r in recipes] == [
        (1.0, 4, 0.1), (1.0, 4, 0.2), (2.0, 2, 0.1), (2.0, 2, 0.2), (2.0, 1, 0.1), (2.0, 1, 0.2),
    ]  # fmt: skip
    with pytest.raises(StudyError, match="equally many values: width has 2, epochs has 1"):
        Together((Axis("width", (1.0, 2.0)), Axis("epochs", (4,))))
    with pytest.raises(StudyError, match="axis width is swept twice"):
        expand(Recipe(), [zipped, Axis("width", (1.0,))])


def test_points_are_runs_besides_with_all_seeds():
    axes, points = [Axis("lr", (0.1,)), Axis("seed", (0, 1))], [{"size": 8}, {"seed": 7}]
    recipes = expand(Recipe(), axes, points)
    assert [(r.size, r.lr, r.seed) for r in recipes] == [
        (32, 0.1, 0), (32, 0.1, 1), (8, 0.01, 0), (8, 0.01, 1), (32, 0.01, 7),
    ]  # fmt: skip
    alone = expand(Recipe(), [Axis("seed", (0, 1))], [{"lr": 0.3}])
    assert [(r.lr, r.seed) for r in alone] == [(0.3, 0), (0.3, 1)], "points alone, and no base"
    assert len(expand(Recipe(), [Axis("lr", (0.1, 0.2))], [{"lr": 0.2}])) == 2, "no run twice"
