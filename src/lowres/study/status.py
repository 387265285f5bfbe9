"""How runs stand: `lowres status`, and what `lowres info` shows of runs and studies."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowres.recipe import Recipe
from lowres.study.forecast import makespan, speed_group
from lowres.study.study import cost, find_runs, why_failed
from lowres.text import duration
from lowres.training.run import METRICS_FILE, Run, RunState

WAITING = (RunState.STARTED, RunState.PLANNED)
"""States of runs that a study still has to train."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one run stands.

    Attributes:
        run: the run.
        state: its state.
        epochs: number of finished epochs.
        spent_s: seconds of training and evaluation in these epochs.
        idle_s: seconds since the last epoch ended, or 0 if there is none.
        reason: why the run failed or where it diverged; empty otherwise.
        left_s: seconds that the run still needs, at the speed of the runs so far; None if unknown.
    """

    run: Run
    state: RunState
    epochs: int
    spent_s: float
    idle_s: float
    reason: str = ""
    left_s: float | None = None


def standings(folder: Path) -> list[Standing]:
    """Return how every run in a folder stands, at any depth, the most costly first.

    Raises:
        StudyError: the folder holds no runs, or a study's run is missing.
        RunError: a run is damaged.
    """
    runs = sorted(find_runs(folder), key=lambda run: (-cost(run.recipe), run.path.name))
    found = []
    for run in runs:
        one = run.summary()
        reason = why_failed(run) if one.state is RunState.FAILED else one.reason
        metrics = run.path / METRICS_FILE
        idle_s = max(0.0, time.time() - metrics.stat().st_mtime) if metrics.exists() else 0.0
        found.append(Standing(run, one.state, len(one.history), one.spent_s, idle_s, reason))
    speeds = _Speeds(found)
    return [replace(one, left_s=speeds.left_s(one)) for one in found]


class _Speeds:
    """Seconds of an epoch: measured on runs of the same speed group, else estimated by cost."""

    def __init__(self, found: Sequence[Standing]) -> None:
        measured = [one for one in found if one.epochs and one.spent_s > 0]
        self.groups: dict[tuple[Any, ...], list[float]] = {}
        for one in measured:
            sums = self.groups.setdefault(speed_group(one.run.recipe), [0.0, 0.0])
            sums[0] += one.spent_s
            sums[1] += one.epochs
        work = sum(one.epochs * _epoch_cost(one.run.recipe) for one in measured)
        self.rate = sum(one.spent_s for one in measured) / work if work else None

    def left_s(self, one: Standing) -> float | None:
        """Return the seconds that a run still needs; None if no run has finished an epoch."""
        if one.state.finished:
            return 0.0
        recipe, group = one.run.recipe, speed_group(one.run.recipe)
        if group in self.groups:
            spent_s, epochs = self.groups[group]
            epoch_s = spent_s / epochs
        elif self.rate is not None:
            epoch_s = self.rate * _epoch_cost(recipe)
        else:
            return None
        under_way_s = min(one.idle_s, epoch_s) if one.state is RunState.RUNNING else 0.0
        return max(0.0, (recipe.epochs - one.epochs) * epoch_s - under_way_s)


def _epoch_cost(recipe: Recipe) -> float:
    return cost(recipe) / recipe.epochs


def counts(found: Sequence[Standing]) -> dict[RunState, int]:
    """Count the runs in each state."""
    counted = Counter(one.state for one in found)
    return {state: counted[state] for state in reversed(RunState)}


def left_s(found: Sequence[Standing]) -> float | None:
    """Return the seconds until all runs that did not fail are done.

    As many run at a time as run now, or one if none runs. None if no epoch is finished yet.
    """
    running = [one.left_s for one in found if one.state is RunState.RUNNING]
    waiting = [one.left_s for one in found if one.state in WAITING]
    if None in (*running, *waiting):
        return None
    return makespan([s or 0.0 for s in waiting], max(1, len(running)), [s or 0.0 for s in running])


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
    """Return a line for each run that is running, was stopped, failed or diverged."""
    for one in found:
        progress = f"epoch {one.epochs} of {one.run.recipe.epochs} finished"
        if one.state is RunState.RUNNING:
            left = "" if one.left_s is None else f", about {duration(one.left_s)} left"
            yield f"{one.run.path.name}: running, {progress}{left}"
        elif one.state is RunState.STARTED:
            yield f"{one.run.path.name}: started and stopped, {progress}"
        elif one.reason:
            yield f"{one.run.path.name}: {one.state}: {one.reason}"


def record(folder: Path, found: Sequence[Standing]) -> Mapping[str, Any]:
    """Return all of it as JSON values; times in seconds."""
    return {
        "path": str(folder),
        "counts": counts(found),
        "left_s": left_s(found),
        "runs": [
            {
                "name": one.run.path.name,
                "path": str(one.run.path),
                "state": one.state,
                "epochs_done": one.epochs,
                "epochs": one.run.recipe.epochs,
                "spent_s": one.spent_s,
                "left_s": one.left_s,
                "reason": one.reason,
                "recipe": one.run.recipe.to_record(),
            }
            for one in found
        ],
    }
