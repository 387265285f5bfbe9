"""Cost: curves, fronts and areas by hand; searches against brute force."""

import numpy as np
import pytest

from lowres import statistics
from lowres.errors import StudyError

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


def test_any_order_of_runs_is_as_if_they_were_given_so():
    random = np.random.default_rng(0)
    for _ in range(50):
        runs = random.integers(1, 6)
        lengths = random.integers(0, 5, runs)
        costs = [np.cumsum(random.integers(0, 3, n)) for n in lengths]
        errors = [random.choice([0.1, 0.2, 0.3, NAN, INF], n) for n in lengths]
        order = random.permutation(runs)
        found = statistics.Traces.of(costs, errors).curve(order)
        spent, best, steps = 0.0, INF, []
        for place in order:
            for cost, error in zip(costs[place], errors[place], strict=True):
                if error < best:
                    best = error
                    steps.append((spent + cost, best))
            spent += costs[place][-1] if lengths[place] else 0
        if steps and steps[-1][0] < spent:
            steps.append((spent, best))
        assert (found is None) == (not steps)
        assert not steps or list(zip(found.cost, found.error, strict=True)) == steps
