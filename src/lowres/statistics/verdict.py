"""The verdict on a proxy: does its choice cost more on the target than is tolerable?

The question: if I take the configuration that the proxy chose, how much worse is it on the target
than the best of these configurations? The answer is the probability that this regret is at most
`bearable`, by the posterior of the target's true errors. Ranks are shown and never decide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from lowres.errors import StudyError
from lowres.statistics.answers import SURE, Answer, FieldVerdict, answer_of, carried_fields
from lowres.statistics.error_tables import Array, checked, has_runs
from lowres.statistics.finite_images import on_new_images
from lowres.statistics.order import ValueOrder, value_orders
from lowres.statistics.posterior import FEW, MOST, Posterior, posterior
from lowres.text import count

LIMITS_POINTS = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
"""Regrets whose probabilities are recorded, in points of error."""

LEAST_BEARABLE = 0.01
"""The default is one point of error, or the standard deviation of a run where that is larger: less
than the noise of one training matters to nobody."""

MOST_TRIED = 3
"""Of the proxy's best configurations, tried on the target."""

Axes: TypeAlias = Mapping[str, Sequence[object]] | Sequence[Sequence[object]]
"""The values of each swept field, one a configuration, by the field's name if it has one."""


@dataclass(frozen=True, slots=True)
class Shortlist:
    """What the best of the proxy's k best costs on the target. Regrets are shares, not points.

    Attributes:
        k: how many are tried.
        rows: their rows in the tables, the proxy's best first.
        observed: regret of mean errors; None where they diverged.
        p_bearable: probability that the true regret is at most the bearable one.
        most: the true regret is at most this with probability 0.95; None without a posterior.
        expected: mean of the true regret.
    """

    k: int
    rows: tuple[int, ...]
    observed: float | None
    p_bearable: float
    most: float | None
    expected: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far a proxy stands in for a target.

    Attributes:
        proxy: name of the proxy.
        target: name of the target.
        answer: one of five.
        p_bearable: probability that the regret of the proxy's choice is at most `bearable`.
        bearable: the regret that does not matter, a share.
        given: whether the caller set it; else it is the larger of a point and a run's noise.
        shortlists: for the proxy's best, its two and its three best.
        probabilities: of a regret of at most each of `LIMITS_POINTS`.
        rival: row of the configuration that is most often better by more than is bearable.
        choice: row of the proxy's choice; None where nothing trained on it.
        configurations: rows with a run on both sides.
        seeds: fewest and most runs of a configuration on the target.
        pairs: pairs of configurations, and how many both sides order alike.
        noise: standard deviation of one run on the target, a share; None without a posterior.
        smooth: whether neighbours informed each other.
        fields: for each swept field whether the proxy's best value carries over; empty without a
            posterior.
        orders: for each field in words with 3 to 12 values whether the proxy's order of them holds.
        reason: why there is no posterior; empty where there is one.
        most_new: as `most` of the proxy's best, on new validation images; None if not known.
        few: whether so few configurations trained that no further run makes the answer sure.
        draws: of the target's true errors; None where `reason` says why. Records omit them.
    """

    proxy: str
    target: str
    answer: Answer
    p_bearable: float
    bearable: float
    given: bool
    shortlists: tuple[Shortlist, ...]
    probabilities: tuple[float, ...]
    rival: int | None
    choice: int | None
    configurations: int
    seeds: tuple[int, int]
    pairs: tuple[int, int]
    noise: float | None
    smooth: bool
    fields: tuple[FieldVerdict, ...]
    orders: tuple[ValueOrder, ...]
    reason: str
    most_new: float | None = None
    few: bool = False
    draws: Posterior | None = field(default=None, repr=False, compare=False)

    @property
    def sure(self) -> bool:
        """Whether the answer is one of the two sure ones."""
        return self.answer in ("stands in", "does not stand in")

    def sentence(self, choice: str, rival: str = "") -> str:
        """Return the answer in words.

        Args:
            choice: the proxy's choice, in words.
            rival: its strongest rival, in words.
        """
        limit = f"{100 * self.bearable:{'.3g' if self.given else '.2g'}}"
        limit += " point" if limit == "1" else " points"
        first = self.shortlists[0] if self.shortlists else None
        if self.answer == "cannot tell yet":
            why = f" ({self.reason})" if self.reason else f" (P = {self.p_bearable:.2f})"
            opening = f"Cannot tell yet whether {self.proxy} stands in for {self.target}{why}."
        else:
            subject = f"{self.proxy} {self.answer} for {self.target}"
            of_noise = (
                "" if self.given or self.bearable == LEAST_BEARABLE else ", the noise of one run"
            )
            within = f" within {limit}{of_noise}"
            opening = f"{subject}{within}."
        parts = [opening]
        if first and first.most is not None and first.expected is not None:
            most, expected = (max(0.1, 100 * share) for share in (first.most, first.expected))
            mean = f"expected {expected:.1f}{' or less' if expected == 0.1 else ''}"
            if expected > most:  # few configurations: the rest of the draws is far worse
                mean = f"the other 5 % are far worse: expected {expected:.1f}"
            parts.append(
                f"Its choice ({choice}) costs at most {most:.1f} points of error (95 %; {mean})."
            )
        elif self.choice is not None and self.answer == "does not stand in":
            parts.append(f"Its choice ({choice}) diverged on the target.")
        if rival and not self.sure:
            parts.append(f"Its strongest rival is {rival}.")
        if self.pairs[0]:
            parts.append(f"{self.pairs[1]:,} of {self.pairs[0]:,} pairs are ranked alike.")
        few = ": so few that little is known" if 0 < self.configurations < FEW else ""
        what = count(self.configurations, "configuration")
        parts.append(f"{what} x {seeds_text(self.seeds)}{few}.")
        return " ".join(parts)


def seeds_text(seeds: tuple[int, int]) -> str:
    """Return the fewest and most seeds in words: 2 seeds, 1 to 3 seeds."""
    low, high = seeds
    return count(high, "seed") if low == high else f"{low} to {high} seeds"


def judge(
    proxy: ArrayLike,
    target: ArrayLike,
    names: tuple[str, str] = ("the proxy", "the target"),
    *,
    axes: Axes = (),
    scores: ArrayLike | None = None,
    bearable: float | None = None,
    floor: float = 0.0,
    image_covariance: Array | None = None,
    seed: int = 0,
) -> Verdict:
    """Decide whether a proxy stands in for a target.

    A configuration with runs that diverged counts by its other runs if these are at least half of
    them; else it diverged. The choice is the configuration with the least mean error on the proxy,
    of those that have a run on the target.

    Args:
        proxy: `(configurations, seeds)` errors, shares, inf for diverged, nan for missing.
        target: the same configurations on the target.
        names: of proxy and target, for sentences.
        axes: the values of each swept field, one a configuration: numbers or words. Neighbours
            inform each other along them; without axes configurations are exchangeable.
        scores: `(configurations, seeds)` another metric of the proxy's runs in any unit, smaller is
            better, nan for missing. The choice is then the least mean score, not the least error.
        bearable: regret that does not matter, a share; by default the larger of 0.01 and the
            standard deviation of a run on the target.
        floor: certain variance of one run; see `posterior`.
        image_covariance: `(configurations, configurations)`, as `finite_images.image_covariance`
            returns it for the target; nan where it is not known.
        seed: of the draws.

    Raises:
        StudyError: the arrays do not fit, or `bearable` is no share.
    """
    first, second = checked(proxy, "proxy errors"), checked(target, "target errors")
    if not isinstance(axes, Mapping):
        axes = {f"axis {number}": values for number, values in enumerate(axes, 1)}
    ranked = first if scores is None else np.asarray(scores, np.float64)
    if ranked.ndim != 2 or any(
        len(values) != len(first) for values in (second, ranked, *axes.values())
    ):
        lengths = [len(first), len(second), len(ranked), *map(len, axes.values())]
        raise StudyError(
            "proxy errors, target errors, scores and axes must have the same configurations, had "
            f"{lengths}"
        )
    if bearable is not None and not 0 <= bearable <= 1:
        raise StudyError(f"bearable must be a share from 0 to 1, was {bearable}")
    both = np.flatnonzero(has_runs(first) & has_runs(second) & has_runs(ranked))
    x, y = _means(ranked), _means(second)
    order = [int(row) for row in both[np.argsort(x[both], kind="stable")] if np.isfinite(x[row])]
    counts = (~np.isnan(second[both])).sum(axis=1)
    found = None
    if len(both):
        of_target, of_proxy = (
            np.where(np.isfinite(means)[:, None], table, np.nan)
            for means, table in ((y, second), (_means(first), first))
        )
        kept = np.isin(np.arange(len(second)), both)[:, None]
        found = posterior(
            np.where(kept, of_target, np.nan),
            list(axes.values()),
            alike=of_proxy,
            wanted=order[: MOST // 2],
            floor=floor,
            seed=seed,
        )
    given = bearable is not None
    if bearable is None:
        bearable = max(LEAST_BEARABLE, found.noise if found else 0.0)
    shortlists = tuple(
        _shortlist(order[:k], y, found, bearable) for k in range(1, min(MOST_TRIED, len(order)) + 1)
    )
    answer, p, reason = _answer(shortlists, order, y, found)
    regrets = _regrets(order[:1], found) if order and np.isfinite(y[order[0]]) else None
    return Verdict(
        *names,
        answer=answer,
        p_bearable=p,
        bearable=bearable,
        given=given,
        shortlists=shortlists,
        probabilities=tuple(
            float((regrets <= limit / 100).mean()) if regrets is not None else p
            for limit in LIMITS_POINTS
        ),
        rival=_rival(order, found, regrets, bearable),
        choice=order[0] if order else None,
        configurations=len(both),
        seeds=(int(counts.min()), int(counts.max())) if len(counts) else (0, 0),
        pairs=_pairs(x[both], y[both]),
        noise=found.noise if found else None,
        smooth=bool(found and found.smooth),
        fields=carried_fields(axes, order[0], second, found, bearable) if found and order else (),
        orders=value_orders(axes, order, y, found, bearable) if found else (),
        reason=reason,
        most_new=_most_new(order[:1], found, image_covariance) if regrets is not None else None,
        few=found is None or len(found.places) < FEW,
        draws=found,
    )


def _most_new(
    rows: Sequence[int], found: Posterior | None, image_covariance: Array | None
) -> float | None:
    """Return the regret on new images that is not exceeded with probability 0.95."""
    if found is None or image_covariance is None:
        return None
    covariance = image_covariance[np.ix_(found.places, found.places)]
    if np.isnan(covariance).any():
        return None
    errors = on_new_images(found.errors, covariance)
    regrets = errors[:, found.places == rows[0]].min(axis=1) - errors.min(axis=1)
    return float(np.quantile(regrets, SURE))


def _means(table: Array) -> Array:
    """Average the runs that trained; inf where most runs diverged, nan where there is none."""
    trained, present = np.isfinite(table).sum(axis=1), (~np.isnan(table)).sum(axis=1)
    totals = np.where(np.isfinite(table), table, 0.0).sum(axis=1)
    means = np.full(len(table), np.nan)
    means[present > 0] = np.inf
    enough = (trained > 0) & (2 * trained >= present)
    means[enough] = totals[enough] / trained[enough]
    return means


def _regrets(rows: Sequence[int], found: Posterior | None) -> Array | None:
    """Return the draws of the regret of the best of some rows; None where none is modelled."""
    if found is None:
        return None
    places = np.flatnonzero(np.isin(found.places, rows))
    if not len(places):
        return None
    return np.asarray(found.errors[:, places].min(axis=1) - found.errors.min(axis=1))


def _shortlist(
    rows: Sequence[int], y: Array, found: Posterior | None, bearable: float
) -> Shortlist:
    best = min(y[row] for row in rows)
    observed = float(best - np.nanmin(y)) if math.isfinite(best) else None
    regrets = _regrets(rows, found) if observed is not None else None
    if regrets is None:
        return Shortlist(len(rows), tuple(rows), observed, 0.0, None, None)
    return Shortlist(
        len(rows),
        tuple(rows),
        observed,
        float((regrets <= bearable).mean()),
        float(np.quantile(regrets, SURE)),
        float(regrets.mean()),
    )


def _answer(
    shortlists: Sequence[Shortlist], order: Sequence[int], y: Array, found: Posterior | None
) -> tuple[Answer, float, str]:
    """Return the answer, its probability, and why there is none."""
    if not order:
        return "cannot tell yet", 0.5, "no configuration trained on the proxy and ran on the target"
    if np.isinf(y[order[0]]) and np.isfinite(y).any():
        return "does not stand in", 0.0, ""
    if found is None:
        trained = int(np.isfinite(y).sum())
        return (
            "cannot tell yet",
            0.5,
            f"a choice needs two configurations on both, {trained} trained",
        )
    p = shortlists[0].p_bearable
    return answer_of(p, found), p, ""


def _rival(
    order: Sequence[int], found: Posterior | None, regrets: Array | None, bearable: float
) -> int | None:
    if found is None or regrets is None:
        return None
    best = found.places[found.errors.argmin(axis=1)]
    worse = best[regrets > bearable] if (regrets > bearable).any() else best
    rows, counts = np.unique(worse[worse != order[0]], return_counts=True)
    return int(rows[counts.argmax()]) if len(rows) else None


def _pairs(x: Array, y: Array) -> tuple[int, int]:
    """Count the pairs that both sides order, and those that they order alike."""
    ordered = alike = 0
    with np.errstate(invalid="ignore"):  # inf - inf: both diverged, no order
        for row in range(len(x)):  # one at a time: 15,625 configurations have 122 million pairs
            signs = np.sign(x[row] - x[row + 1 :]) * np.sign(y[row] - y[row + 1 :])
            ordered += int((np.abs(signs) == 1).sum())
            alike += int((signs == 1).sum())
    return ordered, alike
