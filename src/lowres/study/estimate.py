"""Time that runs will take, from time that others took: plain sums, without torch."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from lowres.recipe import Recipe

NO_MATTER = frozenset(
    {"variant", "epochs", "lr", "lr_drop", "lr_drop_at", "momentum", "weight_decay", "seed"}
)
"""Fields on which the time of a step does not depend; of the variant, only the size matters."""


def speed_group(recipe: Recipe) -> tuple[Any, ...]:
    """Give what the speed of a run depends on: equal groups, equal seconds for a step."""
    record = recipe.to_record()
    others = (str(value) for name, value in record.items() if name not in NO_MATTER)
    return (recipe.size, *others)


def makespan(seconds: Sequence[float], jobs: int, running: Sequence[float] = ()) -> float:
    """Give when the last of some pieces of work ends, begun in order as places become free.

    Args:
        seconds: what each piece takes.
        jobs: pieces at a time.
        running: what is left of pieces that are under way, `jobs` of them at most.
    """
    ends = [*running, *[0.0] * (jobs - len(running))]
    heapq.heapify(ends)
    for one in seconds:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends, default=0.0)


def in_words(seconds: float) -> str:
    """Tell a time in the unit that suits it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 86_400:.1f} days"
