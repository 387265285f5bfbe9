"""The five answers, and the answer for each swept field: does the proxy's best value carry over?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lowres.statistics.error_tables import Array, Interval, mean_errors
from lowres.statistics.optimum import optimum
from lowres.statistics.posterior import FEW, Posterior, in_logarithms
from lowres.text import is_number, number_or_word, value as value_text

Answer = Literal[
    "stands in",
    "probably stands in",
    "cannot tell yet",
    "probably does not stand in",
    "does not stand in",
]

BANDS: tuple[tuple[float, Answer], ...] = (
    (0.95, "stands in"),
    (0.8, "probably stands in"),
    (0.2, "cannot tell yet"),
    (0.05, "probably does not stand in"),
    (0.0, "does not stand in"),
)
"""From which probability of a bearable regret on each answer holds. The first and the last are
sure answers; bench/verdict.py measures how often each of the five is true."""

SURE = 0.95

MOST_LISTED = 4
"""Values of a field that are listed one by one."""

FEWEST_OF_CURVE = 5
"""Values of a number in a curve to which an optimum is fitted."""


@dataclass(frozen=True, slots=True)
class FieldVerdict:
    """Whether the proxy's best value of one swept field carries over. Regrets are shares.

    All other fields are free: the regret is that of the best configuration with this value.

    Attributes:
        field: its name.
        value: what the proxy chose.
        answer: one of five, by the same limits as the verdict.
        p_bearable: probability that the regret is at most the bearable one.
        most: the regret is at most this with probability 0.95.
        best: the fewest values that contain the target's best one with probability 0.95, those
            on the grid, in rising order.
        optimum: fitted optimum of the target between the grid's values, other fields as in its
            best configuration; None for words, without a logarithmic scale, or without a fit.
        interval: its 95 % interval.
    """

    field: str
    value: float | str
    answer: Answer
    p_bearable: float
    most: float
    best: tuple[float | str, ...]
    optimum: float | None
    interval: Interval | None

    @property
    def best_in_words(self) -> str:
        """The values in `best`; of many numbers the first and the last, of many words the first."""
        texts = [value_text(value) for value in self.best]
        if len(texts) > MOST_LISTED and all(map(is_number, self.best)):
            return f"{texts[0]} to {texts[-1]}"
        more = f" and {len(texts) - MOST_LISTED} more" if len(texts) > MOST_LISTED else ""
        return ", ".join(texts[:MOST_LISTED]) + more

    def sentence(self) -> str:
        """Return the answer in words."""
        fitted = ""
        if self.optimum is not None:
            ends = f" [{self.interval.low:.2g}, {self.interval.high:.2g}]" if self.interval else ""
            fitted = f"; fitted optimum {self.optimum:.2g}{ends}"
        most = f", at most {100 * self.most:.1f} points" if math.isfinite(self.most) else ""
        return (
            f"{self.field}: the proxy's best, {value_text(self.value)}, {self.answer} "
            f"(P = {self.p_bearable:.2f}{most}); best on the target: {self.best_in_words}{fitted}"
        )


def answer_of(p: float, found: Posterior) -> Answer:
    """Return the answer to a probability; below 5 configurations it is never sure."""
    answer = next(answer for least, answer in BANDS if p >= least)
    if len(found.places) < FEW and answer in (BANDS[0][1], BANDS[-1][1]):
        # So few configurations say too little of their spread for a sure answer.
        answer = BANDS[1][1] if p > 0.5 else BANDS[-2][1]
    return answer


def carried_fields(
    axes: Mapping[str, Sequence[object]],
    choice: int,
    target: Array,
    found: Posterior,
    bearable: float,
) -> tuple[FieldVerdict, ...]:
    """Judge each swept field by the best configuration that has the proxy's value of it.

    Args:
        axes: the values of each field, one a configuration. A field with one value is left out,
            and so is one that follows from a field in words, as each optimizer's weight decay.
        choice: row of the proxy's choice.
        target: `(configurations, seeds)` errors on the target.
        found: draws of its true errors.
        bearable: regret that does not matter, a share.
    """
    least = found.errors.min(axis=1)
    best_place = found.places[found.errors.argmin(axis=1)].tolist()
    best_row = int(found.places[found.errors.mean(axis=0).argmin()])
    trained = np.isfinite(mean_errors(target))
    fields = []
    for name, values in axes.items():
        if len(set(values)) < 2 or _follows(name, axes):
            continue
        here = np.array([values[place] == values[choice] for place in found.places.tolist()])
        regrets = found.errors[:, here].min(axis=1) - least if here.any() else None
        p = 0.0 if regrets is None else float((regrets <= bearable).mean())
        best: list[object] = []
        covered = 0
        for value, draws in Counter(values[place] for place in best_place).most_common():
            if covered >= SURE * len(best_place):
                break
            best.append(value)
            covered += draws
        curve = None
        if in_logarithms(values):
            rows = [
                row
                for row in np.flatnonzero(trained).tolist()
                if all(of[row] == of[best_row] for other, of in axes.items() if other != name)
            ]
            numbers = np.asarray(values, np.float64)
            rows.sort(key=numbers.__getitem__)
            at = numbers[rows]
            if len(at) >= FEWEST_OF_CURVE and (np.diff(at) > 0).all():
                curve = optimum(at, target[rows])
        fields.append(
            FieldVerdict(
                name,
                number_or_word(values[choice]),
                answer_of(p, found),
                p,
                float(np.quantile(regrets, SURE)) if regrets is not None else math.inf,
                tuple(sorted(map(number_or_word, best), key=lambda v: (isinstance(v, str), v))),
                curve.lr if curve else None,
                curve.interval if curve else None,
            )
        )
    return tuple(fields)


def _follows(name: str, axes: Mapping[str, Sequence[object]]) -> bool:
    """Return whether the value of a field follows from that of a field in words.

    A field with a value of its own for each configuration is a name: nothing follows from it. Of
    two fields in words that follow from each other, the second one does.
    """
    values = axes[name]
    before = True
    for other, words in axes.items():
        if other == name:
            before = False
            continue
        names, pairs = len(set(words)), len(set(zip(words, values, strict=True)))
        if all(map(is_number, words)) or not names < len(words) or pairs > names:
            continue
        if before or len(set(values)) < names or all(map(is_number, values)):
            return True
    return False
