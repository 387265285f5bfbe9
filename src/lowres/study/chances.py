"""What a plan can decide before its first run, by simulated studies on its own grid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from lowres.errors import MissingExtraError
from lowres.recipe import FIELDS, Recipe
from lowres.text import count, number_or_word
from lowres.training.run import RunSummary
from lowres.variant import Variant

FEWEST_DECIDED = 5
"""Configurations of a pair below which the verdict is never sure, so that nothing is simulated."""

OVER_BINOMIAL = 1.2
"""A guess of a run's standard deviation, over that of counting errors on the images measured."""

_Design: TypeAlias = tuple[tuple[tuple[float | str, ...], ...], tuple[int, int]]
"""The swept fields of the configurations of a pair, and the seeds on both of its sides."""


def chances(drafts: Sequence[RunSummary], images: int, noise: float | None = None) -> Iterator[str]:
    """Return lines on what the plan can decide; none if it has no pair of sizes to judge.

    Args:
        drafts: the study's runs.
        images: images on which errors are measured.
        noise: standard deviation of a run, a share. Default: a guess by the number of images.
    """
    pairs = _planned_pairs(drafts)
    if not pairs or all(draft.finished for draft in drafts):
        return
    try:
        from lowres.statistics.power import MOST_JUDGED, power
        from lowres.statistics.verdict import LEAST_BEARABLE
    except MissingExtraError as error:
        yield f"what this plan can decide is not known: {error}"
        return
    guessed = noise is None
    if noise is None:
        noise = OVER_BINOMIAL * 0.5 / math.sqrt(images)
    bearable = max(LEAST_BEARABLE, noise)
    known: dict[_Design, tuple[float, float]] = {}
    for (target, design), proxies in pairs.items():
        axes, (first, second) = design
        if design not in known:
            known[design] = (
                power(axes, (first, second), noise, bearable),
                power(axes, (first + 1, second + 1), noise, bearable),
            )
        chance, with_more = known[design]
        or_more = " or more" if len(axes[0]) > MOST_JUDGED else ""
        yield (
            f"this plan decides with probability {chance:.2f}{or_more} whether "
            f"{' or '.join(proxies)} stands in for {target} within {_points(bearable)}, if a run's "
            f"standard deviation is {_points(noise)}; with one seed more: {with_more:.2f}{or_more}"
        )
    if guessed:
        yield (
            f"that deviation is a guess, {OVER_BINOMIAL:g} x the binomial one of "
            f"{count(images, 'image')}; if you know it, add --noise POINTS"
        )


def _planned_pairs(drafts: Sequence[RunSummary]) -> dict[tuple[str, _Design], list[str]]:
    """Return the smaller sizes that can be judged for the largest size of a filter, by design."""
    sides: dict[Variant, Counter[Recipe]] = {}
    for draft in drafts:
        variant = Variant.parse(draft.recipe.variant)
        configuration = replace(draft.recipe, variant="32-box", seed=0)
        sides.setdefault(variant, Counter())[configuration] += 1
    pairs: dict[tuple[str, _Design], list[str]] = {}
    for proxy in sorted(sides, reverse=True):
        target = max(v for v in sides if replace(v, size=1) == replace(proxy, size=1))
        common = [recipe for recipe in sides[target] if recipe in sides[proxy]]
        if proxy == target or len(common) < FEWEST_DECIDED:
            continue
        names = [name for name in FIELDS if len({getattr(one, name) for one in common}) > 1]
        axes = tuple(tuple(number_or_word(getattr(one, name)) for one in common) for name in names)
        first, second = (min(sides[side][one] for one in common) for side in (proxy, target))
        pairs.setdefault((str(target), (axes, (first, second))), []).append(str(proxy))
    return pairs


def _points(share: float) -> str:
    text = f"{100 * share:.2g}"
    return f"{text} point{'' if text == '1' else 's'}"
