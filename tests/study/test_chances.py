"""What a dry run says of the verdicts of a plan."""

import importlib

import pytest

from lowres.recipe import Recipe
from lowres.study.axes import Axis, expand
from lowres.study.chances import chances
from lowres.training.run import RunState, RunSummary

POWER = importlib.import_module("lowres.statistics.power")  # the package has a function power
RATES = Axis("lr", (0.005, 0.0125, 0.032, 0.08, 0.2, 0.5))


def drafts(*axes, state=RunState.PLANNED, points=()):
    recipes = expand(Recipe(variant="16-box"), axes, points)
    return [RunSummary(str(place), recipe, state) for place, recipe in enumerate(recipes)]


@pytest.fixture
def designs(monkeypatch):
    """The designs that are simulated; each seed decides a tenth of studies."""
    seen = []

    def pretended(axes, seeds, noise, bearable):
        seen.append((axes, seeds, noise, bearable))
        return sum(seeds) / 10

    monkeypatch.setattr(POWER, "power", pretended)
    return seen


def test_a_plan_of_sizes_in_words():
    plan = drafts(Axis("size", (16, 64)), RATES)
    (line,) = chances(plan, 10_000, 0.01)
    assert line.startswith("this plan decides with probability 0.")
    assert "whether 16-box stands in for 64-box within 1 point, if a run's standard " in line
    assert "deviation is 1 point; with one seed more: 0." in line


def test_alike_designs_are_simulated_once(designs):
    sizes, filters = Axis("size", (8, 16, 32)), Axis("filter", ("box", "lanczos"))
    lines = list(chances(drafts(sizes, filters, RATES, Axis("seed", (3, 4))), 3600))
    assert [seeds for _, seeds, *_ in designs] == [(2, 2), (3, 3)]
    assert all(noise == bearable == pytest.approx(0.01) for *_, noise, bearable in designs)
    assert designs[0][0] == (RATES.values,)
    assert "0.40 whether 16-lanczos or 8-lanczos stands in for 32-lanczos" in lines[0]
    assert "0.40 whether 16-box or 8-box stands in for 32-box" in lines[1]
    assert "a guess, 1.2 x the binomial one of 3,600 images; if you know it, add" in lines[2]


def test_the_side_with_fewer_seeds_and_noise_above_a_point(designs):
    points = [{"size": 16, "lr": lr, "seed": 1} for lr in RATES.values]
    plan = drafts(Axis("size", (16, 64)), RATES, Axis("seed", (0,)), points=points)
    (line,) = chances(plan, 100, 0.025)
    assert [seeds for _, seeds, *_ in designs] == [(2, 1), (3, 2)]
    assert "within 2.5 points, if a run's standard deviation is 2.5 points" in line


@pytest.mark.parametrize(
    "axes",
    [
        (RATES,),
        (Axis("size", (16, 64)), Axis("lr", (0.01, 0.1, 1.0, 2.0))),
        (Axis("variant", ("16-box", "64-lanczos")), RATES),
    ],
)
def test_a_plan_without_a_pair_to_judge_says_nothing(axes, designs):
    assert not list(chances(drafts(*axes), 10_000))
    assert not designs


def test_a_finished_study_says_nothing(designs):
    plan = drafts(Axis("size", (16, 64)), RATES, state=RunState.TRAINED)
    assert not list(chances(plan, 10_000))


def test_beyond_what_is_judged_it_is_a_lower_bound(designs):
    many = Axis("lr", tuple(n / 100 for n in range(1, POWER.MOST_JUDGED + 2)))
    (line,) = chances(drafts(Axis("size", (16, 64)), many), 100, 0.01)
    assert "with probability 0.20 or more whether" in line
