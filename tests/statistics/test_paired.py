"""Values of a field: paired differences against SciPy, simultaneous intervals against the truth."""

import numpy as np
import pytest
from scipy import stats

from lowres import statistics
from lowres.errors import StudyError
from lowres.statistics import paired

NAMES = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
TRUTH = np.array([0.02, 0.0, 0.0, 0.001, 0.0, 0.0])


def errors(random, configurations=12, seeds=2, effect=0.002):
    base = 0.4 + 0.05 * random.standard_normal((1, configurations, 1))
    effects = effect * random.standard_normal((6, configurations, 1))
    noise = 0.004 * random.standard_normal((6, configurations, seeds))
    return TRUTH[:, None, None] + base + effects + noise


def agrees(difference, ends):
    middle, half = difference.mean, (ends.high - ends.low) / 2
    assert difference.interval.low == pytest.approx(middle - half, rel=0.03, abs=0.03 * half)
    assert difference.interval.high == pytest.approx(middle + half, rel=0.03, abs=0.03 * half)


def test_two_values_in_configurations_that_differ_are_a_paired_t_test():
    table = errors(np.random.default_rng(0), effect=0.02)[:2]
    found = statistics.compare_values(table, NAMES[:2])
    (difference,) = found.differences
    paired = stats.ttest_rel(*table.mean(axis=2))
    assert difference.mean == pytest.approx((table[0] - table[1]).mean())
    agrees(difference, paired.confidence_interval(0.95))
    assert difference.p_value == pytest.approx(paired.pvalue, abs=0.02)
    assert (found.blocks, found.configurations, found.omitted) == (24, 12, 0)
    assert (found.noise, found.from_others) == ("configurations", ())
    assert found.main == found.differences


def test_configurations_without_effects_of_their_own_leave_blocks_as_units():
    random = np.random.default_rng(1)
    while True:
        table = errors(random, 2, 3, effect=0.0)[:2]
        found = statistics.compare_values(table, NAMES[:2])
        if found.noise == "blocks":
            break
    agrees(
        found.differences[0],
        stats.ttest_rel(*table.reshape(2, 6)).confidence_interval(0.95),
    )


def test_each_against_the_mean_of_the_others():
    table = errors(np.random.default_rng(2))
    found = statistics.compare_values(table, NAMES)
    assert len(found.differences) == 15
    assert [each.first for each in found.from_others] == list(NAMES)
    means = table.mean(axis=(1, 2))
    assert found.from_others[0].mean == pytest.approx(means[0] - means[1:].mean())
    assert found.main == found.from_others
    assert found.from_others[1].sure, "nearest makes box better than the mean of its others"
    assert [each.first for each in found.findings] == ["nearest"], "and that is no finding"
    assert all(each.p_value < 0.001 for each in found.differences if each.first == "nearest")
    assert all(each.detectable < 0.01 for each in found.differences)


def test_six_filters_in_six_blocks_find_what_pairs_of_configurations_cannot():
    """Two learning rates and three seeds, as studies have them: intervals of a few points."""
    table = errors(np.random.default_rng(3), 2, 3)
    worse, *_ = statistics.compare_values(table, NAMES).from_others
    assert worse.sure
    assert worse.interval.high - worse.interval.low < 0.04


def test_a_difference_that_scatters_more_has_a_standard_error_of_its_own():
    random = np.random.default_rng(4)
    table = errors(random)
    table[0] += 0.05 * random.standard_normal((12, 1))
    nearest, box, *_ = statistics.compare_values(table, NAMES).from_others
    length = nearest.interval.high - nearest.interval.low
    assert length > 1.5 * (box.interval.high - box.interval.low)


def test_a_detectable_difference_is_found_four_times_in_five():
    random = np.random.default_rng(3)
    first = statistics.compare_values(errors(random, 24)[1:3], NAMES[1:3]).differences[0]
    found = []
    for _ in range(150):
        table = errors(random, 24)[1:3]
        table[0] += first.detectable
        found.append(statistics.compare_values(table, NAMES[1:3]).differences[0].interval.low > 0)
    # `first` stands for one study; its noise is known to a seventh with 24 configurations.
    assert 0.6 < np.mean(found) < 0.95


def test_blocks_that_a_value_lacks_favour_none():
    table = errors(np.random.default_rng(5))
    table[0, 0, 0], table[1, 1] = np.nan, np.inf
    found = statistics.compare_values(table, NAMES)
    assert (found.blocks, found.configurations, found.omitted) == (21, 11, 3)
    means = np.concatenate([table[:, :1, 1], table[:, 2:].mean(axis=2)], axis=1)
    assert found.differences[0].mean == pytest.approx((means[0] - means[1]).mean())


def test_one_configuration_and_one_block():
    table = errors(np.random.default_rng(6), 1, 5)
    found = statistics.compare_values(table, NAMES)
    assert (found.blocks, found.configurations, found.noise) == (5, 1, "blocks")
    none = statistics.compare_values(table[:, :, :1], NAMES)
    assert none.differences == none.findings == ()
    assert none.reason == "1 block with a run of every value, and differences need two"


@pytest.mark.parametrize(("sure_of", "found"), [((1,), []), ((1, 2), ["a"])])
def test_a_finding_differs_surely_from_more_than_half_of_the_others(sure_of, found):
    def difference(second: str, *, sure: bool) -> paired.Difference:
        interval = statistics.Interval(0.1 if sure else -0.1, 0.3)
        return paired.Difference("a", second, 0.1, interval, 0.01, 0.02)

    names = ("a", "b", "c")
    pairs = tuple(difference(names[row], sure=row in sure_of) for row in (1, 2))
    others = (difference("the others", sure=True),)
    comparison = paired.Comparison(names, pairs, others, 6, 2, 0, "blocks")
    assert [each.first for each in comparison.findings] == found


def test_equal_values_differ_by_nothing():
    table = np.repeat(errors(np.random.default_rng(7))[:1], 2, axis=0)
    (difference,) = statistics.compare_values(table, NAMES[:2]).differences
    assert difference.p_value == 1
    assert difference.interval == statistics.Interval(0, 0)
    assert not difference.sure


@pytest.mark.parametrize("names", [NAMES[:5], (*NAMES[:5], "box")])
def test_bad_names(names):
    with pytest.raises(StudyError, match="names must be 6 different ones"):
        statistics.compare_values(errors(np.random.default_rng(0)), names)


@pytest.mark.parametrize(("configurations", "seeds"), [(2, 3), (12, 2)])
@pytest.mark.parametrize("effect", [0.0, 0.003])
def test_all_differences_hold_the_truth_at_once_in_19_of_20_studies(configurations, seeds, effect):
    random = np.random.default_rng(8)
    others = TRUTH - (TRUTH.sum() - TRUTH) / 5
    held = []
    for _ in range(300):
        found = statistics.compare_values(errors(random, configurations, seeds, effect), NAMES)
        held.append(
            all(
                each.interval.low <= truth <= each.interval.high
                for each, truth in zip(found.from_others, others, strict=True)
            )
        )
    assert 0.9 <= np.mean(held) <= 0.99
