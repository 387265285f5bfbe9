"""A study's directory: plan runs, finish them, tell how each one ended.

::

    STUDY/study.json     the store, the recipe around the axes, the axes
    STUDY/runs/NAME/     one directory a run
    STUDY/report.html    written by lowres report

Any number of processes may plan and finish one study at the same time, here or on machines that
share its file system: a run is trained by one of them, and each ends when all runs have ended.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lowres.errors import RunError, StudyError
from lowres.progress import Display, Track, silent
from lowres.recipe import Recipe
from lowres.store.store import Store
from lowres.study.axes import Axis, Together, expand
from lowres.study.record import FILE_NAME, grown_record, planning, read_record, refuse_file
from lowres.training.run import Run
from lowres.work.executor import BUSY_STATUS, Executor, Job, Result
from lowres.work.files import write_json

OTHERS_POLL_S = 1.0
"""How often runs that other processes train are looked at."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How the runs of a study stand after a call of `finish`."""

    finished: int
    failed: dict[str, str]


@dataclass(frozen=True, slots=True)
class Draft:
    """A run that a plan would make, or that is there already.

    Attributes:
        name: name of its directory.
        recipe: what it trains.
        epochs: how many are done.
        finished: whether all is done.
    """

    name: str
    recipe: Recipe
    epochs: int = 0
    finished: bool = False

    @classmethod
    def of(cls, run: Run) -> Self:
        """Tell how far a run is."""
        return cls(run.path.name, run.recipe, len(run.metrics()), run.status == "finished")


class Study:
    """A planned set of runs.

    Attributes:
        path: the study's directory.
        runs: its runs, the most costly first.
    """

    def __init__(self, path: Path, runs: Sequence[Run]) -> None:
        self.path = path
        self.runs = sorted(runs, key=lambda run: (-cost(run.recipe), run.path.name))

    @classmethod
    def plan(
        cls,
        path: Path,
        store: Store,
        base: Recipe,
        axes: Sequence[Axis | Together],
        points: Sequence[Mapping[str, Any]] = (),
    ) -> Self:
        """Make the directories of all runs that are asked for, keeping those that are there.

        A study may be planned again with more values or axes; what is not swept must stay.

        Args:
            path: directory of the study.
            store: what is trained on.
            base: what the runs have in common.
            axes: what is combined.
            points: further runs, as changes of `base`; see `expand`.

        Raises:
            StudyError: the directory holds something else, or a study that does not fit.
            RecipeError, VariantError: a value is outside its range.
            StoreError: the store lacks a variant.
        """
        recipes = _recipes(store, base, axes, points)
        refuse_file(path)
        path.mkdir(parents=True, exist_ok=True)
        with planning(path):
            record = grown_record(path, store, base, axes, points, list(recipes))
            (path / "runs").mkdir(exist_ok=True)
            write_json(path / FILE_NAME, record)
            for name, recipe in recipes.items():
                Run.plan(path / "runs" / name, recipe, store)
            return cls.open(path)

    @classmethod
    def draft(
        cls,
        path: Path,
        store: Store,
        base: Recipe,
        axes: Sequence[Axis | Together],
        points: Sequence[Mapping[str, Any]] = (),
    ) -> list[Draft]:
        """Give the runs that `plan` would make or keep, the most costly first; write nothing.

        Raises:
            LowresError: as `plan`.
        """
        recipes = _recipes(store, base, axes, points)
        with planning(path) if path.is_dir() else nullcontext():
            record = grown_record(path, store, base, axes, points, list(recipes))
        drafts = [
            Draft.of(Run.open(path / "runs" / name))
            if (path / "runs" / name / "recipe.json").exists() or name not in recipes
            else Draft(name, recipes[name])
            for name in record["runs"]
        ]
        return sorted(drafts, key=lambda draft: (-cost(draft.recipe), draft.name))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a planned study.

        Raises:
            StudyError: there is none, or it is damaged.
        """
        record = read_record(path)
        if record is None:
            raise StudyError(f"{path} is not a study: it has no {FILE_NAME}")
        try:
            return cls(path, [Run.open(path / "runs" / name) for name in record["runs"]])
        except RunError as error:
            raise StudyError(f"{error}; plan the study again with the same axes") from error

    def drafts(self) -> list[Draft]:
        """Give its runs as drafts."""
        return [Draft.of(run) for run in self.runs]

    def commands(self, arguments: Sequence[str] = ()) -> list[tuple[str, ...]]:
        """Give the command of each run that is not finished, the most costly first.

        Args:
            arguments: further arguments of each `lowres train`.
        """
        return [
            ("lowres", "train", str(run.path.resolve()), *arguments)
            for run in self.runs
            if run.status != "finished"
        ]

    def finish(
        self, executor: Executor, arguments: Sequence[str] = (), *, track: Track = silent
    ) -> Summary:
        """Finish every run that is not finished; failed ones are tried again.

        A run that another process trains is waited for, and taken over if that process ends
        without having finished it.

        Args:
            executor: what runs them.
            arguments: further arguments of each `lowres train`.
            track: shows progress, one line a run.
        """
        todo = {run.path.name: run for run in self.runs if run.status != "finished"}
        elsewhere: dict[str, Run] = {}
        with track("study", len(self.runs), done=len(self.runs) - len(todo)) as display:
            while todo or elsewhere:
                jobs = [_job(run, arguments) for run in todo.values()]
                for result in executor.finish(jobs):
                    run = todo[result.job.name]
                    if _is_elsewhere(run, result):
                        elsewhere[run.path.name] = run
                        display.say(f"{run.path.name}: another process is training it; waiting")
                    else:
                        _note(run, result, display)
                todo = _await_others(elsewhere, display)
        failed = {run.path.name: why_failed(run) for run in self.runs if run.status == "failed"}
        finished = sum(run.status == "finished" for run in self.runs)
        return Summary(finished, failed)


def find_runs(folder: Path) -> list[Run]:
    """Open all runs in a folder, at any depth: those of a study, a run itself, or any others.

    Raises:
        StudyError: there is none, or a study's run is missing.
        RunError: one is damaged.
    """
    if (folder / FILE_NAME).exists():
        Study.open(folder)  # which refuses a study whose runs have gone missing
    runs = [Run.open(path.parent) for path in sorted(folder.glob("**/recipe.json"))]
    if not runs:
        raise StudyError(f"{folder} holds no runs: expected a study, a run or a folder of runs")
    return runs


def cost(recipe: Recipe) -> float:
    """Estimate the cost of a run, up to a factor: most of it are convolutions at full size."""
    return recipe.epochs * recipe.blocks * recipe.width**2 * recipe.size**2


def why_failed(run: Run) -> str:
    """Tell why a run failed, and where more is written."""
    error = run.error()
    return f"{error['type']}: {error['message']} (see {run.path / 'train.log'})"


def _recipes(
    store: Store,
    base: Recipe,
    axes: Sequence[Axis | Together],
    points: Sequence[Mapping[str, Any]],
) -> dict[str, Recipe]:
    recipes = expand(base, axes, points)
    for variant in dict.fromkeys(recipe.variant for recipe in recipes):
        store.images("train", variant)
    return {recipe.run_name(store.manifest.digest): recipe for recipe in recipes}


def _job(run: Run, arguments: Sequence[str]) -> Job:
    path = run.path.resolve()
    command = (sys.executable, "-P", "-m", "lowres", "train", str(path), *arguments)
    return Job(run.path.name, command, path / "train.log")


def _await_others(elsewhere: dict[str, Run], display: Display) -> dict[str, Run]:
    """Wait until runs that others train have ended, or until one was left unfinished: take that.

    Args:
        elsewhere: what others train; what has ended is removed from it.
        display: shows how runs ended.

    Returns:
        The runs to be taken over.
    """
    left: dict[str, Run] = {}
    while elsewhere and not left:
        time.sleep(OTHERS_POLL_S)
        for name, run in list(elsewhere.items()):
            if run.busy:
                continue
            del elsewhere[name]
            if run.status in ("finished", "failed"):
                _tell(run, display)
            else:
                left[name] = run
    return left


def _is_elsewhere(run: Run, result: Result) -> bool:
    """Tell whether a run that was to be finished is in other hands."""
    return run.status != "finished" and (result.exit_status == BUSY_STATUS or run.busy)


def _note(run: Run, result: Result, display: Display) -> None:
    """Say how a run ended, recording what it could not record itself."""
    if run.status != "finished" and run.status != "failed":
        run.record_error("ProcessEnded", f"its process {_ending(result.exit_status)}")
    _tell(run, display)


def _tell(run: Run, display: Display) -> None:
    display.say(f"{run.path.name}: {_end(run)}")
    display.advance()


def _end(run: Run) -> str:
    if run.status == "failed":
        return f"FAILED: {why_failed(run)}"
    result = run.result()
    if result["status"] == "diverged":
        return f"diverged in epoch {result['epochs']}"
    return f"top-1 error {100 * result['top1_error']:.2f} %, {result['train_s']:.1f} s"


def _ending(exit_status: int) -> str:
    if exit_status >= 0:
        return f"ended with status {exit_status} and without a result"
    name = signal.Signals(-exit_status).name
    hint = "; was there too little memory?" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"
