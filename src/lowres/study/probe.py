"""How fast this machine trains networks: short runs of `lowres train`, as a study would do them.

Each is a whole run on a few images: an epoch to warm up, and one that is timed, with evaluation
after it. As many run side by side as later in the study, so that they share cores, memory and GPUs
likewise.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lowres.errors import StudyError
from lowres.progress import Track, silent
from lowres.recipe import Recipe
from lowres.store.manifest import KEYS, LABELS, array_path
from lowres.store.store import Store
from lowres.training.run import Run, eval_split
from lowres.work.executor import Job, Result
from lowres.work.processes import LocalProcesses

BUDGET_S = 60.0
"""How long all probes may take, about; networks that do not fit in are told by their FLOPs."""

FIRST_STEPS = 2
MOST_STEPS = 40
EVAL_IMAGES = 500
EPOCHS = 2
"""One to warm up, one that is timed."""

CALM_LR = 1e-5
"""So that no probe diverges, which would end it."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a network is.

    Attributes:
        step_s: seconds of a step of training.
        image_s: seconds to evaluate an image.
        start_s: seconds of a run besides: its process, libraries, the first steps, the end.
        steps: steps that were timed; 0 where it was told by FLOPs.
    """

    step_s: float
    image_s: float
    start_s: float
    steps: int


@dataclass(frozen=True, slots=True)
class Network:
    """What is to be probed.

    Attributes:
        recipe: any recipe of the group.
        work: multiply-adds of a step, one way.
    """

    recipe: Recipe
    work: int


def steps_of_epoch(images: int, recipe: Recipe) -> int:
    """Count the steps of an epoch of so many images."""
    return images * (2 if recipe.flip == "both" else 1) // recipe.batch_size


def probe(
    store: Store,
    networks: Sequence[Network],
    executor: LocalProcesses,
    arguments: Sequence[str] = (),
    *,
    budget_s: float = BUDGET_S,
    track: Track = silent,
) -> list[Speed]:
    """Time networks and give the speed of each.

    Args:
        store: where images are taken from; nothing is written to it.
        networks: what is timed.
        executor: runs them, as many at a time as it would run of the study.
        arguments: further arguments of each `lowres train`.
        budget_s: seconds that it may take, about: a first probe of the cheapest network tells how
            many steps of the others fit in.
        track: shows progress.

    Raises:
        StudyError: a probe failed.
    """
    order = sorted(range(len(networks)), key=lambda number: networks[number].work)
    jobs = executor.jobs
    evaluated = min(EVAL_IMAGES, store.splits[eval_split(store, networks[0].recipe)])
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
                steps = _steps(chosen, cheapest, speed, share_s, evaluated)
                if steps is None and timed:
                    break
                found = prober.round(chosen, steps or [FIRST_STEPS] * len(chosen), jobs)
                timed |= dict(zip(numbers, found, strict=True))
                cheapest, speed = chosen[-1], found[-1]
                display.advance()
    return [
        timed.get(number) or _scaled(number, networks, timed) for number in range(len(networks))
    ]


def _steps(
    networks: Sequence[Network], known: Network, speed: Speed, share_s: float, evaluated: int
) -> list[int] | None:
    """Choose how many steps of each fit into a time, or None if too few do."""
    steps = []
    for network in networks:
        step_s = speed.step_s * network.work / known.work
        evaluation_s = speed.image_s * evaluated * _per_image(network) / _per_image(known)
        left_s = share_s - speed.start_s - EPOCHS * evaluation_s
        steps.append(int(min(MOST_STEPS, left_s / (EPOCHS * step_s))))
    return steps if min(steps) >= FIRST_STEPS else None


def _per_image(network: Network) -> float:
    return network.work / network.recipe.batch_size


def _scaled(number: int, networks: Sequence[Network], timed: Mapping[int, Speed]) -> Speed:
    """Tell the speed of a network by that of the nearest one that was timed."""
    own = networks[number]
    nearest = min(timed, key=lambda other: abs(math.log(networks[other].work / own.work)))
    speed, other = timed[nearest], networks[nearest]
    per_image = _per_image(own) / _per_image(other)
    return Speed(speed.step_s * own.work / other.work, speed.image_s * per_image, speed.start_s, 0)


class _Prober:
    """Runs probes in a folder of its own."""

    def __init__(
        self, folder: Path, store: Store, executor: LocalProcesses, arguments: Sequence[str]
    ) -> None:
        self.folder, self.store = folder, store
        self.executor, self.arguments = executor, arguments
        self.made = 0

    def round(self, networks: Sequence[Network], steps: Sequence[int], jobs: int) -> list[Speed]:
        """Time some networks side by side, the same ones again where there are fewer than jobs."""
        places = [place % len(networks) for place in range(jobs)]
        runs = [self._plan(networks[place].recipe, steps[place]) for place in places]
        asked = [self._job(run) for run in runs]
        began, walls = time.monotonic(), {}
        for result in self.executor.finish(asked):
            walls[result.job.name] = time.monotonic() - began
            _check(runs[asked.index(result.job)], result)
        speeds = [_speed(run, walls[job.name]) for run, job in zip(runs, asked, strict=True)]
        return [_mean(speeds[place :: len(networks)]) for place in range(len(networks))]

    def _plan(self, recipe: Recipe, steps: int) -> Run:
        self.made += 1
        wanted = math.ceil(steps * recipe.batch_size / (2 if recipe.flip == "both" else 1))
        small = _small_store(self.folder / f"store-{self.made}", self.store, recipe, wanted)
        short = replace(recipe, epochs=EPOCHS, lr=CALM_LR)
        return Run.plan(self.folder / f"run-{self.made}", short, small)

    def _job(self, run: Run) -> Job:
        train = (sys.executable, "-P", "-m", "lowres", "train")
        return Job(run.path.name, (*train, str(run.path), *self.arguments), run.path / "train.log")


def _small_store(path: Path, store: Store, recipe: Recipe, images: int) -> Store:
    """Write a store with some images of another, of train and of what is evaluated on."""
    manifest, variant = store.manifest, recipe.variant
    wanted = {"train": images, eval_split(store, recipe): EVAL_IMAGES}
    splits = {
        split: min(count, store.splits[split])
        for split, count in wanted.items()
        if split in store.splits
    }
    for split, count in splits.items():
        (path / split).mkdir(parents=True)
        np.save(path / array_path(split, variant), store.images(split, variant)[:count])
        np.save(path / split / LABELS, store.labels(split)[:count])
        (path / split / KEYS).write_text("".join(f"{row}\n" for row in range(count)))
    replace(manifest, splits=splits, variants=(variant,)).write(path)
    return Store(path)


def _check(run: Run, result: Result) -> None:
    if run.status == "finished":
        return
    said = run.error()["message"] if run.status == "failed" else "it left no word"
    name = f"{run.recipe.variant} with width {run.recipe.width:g}"
    raise StudyError(
        f"the probe of {name} ended with status {result.exit_status}: {said}. The study's runs "
        "would fail likewise"
    )


def _speed(run: Run, wall_s: float) -> Speed:
    last = run.metrics()[-1]
    store = run.open_store()
    steps = steps_of_epoch(store.splits["train"], run.recipe)
    images = store.splits[eval_split(store, run.recipe)]
    start_s = max(0.0, wall_s - EPOCHS * (last["train_s"] + last["eval_s"]))
    return Speed(last["train_s"] / steps, last["eval_s"] / images, start_s, steps)


def _mean(speeds: Sequence[Speed]) -> Speed:
    count = len(speeds)
    return Speed(
        sum(speed.step_s for speed in speeds) / count,
        sum(speed.image_s for speed in speeds) / count,
        sum(speed.start_s for speed in speeds) / count,
        min(speed.steps for speed in speeds),
    )
