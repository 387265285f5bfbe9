"""A search with the size of the images as fidelity: many configurations small, the best large.

::

    SEARCH/search.json    the plan; a search goes on with the plan that it began with
    SEARCH/runs/NAME/     a directory for each configuration at each size, finished as any run
    SEARCH/journal.log    the same for Optuna's tools (trials.py)
    SEARCH/result.json    written last: the best configuration, what it cost, and the trace

All that happens follows from the plan and the results of runs. So a search that was killed does
again what it did, finds its runs finished, and goes on.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from lowres.errors import RunBusyError, StudyError
from lowres.progress import Display, Track, silent
from lowres.store.store import Store
from lowres.study.costs import training_macs
from lowres.study.record import planning
from lowres.study.search.allotment import Allotment, begin, record
from lowres.study.search.optuna import Chooser, Trials, quiet
from lowres.study.search.plan import FILE_NAME, SearchPlan, read_record
from lowres.study.search.result import Configuration, Evaluation, summed_up
from lowres.study.search.rungs import promoted, ranked
from lowres.study.study import Study, why_failed
from lowres.training.run import Run, Start
from lowres.work.executor import Executor
from lowres.work.files import held, write_json

RESULT = "result.json"
WORST_ERROR = 1.0
"""Top-1 error that stands for a run whose loss was no longer finite."""

MOST_FAILURES = 3
"""Where as many runs of a rung fail before any is finished, the fault is hardly theirs."""


class Search:
    """A planned search.

    Attributes:
        path: its directory.
        plan: what is searched.
        store: what is trained on.
        allotment: how many configurations each rung has.
    """

    def __init__(self, path: Path, plan: SearchPlan, store: Store, allotment: Allotment) -> None:
        self.path = path
        self.plan = plan
        self.store = store
        self.allotment = allotment

    @classmethod
    def start(cls, path: Path, store: Store, plan: SearchPlan) -> Self:
        """Make the directory of a search, or open it if it is there already.

        Raises:
            StudyError: the directory holds something else, or a search that was planned otherwise;
                or the plan cannot be carried out on the store.
            StoreError: the store lacks a variant.
        """
        begin(path, store, plan)
        with planning(path):
            allotment = begin(path, store, plan)
            if not (path / FILE_NAME).exists():
                write_json(path / FILE_NAME, record(store, plan, allotment))
        return cls(path, plan, store, allotment)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a planned search.

        Raises:
            StudyError: there is none, it is damaged, or its store is another one by now.
            StoreError: its store is missing.
        """
        found = read_record(path)
        return cls.start(path, Store(found["store"]["path"]), SearchPlan.from_record(found))

    @property
    def finished(self) -> bool:
        """Whether there is a result."""
        return (self.path / RESULT).exists()

    def finish(
        self,
        executor: Executor,
        at_a_time: int,
        arguments: Sequence[str] = (),
        *,
        track: Track = silent,
    ) -> dict[str, Any]:
        """Train what is to be trained, and give the result; a finished search gives it at once.

        Args:
            executor: what finishes runs.
            at_a_time: how many configurations a sampler that learns chooses at once; the result
                is the same only for the same number.
            arguments: further arguments of each `lowres train`.
            track: shows progress.

        Raises:
            StudyError: no run of a size could be trained.
            RunBusyError: another process is at it.
            MissingExtraError: optuna is not installed.
        """
        with held(self.path / FILE_NAME) as free, quiet() as optuna:
            if not free:
                raise RunBusyError(f"search {self.path} is under way in another process")
            if self.finished:
                return self.result()
            trials = Trials(optuna, self.path, self.plan.space)
            work = _Work(self, trials, executor, arguments, track)
            chooser = Chooser(optuna, self.plan, self.allotment.counts[0])
            configurations = work.train_all(chooser, at_a_time)
            found = summed_up(self.plan, self.allotment, self.store, configurations)
            found["versions"] = {"lowres": version("lowres"), "optuna": optuna.__version__}
            write_json(self.path / RESULT, found)
            return found

    def result(self) -> dict[str, Any]:
        """Read the result of a finished search.

        Raises:
            StudyError: it is missing or damaged.
        """
        path = self.path / RESULT
        try:
            return dict(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise StudyError(f"{path} is missing or damaged: {error}") from error


class _Work:
    """One call of `finish`."""

    def __init__(
        self,
        search: Search,
        trials: Trials,
        executor: Executor,
        arguments: Sequence[str],
        track: Track,
    ) -> None:
        self.search, self.plan, self.counts = search, search.plan, search.allotment.counts
        self.trials = trials
        self.given_up = trials.failed()
        self.executor, self.arguments, self.track = executor, arguments, track
        self.left = self.plan.budget * search.allotment.run_macs[-1]
        (search.path / "runs").mkdir(exist_ok=True)

    def train_all(self, chooser: Chooser, at_a_time: int) -> list[Configuration]:
        """Take all rungs, and give every configuration with all that happened to it."""
        configurations = self._first_rung(chooser, at_a_time)
        going_on = configurations
        for rung in range(1, len(self.counts)):
            going_on = self._promoted(going_on, rung)
            with self._tracked(rung, len(going_on)) as display:
                self._train(going_on, rung, display)
            self._end_rung(going_on, rung)
        for one in going_on:
            if one.evaluations[-1].error is not None:
                self.trials.complete(one.number, one.evaluations[-1].error)
        return configurations

    def _first_rung(self, chooser: Chooser, at_a_time: int) -> list[Configuration]:
        """Choose configurations and train them at the smallest size."""
        count, known = self.counts[0], self.trials.labels()
        wave = at_a_time if chooser.learns else count
        configurations: list[Configuration] = []
        with self._tracked(0, count) as display:
            while len(configurations) < count:
                new = range(len(configurations), min(len(configurations) + wave, count))
                for number in new:
                    if number == len(known):
                        known.append(_choice(chooser, known, configurations))
                        self.trials.add(known[-1])
                    configurations.append(Configuration(number, known[number]))
                self._train([configurations[number] for number in new], 0, display)
                self._stop_if_nothing_works(configurations, 0)
        self._end_rung(configurations, 0)
        return configurations

    def _promoted(self, candidates: Sequence[Configuration], rung: int) -> list[Configuration]:
        """Choose those that go on to a rung; the others end here."""
        by_number = {one.number: one for one in candidates}
        errors = _errors(candidates, ("trained",))
        if not errors:
            size = self.plan.sizes[rung - 1]
            raise StudyError(
                f"search {self.search.path}: every configuration diverged at {size} px, so none "
                "goes on; search another space, such as smaller learning rates"
            )
        chosen = promoted(
            ranked(errors),
            self.counts[rung:],
            lambda number, ahead: self._cost(by_number[number], rung + ahead),
            self.left,
        )
        for number in by_number.keys() - set(chosen):
            self.trials.prune(number)
        return [by_number[number] for number in chosen]

    def _cost(self, one: Configuration, rung: int) -> float:
        return training_macs(self.plan.recipe(one.labels, rung), self.search.store)

    def _train(self, chosen: Sequence[Configuration], rung: int, display: Display) -> None:
        """Finish the runs of configurations at a rung, and note how they ended."""
        size, runs = self.plan.sizes[rung], {one.number: self._run(one, rung) for one in chosen}
        todo = [run for number, run in runs.items() if number not in self.given_up]
        Study(self.search.path, todo).finish(self.executor, self.arguments, track=_through(display))
        for one in chosen:
            evaluation = _evaluated(runs[one.number], rung, size)
            one.evaluations.append(evaluation)
            self.left -= self._cost(one, rung)
            if evaluation.error is not None:
                self.trials.report(one.number, size, evaluation.error, evaluation.run)

    def _run(self, one: Configuration, rung: int) -> Run:
        recipe, store, start = self.plan.recipe(one.labels, rung), self.search.store, None
        runs = self.search.path / "runs"
        if self.plan.carry_weights and rung:
            start = Start.of(runs / one.evaluations[-1].run)
        name = Run.name(recipe, store.manifest.digest, start)
        return Run.plan(runs / name, recipe, store, start)

    def _stop_if_nothing_works(self, chosen: Sequence[Configuration], rung: int) -> None:
        """Stop where every run fails, before more are tried and before any is given up."""
        # What was given up earlier was so because others worked.
        tried = [one.evaluations[rung] for one in chosen if one.number not in self.given_up]
        failed = [evaluation for evaluation in tried if evaluation.status == "failed"]
        over = rung > 0 or len(chosen) == self.counts[rung]
        if failed and len(failed) == len(tried) and (over or len(failed) >= MOST_FAILURES):
            raise StudyError(
                f"search {self.search.path}: all {len(failed)} runs at {self.plan.sizes[rung]} px "
                f"failed; the same command tries them again. {failed[0].reason}"
            )

    def _end_rung(self, chosen: Sequence[Configuration], rung: int) -> None:
        """Give up what failed, once there is something that did not."""
        self._stop_if_nothing_works(chosen, rung)
        for one in chosen:
            if one.evaluations[rung].status == "failed":
                self.trials.fail(one.number)

    def _tracked(self, rung: int, count: int) -> AbstractContextManager[Display]:
        return self.track(f"search at {self.plan.sizes[rung]} px", count)


def _choice(
    chooser: Chooser, known: Sequence[Any], configurations: Sequence[Configuration]
) -> dict[str, Any]:
    errors = _errors(configurations, ("trained", "diverged"))
    failed = {
        one.number
        for one in configurations
        if one.evaluations and one.evaluations[0].status == "failed"
    }
    return chooser.choose(known, errors, failed)


def _errors(configurations: Sequence[Configuration], statuses: Collection[str]) -> dict[int, float]:
    """Give the last errors, by number, of what ended in one of these ways."""
    last = {one.number: one.evaluations[-1] for one in configurations if one.evaluations}
    return {
        number: evaluation.error
        for number, evaluation in last.items()
        if evaluation.status in statuses and evaluation.error is not None
    }


def _evaluated(run: Run, rung: int, size: int) -> Evaluation:
    """Read how a run ended."""
    if run.status != "finished":
        return Evaluation(rung, size, run.path.name, "failed", None, 0.0, 0, why_failed(run))
    result = run.result()
    diverged = result["status"] == "diverged"
    return Evaluation(
        rung,
        size,
        run.path.name,
        "diverged" if diverged else "trained",
        WORST_ERROR if diverged else result["top1_error"],
        result["train_s"],
        result["train_macs"],
    )


def _through(display: Display) -> Track:
    """Show the progress of a part on the display of the whole."""

    @contextmanager
    def track(what: str, total: int, *, done: int = 0) -> Iterator[Display]:
        display.advance(done)
        yield display

    return track
