"""The order of the values of a field in words: does the proxy's order hold on the target?

Each value counts by its best configuration: each optimizer at its best learning rate. If a user
follows the proxy's order, the loss is the largest amount by which a value that the proxy has ahead
is worse on the target than one that the proxy has behind it. The order holds if that is bearable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lowres.statistics.answers import SURE, Answer, answer_of
from lowres.statistics.error_tables import Array, Interval
from lowres.statistics.posterior import Posterior
from lowres.text import is_number

FEWEST_ORDERED = 3
"""Values below which the answer for the field says it all: the best of two is their order."""

MOST_ORDERED = 12
"""Values above which an order has too many pairs to read."""

OF_ALL_DIVERGED = 1.0
"""Error that counts for a value whose configurations all diverged on the target."""

IN_WORDS: dict[Answer, str] = {
    "stands in": "holds",
    "probably stands in": "probably holds",
    "cannot tell yet": "may hold",
    "probably does not stand in": "probably does not hold",
    "does not stand in": "does not hold",
}


@dataclass(frozen=True, slots=True)
class Reversal:
    """Two values that the proxy orders one way, and the target most likely the other way.

    Attributes:
        ahead: the value that the proxy has ahead.
        behind: the value that is better on the target.
        loss: by how much, the mean over the posterior, a share.
        interval: of 95 %.
        p: probability that `behind` is better.
    """

    ahead: str
    behind: str
    loss: float
    interval: Interval
    p: float


@dataclass(frozen=True, slots=True)
class ValueOrder:
    """Whether the proxy's order of the values of one field holds. Errors are shares.

    Attributes:
        field: its name.
        values: in the proxy's order, the best first, each by its best configuration.
        errors: true error of the best configuration of each on the target, the posterior's mean.
        intervals: their 95 % intervals.
        answer: one of five, by the same limits as the verdict.
        p_bearable: probability that the loss is at most the bearable one.
        bearable: that one.
        most: the loss is at most this with probability 0.95.
        pairs: pairs of values; how many the target orders as the proxy does with probability 0.95
            or more, and how many it orders the other way with that probability.
        reversal: the pair with the largest mean loss; None if each pair more likely agrees.
    """

    field: str
    values: tuple[str, ...]
    errors: tuple[float, ...]
    intervals: tuple[Interval, ...]
    answer: Answer
    p_bearable: float
    bearable: float
    most: float
    pairs: tuple[int, int, int]
    reversal: Reversal | None

    def sentence(self) -> str:
        """Return the answer in words."""
        every, alike, opposite = self.pairs
        listed, limit = ", ".join(self.values), f"{100 * self.bearable:.2g}"
        limit += " point" if limit == "1" else " points"
        found = (
            f"order of {self.field} on the proxy, each at its best: {listed}; on the target it "
            f"{IN_WORDS[self.answer]} within {limit} (P = {self.p_bearable:.2f}, at most "
            f"{max(0.1, 100 * self.most):.1f} points lost); of {every} pairs {alike} surely agree "
            f"and {opposite} surely reverse"
        )
        if self.reversal is None:
            return found
        one = self.reversal
        low, high = 100 * one.interval.low, 100 * one.interval.high
        return (
            f"{found}; the most reversed: {one.behind} is better than {one.ahead} by "
            f"{100 * one.loss:.1f} [{low:.1f}, {high:.1f}] points (P = {one.p:.2f})"
        )


def value_orders(
    axes: Mapping[str, Sequence[object]],
    order: Sequence[int],
    target: Array,
    found: Posterior,
    bearable: float,
) -> tuple[ValueOrder, ...]:
    """Judge the order of each field in words with 3 to 12 values.

    Values without a run that trained on the proxy have no place there and are left out. A field of
    which a value is not modelled is left out, too.

    Args:
        axes: the values of each field, one a configuration.
        order: rows that trained on the proxy and were run on the target, the proxy's best first.
        target: `(configurations,)` mean errors on the target, inf for diverged.
        found: draws of its true errors.
        bearable: loss that does not matter, a share.
    """
    orders = []
    for field, values in axes.items():
        ahead = list(dict.fromkeys(values[row] for row in order))
        if all(map(is_number, values)) or not FEWEST_ORDERED <= len(ahead) <= MOST_ORDERED:
            continue
        best = [_best_of(value, values, target, found) for value in ahead]
        known = [draws for draws in best if draws is not None]
        if len(known) == len(ahead):
            names = tuple(map(str, ahead))
            orders.append(_order(field, names, np.column_stack(known), found, bearable))
    return tuple(orders)


def _best_of(
    value: object, values: Sequence[object], target: Array, found: Posterior
) -> Array | None:
    """Return draws of the least true error of a value; None if it trained and is not modelled."""
    here = np.array([values[place] == value for place in found.places.tolist()])
    if here.any():
        return np.asarray(found.errors[:, here].min(axis=1))
    trained = any(values[row] == value for row in np.flatnonzero(np.isfinite(target)).tolist())
    return None if trained else np.full(len(found.errors), OF_ALL_DIVERGED)


def _order(
    field: str, names: tuple[str, ...], best: Array, found: Posterior, bearable: float
) -> ValueOrder:
    """Judge an order.

    Args:
        field: its name.
        names: of the values, the proxy's best first.
        best: `(draws, values)` least true error of each on the target.
        found: what they were drawn from.
        bearable: loss that does not matter.
    """
    first, second = np.triu_indices(len(names), 1)
    apart = best[:, first] - best[:, second]  # above 0 where the target reverses a pair
    losses = np.maximum(apart.max(axis=1), 0.0)
    p = float((losses <= bearable).mean())
    p_reversed = (apart > 0).mean(axis=0)
    worst = int(apart.mean(axis=0).argmax())
    reversal = None
    if p_reversed[worst] > 0.5:
        low, high = np.quantile(apart[:, worst], (0.025, 0.975)).tolist()
        reversal = Reversal(
            names[first[worst]],
            names[second[worst]],
            float(apart[:, worst].mean()),
            Interval(low, high),
            float(p_reversed[worst]),
        )
    ends = np.quantile(best, (0.025, 0.975), axis=0).T.tolist()
    return ValueOrder(
        field,
        names,
        tuple(best.mean(axis=0).tolist()),
        tuple(Interval(low, high) for low, high in ends),
        answer_of(p, found),
        p,
        bearable,
        float(np.quantile(losses, SURE)),
        (len(first), int((p_reversed <= 1 - SURE).sum()), int((p_reversed >= SURE).sum())),
        reversal,
    )
