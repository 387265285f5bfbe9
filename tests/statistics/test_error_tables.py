"""Tables of errors: refused, averaged, paired and counted."""

import numpy as np
import pytest

from lowres import statistics
from lowres.errors import StudyError
from lowres.statistics.error_tables import checked, on_both

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ([0.1, 0.2], r"proxy errors must be a table of 2 dimensions .* had shape \(2,\)"),
        (np.zeros((3, 0)), r"and not empty, had shape \(3, 0\)"),
        ([[0.1, 31.0]], "shares from 0 to 1 .* was 31; divide percentages by 100"),
        ([[-0.1]], "was -0.1"),
        ([[-INF]], "was -inf"),
    ],
)
def test_bad_tables(errors, words):
    with pytest.raises(StudyError, match=words):
        checked(errors, "proxy errors")


def test_means_know_diverged_and_missing_runs():
    table = np.array([[0.1, 0.3], [0.1, NAN], [0.1, INF], [NAN, INF], [NAN, NAN]])
    np.testing.assert_array_equal(statistics.mean_errors(table), [0.2, 0.1, INF, INF, NAN])


def test_equal_means_are_ties_despite_rounding():
    means = statistics.mean_errors(np.array([[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]]))
    assert len(set(means)) == 1


def test_configurations_without_a_run_on_one_side_are_left_out():
    proxy, target = on_both([[0.1], [NAN], [0.3]], [[0.2, NAN], [0.1, 0.1], [NAN, 0.4]])
    assert proxy.tolist() == [[0.1], [0.3]]
    np.testing.assert_array_equal(target, [[0.2, NAN], [NAN, 0.4]])
    with pytest.raises(StudyError, match="each of the same configurations, had 1 and 2"):
        on_both([[0.1]], [[0.1], [0.2]])


def test_pairing_rows():
    proxy = [("a", 0, 0.1), ("a", 1, 0.2), ("b", 1, INF), ("c", 0, 0.5), ("d", 0, NAN)]
    target = [("b", 7, 0.3), ("a", 7, 0.4), ("d", 7, 0.2), ("a", 8, 0.6)]
    pair = statistics.pair_up(proxy, target)
    assert pair.configurations == ("a", "b")
    np.testing.assert_array_equal(pair.proxy, [[0.1, 0.2], [NAN, INF]])
    np.testing.assert_array_equal(pair.target, [[0.4, 0.6], [0.3, NAN]])
    assert (pair.proxy_missing, pair.target_missing) == (1, 1)
    assert (pair.proxy_only, pair.target_only) == (("c",), ("d",))


def test_rows_that_do_not_pair():
    with pytest.raises(StudyError, match="proxy has configuration 'a' with seed 0 twice"):
        statistics.pair_up([("a", 0, 0.1), ("a", 0, 0.1)], [])
    with pytest.raises(StudyError, match="no configuration in common: 1 were run on the proxy, 2"):
        statistics.pair_up([("a", 0, 0.1)], [("b", 0, 0.1), ("c", 0, 0.1)])
