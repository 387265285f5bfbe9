"""What a study would do and how long it would take: `lowres study --dry-run`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lowres.progress import Track, silent
from lowres.recipe import FIELDS, Recipe
from lowres.store.store import Store
from lowres.study.costs import Size
from lowres.study.estimate import in_words, makespan, speed_group
from lowres.study.probe import BUDGET_S, Network, Speed, probe, steps_of_epoch
from lowres.study.values import PARTS
from lowres.training.run import RunSummary, eval_split
from lowres.variant import Variant
from lowres.work.processes import LocalProcesses


@dataclass(frozen=True, slots=True)
class Forecast:
    """A study before it is run.

    Attributes:
        drafts: its runs, the most costly first.
        networks: the network of each.
        flops: of training each run from its beginning; 0 where there are too few images.
        seconds: what each run still takes on this machine.
        jobs: runs at a time.
        threads: of each run.
        speeds: what was measured, by group of equal speed.
    """

    drafts: Sequence[RunSummary]
    networks: Sequence[Size]
    flops: Sequence[float]
    seconds: Sequence[float]
    jobs: int
    threads: int
    speeds: dict[tuple[Any, ...], Speed]

    @property
    def total_s(self) -> float:
        """Seconds from the beginning to the end, with `jobs` runs at a time."""
        todo = [s for draft, s in zip(self.drafts, self.seconds, strict=True) if not draft.finished]
        return makespan(todo, self.jobs)


def forecast(
    store: Store,
    drafts: Sequence[RunSummary],
    executor: LocalProcesses,
    arguments: Sequence[str] = (),
    *,
    budget_s: float = BUDGET_S,
    track: Track = silent,
) -> Forecast:
    """Time the networks of a study and tell how long its runs would take; write nothing.

    Args:
        store: what the study trains on.
        drafts: its runs.
        executor: what would run them.
        arguments: further arguments of each `lowres train`.
        budget_s: seconds that may be spent on it, about.
        track: shows progress.

    Raises:
        StudyError: a network could not be trained.
    """
    sizes = [Size.of(draft.recipe, len(store.classes)) for draft in drafts]
    steps = [steps_of_epoch(store.splits["train"], draft.recipe) for draft in drafts]
    networks: dict[tuple[Any, ...], Network] = {}
    for draft, size, count in zip(drafts, sizes, steps, strict=True):
        if count and not draft.finished and eval_split(store, draft.recipe) in store.splits:
            work = size.macs * draft.recipe.batch_size
            networks.setdefault(speed_group(draft.recipe), Network(draft.recipe, work))
    speeds: dict[tuple[Any, ...], Speed] = {}
    if networks:
        found = probe(store, list(networks.values()), executor, arguments,
                      budget_s=budget_s, track=track)  # fmt: skip
        speeds = dict(zip(networks, found, strict=True))
    return Forecast(
        drafts,
        sizes,
        [
            6.0 * size.macs * count * draft.recipe.batch_size * draft.recipe.epochs
            for draft, size, count in zip(drafts, sizes, steps, strict=True)
        ],
        [_seconds(store, draft, speeds) for draft in drafts],
        executor.jobs,
        executor.threads,
        speeds,
    )


def _seconds(store: Store, draft: RunSummary, speeds: dict[tuple[Any, ...], Speed]) -> float:
    recipe = draft.recipe
    speed = speeds.get(speed_group(recipe))
    if speed is None or draft.finished:
        return 0.0
    training_s = steps_of_epoch(store.splits["train"], recipe) * speed.step_s
    evaluation_s = store.splits[eval_split(store, recipe)] * speed.image_s
    return speed.start_s + (recipe.epochs - len(draft.history)) * (training_s + evaluation_s)


def lines(told: Forecast) -> Iterator[str]:
    """Give the table of configurations, a line each, and the estimate below it."""
    yield from _aligned(list(_rows(told)))
    finished = sum(draft.finished for draft in told.drafts)
    yield ""
    yield (
        f"{len(told.drafts)} runs, {finished} of them finished; {sum(told.flops):.3g} FLOPs of "
        f"training in all; about {in_words(told.total_s)} ({told.total_s / 3600:.2g} h) on this "
        f"machine, {told.jobs} at a time with {told.threads} "
        f"thread{'s' if told.threads > 1 else ''} each"
    )
    if told.speeds:
        timed = [speed.steps for speed in told.speeds.values() if speed.steps]
        others = len(told.speeds) - len(timed)
        few, many = min(timed), max(timed)
        steps = f"{few} to {many}" if few < many else f"{many}"
        yield (
            f"probed: {len(timed)} of {len(told.speeds)} networks, {steps} steps each "
            "after as many to warm up, evaluation, and the start of a run"
            + (f"; {others} by their FLOPs" if others else "")
        )
    idle = sum(not flops for flops in told.flops)
    if idle:
        yield f"{idle} runs have fewer images than a batch, and will fail: see --batch-size"


def _rows(told: Forecast) -> Iterator[list[str]]:
    """Give heads and a row for each configuration, in order of cost."""
    names = swept([draft.recipe for draft in told.drafts])
    yield [*names, "runs", "network", "parameters", "FLOPs of a run", "time of a run"]
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, draft in enumerate(told.drafts):
        groups.setdefault(tuple(_shown(draft.recipe, name) for name in names), []).append(number)
    for values, members in groups.items():
        first = members[0]
        network = told.networks[first]
        longest_s = max(told.seconds[number] for number in members)
        done = all(told.drafts[number].finished for number in members)
        yield [
            *values,
            str(len(members)),
            network.name,
            f"{network.parameters:,}",
            f"{told.flops[first]:.3g}",
            "finished" if done else in_words(longest_s),
        ]


def swept(recipes: Sequence[Recipe]) -> list[str]:
    """Name the fields and the parts of the variant in which recipes differ, but for the seed."""
    names = [*PARTS, *(name for name in FIELDS if name not in ("variant", "seed"))]
    found = [name for name in names if len({_shown(recipe, name) for recipe in recipes}) > 1]
    return found or ["variant"]


def _shown(recipe: Recipe, name: str) -> str:
    where = Variant.parse(recipe.variant) if name in PARTS else recipe
    value = getattr(where, name)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.rjust, row, widths))
