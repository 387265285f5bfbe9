"""Schedules of recipes, and those that are functions of the user."""

import json
import sys

import pytest

from lowres.errors import RunError
from lowres.networks.imported import trust
from lowres.recipe import Recipe
from lowres.training.execution import Execution
from lowres.training.loop import train
from lowres.training.schedule import learning_rates

OWN = """
def halves(step, steps, times=1):
    return 0.5 ** (step * (times + 1) // steps)

def negative(step, steps):
    return -1

def text(step, steps):
    return "fast"
"""
HALVES = "own_schedules:halves(times=2)"


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_schedules.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    trust(*(f"own_schedules:{name}" for name in ("halves", "negative", "text", "halve")))
    yield tmp_path
    sys.modules.pop("own_schedules", None)


def test_your_own_schedule_with_arguments(own):
    rates = learning_rates(Recipe(schedule=HALVES, lr=0.4), 6)
    assert [rates(step) for step in range(6)] == [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("negative", "must return a factor on lr of 0 or more, returned -1.0 at step 0 of 6"),
        ("text", "failed at step 0 of 6: ValueError"),
        ("halves(count=2)", "failed at step 0 of 6: TypeError"),
        ("halve", "has no function 'halve'; it has halves, negative, text"),
    ],
)
def test_schedules_that_cannot_be_used(own, name, words):
    with pytest.raises(RunError, match=words):
        learning_rates(Recipe(schedule=f"own_schedules:{name}"), 6)(0)


@pytest.mark.parametrize("optimizer", ["momentum", "muon"])
def test_a_run_trains_by_it_and_writes_its_rates(own, store, optimizer):
    recipe = Recipe(
        variant="8-box", epochs=3, batch_size=8, width=0.5, blocks=1, schedule=HALVES, lr=0.04,
        optimizer=optimizer,
    )  # fmt: skip
    result = train(store, recipe, own / "run", execution=Execution(device="cpu", compile="off"))
    assert result["status"] == "trained"
    lines = (own / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["lr"] for line in lines] == pytest.approx([0.04, 0.02, 0.01])
