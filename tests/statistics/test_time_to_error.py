import numpy as np
import pytest
from scipy.stats import ttest_1samp

from lowres.errors import StudyError
from lowres.statistics.time_to_error import first_at_most, pooled_spread, time_to_error


def test_the_first_error_that_is_small_enough():
    assert first_at_most([0.5, 0.4, 0.3, 0.4], 0.4) == 1
    assert first_at_most([0.5, np.nan, np.inf], 0.4) is None
    assert first_at_most([], 0.4) is None


def test_the_mean_is_geometric_with_students_interval():
    figure = time_to_error([10.0, 20.0, 40.0])
    assert figure.value == pytest.approx(20)
    known = ttest_1samp(np.log([10, 20, 40]), 0).confidence_interval(0.95)
    assert figure.interval.low == pytest.approx(np.exp(known.low))
    assert figure.interval.high == pytest.approx(np.exp(known.high))


def test_intervals_contain_the_truth_in_95_of_100_cases():
    random = np.random.default_rng(0)
    figures = [time_to_error(np.exp(random.normal(3, 0.2, 4))) for _ in range(1000)]
    inside = [one.interval.low <= np.exp(3) <= one.interval.high for one in figures]
    assert 0.93 < np.mean(inside) < 0.97


def test_what_has_no_value_or_interval_says_why():
    assert time_to_error([10.0, np.inf]).reason == "1 of 2 runs reach it"
    assert time_to_error([np.inf]).value is None
    assert (time_to_error([7.0]).value, time_to_error([7.0]).interval) == (pytest.approx(7), None)
    assert time_to_error([7.0, 7.0]).reason == "all runs have the same cost"
    with pytest.raises(StudyError, match="costs must be one number above 0 for each run"):
        time_to_error([0.0, 1.0])


def test_the_scatter_of_all_configurations_makes_the_intervals_of_two_seeds_useful():
    """5 configurations of 2 seeds: 5 degrees of freedom in place of 1, so a factor of 5 less."""
    random = np.random.default_rng(1)
    inside, pooled, alone = [], [], []
    for _ in range(400):
        table = np.exp(np.log([3, 5, 9, 20, 40])[:, None] + random.normal(0, 0.2, (5, 2)))
        spread = pooled_spread([*table, [7.0], [2.0, np.inf]])
        assert spread.freedom == 5
        found = [time_to_error(costs, spread).interval for costs in table]
        inside += [one.low <= true <= one.high
                   for one, true in zip(found, (3, 5, 9, 20, 40), strict=True)]  # fmt: skip
        pooled.append(np.log(found[0].high / found[0].low))
        one = time_to_error(table[0]).interval
        alone.append(np.log(one.high / one.low))
    assert 0.93 < np.mean(inside) < 0.97
    assert np.mean(alone) > 3 * np.mean(pooled)
    assert time_to_error([7.0], spread).interval.low < 7
    assert pooled_spread([[7.0], [2.0, np.inf]]) is None
