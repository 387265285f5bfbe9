"""Regret: known answers, the winner's curse, and intervals against the truth."""

import numpy as np
import pytest

from lowres import statistics
from lowres.errors import StudyError

INF, NAN = np.inf, np.nan


def test_without_noise_it_is_what_one_reads_off():
    proxy = [[0.30] * 2, [0.20] * 2, [0.25] * 2, [0.40] * 2]
    target = [[0.30] * 2, [0.26] * 2, [0.20] * 2, [0.40] * 2]
    found = statistics.regret(proxy, target)
    assert found.chosen == (1,)
    assert found.observed == pytest.approx(0.06)
    assert found.regret.value == pytest.approx(0.06)
    assert found.regret.interval.low == pytest.approx(0.06)
    assert found.regret.interval.high == pytest.approx(0.06)
    two = statistics.regret(proxy, target, k=2)
    assert two.chosen == (1, 2)
    assert two.observed == two.regret.value == 0


def test_rows_are_those_of_the_tables_given():
    found = statistics.regret([[NAN], [0.3], [0.1], [0.2]], [[0.1], [0.2], [0.3], [0.4]], k=3)
    assert found.chosen == (2, 3, 1)
    assert found.observed == 0


def test_what_diverged_is_never_best():
    proxy, target = [[0.1], [0.2], [0.3], [0.4]], [[INF], [0.2], [0.1], [0.3]]
    lost = statistics.regret(proxy, target)
    assert lost.observed is None
    assert lost.regret == statistics.Figure(None, None, "the proxy's choice diverged on the target")
    assert statistics.regret(proxy, target, k=2).observed == pytest.approx(0.1)


def test_what_cannot_be_told_has_a_reason():
    rising = [[0.1], [0.2], [0.3]]
    one = statistics.regret(rising, rising)
    assert one.regret.value == 0
    assert one.regret.interval is None
    assert one.regret.reason == "one seed: the noise of the target is unknown"
    assert statistics.regret([[0.1]], [[0.1]]).regret.reason.startswith("1 configuration has")
    assert statistics.regret(rising, [[INF]] * 3).regret.reason == "all runs on the target diverged"
    assert statistics.regret([[INF]] * 3, rising).regret.reason == "all runs on the proxy diverged"
    few = statistics.regret([[0.1], [0.2]], [[0.1, 0.2], [0.3, 0.4]]).regret
    assert few.interval is None
    assert few.reason == "2 configurations are too few for an interval"
    with pytest.raises(StudyError, match="k must be from 1 to 3 configurations, was 4"):
        statistics.regret(rising, rising, k=4)


def test_the_lucky_best_is_seen_through():
    """Of equal configurations the choice costs nothing, but the best of noisy means looks so."""
    random = np.random.default_rng(0)
    found = [
        statistics.regret(random.random((20, 2)) / 10, 0.4 + 0.02 * random.standard_normal((20, 2)))
        for _ in range(50)
    ]
    observed = np.mean([each.observed for each in found])
    estimated = np.mean([each.regret.value for each in found])
    assert observed > 0.02
    assert estimated < observed / 3


@pytest.mark.parametrize("k", [1, 2])
def test_intervals_hold_the_truth_in_19_of_20_studies(k):
    random = np.random.default_rng(1)
    held, lengths = 0, []
    for number in range(250):
        truth, other = 0.4 + 0.04 * random.standard_normal((2, 12))
        proxy = 0.7 * truth + 0.7 * other + 0.01 * random.standard_normal(12)
        proxy = np.clip(proxy, 0, 1)[:, None]
        target = truth[:, None] + 0.02 * random.standard_normal((12, 2))
        found = statistics.regret(proxy, target, k=k, seed=number)
        regret = truth[list(found.chosen)].min() - truth.min()
        held += found.regret.interval.low <= regret <= found.regret.interval.high
        lengths.append(found.regret.interval.high - found.regret.interval.low)
    assert held / 250 >= 0.92
    assert np.mean(lengths) < 0.06, "the noise of a difference of means is 0.02"
