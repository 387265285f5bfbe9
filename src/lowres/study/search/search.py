"""A search with the size of the images as fidelity: many configurations small, the best large.

::

    SEARCH/search.json    the plan
    SEARCH/runs/NAME/     a directory for each configuration at each size, trained as any run
    SEARCH/journal.log    the same for Optuna's tools (optuna.py)
    SEARCH/result.json    written last: the best configuration, its cost, and the trace; written
                          once more when the best is confirmed with new seeds

Everything in a search follows from its plan and the results of its runs. So a search that was
killed repeats its decisions, finds its runs finished, and resumes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count, islice
from pathlib import Path
from typing import Any, Self

from lowres.errors import StudyError
from lowres.progress import Display, Track, silent
from lowres.recipe import Recipe
from lowres.store.store import Store
from lowres.study.axes import changed
from lowres.study.search.optuna import Chooser, Trials, quiet
from lowres.study.search.plan import (
    Allotment,
    SearchPlan,
    macs_on_store,
    promoted,
    work_directory,
)
from lowres.study.search.result import Configuration, Evaluation, Found, confirmation, summed_up
from lowres.study.study import Study, why_failed
from lowres.text import command
from lowres.training.run import Run, RunState, WarmStart
from lowres.work.executor import Executor
from lowres.work.files import named

WORST_ERROR = 1.0
"""Top-1 error of a run that diverged."""

MOST_FAILURES = 3
"""If this many runs of a rung fail before any is finished, the search stops: the cause is rarely
the configuration."""


@dataclass(frozen=True, slots=True)
class Search:
    """A planned search.

    Attributes:
        path: its directory.
        plan: what is searched.
        store: what is trained on.
        allotment: how many configurations each rung has.
    """

    path: Path
    plan: SearchPlan
    store: Store
    allotment: Allotment

    @classmethod
    def start(cls, path: Path, store: Store, plan: SearchPlan) -> Self:
        """Make the directory of a search, or open it if it exists.

        Raises:
            StudyError: the directory holds something else, or a search with another plan; or the
                plan does not fit the store.
            StoreError: the store lacks a variant.
        """
        work = work_directory(path)
        work.refuse_foreign()
        allotment = Allotment.of(plan, store)
        work.begin(
            {
                "store": {"path": str(store.path.resolve()), "digest": store.manifest.digest},
                **plan.to_record(),
                "run_macs": list(allotment.run_macs),
                "counts": list(allotment.counts),
            }
        )
        return cls(path, plan, store, allotment)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a planned search.

        Raises:
            StudyError: there is none, it is damaged, or its store has other contents by now.
            StoreError: its store is missing.
        """
        record = work_directory(path).read()
        return cls.start(path, Store(record["store"]["path"]), SearchPlan.from_record(record))

    @property
    def finished(self) -> bool:
        """Whether there is a result."""
        return work_directory(self.path).finished

    def finish(
        self,
        executor: Executor,
        at_a_time: int,
        arguments: Sequence[str] = (),
        *,
        workers: int | None = None,
        track: Track = silent,
    ) -> dict[str, Any]:
        """Train what is missing and return the result; return at once if there is a result.

        Args:
            executor: what runs the commands.
            at_a_time: how many configurations a sampler that learns chooses at once; the choices
                depend on it.
            arguments: further arguments of each `lowres train`.
            workers: processes that share the runs, as in `Study.finish`.
            track: shows progress.

        Raises:
            StudyError: no run of a size could be trained.
            RunBusyError: another process runs this search.
            MissingExtraError: optuna is not installed.
        """
        work = work_directory(self.path)
        with named(self.path), work.lock("being run"), quiet() as optuna:
            if work.finished:
                return self.result()
            trials = Trials(optuna, self.path, self.plan.dimensions)
            progress = _Progress(self, trials, executor, arguments, workers, track)
            chooser = Chooser(optuna, self.plan, self.allotment.counts[0])
            configurations = progress.train_all(chooser, at_a_time)
            found = summed_up(self.plan, self.allotment, self.store, configurations)
            found["versions"] = {"lowres": version("lowres"), "optuna": optuna.__version__}
            work.finish(found)
            return found

    def confirm(
        self,
        executor: Executor,
        seeds: int,
        arguments: Sequence[str] = (),
        *,
        workers: int | None = None,
        track: Track = silent,
    ) -> dict[str, Any]:
        """Train the best configuration with new seeds, and return the result with their errors.

        The error of the best is of one seed and the least of its rung, so it is too low on average;
        the errors with new seeds had no part in the choice. If weights are carried, all sizes are
        trained with each new seed. Runs that are finished are not trained again. The result is
        returned unchanged if it holds this many seeds, or if there is no best configuration.

        Args:
            executor: what runs the commands.
            seeds: how many, the least ones that differ from the seed of the search.
            arguments: further arguments of each `lowres train`.
            workers: processes that share the runs, as in `Study.finish`.
            track: shows progress.

        Raises:
            StudyError: `seeds` is below 1, the search is not finished, or runs failed.
            RunBusyError: another process runs this search.
        """
        if seeds < 1:
            raise StudyError(f"--confirm must be at least 1, was {seeds}")
        work = work_directory(self.path)
        with work.lock("being run"):
            found = self.result()
            best, earlier = found["best"], found.get("confirmation")
            if best is None or (earlier is not None and len(earlier["runs"]) >= seeds):
                return found
            recipe = Recipe.from_record(best["recipe"])
            chosen = islice((seed for seed in count() if seed != recipe.seed), seeds)
            chains = {seed: list[Run]() for seed in chosen}
            last = len(self.plan.sizes) - 1
            for rung in range(0 if self.plan.carry_weights else last, last + 1):
                self._confirm_at(rung, recipe, chains, executor, arguments, workers, track)
            found["confirmation"] = confirmation(chains, self.allotment)
            work.finish(found)
            return found

    def _confirm_at(
        self,
        rung: int,
        recipe: Recipe,
        chains: Mapping[int, list[Run]],
        executor: Executor,
        arguments: Sequence[str],
        workers: int | None,
        track: Track,
    ) -> None:
        """Train a recipe at a rung with each seed, and append each run to its chain."""
        size, digest = self.plan.sizes[rung], self.store.manifest.digest
        for seed, chain in chains.items():
            if chain and chain[-1].state is RunState.DIVERGED:
                continue
            fidelity = {"size": size, "epochs": self.plan.rung_epochs[rung], "seed": seed}
            one, start = changed(recipe, fidelity), WarmStart.of(chain[-1].path) if chain else None
            folder = self.path / "runs" / Run.name(one, digest, start)
            chain.append(Run.plan(folder, one, self.store, start))
        runs = [chain[-1] for chain in chains.values()]
        with track(f"confirmation at {size} px", len(runs)) as display:
            summary = Study(self.path, runs).finish(
                executor, arguments, workers=workers, track=_through(display)
            )
        if summary.failed:
            reason = next(iter(summary.failed.values()))
            raise StudyError(
                f"search {self.path}: {len(summary.failed)} of {len(runs)} runs with new seeds "
                f"failed; the result of the search is kept. To try them again, run: "
                f"{command('search', self.path, '--confirm', len(runs))}. {reason}"
            )

    def result(self) -> dict[str, Any]:
        """Read the result of a finished search.

        Raises:
            StudyError: it is missing or damaged.
        """
        work = work_directory(self.path)
        found = work.result(Found)
        too_long = any(len(one["rungs"]) > len(found["rungs"]) for one in found["trace"])
        if too_long or ("confirmation" in found and found["best"] is None):
            file = self.path / work.result_name
            raise StudyError(f"{file} is damaged: its parts contradict each other; remove it")
        return found


@dataclass
class _Progress:
    """One call of `Search.finish`: what it works with, and the budget that is left."""

    search: Search
    trials: Trials
    executor: Executor
    arguments: Sequence[str]
    workers: int | None
    track: Track

    def __post_init__(self) -> None:
        self.plan, self.counts = self.search.plan, self.search.allotment.counts
        self.dropped = frozenset(self.trials.failed)
        self.left = (self.plan.budget or 0.0) * self.search.allotment.run_macs[-1]
        (self.search.path / "runs").mkdir(exist_ok=True)

    def train_all(self, chooser: Chooser, at_a_time: int) -> list[Configuration]:
        """Train all rungs, and return every configuration with its evaluations."""
        configurations = self._first_rung(chooser, at_a_time)
        kept = configurations
        for rung in range(1, len(self.counts)):
            kept = self._promote(kept, rung)
            with self.track(f"search at {self.plan.sizes[rung]} px", len(kept)) as display:
                self._train(kept, rung, display)
            self._drop_failed(kept, rung)
        for one in kept:
            if one.evaluations[-1].error is not None:
                self.trials.close(one.number, "COMPLETE", one.evaluations[-1].error)
        return configurations

    def _first_rung(self, chooser: Chooser, at_a_time: int) -> list[Configuration]:
        """Choose configurations and train them at the smallest size."""
        count, known = self.counts[0], self.trials.labels
        wave = at_a_time if chooser.learns else count
        configurations: list[Configuration] = []
        with self.track(f"search at {self.plan.sizes[0]} px", count) as display:
            while len(configurations) < count:
                new = range(len(configurations), min(len(configurations) + wave, count))
                errors = _errors(configurations, (RunState.TRAINED, RunState.DIVERGED))
                failed = {one.number for one in configurations if one.number not in errors}
                for number in new:
                    if number == len(known):
                        self.trials.add(chooser.choose(known, errors, failed))
                    configurations.append(Configuration(number, known[number]))
                self._train([configurations[number] for number in new], 0, display)
                self._drop_failed(configurations, 0)
        return configurations

    def _promote(self, candidates: Sequence[Configuration], rung: int) -> list[Configuration]:
        """Choose the configurations that a rung trains; the others end here."""
        by_number = {one.number: one for one in candidates}
        errors = _errors(candidates, (RunState.TRAINED,))
        if not errors:
            size = self.plan.sizes[rung - 1]
            raise StudyError(
                f"search {self.search.path}: every configuration diverged at {size} px, so none "
                "can be trained at the next size; search another space, such as smaller learning "
                "rates"
            )
        chosen = promoted(
            errors,
            self.counts[rung:],
            lambda number, ahead: self._cost(by_number[number], rung + ahead),
            self.left,
        )
        for number in by_number.keys() - set(chosen):
            self.trials.close(number, "PRUNED")
        return [by_number[number] for number in chosen]

    def _cost(self, one: Configuration, rung: int) -> int:
        return macs_on_store(self.plan.recipe(one.labels, rung), self.search.store)

    def _train(self, chosen: Sequence[Configuration], rung: int, display: Display) -> None:
        """Train configurations at a rung, and record how they ended."""
        store, folder = self.search.store, self.search.path / "runs"
        size, runs = self.plan.sizes[rung], {}
        for one in chosen:
            recipe, start = self.plan.recipe(one.labels, rung), None
            if self.plan.carry_weights and rung:
                start = WarmStart.of(folder / one.evaluations[-1].run)
            name = Run.name(recipe, store.manifest.digest, start)
            runs[one.number] = Run.plan(folder / name, recipe, store, start)
        todo = [run for number, run in runs.items() if number not in self.dropped]
        Study(self.search.path, todo).finish(
            self.executor, self.arguments, workers=self.workers, track=_through(display)
        )
        for one in chosen:
            run, state = runs[one.number], runs[one.number].state
            where = rung, size, run.path.name
            if state.finished:
                result = run.result()
                error = WORST_ERROR if state is RunState.DIVERGED else result["top1_error"]
                times = result["train_s"], result.get("train_macs", 0)
                final = result.get("test_top1_error")
                one.evaluations.append(Evaluation(*where, state, error, *times, test_error=final))
                self.trials.report(one.number, size, error, run.path.name)
            else:
                failed = Evaluation(*where, RunState.FAILED, None, 0.0, 0, why_failed(run))
                one.evaluations.append(failed)
            self.left -= self._cost(one, rung)

    def _drop_failed(self, chosen: Sequence[Configuration], rung: int) -> None:
        """Drop the configurations that failed once a rung is over; stop if every run fails."""
        # A configuration was dropped earlier only because others worked.
        tried = [one.evaluations[rung] for one in chosen if one.number not in self.dropped]
        failed = [evaluation for evaluation in tried if evaluation.status is RunState.FAILED]
        over = rung > 0 or len(chosen) == self.counts[rung]
        if failed and len(failed) == len(tried) and (over or len(failed) >= MOST_FAILURES):
            raise StudyError(
                f"search {self.search.path}: all {len(failed)} runs at {self.plan.sizes[rung]} px "
                f"failed; the same command tries them again. {failed[0].reason}"
            )
        for one in chosen if over else ():
            if one.evaluations[rung].status is RunState.FAILED:
                self.trials.close(one.number, "FAIL")


def _errors(
    configurations: Sequence[Configuration], states: Collection[RunState]
) -> dict[int, float]:
    """Return the last error of each configuration that ended in one of the states, by number."""
    last = {one.number: one.evaluations[-1] for one in configurations if one.evaluations}
    return {
        number: evaluation.error
        for number, evaluation in last.items()
        if evaluation.status in states and evaluation.error is not None
    }


def _through(display: Display) -> Track:
    """Show the progress of a part on the display of the whole."""

    @contextmanager
    def track(what: str, total: int, *, done: int = 0) -> Iterator[Display]:
        display.advance(done)
        yield display

    return track
