"""Cost: curves, fronts and areas by hand; searches against brute force."""

import itertools

import numpy as np
import pytest

from lowres import statistics
from lowres.errors import StudyError
from lowres.statistics.cost import expected_best

INF, NAN = np.inf, np.nan


def test_runs_one_after_another_make_a_step_curve():
    costs = [[1, 2, 3], [2, 4], [1]]
    errors = [[0.9, 0.5, 0.6], [0.4, NAN], [INF]]
    found = statistics.anytime(costs, errors)
    assert found == statistics.Curve((1, 2, 5, 8), (0.9, 0.5, 0.4, 0.4))
    assert statistics.best_by(found, 0.5) is None
    assert [statistics.best_by(found, cost) for cost in (1, 4.9, 5, 99)] == [0.9, 0.5, 0.4, 0.4]
    assert statistics.anytime([[1.0]], [[NAN]]) is None
    assert statistics.anytime([], []) is None


@pytest.mark.parametrize(
    ("costs", "errors", "words"),
    [
        ([[1]], [], "1 runs have costs and 0 have errors"),
        ([[1, 2]], [[0.1]], "run 0 must have an error for each cost"),
        ([[1], [2, 1]], [[0.1], [0.1, 0.2]], "costs of run 1 must rise from 0 or more"),
        ([[NAN]], [[0.1]], "costs of run 0 must rise"),
    ],
)
def test_bad_traces(costs, errors, words):
    with pytest.raises(StudyError, match=words):
        statistics.anytime(costs, errors)


def test_the_front_is_what_no_other_point_beats():
    random = np.random.default_rng(0)
    costs, errors = random.integers(1, 8, (2, 40)).astype(float)
    errors[0] = INF
    errors[1] = NAN
    found = statistics.pareto_front(costs, errors)
    for i in range(40):
        beaten = any(
            costs[j] <= costs[i]
            and errors[j] <= errors[i]
            and (costs[j] < costs[i] or errors[j] < errors[i])
            for j in range(40)
        )
        assert found[i] == (np.isfinite(errors[i]) and not beaten)
    with pytest.raises(StudyError, match="two rows of one length"):
        statistics.pareto_front([1, 2], [0.1])
    with pytest.raises(StudyError, match="costs must be finite"):
        statistics.pareto_front([NAN], [0.1])


def test_the_hypervolume_is_an_area():
    assert statistics.hypervolume([1, 2, 3], [0.5, 0.4, 0.45], (4, 1)) == pytest.approx(
        3 * 0.5 + 2 * 0.1
    )
    assert statistics.hypervolume([5, 1], [0.1, 1.0], (4, 1)) == 0
    assert statistics.hypervolume([10, 100], [0.5, INF], (1000, 1)) == 495
    logs = statistics.hypervolume([1, 10], [0.5, 0.4], (100, 1), log_cost=True)
    assert logs == pytest.approx(2 * 0.5 + 1 * 0.1)
    with pytest.raises(StudyError, match="above 0 for log_cost"):
        statistics.hypervolume([0, 1], [0.1, 0.2], (2, 1), log_cost=True)


def test_the_hypervolume_by_throwing_darts():
    random = np.random.default_rng(1)
    costs, errors = random.random((2, 10))
    darts = random.random((200_000, 2))
    hit = ((darts[:, None, 0] >= costs) & (darts[:, None, 1] >= errors)).any(axis=1).mean()
    assert statistics.hypervolume(costs, errors, (1, 1)) == pytest.approx(hit, abs=0.005)


def test_the_expected_best_is_a_mean_over_all_choices():
    errors = np.sort(np.random.default_rng(2).random(6))
    for drawn, value in enumerate(expected_best(errors), start=1):
        choices = [min(some) for some in itertools.combinations(errors, drawn)]
        assert value == pytest.approx(np.mean(choices))


def test_a_proxy_that_finds_the_best_saves_the_whole_search():
    rising = np.arange(1, 11)[:, None] / 20
    found = statistics.speed_up(rising, rising, np.ones(10), np.full(10, 8.0))
    assert found.regret == 0
    assert (found.proxy_cost, found.target_runs, found.target_cost) == (18, 10, 80)
    assert found.ratio == pytest.approx(80 / 18)


def test_a_proxy_as_good_as_some_random_runs():
    target = np.array([0.1, 0.2, 0.3, 0.4])[:, None]
    proxy = np.array([0.5, 0.1, 0.3, 0.4])[:, None]  # chooses the second, regret 0.1
    found = statistics.speed_up(proxy, target, np.ones(4), np.array([1.0, 2.0, 3.0, 4.0]))
    # Expected best of 1, 2, 3, 4 runs: 0.25, 0.2 - 2/60, ...
    regrets = expected_best(target[:, 0]) - 0.1
    assert found.target_runs == pytest.approx(np.interp(0.1, regrets[::-1], [4, 3, 2, 1]))
    assert found.proxy_cost == 4 + 2
    assert found.target_cost == pytest.approx(found.target_runs * 2.5)


def test_a_useless_proxy_is_worth_a_run():
    target = np.array([0.1, 0.2, 0.3])[:, None]
    found = statistics.speed_up(target[::-1], target, np.ones(3), np.ones(3))
    assert found.regret == pytest.approx(0.2)
    assert found.target_runs == 1
    assert found.ratio == pytest.approx(1 / 4)


def test_searches_with_runs_missing_or_diverged():
    proxy = [[0.1], [INF], [NAN], [0.3]]
    target = [[INF], [0.2], [0.1], [0.3]]
    costs = [1.0, 1.0, NAN, 1.0]
    found = statistics.speed_up(proxy, target, costs, costs)
    assert found.regret == pytest.approx(0.8), "a diverged choice knows no image"
    assert found.proxy_cost == 4
    one = statistics.speed_up([[0.1], [NAN]], [[0.1], [0.2]], [1, 1], [1, 1])
    assert one.reason == "fewer than 2 configurations on both sides"
    gone = statistics.speed_up([[INF], [INF]], [[0.1], [0.2]], [1, 1], [1, 1])
    assert gone.reason == "all runs of one side diverged"
    with pytest.raises(StudyError, match="costs must be above 0, one for each of 2"):
        statistics.speed_up([[0.1], [0.2]], [[0.1], [0.2]], [1, 0], [1, 1])
    with pytest.raises(StudyError, match="costs must be above 0, one for each of 2"):
        statistics.speed_up([[0.1], [0.2]], [[0.1], [0.2]], [1, 1, 1], [1, 1])
