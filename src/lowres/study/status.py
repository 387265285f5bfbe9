"""How runs stand: `lowres status`, and what `lowres info` shows of runs and studies."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowres.recipe import Recipe
from lowres.study.forecast import makespan, speed_group
from lowres.study.runs import read_runs
from lowres.study.study import cost, why_failed
from lowres.text import duration
from lowres.training.run import METRICS_FILE, Run, RunState, RunSummary

WAITING = (RunState.STARTED, RunState.PLANNED)
"""States of runs that a study still has to train."""

TINY = 1e-9
"""Of a process: what is left of a sum of equal parts."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one run stands.

    Attributes:
        path: the run's directory.
        recipe: what it trains; None if a file of the run is damaged.
        state: its state.
        epochs: number of finished epochs.
        spent_s: seconds of training and evaluation in these epochs.
        idle_s: seconds since the last epoch ended; 0 if there is none, and of a finished run.
        reason: why the run failed, where it diverged, or what is damaged; empty otherwise.
        together: runs that its process trains side by side; each run's `spent_s` is its share.
        left_s: seconds that the run still needs, at the speed of the runs so far; None if unknown.
            Of a run that waits, its share of the process that will train it.
    """

    path: Path
    recipe: Recipe | None
    state: RunState
    epochs: int = 0
    spent_s: float = 0.0
    idle_s: float = 0.0
    reason: str = ""
    together: int = 1
    left_s: float | None = None


def standings(folder: Path) -> list[Standing]:
    """Return how every run in a folder stands, at any depth: the most costly first, damaged last.

    Raises:
        StudyError: the folder holds no run that can be read.
    """
    found, damaged = read_runs(folder, _standing)
    found.sort(key=lambda one: (-cost(one.recipe) if one.recipe else 0.0, one.path.name))
    speeds = _Speeds(found)
    return [
        *map(speeds.completed, found),
        *(Standing(one.path, None, RunState.DAMAGED, reason=one.reason) for one in damaged),
    ]


def _standing(run: Run, one: RunSummary) -> Standing:
    """Return how a run stands, without the time it still needs."""
    reason = why_failed(run) if one.state is RunState.FAILED else one.reason
    metrics, idle_s = run.path / METRICS_FILE, 0.0
    if one.history and not one.finished:
        with suppress(FileNotFoundError):
            idle_s = max(0.0, time.time() - metrics.stat().st_mtime)
    together = int(one.history[-1].get("together", 1)) if one.history else 1
    epochs = len(one.history)
    return Standing(run.path, run.recipe, one.state, epochs, one.spent_s, idle_s, reason, together)


class _Speeds:
    """Seconds of an epoch: measured on runs of the same speed group, else estimated by cost."""

    def __init__(self, found: Sequence[Standing]) -> None:
        self.groups: dict[tuple[Any, ...], list[float]] = {}
        self.together: dict[tuple[Any, ...], int] = {}
        spent_s = work = 0.0
        for one in found:
            if one.recipe is None or not one.epochs or one.spent_s <= 0:
                continue
            group = speed_group(one.recipe)
            self.together[group] = max(one.together, self.together.get(group, 1))
            sums = self.groups.setdefault(group, [0.0, 0.0])
            sums[0] += one.spent_s
            sums[1] += one.epochs
            spent_s += one.spent_s
            work += one.epochs * _epoch_cost(one.recipe)
        self.rate = spent_s / work if work else None

    def completed(self, one: Standing) -> Standing:
        """Return the standing of a run with the seconds it still needs."""
        recipe = one.recipe
        if recipe is None or one.state.finished:
            return replace(one, left_s=0.0)
        group = speed_group(recipe)
        if group in self.groups:
            spent_s, epochs = self.groups[group]
            epoch_s = spent_s / epochs
        elif self.rate is not None:
            epoch_s = self.rate * _epoch_cost(recipe)
        else:
            return one
        if one.state is not RunState.RUNNING:
            return replace(one, left_s=max(0, recipe.epochs - one.epochs) * epoch_s)
        together = one.together if one.epochs else self.together.get(group, 1)
        epoch_s *= together
        left_s = (recipe.epochs - one.epochs) * epoch_s - min(one.idle_s, epoch_s)
        return replace(one, together=together, left_s=max(0.0, left_s))


def _epoch_cost(recipe: Recipe) -> float:
    return cost(recipe) / recipe.epochs


def counts(found: Sequence[Standing]) -> dict[RunState, int]:
    """Count the runs in each state."""
    counted = Counter(one.state for one in found)
    return {state: counted[state] for state in reversed(RunState)}


def left_s(found: Sequence[Standing]) -> float | None:
    """Return the seconds until all runs that did not fail are done.

    As many processes train as now, or one if none does. None if no epoch is finished yet.
    """
    running = [one for one in found if one.state is RunState.RUNNING]
    waiting = [one.left_s for one in found if one.state in WAITING]
    if None in (*(one.left_s for one in running), *waiting):
        return None
    processes: list[float] = []  # seconds that each still needs; runs of one end together
    of_process = 0.0
    for one in sorted(running, key=lambda one: -(one.left_s or 0.0)):
        if of_process < TINY:
            processes.append(one.left_s or 0.0)
        of_process += 1 / one.together
        if of_process > 1 - TINY:
            of_process = 0.0
    return makespan([s or 0.0 for s in waiting], max(1, len(processes)), processes)


def summary(found: Sequence[Standing]) -> str:
    """Return a line with the number of runs in each state and the time left."""
    counted = counts(found)
    listed = ", ".join(f"{count} {state}" for state, count in counted.items() if count)
    if not any(counted[state] for state in (RunState.RUNNING, *WAITING)):
        return listed
    seconds, jobs = left_s(found), max(1, counted[RunState.RUNNING])
    if seconds is None:
        return f"{listed}; time left: unknown until an epoch is finished"
    return f"{listed}; about {duration(seconds)} left, {jobs} at a time"


def lines(found: Sequence[Standing]) -> Iterator[str]:
    """Return a line for each run that is running, was stopped, failed, diverged or is damaged."""
    for one in found:
        of = f" of {one.recipe.epochs}" if one.recipe else ""
        progress = f"epoch {one.epochs}{of} finished"
        if one.state is RunState.RUNNING:
            left = "" if one.left_s is None else f", about {duration(one.left_s)} left"
            yield f"{one.path.name}: running, {progress}{left}"
        elif one.state is RunState.STARTED:
            yield f"{one.path.name}: started and stopped, {progress}"
        elif one.reason:
            yield f"{one.path.name}: {one.state}: {one.reason}"


def record(folder: Path, found: Sequence[Standing]) -> Mapping[str, Any]:
    """Return all of it as JSON values; times in seconds."""
    return {
        "path": str(folder),
        "counts": counts(found),
        "left_s": left_s(found),
        "runs": [
            {
                "name": one.path.name,
                "path": str(one.path),
                "state": one.state,
                "epochs_done": one.epochs,
                "epochs": one.recipe.epochs if one.recipe else None,
                "spent_s": one.spent_s,
                "left_s": one.left_s,
                "reason": one.reason,
                "recipe": one.recipe.to_record() if one.recipe else None,
            }
            for one in found
        ],
    }
