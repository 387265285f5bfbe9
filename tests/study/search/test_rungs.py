"""Counts and promotions, by cases counted by hand."""

import pytest

from lowres.errors import StudyError
from lowres.study.search.plan import counts_from, counts_within, promoted


def test_one_in_so_many_goes_on():
    assert counts_from(27, 3, 3) == (27, 9, 3)
    assert counts_from(11, 3, 3) == (11, 3, 1)
    assert counts_from(2, 4, 3) == (2, 1, 1, 1)
    assert counts_from(5, 1, 3) == (5,)
    assert counts_from(4, 2, 1) == (4, 4)


@pytest.mark.parametrize(
    ("budget", "costs", "most", "expected"),
    [
        # 9 + 3 x 4 + 1 x 16 = 37 = 2.3125 x 16; a tenth configuration costs 1 more.
        (37 / 16, [1, 4, 16], None, (9, 3, 1)),
        # 8 + 2 x 4 + 16 = 32: what is left lets a third one go on to the second rung.
        (36 / 16, [1, 4, 16], None, (8, 3, 1)),
        (35.9 / 16, [1, 4, 16], None, (8, 2, 1)),
        (38 / 16, [1, 4, 16], None, (10, 3, 1)),
        (21 / 16, [1, 4, 16], None, (1, 1, 1)),
        # 27 + 36 + 48 = 111: 16 more would let one go on to the last, or four to the second.
        (126.9 / 16, [1, 4, 16], 27, (27, 12, 3)),
        (127 / 16, [1, 4, 16], 27, (27, 9, 4)),
        (100, [1, 4, 16], 12, (12, 12, 12)),
        (7, [16], None, (7,)),
        (7.9, [16], None, (7,)),
    ],
)
def test_a_budget_begins_as_many_as_it_can(budget, costs, most, expected):
    assert counts_within(budget, costs, 3, most) == expected


def test_budgets_that_do_not_fit():
    with pytest.raises(StudyError, match=r"at least 1.313, which takes one .* was 1.3:"):
        counts_within(1.3, [1, 4, 16], 3, None)
    with pytest.raises(StudyError, match="starts more than 50,000 configurations"):
        counts_within(50_001, [1], 3, None)
    assert counts_within(50_000, [1], 3, None) == (50_000,)


def test_equal_errors_are_ranked_by_number():
    errors = {3: 0.5, 1: 0.5, 2: 0.25, 0: 1.0}
    assert promoted(errors, (4,), lambda *_: 0.0, 1) == [2, 1, 3, 0]


def cost(number, rung):
    """Configuration 7 costs ten times as much as the others; the second rung 4 times the first."""
    return (10 if number == 7 else 1) * 4**rung


@pytest.mark.parametrize(
    ("best_first", "counts", "left", "expected"),
    [
        # Three at 1 and then one at 4: 7.
        ([1, 2, 3, 4], (3, 1), 7, [1, 2, 3]),
        ([1, 2, 3, 4], (3, 1), 6.9, [1, 2]),
        ([1, 2, 3, 4], (3, 1), 0, [1]),
        # The costly one among three: 1 + 1 + 10 + 4; without it 6.
        ([1, 2, 7], (3, 1), 15, [1, 2]),
        ([1, 2, 7], (3, 1), 16, [1, 2, 7]),
        # It is the best: 10 + 40, over the budget, but one goes on.
        ([7, 1, 2], (3, 1), 20, [7]),
        ([1, 2], (3, 1), 100, [1, 2]),
        # Six and two would cost 6 + 8: both rungs give up places, five and one cost 9.
        ([1, 2, 3, 4, 5, 6], (6, 2), 9.5, [1, 2, 3, 4, 5]),
        ([1, 2, 3, 4, 5, 6], (6, 2), 13, [1, 2, 3, 4, 5, 6]),
        ([1, 2, 3, 4, 5, 6], (6, 3), 14, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_what_goes_on_stays_within_the_budget(best_first, counts, left, expected):
    errors = {number: float(place) for place, number in enumerate(best_first)}
    assert promoted(errors, counts, cost, left) == expected
