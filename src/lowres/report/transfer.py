"""Pairs of sizes, and of widths: how far one stands in for the other."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeVar

import numpy as np

from lowres.report.reading import Row, fields_but, label, mean
from lowres.statistics import SpeedUp, Verdict, judge, pair_up, speed_up
from lowres.statistics.tables import mean_errors

Key = TypeVar("Key", bound=Hashable)

FEWEST_OF_WIDTHS = 3
"""Configurations below which two widths are not compared at all: every study has such pairs."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A proxy and a target that the same configurations were run on.

    Attributes:
        kind: what sets them apart: size or width.
        verdict: the figures and the sentence; its cost is training time in seconds.
        flops: what the proxy saves in operations; None where they were not counted.
        configurations: in words.
        proxy_errors: mean error of each on the proxy, a share, inf where one diverged.
        target_errors: the same on the target.
    """

    kind: Literal["size", "width"]
    verdict: Verdict
    flops: SpeedUp | None
    configurations: tuple[str, ...]
    proxy_errors: tuple[float, ...]
    target_errors: tuple[float, ...]


def judged_pairs(rows: Sequence[Row], swept: Sequence[str]) -> list[Judged]:
    """Judge all pairs of sizes of one filter, and all widths against the widest.

    Sizes come first, and the largest target; of one target, the nearest proxy.
    """
    finished = [row for row in rows if row.finished]
    return [*_sizes(finished, swept), *_widths(finished, swept)]


def _sizes(rows: Sequence[Row], swept: Sequence[str]) -> Iterator[Judged]:
    groups = _grouped(rows, lambda row: row.variant)
    names = fields_but(swept, "variant")
    pairs = sorted(combinations(sorted(groups), 2), key=lambda pair: (pair[1].size, pair[0].size))
    for proxy, target in reversed(pairs):
        alike = (proxy.filter, proxy.fit, proxy.rule) == (target.filter, target.fit, target.rule)
        if alike and proxy.size < target.size:
            called = str(proxy), str(target)
            yield from _judged("size", groups[proxy], groups[target], called, names, 1)


def _widths(rows: Sequence[Row], swept: Sequence[str]) -> Iterator[Judged]:
    names = fields_but(swept, "variant", "width")
    for variant, of_variant in sorted(_grouped(rows, lambda row: row.variant).items())[::-1]:
        groups = _grouped(of_variant, lambda row: row.recipe.width)
        *narrower, widest = sorted(groups)
        for width in narrower[::-1]:
            called = f"{variant} width {width:g}", f"width {widest:g}"
            yield from _judged(
                "width", groups[width], groups[widest], called, names, FEWEST_OF_WIDTHS
            )


def _grouped(rows: Sequence[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def _judged(
    kind: Literal["size", "width"],
    of_proxy: Sequence[Row],
    of_target: Sequence[Row],
    called: tuple[str, str],
    names: Sequence[str],
    fewest: int,
) -> Iterator[Judged]:
    """Judge a pair, if enough configurations were run on both."""
    proxy, target = (
        _grouped(rows, lambda row: label(row.recipe, names)) for rows in (of_proxy, of_target)
    )
    if len(proxy.keys() & target.keys()) < fewest:
        return
    pair = pair_up(_cells(proxy), _cells(target))
    common = [str(key) for key in pair.configurations]
    seconds = _costs(proxy, common, "seconds"), _costs(target, common, "seconds")
    flops = _costs(proxy, common, "flops"), _costs(target, common, "flops")
    counted = all(np.isfinite(costs).all() for costs in flops)
    yield Judged(
        kind,
        judge(pair.proxy, pair.target, called, costs=seconds),
        speed_up(pair.proxy, pair.target, *flops) if counted else None,
        tuple(key or "the only one" for key in common),
        tuple(mean_errors(pair.proxy).tolist()),
        tuple(mean_errors(pair.target).tolist()),
    )


def _cells(groups: dict[str, list[Row]]) -> Iterator[tuple[str, int, float]]:
    """Number the runs of each configuration: nothing is made of a seed's number."""
    for key, rows in groups.items():
        for number, row in enumerate(rows):
            yield key, number, row.error


def _costs(groups: dict[str, list[Row]], keys: Sequence[str], unit: str) -> list[float]:
    values = ([getattr(row, unit) for row in groups[key]] for key in keys)
    return [math.nan if None in costs else mean(costs) for costs in values]
