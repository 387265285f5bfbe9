"""What training costs: by formula for the paper's networks, counted for all others."""

import subprocess
import sys

import pytest

import lowres
from lowres.networks.shape import Shape
from lowres.networks.size import NetworkSize, training_macs
from lowres.recipe import Recipe

STUBS = """
from torch import nn

made = []

def network(classes, size, hidden):
    made.append(hidden)
    first, last = nn.Linear(3 * size * size, hidden), nn.Linear(hidden, classes)
    return nn.Sequential(nn.Flatten(), first, last)

def small(classes, size):
    return network(classes, size, 5)

def large(classes, size):
    return network(classes, size, 50)
"""


@pytest.fixture
def stubs(tmp_path, monkeypatch):
    (tmp_path / "stub_networks.py").write_text(STUBS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    lowres.trust("stub_networks:small", "stub_networks:large")
    yield
    sys.modules.pop("stub_networks", None)


def test_the_papers_networks_cost_what_the_formula_says():
    recipe = Recipe(variant="16-box", width=1, epochs=3, batch_size=8)
    assert NetworkSize.of(recipe, 10).name == "WRN-20-1"
    # 24 images, each plain and mirrored, are 6 batches of 8; 3 epochs; backward costs twice.
    assert training_macs(recipe, 24, 10) == 3 * Shape(16, 1, 10).macs() * 6 * 3 * 8


def test_other_networks_are_counted_once_and_ordered_by_their_cost(stubs):
    recipes = [
        Recipe(variant="8-box", model=f"stub_networks:{name}", epochs=epochs)
        for name, epochs in (("small", 1), ("large", 1), ("small", 2))
    ]
    small, large, longer = (training_macs(recipe, 1280, 4) for recipe in recipes)
    assert small == 3 * (192 * 5 + 5 * 4) * 20 * 128
    assert small < longer < large
    assert sys.modules["stub_networks"].made == [5, 50]


def test_formulas_need_no_torch():
    script = (
        "import sys; from lowres.networks.size import training_macs; from lowres.recipe import "
        "Recipe; training_macs(Recipe(), 1000, 10); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
