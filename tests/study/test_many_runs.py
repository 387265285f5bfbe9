"""A study of all 15,625 networks of NAS-Bench-201, each named by its architecture."""

from itertools import product

import pytest

from lowres.errors import StudyError
from lowres.recipe import Recipe, named_recipe
from lowres.study.axes import Axis, expand
from lowres.study.plan_file import read_plan

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = (0, 0, 1, 0, 1, 2)


def architecture(operations):
    a, b, c, d, e, f = (f"{op}~{edge}" for op, edge in zip(operations, EDGES, strict=True))
    return f"|{a}|+|{b}|{c}|+|{d}|{e}|{f}|"


@pytest.mark.full
def test_every_network_is_a_run_of_its_own(tmp_path):
    models = [f"nets:cell(arch={architecture(ops)!r})" for ops in product(OPERATIONS, repeat=6)]
    listed = ",\n".join(f'"{model}"' for model in models)
    (tmp_path / "study.toml").write_text(f'recipe = "nas-bench-201"\n[axes]\nmodel = [{listed}]\n')
    plan = read_plan(tmp_path / "study.toml")
    recipes = expand(named_recipe("nas-bench-201"), plan.axes)
    names = {recipe.run_name("store") for recipe in recipes}
    assert len(recipes) == len(names) == 15_625
    none = "16-box-nets-cell-arch-none-0-none-0-none-1-none-0-none-1-none-2-lr0.1-e200-s0-"
    assert sum(name.startswith(none) for name in names) == 1
    assert max(map(len, names)) < 200
    with pytest.raises(StudyError, match="at most 50,000 runs"):
        expand(Recipe(), (*plan.axes, Axis("seed", (0, 1, 2, 3))))
