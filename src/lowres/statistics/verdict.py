"""The verdict on a pair: all its figures, and a sentence that says no more than they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

from lowres.errors import StudyError
from lowres.statistics.cost import SpeedUp, speed_up
from lowres.statistics.estimate import Array, Figure, Interval
from lowres.statistics.ranking import ceiling, rank_correlation
from lowres.statistics.regret import Regret, regret
from lowres.statistics.tables import counts_of, on_both

Answer = Literal["stands in", "does not stand in", "undecided"]

RANKS_ALIKE = 0.5
"""Kendall's tau from which on a proxy is said to rank as the target does: 3 of 4 pairs are in the
same order, half-way between a coin and certainty. A convention: the sentence gives the numbers."""

BEARABLE_REGRET = 0.01
"""Regret up to which a choice is as good as the best: one point of error. A convention, too: what
is bearable depends on what the choice is for, so the caller can set another."""

FEW_CONFIGURATIONS = 5
"""Configurations below which nothing is claimed, as for intervals of correlations."""

NEAR_CEILING = 0.05
"""A ceiling that is not surely this far above `RANKS_ALIKE` may itself be why tau is low, so a low
tau is not held against the proxy."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far a proxy stands in for a target.

    Attributes:
        proxy: name of the proxy.
        target: name of the target.
        configurations: how many have runs on both.
        seeds: fewest runs behind any mean error.
        kendall: Kendall's tau-b.
        spearman: Spearman's rho.
        kendall_ceiling: the tau that noise of the target's seeds allows.
        spearman_ceiling: the same for rho.
        regret: what the proxy's choice costs; None without configurations.
        speed_up: what the proxy saves at that regret; None without costs.
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

    It stands in if the interval of tau lies at or above 0.5 and that of the regret at or below
    `bearable`. It does not if that of tau lies below 0.5 while the ceiling's lies above, if that of
    the regret lies above `bearable`, or if its choice diverged on the target. Else one undecided.

    Args:
        proxy: `(configurations, seeds)` errors, shares, inf for diverged, nan for missing.
        target: the same configurations on the target.
        names: of proxy and target, as the sentence calls them.
        costs: `(configurations,)` cost of a run of each, on proxy and target, in one unit.
        bearable: regret that does not matter, a share.
        seed: of all bootstraps and draws.

    Raises:
        StudyError: the arrays do not fit, or `bearable` is not from 0 to 1.
    """
    if not 0 <= bearable <= 1:
        raise StudyError(f"bearable regret must be a share from 0 to 1, was {bearable}")
    first, second = on_both(proxy, target)
    kendall = rank_correlation(proxy, target, "kendall", seed=seed)
    limit = _ceiling(second, "kendall", seed)
    cost_of_choice = regret(proxy, target, seed=seed) if len(first) else None
    saved = speed_up(proxy, target, *costs) if costs else None
    answer, why = _answer(len(first), kendall, limit, cost_of_choice, bearable)
    runs = _runs(len(first), _fewest(first, second))
    figures = _figures(kendall, limit, cost_of_choice, saved)
    return Verdict(
        *names,
        configurations=len(first),
        seeds=_fewest(first, second),
        kendall=kendall,
        spearman=rank_correlation(proxy, target, "spearman", seed=seed),
        kendall_ceiling=limit,
        spearman_ceiling=_ceiling(second, "spearman", seed),
        regret=cost_of_choice,
        speed_up=saved,
        answer=answer,
        sentence=_sentence(names, answer, why, figures, runs),
    )


def _ceiling(
    target: Array,
    coefficient: Literal["kendall", "spearman"],
    seed: int,
) -> Figure:
    if not len(target):
        return Figure(None, None, "no configuration has runs on both sides")
    return ceiling(target, coefficient, seed=seed)


def _fewest(
    first: Array,
    second: Array,
) -> int:
    return int(min(counts_of(first).min(), counts_of(second).min())) if len(first) else 0


def _answer(
    configurations: int, tau: Figure, limit: Figure, choice: Regret | None, bearable: float
) -> tuple[Answer, str]:
    """Decide, and say what decided where that is not plain from the figures."""
    if configurations < FEW_CONFIGURATIONS or choice is None:
        return "undecided", ""
    if choice.observed is None:
        sure = choice.regret.reason == DIVERGED_CHOICE
        return ("does not stand in" if sure else "undecided"), choice.regret.reason
    lost = choice.regret.interval
    if lost is not None and lost.low > bearable:
        return "does not stand in", "its choice costs more than is bearable"
    ranks = tau.interval
    if ranks is not None and ranks.high < RANKS_ALIKE:
        if _clear(limit.interval):
            return "does not stand in", "fewer than 3 of 4 pairs are ranked alike"
        return "undecided", "noise of the seeds may be all that keeps ranks apart"
    if ranks is None or lost is None:
        return "undecided", tau.reason or choice.regret.reason
    if ranks.low >= RANKS_ALIKE and lost.high <= bearable:
        return "stands in", ""
    return "undecided", "the intervals are too wide"


DIVERGED_CHOICE = "the proxy's choice diverged on the target"


def _clear(limit: Interval | None) -> bool:
    return limit is not None and limit.low > RANKS_ALIKE + NEAR_CEILING


def _runs(configurations: int, seeds: int) -> str:
    what = "configuration" if configurations == 1 else "configurations"
    return f"{configurations} {what}, {seeds} seed{'' if seeds == 1 else 's'}"


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
        parts.append(f"{factor:.1f}x {'cheaper' if cheaper else 'dearer'}")
    return parts


def _brackets(interval: Interval | None, factor: float, digits: int) -> str:
    if interval is None:
        return " (no interval)"
    # A value that rounds to -0 is written as 0.
    low, high = (round(factor * end, digits) + 0.0 for end in (interval.low, interval.high))
    return f" [{low:.{digits}f}, {high:.{digits}f}]"


def _sentence(
    names: tuple[str, str], answer: Answer, why: str, figures: list[str], runs: str
) -> str:
    proxy, target = names
    because = f" ({why})" if why else ""
    if answer == "undecided":
        opening = f"{proxy} for {target}: undecided{because}: {runs}"
        return opening + (f"; {', '.join(figures)}" if figures and why else "")
    return f"{proxy} {answer} for {target}{because}: {', '.join(figures)}; {runs}"
