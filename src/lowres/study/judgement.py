"""The verdict on a table of results, as a record: in words, line by line, and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from lowres.statistics.halving import Halving
from lowres.statistics.law import Law
from lowres.statistics.power import MORE_RUNS
from lowres.statistics.verdict import Verdict
from lowres.study.results_table import Value, in_words, text_of
from lowres.study.validation_images import ImageFindings
from lowres.text import points

Decisions: TypeAlias = dict[str, Value]


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """The verdict if the proxy chooses by another metric; the target is judged by its error.

    Attributes:
        metric: its name.
        verdict: the figures.
        choice: axes of the choice; None where nothing trained on the proxy.
    """

    metric: str
    verdict: Verdict
    choice: Decisions | None

    def sentence(self) -> str:
        """Return the answer in words."""
        if not self.verdict.shortlists or self.verdict.shortlists[0].most is None:
            return f"By {self.metric}: {self.verdict.answer}."
        return (
            f"By {self.metric} its choice ({in_words(self.choice)}) {self.verdict.answer} "
            f"(P = {self.verdict.p_bearable:.2f}, at most "
            f"{points(self.verdict.shortlists[0].most, 1)} points)."
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a table.

    Attributes:
        verdict: the figures.
        choice: axes of the proxy's choice; None where nothing trained on it.
        rival: axes of its strongest rival on the target.
        by_metric: the verdict if the proxy chooses by other metrics.
        rungs: the values of the rungs of `halved`, the cheapest first.
        halved: what successive halving would have paid and lost; None without rungs.
        law: how the best learning rate depends on size and width; None below three sizes.
        chances: of a sure answer after `MORE_RUNS` further runs; empty where it is sure.
        next_step: what to run where the answer is not sure; empty where it is.
        next_seconds: how long that takes; None if it is unknown.
        price: the same in words, with the chance of an answer.
        notes: what one should know of the runs, one sentence each.
        images: what single validation images say; None where runs have no outcomes.
    """

    verdict: Verdict
    choice: Decisions | None
    rival: Decisions | None
    by_metric: tuple[MetricVerdict, ...]
    rungs: tuple[Value, ...]
    halved: Halving | None
    law: Law | None
    chances: tuple[float, ...]
    next_step: str
    next_seconds: float | None
    price: str
    notes: tuple[str, ...]
    images: ImageFindings | None = None

    def sentence(self) -> str:
        """Return the answer in words."""
        main = self.verdict.sentence(in_words(self.choice), in_words(self.rival))
        return " ".join((main, *(each.sentence() for each in self.by_metric)))

    def lines(self) -> list[str]:
        """Return what carries over, the law, halving and the next step, one line each."""
        found = [field.sentence() for field in self.verdict.fields]
        found += [order.sentence() for order in self.verdict.orders]
        if self.halved is not None:
            found.append(self.halved.sentence(", ".join(map(text_of, self.rungs))))
        if self.law is not None:
            found.append(self.law.sentence())
        if self.verdict.most_new is not None:
            most = max(0.1, 100 * self.verdict.most_new)
            found.append(f"On new images the choice costs at most {most:.1f} points (95 %).")
        if self.images is not None:
            found += self.images.sentences
        if self.next_step:
            found.append(f"Next: {self.price}: {self.next_step}")
        return found

    def to_record(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
        found = self.verdict
        first = found.shortlists[0] if found.shortlists else None
        return {
            "proxy": found.proxy,
            "target": found.target,
            "answer": found.answer,
            "p_bearable": found.p_bearable,
            "bearable_points": 100 * found.bearable,
            "most_points": _points(first.most if first else None),
            "expected_points": _points(first.expected if first else None),
            "observed_points": _points(first.observed if first else None),
            "most_points_new_images": _points(found.most_new),
            "choice": self.choice,
            "rival": self.rival,
            "next": self.next_step,
            "next_seconds": self.next_seconds,
            "chances_of_an_answer": dict(zip(map(str, MORE_RUNS), self.chances, strict=False)),
            "configurations": found.configurations,
            "seeds": list(found.seeds),
            "ranks": {"pairs": found.pairs[0], "alike": found.pairs[1]},
            "noise_points": _points(found.noise),
            "shortlists": [
                {
                    "k": one.k,
                    "p_bearable": one.p_bearable,
                    "most_points": _points(one.most),
                    "observed_points": _points(one.observed),
                }
                for one in found.shortlists
            ],
            "fields": [
                {
                    "field": one.field,
                    "value": one.value,
                    "answer": one.answer,
                    "p_bearable": one.p_bearable,
                    "most_points": _points(one.most),
                    "best_values": list(one.best),
                    "optimum": one.optimum,
                    "optimum_interval": one.interval and [one.interval.low, one.interval.high],
                }
                for one in found.fields
            ],
            "orders": [
                {
                    "field": one.field,
                    "values": list(one.values),
                    "target_errors": list(one.errors),
                    "target_intervals": [[each.low, each.high] for each in one.intervals],
                    "answer": one.answer,
                    "p_bearable": one.p_bearable,
                    "most_points": _points(one.most),
                    "pairs": dict(
                        zip(("all", "surely_agree", "surely_reverse"), one.pairs, strict=True)
                    ),
                    "most_reversed": one.reversal and asdict(one.reversal),
                }
                for one in self.verdict.orders
            ],
            "by_metric": [
                {
                    "metric": one.metric,
                    "answer": one.verdict.answer,
                    "p_bearable": one.verdict.p_bearable,
                    "most_points": _points(
                        one.verdict.shortlists[0].most if one.verdict.shortlists else None
                    ),
                    "choice": one.choice,
                }
                for one in self.by_metric
            ],
            "halving": self.halved
            and {
                "rungs": list(self.rungs),
                "one_in": self.halved.one_in,
                "runs": list(self.halved.runs),
                "paid": self.halved.paid,
                "p_bearable": self.halved.p_bearable,
                "expected_points": _points(self.halved.expected),
                "most_points": _points(self.halved.most),
            },
            "learning_rate_law": self.law and asdict(self.law),
            "images": self.images and self.images.to_record(),
            "notes": list(self.notes),
            "reason": found.reason,
            "sentence": self.sentence(),
        }


def _points(share: float | None) -> float | None:
    return None if share is None or not math.isfinite(share) else 100 * share
