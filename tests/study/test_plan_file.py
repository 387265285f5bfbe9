"""Plans in TOML: their contents, and the errors of wrong ones."""

import pytest

from lowres.errors import StudyError
from lowres.study.axes import Axis, Together
from lowres.study.plan_file import read_plan

WHOLE = """
recipe = "tensorflow-port"
seeds = [3, 5]

[base]
epochs = 10
width = 1
size = 16
eval_split = "none"
lr_drop_at = [0.5, 0.75]

[axes]
lr = "log:0.001:0.1:3"
filter = ["box", "lanczos", "box"]
conv_bias = [true, false]

[[together]]
width = [1, 2, 2]
batch_size = [64, 128, 256]

[[runs]]
lr = 1
size = 8

[[runs]]
seed = 9
"""


@pytest.fixture
def plan(tmp_path):
    def write(text: str):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return write


def test_everything(plan):
    read = read_plan(plan(WHOLE))
    assert (read.recipe, read.seeds) == ("tensorflow-port", None)
    assert read.base == {
        "epochs": 10, "width": 1.0, "size": 16, "eval_split": None, "lr_drop_at": (0.5, 0.75),
    }  # fmt: skip
    assert type(read.base["width"]) is float, "as on the command line: else it is another run"
    assert read.axes == (
        Axis("lr", (0.001, 0.01, 0.1)),
        Axis("filter", ("box", "lanczos")),
        Axis("conv_bias", (True, False)),
        Axis("seed", (3, 5)),
        Together((Axis("width", (1.0, 2.0, 2.0)), Axis("batch_size", (64, 128, 256)))),
    )
    assert read.points == ({"lr": 1.0, "size": 8}, {"seed": 9})


def test_nothing(plan):
    read = read_plan(plan("seeds = 2"))
    assert (read.recipe, read.base, read.axes, read.points, read.seeds) == (None, {}, (), (), 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("axis = 1", "there is no key 'axis'; did you mean axes?"),
        ("zzz = 1", "there is no key 'zzz'; known keys are recipe, seeds, base, axes"),
        ("[base]\nwidht = 1", "in base: the recipe has no field 'widht'; did you mean width?"),
        ("[axes]\nsise = [8]", "in axes: .* did you mean size?"),
        ("[[runs]]\nlearning = 1", "in runs: the recipe has no field 'learning'"),
        ("[axes]\nlr = []", "lr must be a list with one or more values, or a range"),
        ("[axes]\nlr = 0.1", "lr must be a list with one or more values, .*; was 0.1"),
        ("[axes]\nlr = {log = 1}", "lr must be a list with one or more values"),
        ("[axes]\nlr = ['0.1']", "lr must be a number, was '0.1'"),
        ("[axes]\nlr = [true]", "lr must be a number, was True"),
        ("[axes]\nlr = 'log:0:1:3'", "must have ends above 0"),
        ("[axes]\nlr = ''", "lr must have values with commas between them, was ''"),
        ("[axes]\nepochs = [1.5]", "epochs must be a whole number, was 1.5"),
        ("[axes]\nepochs = [true]", "epochs must be a whole number, was True"),
        ("[axes]\nconv_bias = [1]", "conv_bias must be true or false, was 1"),
        ("[axes]\nflip = [2]", "flip must be text, was 2"),
        ("[axes]\nlr_drop_at = [0.5]", "lr_drop_at must be a list, was 0.5"),
        ("[base]\nlr = 2020-01-01", "lr must be a number, was datetime"),
        ("[base]\nvariant = '8-box'\nsize = 8", "variant and its part size cannot both"),
        ("base = 3", r"\[base\] must be a table, was 3"),
        ("axes = ['lr']", r"\[axes\] must be a table"),
        ("runs = [1]", r"\[\[runs\]\] must be tables that are not empty"),
        ("[[runs]]", r"\[\[runs\]\] must be tables that are not empty"),
        ("[runs]\nlr = 1", r"\[\[runs\]\] must be tables"),
        ("[[together]]\nlr = [1, 2]\nwidth = [1]", "equally many values: lr has 2, width has 1"),
        ("seeds = '2'", "seeds must be a whole number or a list of them, was '2'"),
        ("seeds = true", "seeds must be a whole number or a list of them, was True"),
        ("seeds = []", "seed must be a list with one or more values"),
        ("recipe = 3", "recipe must be a name, was 3"),
        ("lr = ", "cannot be read: Invalid value"),
    ],
)
def test_refused(plan, text, words):
    path = plan(text)
    with pytest.raises(StudyError, match=words) as error:
        read_plan(path)
    assert str(error.value).startswith(f"plan {path}")


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(StudyError, match="cannot be read"):
            read_plan(path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match="cannot be read"):
        read_plan(tmp_path / "bytes.toml")


def test_each_optimizer_has_rates_of_its_own(plan):
    text = """
[[together]]
optimizer = ["momentum", "muon", "torch.optim:AdamW"]
lr = [[0.02, 0.06], [0.04], 1]
weight_decay = [0.001, [0.5, 1], 0.05]
lr_drop_at = [[0.5], [0.5, 0.75], []]
"""
    [group] = read_plan(plan(text)).axes
    assert [tuple(change.values()) for change in group.changes()] == [
        ("momentum", 0.02, 0.001, (0.5,)),
        ("momentum", 0.06, 0.001, (0.5,)),
        ("muon", 0.04, 0.5, (0.5, 0.75)),
        ("muon", 0.04, 1.0, (0.5, 0.75)),
        ("torch.optim:AdamW", 1.0, 0.05, ()),
    ]
    for wrong, words in (
        ("lr = [[0.1], []]", "in together: lr must have one or more values in each list"),
        ("lr = [[0.1], [0.2], [0.3]]", "in together: optimizer has 2 values and lr has 3"),
        ('lr = [[0.1], ["a"]]', "lr must be a number, was 'a'"),
        ("lr = [[0.1], [[0.2]]]", "lr must be a number"),
        ("rate = [[0.1], [0.2]]", "the recipe has no field 'rate'"),
    ):
        with pytest.raises(StudyError, match=words):
            read_plan(plan(f'[[together]]\noptimizer = ["momentum", "muon"]\n{wrong}'))
