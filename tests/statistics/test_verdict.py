"""Verdicts: each answer with its words, and nothing said that an interval does not allow."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from lowres import statistics
from lowres.errors import StudyError

NAMES = ("32 px", "64 px")
INF, NAN = np.inf, np.nan


def study(configurations=16, seeds=3, noise=0.001, target=None):
    random = np.random.default_rng(0)
    true = 0.3 + 0.1 * random.random(configurations)
    other = true if target is None else target(true, random)
    return tuple(
        each[:, None] + noise * random.standard_normal((configurations, seeds))
        for each in (true, other)
    )


def test_it_stands_in():
    proxy, target = study()
    found = statistics.judge(proxy, target, NAMES, costs=(np.ones(16), np.full(16, 8.0)))
    assert found.answer == "stands in"
    tau, limit = found.kendall, found.kendall_ceiling
    assert found.sentence == (
        f"32 px stands in for 64 px: tau {tau.value:.2f} [{tau.interval.low:.2f}, "
        f"{tau.interval.high:.2f}] of a ceiling {limit.value:.2f}, regret 0.0 points [0.0, 0.0], "
        f"{found.speed_up.ratio:.1f}x cheaper; 16 configurations, 3 seeds"
    )
    assert tau.interval.low > 0.5


def test_it_does_not_where_the_choice_costs_too_much():
    found = statistics.judge(*study(target=lambda true, _: 0.7 - true), NAMES)
    assert found.answer == "does not stand in"
    assert found.sentence.startswith(
        "32 px does not stand in for 64 px (its choice costs more than is bearable): tau -"
    )
    assert found.regret.regret.interval.low > 0.01


def test_it_does_not_where_ranks_differ_though_the_choice_is_bearable():
    found = statistics.judge(*study(target=lambda true, _: 0.7 - true), NAMES, bearable=0.5)
    assert found.answer == "does not stand in"
    assert "(fewer than 3 of 4 pairs are ranked alike)" in found.sentence


def test_it_does_not_where_the_choice_diverges():
    proxy, target = study()
    target[proxy.mean(axis=1).argmin()] = INF
    found = statistics.judge(proxy, target, NAMES)
    assert found.answer == "does not stand in"
    assert "(the proxy's choice diverged on the target): tau" in found.sentence


def test_noise_is_not_held_against_the_proxy():
    random = np.random.default_rng(1)
    proxy, target = 0.4 + 0.001 * random.standard_normal((2, 24, 2))
    found = statistics.judge(proxy, target, NAMES)
    assert found.kendall.interval.high < 0.5
    assert found.answer == "undecided"
    assert "(seed noise alone may explain the different ranks)" in found.sentence


def test_wide_intervals_tell_nothing():
    found = statistics.judge(*study(8, 2, noise=0.05), NAMES)
    assert found.answer == "undecided"
    assert found.sentence.startswith(
        "32 px for 64 px: undecided (the intervals are too wide): 8 configurations, 2 seeds; tau"
    )


def test_one_seed_tells_nothing_sure():
    found = statistics.judge(*study(seeds=1), NAMES)
    assert found.answer == "undecided"
    assert "16 configurations, 1 seed; tau" in found.sentence
    assert "no ceiling, regret 0.0 points (no interval)" in found.sentence
    assert found.kendall_ceiling.reason.startswith("one seed")


@pytest.mark.parametrize(("count", "what"), [(3, "3 configurations"), (1, "1 configuration")])
def test_few_configurations(count, what):
    found = statistics.judge(*study(count, 1), NAMES)
    assert found.sentence == f"32 px for 64 px: undecided: {what}, 1 seed"


def test_nothing_in_common():
    found = statistics.judge([[0.1], [NAN]], [[NAN], [0.1]], NAMES)
    assert found.sentence == "32 px for 64 px: undecided: 0 configurations, 0 seeds"
    assert found.regret is None


def test_all_diverged_and_all_equal():
    gone = statistics.judge(np.full((6, 2), INF), np.full((6, 2), INF), NAMES)
    assert gone.answer == "undecided"
    assert "all runs on the target diverged" in gone.sentence
    equal = statistics.judge(np.full((6, 2), 0.9), np.full((6, 2), 0.9), NAMES)
    assert equal.answer == "undecided"
    assert "all configurations have the same error on the proxy" in equal.sentence


def test_a_search_that_costs_more_is_called_more_costly():
    found = statistics.judge(*study(), NAMES, costs=(np.full(16, 9.0), np.ones(16)))
    assert "x more costly" in found.sentence


def test_what_is_found_goes_to_json():
    for proxy, target in (study(), study(3, 1), (np.full((6, 2), INF),) * 2):
        found = statistics.judge(proxy, target, NAMES)
        record = json.loads(json.dumps(asdict(found), allow_nan=False))
        assert record["sentence"] == found.sentence
        assert record["kendall"]["reason"] == found.kendall.reason


def test_the_bearable_regret_is_a_share():
    with pytest.raises(StudyError, match="a share from 0 to 1, was 2"):
        statistics.judge(*study(), NAMES, bearable=2)


def test_chance_is_seldom_called_standing_in():
    """Proxy and target that have nothing in common: a verdict for the proxy would be wrong."""
    random = np.random.default_rng(2)
    answers = [
        statistics.judge(*(0.4 + 0.02 * random.standard_normal((2, 12, 2))), NAMES).answer
        for _ in range(100)
    ]
    assert answers.count("stands in") == 0
