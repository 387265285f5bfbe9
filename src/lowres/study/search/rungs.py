"""Rungs of a search: how many configurations each has, and which go on; plain sums.

Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) with images' size as the
resource: all configurations at the smallest size, the best at the next, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lowres.errors import StudyError
from lowres.study.axes import MAX_RUNS

TOLERANCE = 1e-9
"""Share of a budget that rounding may exceed it by."""


def counts_from(first: int, rungs: int, one_in: int) -> tuple[int, ...]:
    """Count the configurations of each rung: one in so many of the rung before, one at least."""
    counts = [first]
    while len(counts) < rungs:
        counts.append(max(1, counts[-1] // one_in))
    return tuple(counts)


def counts_within(
    budget: float, costs: Sequence[float], one_in: int, most: int | None
) -> tuple[int, ...]:
    """Count the configurations of each rung such that as many as possible begin.

    What is then left of the budget lets more go on, first to the last rung.

    Args:
        budget: as many runs at the last rung's cost.
        costs: mean cost of a run at each rung, in any unit.
        one_in: one configuration in so many goes on.
        most: how many different configurations there are; None where there is no end of them.

    Raises:
        StudyError: the budget is too small for one configuration, or for more than a folder holds.
    """
    least = sum(costs) / costs[-1]
    if budget < least * (1 - TOLERANCE):
        raise StudyError(
            f"--budget must be at least {least:.3f}, which takes one configuration through all "
            f"sizes, was {budget:g}: it is counted in runs at the largest size"
        )
    limit = budget * costs[-1] * (1 + TOLERANCE)
    first = 1
    while first < (most or MAX_RUNS + 1):
        if _spent(counts_from(first + 1, len(costs), one_in), costs) > limit:
            break
        first += 1
    if first > MAX_RUNS:
        raise StudyError(
            f"--budget {budget:g} begins more than {MAX_RUNS:,} configurations: choose a smaller "
            "one, or fewer --sizes"
        )
    return _filled(counts_from(first, len(costs), one_in), costs, limit)


def _filled(counts: Sequence[int], costs: Sequence[float], limit: float) -> tuple[int, ...]:
    """Let one more go on to a rung, the last that can have one, until nothing more fits."""
    filled, rung = list(counts), len(counts) - 1
    while rung:
        filled[rung] += 1
        if filled[rung] <= filled[rung - 1] and _spent(filled, costs) <= limit:
            rung = len(counts) - 1
        else:
            filled[rung] -= 1
            rung -= 1
    return tuple(filled)


def _spent(counts: Sequence[int], costs: Sequence[float]) -> float:
    return sum(count * cost for count, cost in zip(counts, costs, strict=True))


def ranked(errors: Mapping[int, float]) -> list[int]:
    """Order configurations by their error, and those with equal errors by their number."""
    return sorted(errors, key=lambda number: (errors[number], number))


def promoted(
    best_first: Sequence[int],
    counts: Sequence[int],
    cost: Callable[[int, int], float],
    left: float,
) -> list[int]:
    """Choose the configurations that go on, so that what follows stays within the budget.

    Where costs differ among configurations, fewer may go on than was planned, but one does. Each
    rung that is left then gives up the same share of its places, as nearly as whole numbers can.

    Args:
        best_first: the candidates.
        counts: configurations of each rung that is left, the next one first.
        cost: of a configuration at a rung that is left, 0 for the next one.
        left: of the budget.
    """
    planned = [min(count, len(best_first)) for count in counts]
    places = list(planned)

    def needed() -> float:
        return sum(
            cost(number, rung) for rung, count in enumerate(places) for number in best_first[:count]
        )

    while max(places) > 1 and needed() > left * (1 + TOLERANCE):
        shares = [
            places[rung] / planned[rung] if places[rung] > 1 else 0.0 for rung in range(len(places))
        ]
        # The last of equals: its configurations are the dearest.
        fullest = max(range(len(places)), key=lambda rung: (shares[rung], rung))
        places[fullest] -= 1
    return list(best_first[: places[0]])
