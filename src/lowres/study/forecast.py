"""What a study would train and how long it would take: `lowres study --dry-run`.

Each network is probed: `lowres train` on a few images, with one epoch to warm up and one that is
timed, and evaluation after it. As many processes run side by side as in the study later, and each
trains as many runs side by side, so that they share cores, memory and GPUs in the same way.
"""

from __future__ import annotations

import heapq
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from lowres.errors import StudyError
from lowres.networks.imported import refuse_untrusted, trust_flags
from lowres.networks.shape import FLOPS_PER_MAC
from lowres.networks.size import NetworkSize, training_macs
from lowres.progress import Track, silent
from lowres.recipe import FIELDS, Recipe
from lowres.store.manifest import KEYS, LABELS, array_path
from lowres.store.store import Store
from lowres.study.values import PARTS
from lowres.text import count, duration, table, value as value_text
from lowres.training.execution import Execution
from lowres.training.run import Run, RunSummary
from lowres.variant import Variant
from lowres.work.executor import Job
from lowres.work.processes import LocalProcesses

BUDGET_S = 60.0
"""About how long all probes may take; networks that do not fit are estimated by their FLOPs."""

FIRST_STEPS = 2
MOST_STEPS = 40
EVAL_IMAGES = 500
EPOCHS = 2
"""One to warm up, one that is timed."""

CALM_LR = 1e-5
"""Learning rate of the probes: no probe diverges, which would end it."""

SAME_SPEED = frozenset(
    {
        *("variant", "epochs", "seed", "momentum", "weight_decay", "label_smoothing"),
        *("lr", "adam_lr", "warmup", "cooldown", "lr_drop", "lr_drop_at"),
    }
)
"""Fields that do not change the time of a step; of the variant, only the size does."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a network trains, alone or in a pack.

    Attributes:
        step_s: seconds of a step of training; in a pack, the share of one run.
        image_s: seconds to evaluate an image; in a pack, the share of one run.
        start_s: further seconds of a process: its start, libraries, the first steps, the end.
        steps: steps that were timed; 0 if the speed is estimated by FLOPs.
    """

    step_s: float
    image_s: float
    start_s: float
    steps: int

    def scaled(self, own: ProbedNetwork, other: ProbedNetwork) -> Speed:
        """Return the speed of another network, estimated by multiply-adds."""
        step = other.work / own.work
        image = step * own.recipe.batch_size / other.recipe.batch_size
        return Speed(self.step_s * step, self.image_s * image, self.start_s, 0)


@dataclass(frozen=True, slots=True)
class ProbedNetwork:
    """A network to probe.

    Attributes:
        recipe: any recipe of its speed group.
        work: multiply-adds of the forward passes of a step.
        together: runs that a process trains side by side.
    """

    recipe: Recipe
    work: int
    together: int = 1


@dataclass(frozen=True, slots=True)
class Forecast:
    """A study before it is run.

    Attributes:
        drafts: its runs, the most costly first.
        networks: the network of each.
        flops: of training each run from its beginning; 0 if there are too few images for a batch.
        seconds: what each run still takes of a process on this machine; in a pack, its share.
        jobs: processes at a time.
        threads: CPU threads of each process.
        speeds: what was measured or estimated, by `speed_group`.
        together: the most runs that a process trains side by side.
    """

    drafts: Sequence[RunSummary]
    networks: Sequence[NetworkSize]
    flops: Sequence[float]
    seconds: Sequence[float]
    jobs: int
    threads: int
    speeds: dict[tuple[Any, ...], Speed]
    together: int = 1

    @property
    def total_s(self) -> float:
        """Seconds from the beginning to the end, with `jobs` processes that start once."""
        todo = [s for draft, s in zip(self.drafts, self.seconds, strict=True) if not draft.finished]
        start_s = max((speed.start_s for speed in self.speeds.values()), default=0.0)
        return start_s + makespan(todo, self.jobs)


def speed_group(recipe: Recipe) -> tuple[Any, ...]:
    """Return what the speed of a run depends on: in equal groups a step takes equal seconds."""
    others = (str(getattr(recipe, name)) for name in FIELDS if name not in SAME_SPEED)
    return (recipe.size, *others)


def makespan(seconds: Sequence[float], jobs: int, running: Sequence[float] = ()) -> float:
    """Return the seconds until the last of some jobs ends, if they start in order.

    Args:
        seconds: duration of each job.
        jobs: how many run at a time.
        running: remaining seconds of jobs that already run, at most `jobs` of them.
    """
    ends = [*running, *[0.0] * (jobs - len(running))]
    heapq.heapify(ends)
    for one in seconds:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends, default=0.0)


def forecast(
    store: Store,
    drafts: Sequence[RunSummary],
    executor: LocalProcesses,
    execution: Execution | None = None,
    *,
    budget_s: float = BUDGET_S,
    track: Track = silent,
) -> Forecast:
    """Time the networks of a study and estimate how long its runs take; write nothing.

    Args:
        store: the store that the study trains on.
        drafts: the study's runs.
        executor: what would run them.
        execution: device, and how many runs are trained side by side.
        budget_s: about how many seconds the probes may take.
        track: shows progress.

    Raises:
        RunError: the device does not exist.
        StudyError: a network could not be trained.
        UntrustedError: a recipe names code that was not passed to `lowres.trust`.
    """
    execution = execution or Execution()
    refuse_untrusted(draft.recipe for draft in drafts if not draft.finished)
    classes, images = len(store.classes), store.splits["train"]
    sizes = [NetworkSize.of(draft.recipe, classes) for draft in drafts]
    todo = [pair for pair in zip(drafts, sizes, strict=True) if not pair[0].finished]
    together = _together([draft.recipe for draft, _ in todo], executor.threads, execution)
    networks: dict[tuple[Any, ...], ProbedNetwork] = {}
    for draft, size in todo:
        recipe, group = draft.recipe, speed_group(draft.recipe)
        work = size.macs * recipe.batch_size
        networks.setdefault(group, ProbedNetwork(recipe, work, together[group]))
    speeds: dict[tuple[Any, ...], Speed] = {}
    if networks:
        arguments = ("--device", execution.device, "--together", str(execution.together))
        found = probe(store, list(networks.values()), executor, arguments,
                      budget_s=budget_s, track=track)  # fmt: skip
        speeds = dict(zip(networks, found, strict=True))
    flops, seconds = [], []
    for draft in drafts:
        recipe, speed = draft.recipe, speeds.get(speed_group(draft.recipe))
        flops.append(float(FLOPS_PER_MAC * training_macs(recipe, images, classes)))
        left_s = 0.0
        if speed is not None and not draft.finished:
            evaluation_s = store.splits[recipe.measured_split(store.splits)] * speed.image_s
            epoch_s = recipe.steps_per_epoch(images) * speed.step_s + evaluation_s
            left_s = (recipe.epochs - len(draft.history)) * epoch_s
        seconds.append(left_s)
    most = max(together.values(), default=1)
    return Forecast(drafts, sizes, flops, seconds, executor.jobs, executor.threads, speeds, most)


def _together(
    recipes: Sequence[Recipe], threads: int, execution: Execution
) -> dict[tuple[Any, ...], int]:
    """Return how many runs of each speed group a process would train side by side."""
    if not recipes:
        return {}
    from lowres.training.together import room, shape_of

    ways = replace(execution, threads=threads)
    packs: dict[tuple[str, ...], list[Recipe]] = {}
    for recipe in recipes:
        packs.setdefault(shape_of(recipe), []).append(recipe)
    found: dict[tuple[Any, ...], int] = {}
    for pack in packs.values():
        group, size = speed_group(pack[0]), room(pack[0], len(pack), ways)
        found[group] = max(found.get(group, 1), min(len(pack), size))
    return found


def probe(
    store: Store,
    networks: Sequence[ProbedNetwork],
    executor: LocalProcesses,
    arguments: Sequence[str] = (),
    *,
    budget_s: float = BUDGET_S,
    track: Track = silent,
) -> list[Speed]:
    """Time networks and return the speed of each.

    A first probe of the cheapest network shows how many steps of the others fit into the budget.
    The speed of a network that does not fit is estimated from the nearest one that was timed.

    Args:
        store: the source of the images; nothing is written to it.
        networks: the networks to time.
        executor: runs as many probes at a time as it would run of the study.
        arguments: further arguments of each `lowres train`.
        budget_s: about how many seconds the probes may take.
        track: shows progress.

    Raises:
        StudyError: a probe failed.
    """
    order = sorted(range(len(networks)), key=lambda number: networks[number].work)
    jobs = executor.jobs
    evaluated = min(EVAL_IMAGES, store.splits[networks[0].recipe.measured_split(store.splits)])
    rounds = [order[first : first + jobs] for first in range(0, len(order), jobs)]
    timed: dict[int, Speed] = {}
    with tempfile.TemporaryDirectory(prefix="lowres-probe-") as folder:
        prober = _Prober(Path(folder), store, executor, arguments)
        began = time.monotonic()
        with track("probe", len(rounds) + 1) as display:
            cheapest = networks[order[0]]
            (speed,) = prober.round([cheapest], [FIRST_STEPS], 1)
            display.advance()
            for place, numbers in enumerate(rounds):
                share_s = (budget_s - (time.monotonic() - began)) / (len(rounds) - place)
                chosen = [networks[number] for number in numbers]
                steps = _affordable_steps(chosen, cheapest, speed, share_s, evaluated)
                if steps is None and timed:
                    break
                found = prober.round(chosen, steps or [FIRST_STEPS] * len(chosen), jobs)
                timed |= dict(zip(numbers, found, strict=True))
                cheapest, speed = chosen[-1], found[-1]
                display.advance()
    speeds = []
    for number, network in enumerate(networks):
        if number in timed:
            speeds.append(timed[number])
            continue
        nearest = min(timed, key=lambda known: abs(math.log(networks[known].work / network.work)))
        speeds.append(timed[nearest].scaled(networks[nearest], network))
    return speeds


def _affordable_steps(
    networks: Sequence[ProbedNetwork],
    known: ProbedNetwork,
    speed: Speed,
    share_s: float,
    evaluated: int,
) -> list[int] | None:
    """Return how many steps of each network fit into `share_s`; None if too few do."""
    steps = []
    for network in networks:
        own = speed.scaled(known, network)
        left_s = share_s - own.start_s - EPOCHS * network.together * evaluated * own.image_s
        steps.append(int(min(MOST_STEPS, left_s / (EPOCHS * network.together * own.step_s))))
    return steps if min(steps) >= FIRST_STEPS else None


class _Prober:
    """Runs probes in a folder of its own."""

    def __init__(
        self, folder: Path, store: Store, executor: LocalProcesses, arguments: Sequence[str]
    ) -> None:
        self.folder, self.store = folder, store
        self.executor, self.arguments = executor, arguments
        self.made = 0

    def round(
        self, networks: Sequence[ProbedNetwork], steps: Sequence[int], jobs: int
    ) -> list[Speed]:
        """Time networks side by side; if they are fewer than `jobs`, some are run again."""
        packs = []
        for place in range(jobs):
            number = place % len(networks)
            packs.append(self._plan(networks[number], steps[number]))
        command = (sys.executable, "-P", "-m", "lowres", "train")
        asked = []
        for pack in packs:
            paths, trusted = (str(run.path) for run in pack), trust_flags([pack[0].recipe])
            words = (*command, *paths, *self.arguments, *trusted)
            asked.append(Job(pack[0].path.parent.name, words, pack[0].path / "train.log"))
        speeds: list[Speed] = [Speed(0, 0, 0, 0)] * jobs
        began = time.monotonic()
        for result in self.executor.finish(asked):
            wall_s = time.monotonic() - began
            number = asked.index(result.job)
            pack = packs[number]
            failed = next((run for run in pack if not run.finished), None)
            if failed is not None:
                said = failed.summary().reason or "it left no error"
                raise StudyError(
                    f"the probe of {failed.recipe.variant} with width {failed.recipe.width:g} "
                    f"ended with status {result.exit_status}: {said}. The study's runs would fail, "
                    "too"
                )
            speeds[number] = self._speed(pack, wall_s)
        found = []
        for place in range(len(networks)):
            same = speeds[place :: len(networks)]
            step_s, image_s, start_s = (
                fmean(getattr(speed, name) for speed in same)
                for name in ("step_s", "image_s", "start_s")
            )
            found.append(Speed(step_s, image_s, start_s, min(speed.steps for speed in same)))
        return found

    def _plan(self, network: ProbedNetwork, steps: int) -> list[Run]:
        """Plan short runs on a store with a few images of train and of the split for errors."""
        self.made += 1
        recipe = network.recipe
        images = math.ceil(steps * recipe.batch_size / (2 if recipe.flip == "both" else 1))
        wanted = {"train": images, recipe.measured_split(self.store.splits): EVAL_IMAGES}
        known = self.store.splits
        splits = {name: min(most, known[name]) for name, most in wanted.items() if name in known}
        path, variant = self.folder / f"store-{self.made}", recipe.variant
        for split, images in splits.items():
            (path / split).mkdir(parents=True)
            np.save(path / array_path(split, variant), self.store.images(split, variant)[:images])
            np.save(path / split / LABELS, self.store.labels(split)[:images])
            (path / split / KEYS).write_text("".join(f"{row}\n" for row in range(images)))
        replace(self.store.manifest, splits=splits, variants=(variant,)).write(path)
        short = replace(recipe, epochs=EPOCHS, lr=CALM_LR)
        return [
            Run.plan(
                self.folder / f"run-{self.made}-{seed}", replace(short, seed=seed), Store(path)
            )
            for seed in range(network.together)
        ]

    def _speed(self, pack: Sequence[Run], wall_s: float) -> Speed:
        last, splits = pack[0].metrics()[-1], pack[0].open_store().splits
        recipe = pack[0].recipe
        steps = recipe.steps_per_epoch(splits["train"])
        images = splits[recipe.measured_split(splits)]
        start_s = max(0.0, wall_s - EPOCHS * len(pack) * (last["train_s"] + last["eval_s"]))
        return Speed(last["train_s"] / steps, last["eval_s"] / images, start_s, steps)


def lines(found: Forecast) -> Iterator[str]:
    """Return the table of configurations as lines, and the estimate below it."""
    names = swept([draft.recipe for draft in found.drafts])
    rows = [[*names, "runs", "network", "parameters", "FLOPs of a run", "time of a run"]]
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, draft in enumerate(found.drafts):
        groups.setdefault(tuple(_shown(draft.recipe, name) for name in names), []).append(number)
    for values, members in groups.items():
        network = found.networks[members[0]]
        finished = all(found.drafts[number].finished for number in members)
        longest_s = max(found.seconds[number] for number in members)
        rows.append(
            [
                *values,
                str(len(members)),
                network.name,
                f"{network.parameters:,}",
                f"{found.flops[members[0]]:.3g}",
                "finished" if finished else duration(longest_s),
            ]
        )
    yield from table(rows)
    yield ""
    yield (
        f"{count(len(found.drafts), 'run')}, {sum(draft.finished for draft in found.drafts)} "
        f"finished; {sum(found.flops):.3g} FLOPs of training in all; about "
        f"{duration(found.total_s)} on this machine, {count(found.jobs, 'process', 'processes')} "
        f"with {count(found.threads, 'thread')} each"
        + (f", which train up to {found.together} runs side by side" if found.together > 1 else "")
    )
    if found.speeds:
        timed = [speed.steps for speed in found.speeds.values() if speed.steps]
        few, many = min(timed), max(timed)
        steps = f"{few} to {many}" if few < many else f"{many}"
        estimated = len(found.speeds) - len(timed)
        yield (
            f"probed: {len(timed)} of {count(len(found.speeds), 'network')}, {steps} timed steps "
            "each after as many to warm up, with evaluation and the start of a process"
            + (f"; {estimated} estimated by FLOPs" if estimated else "")
        )


def swept(recipes: Sequence[Recipe]) -> list[str]:
    """Return the fields, and parts of the variant, in which recipes differ; the seed excepted."""
    names = [*PARTS, *(name for name in FIELDS if name not in ("variant", "seed"))]
    found = [name for name in names if len({_shown(recipe, name) for recipe in recipes}) > 1]
    return found or ["variant"]


def _shown(recipe: Recipe, name: str) -> str:
    where = Variant.parse(recipe.variant) if name in PARTS else recipe
    return value_text(getattr(where, name))
