"""Correlations against SciPy, ceilings against their closed form, intervals against the truth."""

import numpy as np
import pytest
from scipy import stats

from lowres import statistics
from lowres.errors import StudyError
from lowres.statistics import ranking as correlation

INF, NAN = np.inf, np.nan
SCIPY = {
    "kendall": lambda x, y: stats.kendalltau(x, y).statistic,
    "spearman": lambda x, y: stats.spearmanr(x, y).statistic,
}


def study(random, configurations, seeds, noise, likeness=0.9):
    """Draw a normal study: errors on proxy and target."""
    target, other = random.standard_normal((2, configurations))
    proxy = likeness * target + np.sqrt(1 - likeness**2) * other
    noises = noise * random.standard_normal((2, configurations, seeds))
    return 0.4 + 0.04 * (np.stack([proxy, target])[..., None] + noises)


@pytest.mark.parametrize("coefficient", ["kendall", "spearman"])
def test_coefficients_are_scipys_with_ties_and_repeats(coefficient):
    random = np.random.default_rng(0)
    x, y = random.integers(0, 6, (2, 15)) / 10.0
    weights = random.multinomial(15, np.full(15, 1 / 15), size=20)
    found = correlation.weighted(coefficient, weights.astype(float), x, y)
    for row, value in zip(weights, found, strict=True):
        repeated = np.repeat(np.arange(15), row)
        assert value == pytest.approx(SCIPY[coefficient](x[repeated], y[repeated]), abs=1e-12)


@pytest.mark.parametrize("coefficient", ["kendall", "spearman"])
def test_diverged_runs_rank_last(coefficient):
    proxy = np.array([[0.3, 0.3], [0.2, INF], [0.1, 0.2], [0.4, 0.4]])
    target = np.array([[0.2], [0.9], [0.1], [0.3]])
    assert statistics.rank_correlation(proxy, target, coefficient).value == pytest.approx(1)


def test_what_cannot_be_ranked_has_a_reason():
    def reason(proxy, target):
        figure = statistics.rank_correlation(proxy, target)
        assert figure.value is None
        assert figure.interval is None
        return figure.reason

    rising = [[0.1], [0.2], [0.3]]
    assert reason([[0.1]], [[0.2]]).startswith("1 configuration has runs on both sides")
    assert reason([[NAN]], [[0.2]]).startswith("no configuration has runs on both sides")
    assert reason([[INF]] * 3, rising) == "all runs on the proxy diverged"
    assert reason(rising, [[0.5]] * 3) == "all configurations have the same error on the target"
    few = statistics.rank_correlation(rising, rising)
    assert few.value == 1
    assert few.interval is None
    assert few.reason == "3 configurations are too few for an interval"
    with pytest.raises(StudyError, match="kendall or spearman, was 'pearson'"):
        statistics.rank_correlation(rising, rising, "pearson")


def test_perfect_order_is_not_certainty():
    rising = np.arange(8)[:, None] / 10
    found = statistics.rank_correlation(rising, rising)
    assert found.value == 1
    assert found.interval == statistics.Interval(pytest.approx(1 - 3 * 2 / 28), 1)
    rho = statistics.rank_correlation(rising, rising, "spearman").interval.low
    moved = [1, 2, 3, 0, 4, 5, 6, 7]  # three pairs turned by one configuration
    assert rho == pytest.approx(stats.spearmanr(range(8), moved).statistic)


def test_the_same_seed_gives_the_same_interval():
    proxy, target = study(np.random.default_rng(3), 12, 2, 0.5)
    first, same, other = (statistics.rank_correlation(proxy, target, seed=s) for s in (1, 1, 2))
    assert first == same
    assert first.value == other.value
    assert first.interval != other.interval


@pytest.mark.parametrize("coefficient", ["kendall", "spearman"])
@pytest.mark.parametrize(("seeds", "asked"), [(2, None), (3, None), (4, 2), (2, 5)])
def test_the_ceiling_of_a_normal_population_is_its_closed_form(coefficient, seeds, asked):
    """Means of S seeds of two repetitions correlate by 1 / (1 + noise^2 / S)."""
    target = study(np.random.default_rng(4), 600, seeds, 0.8)[1]
    normal = 1 / (1 + 0.8**2 / (asked or seeds))
    if coefficient == "kendall":
        truth = 2 / np.pi * np.arcsin(normal)
    else:
        truth = 6 / np.pi * np.arcsin(normal / 2)
    found = statistics.ceiling(target, coefficient, seeds=asked)
    assert found.value == pytest.approx(truth, abs=0.05)
    assert found.interval.low < truth < found.interval.high


def test_halves_are_split_in_every_way():
    table = np.random.default_rng(0).random((30, 4))
    splits = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    taus = [stats.kendalltau(table[:, a].mean(1), table[:, b].mean(1)).statistic for a, b in splits]
    normal = np.sin(np.pi * max(0, np.mean(taus)) / 2)
    expected = 2 / np.pi * np.arcsin(2 * normal / (1 + normal))
    assert statistics.ceiling(table).value == pytest.approx(expected)


def test_many_seeds_take_a_choice_of_splits():
    target = study(np.random.default_rng(5), 40, 12, 1.0)[1]
    first, same, other = (statistics.ceiling(target, seed=seed) for seed in (1, 1, 2))
    assert first == same
    assert first.value != other.value
    assert first.value == pytest.approx(other.value, abs=0.03)


def test_missing_seeds_do_not_spoil_a_ceiling():
    target = study(np.random.default_rng(6), 40, 3, 0.3)[1]
    target[0, :2] = NAN
    target[1, 0] = NAN
    moved = target.copy()
    moved[1] = target[1, [1, 2, 0]]
    assert statistics.ceiling(target) == statistics.ceiling(moved)
    assert 0.7 < statistics.ceiling(target).value < 1


def test_no_ceiling_without_repetition():
    assert statistics.ceiling([[0.1], [0.2], [0.3]]).reason.startswith("one seed")
    assert statistics.ceiling([[0.1, NAN], [0.2, 0.3]]).reason.startswith("one seed")
    assert statistics.ceiling([[INF, INF]] * 6).reason == "all runs on the target diverged"
    assert statistics.ceiling([[0.2, 0.4], [0.2, 0.4], [0.4, 0.2]]).value is None
    with pytest.raises(StudyError, match="seeds of a ceiling must be 1 or more, was 0"):
        statistics.ceiling([[0.1, 0.2], [0.3, 0.4]], seeds=0)


def test_noise_alone_has_a_ceiling_near_none():
    table = np.random.default_rng(7).random((500, 2))
    assert statistics.ceiling(table).value < 0.15


@pytest.mark.parametrize("coefficient", ["kendall", "spearman"])
def test_intervals_hold_the_truth_in_19_of_20_studies(coefficient):
    random = np.random.default_rng(8)
    large = study(random, 3000, 2, 0.6)
    truth = SCIPY[coefficient](*large.mean(axis=2))
    limit = SCIPY[coefficient](*study(random, 3000, 2, 0.6, likeness=1.0).mean(axis=2))
    held = {"tau": 0, "ceiling": 0}
    for number in range(250):
        proxy, target = study(random, 12, 2, 0.6)
        for name, found, true in (
            ("tau", statistics.rank_correlation(proxy, target, coefficient, seed=number), truth),
            ("ceiling", statistics.ceiling(target, coefficient, seed=number), limit),
        ):
            held[name] += found.interval.low <= true <= found.interval.high
    assert all(0.91 <= count / 250 <= 0.99 for count in held.values()), held
