"""Filters: paired differences against SciPy, simultaneous intervals against the truth."""

import numpy as np
import pytest
from scipy import stats

from lowres import statistics
from lowres.errors import StudyError

NAMES = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
TRUTH = np.array([0.02, 0.0, 0.0, 0.001, 0.0, 0.0])


def errors(random, configurations=12, seeds=2):
    base = 0.4 + 0.05 * random.standard_normal((1, configurations, 1))
    effects = 0.002 * random.standard_normal((6, configurations, 1))
    noise = 0.004 * random.standard_normal((6, configurations, seeds))
    return TRUTH[:, None, None] + base + effects + noise


def test_two_filters_are_a_paired_t_test():
    table = errors(np.random.default_rng(0))[:2]
    found = statistics.compare_filters(table, NAMES[:2])
    (difference,) = found.differences
    paired = stats.ttest_rel(*table.mean(axis=2))
    ends = paired.confidence_interval(0.95)
    assert difference.mean == pytest.approx((table[0] - table[1]).mean())
    middle, half = difference.mean, (ends.high - ends.low) / 2
    assert difference.interval.low == pytest.approx(middle - half, rel=0.02, abs=0.02 * half)
    assert difference.interval.high == pytest.approx(middle + half, rel=0.02, abs=0.02 * half)
    assert (found.units, found.unit, found.left_out) == (12, "configuration", 0)


def test_p_values_are_those_of_t_for_one_pair():
    random = np.random.default_rng(1)
    table = errors(random)[[1, 2]]
    (difference,) = statistics.compare_filters(table, NAMES[1:3]).differences
    assert difference.p_value == pytest.approx(
        stats.ttest_rel(*table.mean(axis=2)).pvalue, abs=0.02
    )


def test_nearest_is_worse_and_the_others_are_equal_within_what_can_be_seen():
    found = statistics.compare_filters(errors(np.random.default_rng(2)), NAMES)
    assert len(found.differences) == 15
    assert statistics.worse_than_all(found, "nearest")
    assert not statistics.worse_than_all(found, "box")
    within = statistics.equal_within(found, NAMES[1:])
    assert 0.001 < within < 0.01
    assert all(d.detectable < 0.01 for d in found.differences)
    assert all(d.p_value < 0.001 for d in found.differences if "nearest" in (d.first, d.second))


def test_a_detectable_difference_is_found_four_times_in_five():
    random = np.random.default_rng(3)
    found = total = 0
    first = statistics.compare_filters(errors(random, 24)[1:3], NAMES[1:3]).differences[0]
    for number in range(150):
        table = errors(random, 24)[1:3]
        table[0] += first.detectable
        compared = statistics.compare_filters(table, NAMES[1:3], seed=number)
        found += compared.differences[0].interval.low > 0
        total += 1
    # `first` stands for one study; its noise is known to a seventh with 24 configurations.
    assert 0.6 < found / total < 0.95


def test_against_a_reference():
    table = errors(np.random.default_rng(4))
    found = statistics.compare_filters(table, NAMES, reference="box")
    assert [(d.first, d.second) for d in found.differences] == [
        (name, "box") for name in NAMES if name != "box"
    ]
    pairs = statistics.compare_filters(table, NAMES).differences
    (same,) = [d for d in pairs if (d.first, d.second) == ("nearest", "box")]
    less = found.differences[0].interval
    assert less.high - less.low < same.interval.high - same.interval.low, "fewer pairs, narrower"
    assert statistics.equal_within(found, NAMES[1:]) is None, "not all pairs were compared"


def test_cells_that_a_filter_lacks_favour_none():
    table = errors(np.random.default_rng(5))
    table[0, 0, 0], table[1, 1] = np.nan, np.inf
    found = statistics.compare_filters(table, NAMES)
    assert (found.units, found.left_out) == (11, 1)
    means = np.concatenate([table[:, :1, 1], table[:, 2:].mean(axis=2)], axis=1)
    assert found.differences[0].mean == pytest.approx((means[0] - means[1]).mean())


def test_with_one_configuration_seeds_are_the_units():
    table = errors(np.random.default_rng(6), 1, 5)
    found = statistics.compare_filters(table, NAMES)
    assert (found.units, found.unit) == (5, "seed")
    none = statistics.compare_filters(table[:, :, :1], NAMES)
    assert none.differences == ()
    assert none.reason == "1 whole seed, and differences need two"
    assert not statistics.worse_than_all(none, "nearest")


def test_equal_filters_differ_by_nothing():
    table = np.repeat(errors(np.random.default_rng(7))[:1], 2, axis=0)
    (difference,) = statistics.compare_filters(table, NAMES[:2]).differences
    assert difference.p_value == 1
    assert difference.interval == statistics.Interval(0, 0)


@pytest.mark.parametrize(
    ("names", "reference", "words"),
    [
        (NAMES[:5], None, "names must be 6 different ones"),
        ((*NAMES[:5], "box"), None, "names must be 6 different ones"),
        (NAMES, "area", "reference must be one of nearest, .* was 'area'"),
    ],
)
def test_bad_names(names, reference, words):
    with pytest.raises(StudyError, match=words):
        statistics.compare_filters(errors(np.random.default_rng(0)), names, reference=reference)


def test_unknown_filters():
    found = statistics.compare_filters(errors(np.random.default_rng(0)), NAMES)
    with pytest.raises(StudyError, match=r"filter must be one of nearest, .* was 'area'"):
        statistics.worse_than_all(found, "area")
    with pytest.raises(StudyError, match="was 'area'"):
        statistics.equal_within(found, ("box", "area"))


@pytest.mark.full
def test_all_pairs_hold_the_truth_at_once_in_19_of_20_studies():
    random = np.random.default_rng(8)
    held = 0
    for number in range(200):
        found = statistics.compare_filters(errors(random), NAMES, seed=number)
        held += all(
            d.interval.low
            <= TRUTH[NAMES.index(d.first)] - TRUTH[NAMES.index(d.second)]
            <= d.interval.high
            for d in found.differences
        )
    assert 0.91 <= held / 200 <= 0.99, held
