"""The verdict on a pair: all its figures, and a sentence that claims no more than they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

from lowres.errors import StudyError
from lowres.statistics.cost import SpeedUp, speed_up
from lowres.statistics.error_tables import counts_of, on_both
from lowres.statistics.estimate import Figure, Interval
from lowres.statistics.ranking import ceiling, rank_correlation
from lowres.statistics.regret import DIVERGED_CHOICE, Regret, regret
from lowres.text import count, number

Answer = Literal["stands in", "does not stand in", "undecided"]

RANKS_ALIKE = 0.5
"""Kendall's tau from which a proxy counts as ranking like the target: 3 of 4 pairs are in the same
order, half-way between chance and certainty. A convention: the sentence has the numbers."""

BEARABLE_REGRET = 0.01
"""Regret up to which a choice counts as good as the best: one point of error. A convention, too:
the tolerable regret depends on the use of the choice, so the caller can set another."""

FEW_CONFIGURATIONS = 5
"""Configurations below which there is no verdict, as there is no interval of a correlation."""

NEAR_CEILING = 0.05
"""If the ceiling is not surely this far above `RANKS_ALIKE`, seed noise alone may explain a low
tau, so a low tau does not count against the proxy."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far a proxy stands in for a target, with all figures.

    Attributes:
        proxy: name of the proxy.
        target: name of the target.
        configurations: how many have runs on both.
        seeds: the least number of runs behind a mean error.
        kendall: Kendall's tau-b.
        spearman: Spearman's rho.
        kendall_ceiling: the tau that the noise of the target's seeds allows.
        spearman_ceiling: the same for rho.
        regret: the cost of the proxy's choice; None without configurations.
        speed_up: the saving of the proxy at that regret; None without costs.
        answer: stands in, does not stand in, or undecided.
        sentence: the answer with its numbers.
    """

    proxy: str
    target: str
    configurations: int
    seeds: int
    kendall: Figure
    spearman: Figure
    kendall_ceiling: Figure
    spearman_ceiling: Figure
    regret: Regret | None
    speed_up: SpeedUp | None
    answer: Answer
    sentence: str


def judge(
    proxy: ArrayLike,
    target: ArrayLike,
    names: tuple[str, str],
    *,
    costs: tuple[ArrayLike, ArrayLike] | None = None,
    bearable: float = BEARABLE_REGRET,
    seed: int = 0,
) -> Verdict:
    """Compute all figures of a pair and judge it.

    The proxy stands in if the interval of tau lies at or above 0.5 and that of the regret at or
    below `bearable`. It does not if the interval of tau lies below 0.5 and the ceiling's above, if
    the interval of the regret lies above `bearable`, or if its choice diverged on the target.
    Otherwise the verdict is undecided.

    Args:
        proxy: `(configurations, seeds)` errors, shares, inf for diverged, nan for missing.
        target: the same configurations on the target.
        names: of proxy and target, for the sentence.
        costs: `(configurations,)` cost of a run of each, on proxy and target, in one unit.
        bearable: the largest tolerable regret, a share.
        seed: of all bootstraps and draws.

    Raises:
        StudyError: the arrays do not fit, or `bearable` is not from 0 to 1.
    """
    if not 0 <= bearable <= 1:
        raise StudyError(f"bearable regret must be a share from 0 to 1, was {bearable}")
    first, second = on_both(proxy, target)
    none = Figure(None, None, "no configuration has runs on both sides")
    kendall = rank_correlation(proxy, target, "kendall", seed=seed)
    limit = ceiling(second, "kendall", seed=seed) if len(first) else none
    choice = regret(proxy, target, seed=seed) if len(first) else None
    saved = speed_up(proxy, target, *costs) if costs else None
    seeds = int(min(counts_of(first).min(), counts_of(second).min())) if len(first) else 0
    answer, why = _answer(len(first), kendall, limit, choice, bearable)
    runs = f"{count(len(first), 'configuration')}, {count(seeds, 'seed')}"
    return Verdict(
        *names,
        configurations=len(first),
        seeds=seeds,
        kendall=kendall,
        spearman=rank_correlation(proxy, target, "spearman", seed=seed),
        kendall_ceiling=limit,
        spearman_ceiling=ceiling(second, "spearman", seed=seed) if len(first) else none,
        regret=choice,
        speed_up=saved,
        answer=answer,
        sentence=_sentence(names, answer, why, _figures(kendall, limit, choice, saved), runs),
    )


def _answer(
    configurations: int, tau: Figure, limit: Figure, choice: Regret | None, bearable: float
) -> tuple[Answer, str]:
    """Decide, and return the reason if the figures alone do not show it."""
    if configurations < FEW_CONFIGURATIONS or choice is None:
        return "undecided", ""
    if choice.observed is None:
        diverged = choice.regret.reason == DIVERGED_CHOICE
        return ("does not stand in" if diverged else "undecided"), choice.regret.reason
    lost = choice.regret.interval
    if lost is not None and lost.low > bearable:
        return "does not stand in", "its choice costs more than is bearable"
    ranks = tau.interval
    if ranks is not None and ranks.high < RANKS_ALIKE:
        if limit.interval is not None and limit.interval.low > RANKS_ALIKE + NEAR_CEILING:
            return "does not stand in", "fewer than 3 of 4 pairs are ranked alike"
        return "undecided", "seed noise alone may explain the different ranks"
    if ranks is None or lost is None:
        return "undecided", tau.reason or choice.regret.reason
    if ranks.low >= RANKS_ALIKE and lost.high <= bearable:
        return "stands in", ""
    return "undecided", "the intervals are too wide"


def _figures(tau: Figure, limit: Figure, choice: Regret | None, saved: SpeedUp | None) -> list[str]:
    parts = []
    if tau.value is not None:
        of = f" of a ceiling {limit.value:.2f}" if limit.value is not None else ", no ceiling"
        parts.append(f"tau {tau.value:.2f}{_brackets(tau.interval, 1, 2)}{of}")
    if choice is not None and choice.regret.value is not None:
        points = f"{100 * choice.regret.value:.1f} points"
        parts.append(f"regret {points}{_brackets(choice.regret.interval, 100, 1)}")
    if saved is not None and saved.ratio is not None:
        cheaper = saved.ratio >= 1
        factor = saved.ratio if cheaper else 1 / saved.ratio
        parts.append(f"{factor:.1f}x {'cheaper' if cheaper else 'more costly'}")
    return parts


def _brackets(interval: Interval | None, factor: float, digits: int) -> str:
    if interval is None:
        return " (no interval)"
    ends = (number(factor * end, digits) for end in (interval.low, interval.high))
    return f" [{', '.join(ends)}]"


def _sentence(
    names: tuple[str, str], answer: Answer, why: str, figures: list[str], runs: str
) -> str:
    proxy, target = names
    because = f" ({why})" if why else ""
    if answer == "undecided":
        opening = f"{proxy} for {target}: undecided{because}: {runs}"
        return opening + (f"; {', '.join(figures)}" if figures and why else "")
    return f"{proxy} {answer} for {target}{because}: {', '.join(figures)}; {runs}"
