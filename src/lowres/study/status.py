"""How runs stand: `lowres status`, and what `lowres info` says of runs and studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from lowres.recipe import Recipe
from lowres.study.estimate import in_words, makespan, speed_group
from lowres.study.study import cost, find_runs, why_failed
from lowres.training.run import Run

State = Literal["finished", "diverged", "running", "failed", "begun", "planned"]
STATES: tuple[State, ...] = ("finished", "diverged", "running", "failed", "begun", "planned")


@dataclass(frozen=True, slots=True)
class Standing:
    """How one run stands.

    Attributes:
        run: the run.
        state: finished; diverged, which is finished, too; running, in the hands of a process;
            failed in its last attempt; begun and stopped; or planned.
        epochs: epochs that are done.
        spent_s: seconds of training and evaluation in these.
        idle_s: seconds since the last of them ended, or since the run was begun.
        reason: why it failed or where it diverged; empty otherwise.
        left_s: seconds that are still needed, at the speed of runs so far; None where unknown.
    """

    run: Run
    state: State
    epochs: int
    spent_s: float
    idle_s: float
    reason: str = ""
    left_s: float | None = None


def standings(folder: Path) -> list[Standing]:
    """Tell how every run in a folder stands, at any depth, the most costly first.

    Raises:
        StudyError: the folder holds no runs, or a study's run is missing.
        RunError: one is damaged.
    """
    runs = sorted(find_runs(folder), key=lambda run: (-cost(run.recipe), run.path.name))
    found = [_standing(run) for run in runs]
    speeds = _Speeds(found)
    return [replace(one, left_s=speeds.left_s(one)) for one in found]


def _standing(run: Run) -> Standing:
    found = run.summary()
    words: dict[str, State] = {"trained": "finished", "started": "begun"}
    state = words.get(found.state, cast(State, str(found.state)))
    reason = _reason(run, state)
    return Standing(run, state, len(found.history), found.spent_s, run.idle_s(), reason)


def _reason(run: Run, state: State) -> str:
    if state == "diverged":
        return f"in epoch {run.result()['epochs']}"
    return why_failed(run) if state == "failed" else ""


class _Speeds:
    """Seconds of an epoch, by what runs of a kind took, and by cost for kinds without any."""

    def __init__(self, found: Sequence[Standing]) -> None:
        told = [one for one in found if one.epochs and one.spent_s > 0]
        self.groups: dict[tuple[Any, ...], list[float]] = {}
        for one in told:
            sums = self.groups.setdefault(speed_group(one.run.recipe), [0.0, 0.0])
            sums[0] += one.spent_s
            sums[1] += one.epochs
        work = sum(one.epochs * _epoch_cost(one.run.recipe) for one in told)
        self.rate = sum(one.spent_s for one in told) / work if work else None

    def left_s(self, one: Standing) -> float | None:
        if one.state in ("finished", "diverged"):
            return 0.0
        seconds = self._epoch_s(one.run.recipe)
        if seconds is None:
            return None
        under_way_s = min(one.idle_s, seconds) if one.state == "running" else 0.0
        return max(0.0, (one.run.recipe.epochs - one.epochs) * seconds - under_way_s)

    def _epoch_s(self, recipe: Recipe) -> float | None:
        if speed_group(recipe) in self.groups:
            spent_s, epochs = self.groups[speed_group(recipe)]
            return spent_s / epochs
        return None if self.rate is None else self.rate * _epoch_cost(recipe)


def _epoch_cost(recipe: Recipe) -> float:
    return cost(recipe) / recipe.epochs


def counts(found: Sequence[Standing]) -> dict[State, int]:
    """Count the runs in each state, the diverged not among the finished."""
    counted = Counter(one.state for one in found)
    return {state: counted[state] for state in STATES}


def left_s(found: Sequence[Standing]) -> float | None:
    """Give the seconds until all is done but what failed, with as many at a time as run now.

    One at a time where none runs; None where no epoch is done yet, from which to tell.
    """
    running = [one.left_s for one in found if one.state == "running"]
    waiting = [one.left_s for one in found if one.state in ("begun", "planned")]
    known = [one for one in running if one is not None], [one for one in waiting if one is not None]
    if len(known[0]) < len(running) or len(known[1]) < len(waiting):
        return None
    return makespan(known[1], max(1, len(running)), known[0])


def summary(found: Sequence[Standing]) -> str:
    """Tell in a line how many runs are how far, and how long the rest will take."""
    counted = counts(found)
    listed = ", ".join(f"{count} {state}" for state, count in counted.items() if count)
    if not any(counted[state] for state in ("running", "begun", "planned")):
        return listed
    seconds, jobs = left_s(found), max(1, counted["running"])
    if seconds is None:
        return f"{listed}; time left: not known before an epoch is done"
    return f"{listed}; about {in_words(seconds)} left, {jobs} at a time"


def lines(found: Sequence[Standing]) -> Iterator[str]:
    """Tell of each run that needs attention: what runs, was stopped, failed or diverged."""
    for one in found:
        progress = f"epoch {one.epochs} of {one.run.recipe.epochs} done"
        if one.state == "running":
            left = "" if one.left_s is None else f", about {in_words(one.left_s)} left"
            yield f"{one.run.path.name}: running, {progress}{left}"
        elif one.state == "begun":
            yield f"{one.run.path.name}: begun and stopped, {progress}"
        elif one.reason:
            yield f"{one.run.path.name}: {one.state}: {one.reason}"


def record(folder: Path, found: Sequence[Standing]) -> Mapping[str, Any]:
    """Give all of it as JSON values; times in seconds."""
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
