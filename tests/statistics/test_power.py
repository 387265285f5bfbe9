"""What a plan can decide: more seeds and less noise decide more, on any axes."""

import numpy as np
import pytest

from lowres.errors import StudyError
from lowres.statistics.power import power

RATES = np.repeat(10.0 ** np.linspace(-2.3, -0.3, 6), 2).tolist()
WIDTHS = [1, 2] * 6


@pytest.mark.full
def test_more_seeds_and_less_noise_decide_more():
    usual, more_seeds, more_noise = (
        power([RATES, WIDTHS], (seeds, seeds), noise, 0.01, studies=40)
        for seeds, noise in ((2, 0.01), (4, 0.01), (2, 0.04))
    )
    assert 0.35 < usual < 0.75, "bench/verdict.py has 0.58 of 1,000 studies by another generator"
    assert more_noise < usual < more_seeds


@pytest.mark.full
def test_one_seed_one_answer():
    design = [RATES, WIDTHS], (1, 2), 0.01, 0.01
    first = power(*design, studies=20)
    assert first == power(*design, studies=20)
    assert {first} != {power(*design, studies=20, seed=seed) for seed in range(1, 5)}


def test_words_booleans_and_single_values_are_axes():
    words = [name for name in ("sgd", "muon", "adam") for _ in range(4)]
    flags = [False, True] * 6
    chance = power([words, flags, [40] * 12, [None, "0.5"] * 6], (2, 2), 0.002, studies=20)
    assert 0 < chance <= 1


def test_many_configurations_are_judged_by_the_best():
    rates = np.repeat(10.0 ** np.linspace(-3, 0, 20), 20).tolist()
    assert power([rates, list(range(1, 21)) * 20], (1, 1), 0.01, studies=1) in (0, 1)


def test_wrong_input_is_refused():
    for axes in ([], [[]], [[1, 2], [1]]):
        with pytest.raises(StudyError, match="equally many"):
            power(axes, (1, 1), 0.01)
    for seeds, noise in (((0, 1), 0.01), ((1, 1), 0.0), ((1, 1), 1.0)):
        with pytest.raises(StudyError, match="1 or more seeds"):
            power([[1, 2, 3, 4, 5]], seeds, noise)


def test_an_axis_that_begins_with_zero_has_steps_and_no_decades():
    """A logarithm of 0 would warn, and warnings are errors here."""
    assert 0 <= power([[0.0, 0.001, 0.1, 1.0] * 3], (2, 2), 0.002, studies=10) <= 1
