"""The front along trainings: a slow brute force, crossing curves, and how often intervals hold."""

import numpy as np
import pytest

from lowres.errors import StudyError
from lowres.statistics.anytime_front import MOST_EPOCHS, anytime_front

CHEAP = np.array([0.60, 0.55, 0.53, 0.52])
DEAR = np.array([0.62, 0.50, 0.42, 0.38])


def runs(curve, seeds=3, noise=0.005, seed=0):
    random = np.random.default_rng(seed)
    return curve + noise * random.standard_normal((seeds, len(curve)))


def test_curves_that_cross():
    """A cheap configuration is the best until the dear one has had its second epoch."""
    costs = [np.arange(1.0, 5), np.arange(1.0, 5) * 3]
    found = anytime_front(costs, [runs(CHEAP), runs(DEAR, seed=1)])
    assert [(one.configuration, one.epoch) for one in found] == [
        (0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4),
    ]  # fmt: skip
    assert [one.cost for one in found] == [1, 2, 3, 4, 6, 9, 12]
    errors = [one.error for one in found]
    assert errors == sorted(errors, reverse=True)
    assert all(one.interval.low < one.error < one.interval.high for one in found)
    assert all(one.p > 0.9 for one in found)


def test_every_point_is_on_the_front_by_brute_force():
    random = np.random.default_rng(4)
    costs = [np.cumsum(random.uniform(0.5, 2, epochs)) for epochs in (3, 5, 5, 8)]
    errors = [0.2 + 0.5 * random.random((2, len(cost))) for cost in costs]
    every = [
        (cost[epoch], table[:, epoch].mean(), n, epoch + 1)
        for n, (cost, table) in enumerate(zip(costs, errors, strict=True))
        for epoch in range(len(cost))
    ]
    front = sorted(
        one
        for one in every
        if not any(o[0] <= one[0] and o[1] <= one[1] and o != one for o in every)
    )
    found = anytime_front(costs, errors)
    assert [(one.configuration, one.epoch) for one in found] == [one[2:] for one in front]
    assert [one.error for one in found] == pytest.approx([one[1] for one in front])


def test_two_equal_configurations_share_the_probability():
    costs = [np.arange(1.0, 4), np.arange(1.0, 4)]
    errors = [runs(CHEAP[:3], seed=seed) for seed in (1, 2)]
    [*_, last] = anytime_front(costs, errors)
    assert 0.4 < last.p < 0.95
    [*_, last] = anytime_front(costs, errors, ["one network", "one network"])
    assert last.p == 1


def test_diverged_and_single_runs():
    cost = np.arange(1.0, 5)
    lost = runs(DEAR)
    lost[1, 2] = np.inf
    found = anytime_front([cost, cost], [runs(CHEAP), lost])
    assert {one.configuration for one in found} == {0}
    alone = anytime_front([cost], [CHEAP[None]])
    assert [(one.interval, one.p) for one in alone] == [(None, None)] * 4
    assert anytime_front([], []) == []
    assert anytime_front([cost], [lost]) == []
    mixed = anytime_front([cost, cost[:3]], [CHEAP[None], runs(DEAR[:3])])
    assert mixed[0].configuration == 0
    assert mixed[0].interval is None, "no configuration with as many epochs has two seeds"
    with pytest.raises(StudyError, match=r"errors must be \(seeds, epochs\)"):
        anytime_front([cost], [CHEAP])


def test_long_trainings_are_read_at_some_epochs_and_at_the_last():
    cost = np.arange(1.0, 1001)
    found = anytime_front([cost], [runs(0.3 + 0.5 / cost, noise=1e-6)])
    assert len(found) == MOST_EPOCHS
    assert found[-1].epoch == 1000


def test_intervals_hold_about_as_often_as_they_say():
    costs = [np.arange(1.0, 5) * factor for factor in (1, 3, 9)]
    curves = [CHEAP, DEAR, DEAR - 0.05]
    held, count = 0, 0
    for number in range(60):
        tables = [runs(c, noise=0.01, seed=3 * number + n) for n, c in enumerate(curves)]
        for one in anytime_front(costs, tables):
            held += (
                one.interval.low <= curves[one.configuration][one.epoch - 1] <= one.interval.high
            )
            count += 1
    assert 0.91 <= held / count <= 0.98
