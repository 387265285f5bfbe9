"""Axes with random values: text and back, and the product that they span."""

import itertools

from hypothesis import given, strategies as st

from lowres.recipe import Recipe
from lowres.study.axes import Axis, Together, expand
from lowres.text import value as value_text
from lowres.variant import FILTERS

FLOATS = st.floats(1e-12, 1e6)
VALUES = {
    "lr": FLOATS,
    "width": st.floats(0.1, 100),
    "epochs": st.integers(1, 10**6),
    "seed": st.integers(0, 2**31),
    "flip": st.sampled_from(("both", "random", "none")),
    "conv_bias": st.booleans(),
    "size": st.integers(1, 1024),
    "filter": st.sampled_from(FILTERS),
    "lr_drop_at": st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3).map(
        lambda shares: tuple(sorted(set(shares)))
    ),
}


def lists(name: str):
    return st.lists(VALUES[name], min_size=1, max_size=4)


@st.composite
def axes(draw):
    """Draw up to three axes of different fields."""
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=3))
    return [Axis(name, tuple(dict.fromkeys(draw(lists(name))))) for name in names]


def written(axis: Axis) -> str:
    return f"{axis.name}={','.join(value_text(value, 17) for value in axis.values)}"


@given(axes())
def test_an_axis_is_read_as_it_is_written(drawn):
    for axis in drawn:
        assert Axis.parse(written(axis)) == axis
        doubled = f"{written(axis)},{written(axis).partition('=')[2]}"
        assert Axis.parse(doubled) == axis, "no repeats"


def shown(recipe: Recipe, axis: Axis):
    parts = dict(zip(("size", "filter"), recipe.variant.split("-")[:2], strict=True))
    return type(axis.values[0])(parts.get(axis.name) or getattr(recipe, axis.name, None))


@given(axes())
def test_a_grid_is_the_product_of_its_values_without_repeats(drawn):
    recipes = expand(Recipe(), drawn)
    combinations = list(itertools.product(*(axis.values for axis in drawn)))
    assert len(recipes) == len(set(recipes)) == len(combinations)
    for recipe, combination in zip(recipes, combinations, strict=True):
        assert tuple(shown(recipe, axis) for axis in drawn) == combination


@given(lists("lr"), st.integers(1, 3))
def test_axes_that_vary_together_have_one_run_a_row(rates, repeats):
    rates = rates * repeats
    widths = [1.0 + place for place in range(len(rates))]
    recipes = expand(Recipe(), [Together((Axis("lr", tuple(rates)), Axis("width", tuple(widths))))])
    assert [(recipe.lr, recipe.width) for recipe in recipes] == list(
        zip(rates, widths, strict=True)
    )


@given(axes())
def test_a_study_that_grows_keeps_its_runs(drawn):
    for axis in drawn:
        fewer = [Axis(axis.name, axis.values[:1]) if one is axis else one for one in drawn]
        assert set(expand(Recipe(), fewer)) <= set(expand(Recipe(), drawn))
