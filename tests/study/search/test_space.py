import pytest

from lowres.errors import LowresError, StudyError
from lowres.study.search.space import (
    SAMPLE,
    Choice,
    Interval,
    changes,
    combinations,
    every,
    parse_dimension,
    parse_space,
    sample,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("width=0.5,1,2", Choice("width", "0.5,1,2", (0.5, 1.0, 2.0))),
        ("batch-size=64,64,128", Choice("batch_size", "64,64,128", (64, 128))),
        ("lr=log:0.01:1:3", Choice("lr", "log:0.01:1:3", (0.01, 0.1, 1.0))),
        ("filter=box,lanczos", Choice("filter", "box,lanczos", ("box", "lanczos"))),
        ("lr = log:0.001:1", Interval("lr", "log:0.001:1", 0.001, 1.0, True, False)),
        ("blocks=lin:1:4", Interval("blocks", "lin:1:4", 1.0, 4.0, False, True)),
    ],
)
def test_dimensions(text, expected):
    assert parse_dimension(text) == expected


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], "a search needs a space: add --space"),
        (["lr"], "written FIELD=VALUE,VALUE or FIELD=log:FIRST:LAST"),
        (["lr="], "was 'lr='"),
        (["=1,2"], "no field ''"),
        (["learning_rate=1,2"], "no field 'learning_rate'"),
        (["widht=1,2"], "did you mean width?"),
        (["variant=8-box,16-box"], "--space variant cannot be searched: choose sizes with --sizes"),
        (["size=8,16"], "--space size cannot be searched"),
        (["epochs=1,2"], "with --rung-epochs for each size"),
        (["seed=0,1"], "is only the luckiest"),
        (["eval-split=val,test"], "errors on several splits cannot be compared"),
        (["lr=0.1", "lr=0.2"], "--space lr is there twice"),
        (["lr=log:0:1"], "must have ends above 0"),
        (["lr=log:1:0.1"], "the lower one first"),
        (["lr=lin:1:1"], "the lower one first"),
        (["lr=lin:0:inf"], "must have finite ends"),
        (["lr=lin:a:1"], "must have two numbers"),
        (["blocks=lin:1:2.5"], "must begin and end with whole numbers, as blocks is one"),
        (["optimizer=lin:1:2"], "is for numbers"),
        (["lr=log:1:2,3"], "must be written lin:FIRST:LAST:COUNT"),
        (["lr=0.1,x"], "lr must be a number, was 'x'"),
    ],
)
def test_what_is_refused(texts, words):
    with pytest.raises(LowresError) as error:
        parse_space(texts)
    assert words in str(error.value)


def test_values_that_optuna_cannot_store_have_labels():
    space = parse_space(["lr_drop_at=0.5+0.75,0.6", "conv_bias=yes,no"])
    assert space[0].labels == ("0.5+0.75", "0.6")
    found = changes(space, {"lr_drop_at": "0.5+0.75", "conv_bias": False})
    assert found == {"lr_drop_at": (0.5, 0.75), "conv_bias": False}


def test_a_space_with_an_end_is_counted_and_listed():
    space = parse_space(["width=0.5,1", "blocks=lin:1:3"])
    assert combinations(space) == 6
    assert list(every(space)) == [
        {"width": width, "blocks": blocks} for width in (0.5, 1.0) for blocks in (1, 2, 3)
    ]
    assert sample(space) == list(every(space))
    assert combinations(parse_space(["width=0.5,1", "lr=log:0.01:1"])) is None


def test_a_sample_stands_for_a_space_without_an_end():
    space = parse_space(["lr=log:0.01:1", "blocks=lin:1:3", "width=1,2"])
    drawn = sample(space)
    assert drawn == sample(space)
    assert len(drawn) == SAMPLE
    rates = sorted(labels["lr"] for labels in drawn)
    assert (rates[0], rates[-1]) == (0.01, 1)
    assert 0.4 < sum(rate < 0.1 for rate in rates) / SAMPLE < 0.6, "equal factors, equal shares"
    assert {labels["blocks"] for labels in drawn} == {1, 2, 3}
    assert {labels["width"] for labels in drawn} == {1, 2}


def test_an_empty_list_is_refused():
    with pytest.raises(StudyError):
        parse_space(["lr=,"])
