import pytest

from lowres.errors import VariantError
from lowres.variant import FILTERS, FITS, RULES, Variant


@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("rule", RULES)
def test_names_round_trip(filter_name, fit, rule):
    for size in (1, 32):
        variant = Variant(size, filter_name, fit, rule)
        assert Variant.parse(str(variant)) == variant


def test_usual_parts_are_left_out_of_names():
    assert str(Variant(32, "box")) == "32-box"
    assert str(Variant(32, "box", rule="release-2017")) == "32-box-release-2017"
    assert str(Variant(64, "lanczos", "resize-crop", "release-2017")) == (
        "64-lanczos-resize-crop-release-2017"
    )


def test_order_is_by_size_first():
    assert sorted([Variant(16, "box"), Variant(8, "nearest")])[0].size == 8


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("32", "such as 32-box; was '32'"),
        ("x-box", "was 'x-box'"),
        ("-5-box", "was '-5-box'"),
        ("0-box", "size must be 1 to 1024 pixels, was 0"),
        ("9999-box", "size must be 1 to 1024 pixels, was 9999"),
        ("32-lancsoz", "did you mean lanczos?"),
        ("32-BOX", "filter must be one of"),
        ("32-box-crop-box", "filter must be one of"),
        ("32-box-squash", "leaves out what is usual: 32-box"),
        ("032-box", "leaves out what is usual: 32-box, not 032-box"),
    ],
)
def test_bad_names(name, words):
    with pytest.raises(VariantError, match=words.replace("?", r"\?")):
        Variant.parse(name)
