import pytest

from lowres.errors import VariantError
from lowres.variant import FILTERS, Variant


@pytest.mark.parametrize("name", [f"{size}-{filter_}" for size in (1, 32) for filter_ in FILTERS])
def test_names_round_trip(name):
    assert str(Variant.parse(name)) == name


def test_order_is_by_size_first():
    assert sorted([Variant(16, "box"), Variant(8, "nearest")])[0].size == 8


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("32", "named SIZE-FILTER, such as 32-box; was '32'"),
        ("x-box", "was 'x-box'"),
        ("-5-box", "was '-5-box'"),
        ("0-box", "size must be 1 to 1024 pixels, was 0"),
        ("9999-box", "size must be 1 to 1024 pixels, was 9999"),
        ("32-lancsoz", "did you mean lanczos?"),
        ("32-BOX", "filter must be one of"),
    ],
)
def test_bad_names(name, words):
    with pytest.raises(VariantError, match=words.replace("?", r"\?")):
        Variant.parse(name)
