"""The numbers of a report, computed from run directories and nothing else.

Errors are top-1, shares from 0 to 1. Where several runs differ only by their seed, they are one
configuration, with its mean. A run that diverged counts as an error of 1 when configurations are
ranked, and is left out of means.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from scipy import stats

from lowres.recipe import FIELDS, Recipe
from lowres.run import Run
from lowres.study.study import find_runs
from lowres.variant import Variant

DIVERGED_ERROR = 1.0
FEW_CONFIGURATIONS = 5
"""Below this many configurations a rank correlation says next to nothing: with 4, one run in
twelve of pure chance ranks them alike or in reverse."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run.

    Attributes:
        name: name of its directory.
        recipe: what was trained.
        status: trained, diverged, failed, begun or planned.
        result: what `result.json` holds; empty where there is none.
        reason: why it failed; empty where it did not.
        epochs: the records of its epochs.
    """

    name: str
    recipe: Recipe
    status: str
    result: dict[str, Any]
    reason: str
    epochs: list[dict[str, Any]]


def read_rows(folder: Path) -> list[Row]:
    """Read all runs in a folder, at any depth, sorted by variant size, then name.

    Raises:
        StudyError: there is none, or a study's run is missing.
        RunError: one is damaged.
    """
    rows = [_read_row(run) for run in find_runs(folder)]
    return sorted(rows, key=lambda row: (Variant.parse(row.recipe.variant), row.name))


def _read_row(run: Run) -> Row:
    status = run.status
    result = run.result() if status == "finished" else {}
    reason = "{type}: {message}".format(**run.error()) if status == "failed" else ""
    return Row(
        run.path.name,
        run.recipe,
        result["status"] if status == "finished" else status,
        result,
        reason,
        run.metrics(),
    )


def swept_fields(rows: Sequence[Row]) -> tuple[str, ...]:
    """Name the recipe fields in which the runs differ."""
    return tuple(name for name in FIELDS if len({getattr(row.recipe, name) for row in rows}) > 1)


def label(recipe: Recipe, names: Iterable[str]) -> str:
    """Describe a recipe by some of its fields: `16-box, width 2`."""
    parts = []
    for name in names:
        value = getattr(recipe, name)
        number = f"{value:g}" if isinstance(value, float) else str(value)
        parts.append(number if name == "variant" else f"{name.replace('_', ' ')} {number}")
    return ", ".join(parts)


@dataclass(slots=True)
class Seeds:
    """One configuration: its runs over seeds.

    Attributes:
        errors: top-1 error of each run that was trained to its end.
        diverged: number of runs that diverged.
        train_s: training time of each run that was trained to its end, in seconds.
    """

    errors: list[float] = field(default_factory=list)
    diverged: int = 0
    train_s: list[float] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Count a finished run."""
        if row.status == "diverged":
            self.diverged += 1
        else:
            self.errors.append(row.result["top1_error"])
            self.train_s.append(row.result["train_s"])

    @property
    def mean(self) -> float | None:
        """Mean error of the trained runs, or None without any."""
        return sum(self.errors) / len(self.errors) if self.errors else None

    @property
    def rank_error(self) -> float:
        """Mean error with diverged runs counted as 1, for ranking."""
        total = sum(self.errors) + DIVERGED_ERROR * self.diverged
        return total / (len(self.errors) + self.diverged)

    @property
    def mean_train_s(self) -> float:
        """Mean training time in seconds, 0 where no run was trained to its end."""
        return sum(self.train_s) / len(self.train_s) if self.train_s else 0.0


def _finished(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.status in ("trained", "diverged")]


@dataclass(frozen=True, slots=True)
class Response:
    """Error against learning rate of one series.

    Attributes:
        label: what sets the series apart.
        variant: its variant.
        points: configuration at each learning rate, in rising order.
    """

    label: str
    variant: str
    points: dict[float, Seeds]


def responses(rows: Sequence[Row]) -> list[Response]:
    """Group finished runs into curves of error against learning rate."""
    swept = swept_fields(rows)
    names = ("variant", *(n for n in swept if n not in ("variant", "lr", "seed")))
    series: dict[str, dict[float, Seeds]] = defaultdict(lambda: defaultdict(Seeds))
    variants = {}
    for row in _finished(rows):
        name = label(row.recipe, names)
        series[name][row.recipe.lr].add(row)
        variants[name] = row.recipe.variant
    return [
        Response(name, variants[name], dict(sorted(points.items())))
        for name, points in series.items()
    ]


@dataclass(frozen=True, slots=True)
class Cost:
    """One configuration at the end of its training.

    Attributes:
        label: what sets it apart.
        variant: its variant.
        train_s: mean training time in seconds.
        error: mean top-1 error.
        on_front: whether no other configuration is both faster and better.
    """

    label: str
    variant: str
    train_s: float
    error: float
    on_front: bool


def costs(rows: Sequence[Row]) -> list[Cost]:
    """Give time and error of each configuration, and the Pareto front among them."""
    names = tuple(name for name in swept_fields(rows) if name != "seed") or ("variant",)
    groups: dict[str, Seeds] = defaultdict(Seeds)
    variants = {}
    for row in _finished(rows):
        name = label(row.recipe, names)
        groups[name].add(row)
        variants[name] = row.recipe.variant
    points = {
        name: (seeds.mean_train_s, seeds.mean)
        for name, seeds in groups.items()
        if seeds.mean is not None
    }
    front = pareto_front({name: point for name, point in points.items() if point[1] is not None})
    return [
        Cost(name, variants[name], train_s, error, name in front)
        for name, (train_s, error) in points.items()
        if error is not None
    ]


def pareto_front(points: dict[str, tuple[float, Any]]) -> set[str]:
    """Name the points that no other point beats: none is at most as large in both, less in one."""
    return {
        name
        for name, (x, y) in points.items()
        if not any(
            other_x <= x and other_y <= y and (other_x < x or other_y < y)
            for other_x, other_y in points.values()
        )
    }


@dataclass(frozen=True, slots=True)
class Transfer:
    """How well one variant (the proxy) ranks configurations as another (the target) does.

    Attributes:
        proxy: the variant of smaller size.
        target: the variant of larger size.
        proxy_errors: error of each configuration on the proxy.
        target_errors: error of the same configurations on the target.
        seeds: fewest runs behind any of these errors.
        spearman: Spearman's rank correlation; None where it is not defined.
        kendall: Kendall's tau-b; None where it is not defined.
        kendall_p: probability of a tau this far from 0 by chance alone (two-sided).
        regret: target error of the proxy's choice less the target's best error.
        speed_up: target's mean training time over the proxy's; None where unknown.
    """

    proxy: str
    target: str
    proxy_errors: tuple[float, ...]
    target_errors: tuple[float, ...]
    seeds: int
    spearman: float | None
    kendall: float | None
    kendall_p: float | None
    regret: float
    speed_up: float | None

    @property
    def verdict(self) -> str:
        """Say in words what these numbers allow to be said."""
        count = len(self.proxy_errors)
        what = "configuration" if count == 1 else "configurations"
        runs = f"{count} {what}, {self.seeds} seed{'s' if self.seeds > 1 else ''} each"
        if self.kendall is None or count < FEW_CONFIGURATIONS:
            return f"{self.proxy} for {self.target}: cannot tell from {runs}."
        faster = f", {self.speed_up:.1f}x less training time" if self.speed_up else ""
        chance = " (not told from chance)" if (self.kendall_p or 0.0) > 0.05 else ""
        return (
            f"{self.proxy} for {self.target}: Kendall's tau {self.kendall:.2f}{chance} over "
            f"{runs}; its choice costs {100 * self.regret:.1f} points of {self.target} error"
            f"{faster}."
        )


def transfers(rows: Sequence[Row]) -> list[Transfer]:
    """Compare each pair of sizes, otherwise made alike, over what was finished on both."""
    swept = swept_fields(rows)
    names = tuple(name for name in swept if name not in ("variant", "seed"))
    by_variant: dict[str, dict[str, Seeds]] = defaultdict(lambda: defaultdict(Seeds))
    for row in _finished(rows):
        by_variant[row.recipe.variant][label(row.recipe, names)].add(row)
    ordered = sorted(by_variant, key=Variant.parse)
    found = []
    for proxy, target in combinations(ordered, 2):
        common = sorted(by_variant[proxy].keys() & by_variant[target].keys())
        if common and _only_size_differs(Variant.parse(proxy), Variant.parse(target)):
            of_proxy = [by_variant[proxy][name] for name in common]
            of_target = [by_variant[target][name] for name in common]
            found.append(_transfer(proxy, target, of_proxy, of_target))
    return found


def _only_size_differs(proxy: Variant, target: Variant) -> bool:
    return proxy.size != target.size and replace(proxy, size=target.size) == target


def _transfer(
    proxy: str, target: str, of_proxy: Sequence[Seeds], of_target: Sequence[Seeds]
) -> Transfer:
    x = tuple(seeds.rank_error for seeds in of_proxy)
    y = tuple(seeds.rank_error for seeds in of_target)
    spearman = kendall = p = None
    if len(set(x)) > 1 and len(set(y)) > 1:
        spearman = _number(stats.spearmanr(x, y).statistic)
        tau = stats.kendalltau(x, y)
        kendall, p = _number(tau.statistic), _number(tau.pvalue)
    chosen = min(range(len(x)), key=x.__getitem__)
    proxy_s = sum(seeds.mean_train_s for seeds in of_proxy)
    target_s = sum(seeds.mean_train_s for seeds in of_target)
    return Transfer(
        proxy=proxy,
        target=target,
        proxy_errors=x,
        target_errors=y,
        seeds=min(len(s.errors) + s.diverged for s in (*of_proxy, *of_target)),
        spearman=spearman,
        kendall=kendall,
        kendall_p=p,
        regret=y[chosen] - min(y),
        speed_up=target_s / proxy_s if proxy_s and target_s else None,
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
