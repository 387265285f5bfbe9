"""Names of variants."""

import pytest
from hypothesis import given, settings, strategies as st

from lowres.errors import VariantError
from lowres.variant import FILTERS, FITS, MAX_SIZE_PX, RULES, Variant

VARIANTS = st.builds(
    Variant,
    st.integers(1, MAX_SIZE_PX),
    st.sampled_from(FILTERS),
    st.sampled_from(FITS),
    st.sampled_from(RULES),
)
PIECES = st.sampled_from([*FILTERS, *FITS, *RULES, "-", "0", "8", "32", "1025", "x", " ", "٣"])


@settings(max_examples=100)
@given(VARIANTS)
def test_names_round_trip(variant):
    assert Variant.parse(str(variant)) == variant


@settings(max_examples=200)
@given(st.text(max_size=12) | st.lists(PIECES, max_size=7).map("".join))
def test_parse_accepts_only_names_that_it_writes(name):
    try:
        variant = Variant.parse(name)
    except VariantError:
        return
    assert str(variant) == name


@given(VARIANTS, VARIANTS)
def test_order_is_total(one, other):
    assert (one < other) + (other < one) + (one == other) == 1


def test_defaults_are_not_part_of_names():
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
        ("32-box-squash", "write 32-box, not 32-box-squash: leading zeros"),
        ("032-box", "write 32-box, not 032-box"),
    ],
)
def test_bad_names(name, words):
    with pytest.raises(VariantError, match=words.replace("?", r"\?")):
        Variant.parse(name)
