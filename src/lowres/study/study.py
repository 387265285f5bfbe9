"""A study's directory: plan runs, train them, report how each one ended.

::

    STUDY/study.json     the store, the recipe around the axes, the axes, the names of the runs
    STUDY/runs/NAME/     one directory a run
    STUDY/report.html    written by lowres report

Several processes may plan and finish one study at the same time, here or on machines that share
its file system. Each run is trained by one of them, and each process ends when all runs have ended.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from lowres.errors import LowresError, RunError, StudyError
from lowres.networks.imported import refuse_untrusted, trust_flags
from lowres.networks.size import training_macs
from lowres.progress import Display, Track, silent
from lowres.recipe import FIELDS, Recipe
from lowres.store.store import Store
from lowres.study.axes import expand
from lowres.study.runs import runs as table_of_runs
from lowres.study.study_file import Axes, Points, grown_record, study_directory
from lowres.text import percent
from lowres.training.run import Run, RunState, RunSummary
from lowres.work.executor import BUSY_STATUS, Executor, Job
from lowres.work.files import make_folder, write_json

PLANNING_S = 60.0
"""How long `Study.plan` waits for another process that plans the same study."""

OTHERS_POLL_S = 1.0
"""How often `Study.finish` looks at the runs that other processes train."""

LOG_FILE = "train.log"
"""In the directory of a run: the output of its process, unless the process trained others, too."""

RUNS_OF_A_COMMAND = 500
"""Runs that workers share at a time: the system limits the length of a command."""

WATCH_S = 1.0
"""How often a study looks for results while workers train."""

COST_IMAGES, COST_CLASSES = 1_281_167, 1000
"""Train images and classes by which `cost` compares recipes: those of ImageNet."""


@dataclass(frozen=True, slots=True)
class StudySummary:
    """What a call of `Study.finish` leaves behind.

    Attributes:
        finished: how many runs have a result.
        failed: the reason for each run that failed, by its name.
    """

    finished: int
    failed: dict[str, str]


class Study:
    """A planned set of runs.

    Attributes:
        path: the study's directory.
        axes: the values of each swept field.
        runs: its runs, the most costly first.
    """

    def __init__(
        self, path: Path, runs: Sequence[Run], axes: Mapping[str, Sequence[Any]] | None = None
    ) -> None:
        self.path = path
        self.axes = dict(axes or {})
        self.runs = sorted(runs, key=lambda run: (-cost(run.recipe), run.path.name))

    @classmethod
    def plan(cls, path: Path, store: Store, base: Recipe, axes: Axes, points: Points = ()) -> Self:
        """Make the directories of all runs, keeping those that exist.

        A study may be planned again with more values, axes and points; all else must stay.

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
        work = study_directory(path)
        with work.lock("being planned", wait_s=PLANNING_S):
            record = grown_record(work, store, base, axes, points, recipes)
            make_folder(path / "runs")
            write_json(path / work.plan_name, record)
            for name, recipe in recipes.items():
                Run.plan(path / "runs" / name, recipe, store)
            return cls.open(path)

    @classmethod
    def draft(
        cls, path: Path, store: Store, base: Recipe, axes: Axes, points: Points = ()
    ) -> list[RunSummary]:
        """Return the runs that `plan` would make or keep, the most costly first; write nothing.

        Raises:
            LowresError: as `plan`.
        """
        recipes = _recipes(store, base, axes, points)
        work = study_directory(path)
        planning = work.lock("being planned", wait_s=PLANNING_S) if path.exists() else nullcontext()
        with planning:
            names = grown_record(work, store, base, axes, points, recipes)["runs"]
        drafts = []
        for name in names:
            folder = path / "runs" / name
            kept = (folder / "recipe.json").exists() or name not in recipes
            drafts.append(Run.open(folder).summary() if kept else RunSummary(name, recipes[name]))
        return sorted(drafts, key=lambda draft: (-cost(draft.recipe), draft.name))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a planned study.

        Raises:
            StudyError: there is none, or it is damaged.
        """
        record = study_directory(path).read()
        try:
            runs = [Run.open(path / "runs" / name) for name in record["runs"]]
        except RunError as error:
            raise StudyError(f"{error}; plan the study again with the same axes") from error
        return cls(path, runs, record["axes"])

    def grown(self, recipes: Sequence[Recipe]) -> Self:
        """Plan further runs of this study, and return it with them.

        Raises:
            LowresError: as `plan`, or the store of the study is missing.
        """
        base = Recipe.from_record(study_directory(self.path).read()["base"])
        points = [
            {
                name: getattr(recipe, name)
                for name in FIELDS
                if getattr(recipe, name) != getattr(base, name)
            }
            for recipe in recipes
        ]
        return type(self).plan(self.path, self.runs[0].open_store(), base, (), points)

    def _repr_html_(self) -> str:
        """Return a table of the runs for notebooks."""
        return table_of_runs(self.path)._repr_html_()

    def summaries(self) -> list[RunSummary]:
        """Return the summary of each run, the most costly first."""
        return [run.summary() for run in self.runs]

    def commands(self, arguments: Sequence[str] = ()) -> list[tuple[str, ...]]:
        """Return the `lowres train` of each run that is not finished, the most costly first.

        Raises:
            UntrustedError: a run names code that was not passed to `lowres.trust`.
        """
        todo = [run for run in self.runs if not run.finished]
        refuse_untrusted(run.recipe for run in todo)
        train = ("lowres", "train")
        return [
            (*train, str(run.path.resolve()), *arguments, *trust_flags([run.recipe]))
            for run in todo
        ]

    def finish(
        self,
        executor: Executor,
        arguments: Sequence[str] = (),
        *,
        workers: int | None = None,
        track: Track = silent,
    ) -> StudySummary:
        """Train every run that is not finished, and those that failed once more.

        If another process trains a run, the study waits for it; if that process ends without a
        result, the study trains the run itself.

        Args:
            executor: what runs the commands.
            arguments: further arguments of each `lowres train`.
            workers: processes that share the runs; each loads torch once, and takes the runs that
                no other trains. What a process leaves behind that crashes is trained run by run.
                None: a process for each run.
            track: shows progress, one line a run.

        Raises:
            UntrustedError: a run names code that was not passed to `lowres.trust`.
        """
        todo = [run for run in self.runs if not run.finished]
        refuse_untrusted(run.recipe for run in todo)
        elsewhere: list[Run] = []
        with track("study", len(self.runs), done=len(self.runs) - len(todo)) as display:
            while todo or elsewhere:
                if workers and len(todo) > 1:
                    now, later = todo[:RUNS_OF_A_COMMAND], todo[RUNS_OF_A_COMMAND:]
                    left = self._share(now, workers, executor, arguments, display)
                    workers = None if left else workers
                    todo = left + later
                    continue
                by_name = {run.path.name: run for run in todo}
                jobs = [
                    Job(name, _train_command([run], arguments), run.path.resolve() / LOG_FILE)
                    for name, run in by_name.items()
                ]
                for result in executor.finish(jobs):
                    name, run = result.job.name, by_name[result.job.name]
                    if not run.finished and (result.exit_status == BUSY_STATUS or run.busy):
                        elsewhere.append(run)
                        display.say(f"{name}: another process is training it; waiting")
                        continue
                    if not run.finished and run.state is not RunState.FAILED:
                        run.record_error("ProcessEnded", _ending(result.exit_status))
                    _report_end(run, display)
                todo = _await_others(elsewhere, display)
        failed = {
            run.path.name: why_failed(run) for run in self.runs if run.state is RunState.FAILED
        }
        return StudySummary(sum(run.finished for run in self.runs), failed)

    def _share(
        self,
        runs: Sequence[Run],
        workers: int,
        executor: Executor,
        arguments: Sequence[str],
        display: Display,
    ) -> list[Run]:
        """Let processes share some runs, and return those that are neither finished nor failed."""
        command = _train_command(runs, arguments)
        jobs = [
            Job(f"worker-{number}", command, self.path.resolve() / f"worker-{number}.log")
            for number in range(1, min(workers, len(runs)) + 1)
        ]
        pending, over = dict.fromkeys(runs), threading.Event()

        def report_finished() -> None:
            while not over.wait(WATCH_S):
                for run in [run for run in pending if run.finished]:
                    del pending[run]
                    _report_end(run, display)

        watcher = threading.Thread(target=report_finished, name="lowres-watcher", daemon=True)
        watcher.start()
        try:
            for _ in executor.finish(jobs):
                pass  # the runs themselves say how they ended
        finally:
            over.set()
            watcher.join()
        for run in [run for run in pending if run.finished or run.state is RunState.FAILED]:
            del pending[run]
            _report_end(run, display)
        return list(pending)


@lru_cache(maxsize=65_536)  # a large study asks for each of its runs several times
def cost(recipe: Recipe) -> float:
    """Return the cost of a run, in multiply-adds of training it on ImageNet.

    It orders runs, whatever their store. If a network of the user's cannot be made here, the
    recipe's Wide ResNet stands for it.
    """
    try:
        return float(training_macs(recipe, COST_IMAGES, COST_CLASSES))
    except LowresError:
        return float(training_macs(replace(recipe, model="wrn"), COST_IMAGES, COST_CLASSES))


def why_failed(run: Run) -> str:
    """Return why a run failed, and the file that holds more."""
    error, log = run.error(), run.path / LOG_FILE
    more = f" (see {log})" if log.exists() else ""
    return f"{error['type']}: {error['message']}{more}"


def _train_command(runs: Sequence[Run], arguments: Sequence[str]) -> tuple[str, ...]:
    paths = (str(run.path.resolve()) for run in runs)
    trusted = trust_flags(run.recipe for run in runs)
    return (sys.executable, "-P", "-m", "lowres", "train", *paths, *arguments, *trusted)


def _recipes(store: Store, base: Recipe, axes: Axes, points: Points) -> dict[str, Recipe]:
    """Return the recipes of a study by the names of their runs."""
    store.require_labels()
    recipes = expand(base, axes, points)
    for variant in dict.fromkeys(recipe.variant for recipe in recipes):
        store.images("train", variant)
    for recipe in recipes:
        recipe.check_splits(store.splits)
    return {recipe.run_name(store.manifest.digest): recipe for recipe in recipes}


def _await_others(elsewhere: list[Run], display: Display) -> list[Run]:
    """Wait until other processes have ended the runs `elsewhere`, or left some unfinished.

    Runs that have ended are removed from `elsewhere`; those that were left are returned.
    """
    left: list[Run] = []
    while elsewhere and not left:
        time.sleep(OTHERS_POLL_S)
        for run in list(elsewhere):
            if run.busy:
                continue
            elsewhere.remove(run)
            if run.finished or run.state is RunState.FAILED:
                _report_end(run, display)
            else:
                left.append(run)
    return left


def _report_end(run: Run, display: Display) -> None:
    """Show how a run ended."""
    if run.state is RunState.FAILED:
        line = f"FAILED: {why_failed(run)}"
    else:
        result = run.result()
        line = f"top-1 error {percent(result['top1_error'])}, {result['train_s']:.1f} s"
        if result["status"] == "diverged":
            line = f"diverged in epoch {result.get('epochs', 1)}"
    display.say(f"{run.path.name}: {line}")
    display.advance()


def _ending(exit_status: int) -> str:
    if exit_status >= 0:
        return f"its process ended with status {exit_status} and without a result"
    name = signal.Signals(-exit_status).name
    hint = "; was there too little memory?" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{hint}"
