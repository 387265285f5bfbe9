"""Optuna's part of a search: it chooses configurations, and its journal records them.

::

    SEARCH/journal.log    a study of Optuna with a trial for each configuration; the error at each
                          size is an intermediate value; `optuna-dashboard SEARCH/journal.log`

Each choice is made in a new study in memory that holds the results so far, with a seed derived from
the configuration's number. A search that was killed therefore chooses as one that was not. A trial
is written to the journal as one whole line, and never twice.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lowres.errors import StudyError, require
from lowres.study.search.plan import SearchPlan
from lowres.study.search.space import Choice, Dimension, Plain, combinations, every
from lowres.work.files import write_bytes

FILE_NAME = "journal.log"
STUDY_NAME = "lowres search"

TRIES = 20
"""How often the sampler is asked again if it repeats a configuration."""

Labels = dict[str, Plain]


@contextmanager
def quiet() -> Iterator[ModuleType]:
    """Import optuna and silence its messages on every trial.

    Raises:
        MissingExtraError: optuna is not installed.
    """
    optuna = require("optuna", "study")
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Of QMCSampler, and of arguments that have been there since 3.0.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield optuna
    finally:
        optuna.logging.set_verbosity(before)


def distributions(optuna: ModuleType, space: Sequence[Dimension]) -> dict[str, Any]:
    """Return a space as Optuna's distributions."""
    kinds, found = optuna.distributions, {}
    for one in space:
        if isinstance(one, Choice):
            found[one.name] = kinds.CategoricalDistribution(one.labels)
        elif one.whole:
            found[one.name] = kinds.IntDistribution(int(one.low), int(one.high), log=one.log)
        else:
            found[one.name] = kinds.FloatDistribution(one.low, one.high, log=one.log)
    return found


class Chooser:
    """Chooses configurations by one of Optuna's samplers; repeats none while others are left.

    Attributes:
        learns: whether choices depend on the errors so far; if not, all are made at once.

    Args:
        optuna: the module.
        plan: the plan of the search.
        count: how many configurations the search needs.
    """

    def __init__(self, optuna: ModuleType, plan: SearchPlan, count: int) -> None:
        self.optuna = optuna
        self.plan = plan
        self.learns = plan.sampler in ("tpe", "gp")
        self.distributions = distributions(optuna, plan.dimensions)
        self.listed: list[Labels] = []
        if self.learns:
            self._study = optuna.create_study()
            self._numbers: list[int] = []  # of the trial of each configuration
            self._told = set[int]()
            return
        study = optuna.create_study(sampler=self._sampler(0, 0))
        for _ in range(TRIES * count):
            trial = study.ask(self.distributions)
            study.tell(trial, 0.0)
            if trial.params not in self.listed:
                self.listed.append(trial.params)
            if len(self.listed) == count:
                break
        while len(self.listed) < count and (labels := self._untried(self.listed)):
            self.listed.append(labels)

    def choose(
        self, chosen: Sequence[Labels], errors: Mapping[int, float], failed: Collection[int]
    ) -> Labels:
        """Choose the next configuration.

        Args:
            chosen: the configurations so far.
            errors: errors at the smallest size, by number, of those that are trained.
            failed: numbers of those that failed, from which nothing is learned. A configuration
                with neither error nor failure is in training, and new choices avoid it.
        """
        if not self.learns:
            return self.listed[len(chosen)]
        self._add_new(chosen, errors, failed)
        for attempt in range(TRIES):
            self._study.sampler = self._sampler(len(chosen), attempt)
            trial = self._study.ask(self.distributions)
            # The next call adds the choice in its place; samplers leave failed trials out.
            self._study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
            labels: Labels = trial.params
            if labels not in chosen:
                return labels
        return self._untried(chosen) or labels

    def _add_new(
        self, chosen: Sequence[Labels], errors: Mapping[int, float], failed: Collection[int]
    ) -> None:
        """Add new trials to the study; adding all again takes time by the square of their count."""
        states = self.optuna.trial.TrialState
        for labels in chosen[len(self._numbers) :]:
            self._numbers.append(len(self._study.get_trials(deepcopy=False)))
            self._study.add_trial(
                self.optuna.trial.create_trial(
                    state=states.RUNNING, params=labels, distributions=self.distributions
                )
            )
        for number in sorted({*errors, *failed} - self._told):
            if number in failed:
                self._study.tell(self._numbers[number], state=states.FAIL)
            else:
                self._study.tell(self._numbers[number], errors[number])
            self._told.add(number)

    def _untried(self, chosen: Sequence[Labels]) -> Labels | None:
        space = self.plan.dimensions
        finite = combinations(space) is not None
        return next((one for one in every(space) if one not in chosen), None) if finite else None

    def _sampler(self, number: int, attempt: int) -> object:
        samplers, words = self.optuna.samplers, [self.plan.sampler_seed, number, attempt]
        seed = int(np.random.SeedSequence(words).generate_state(1)[0])
        if self.plan.sampler == "tpe":
            return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        if self.plan.sampler == "gp":
            return samplers.GPSampler(seed=seed)
        if self.plan.sampler == "qmc":
            return samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
        return samplers.RandomSampler(seed=seed)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn Optuna's error for a lock file that is gone into one for users."""
    try:
        yield
    except RuntimeError as error:
        raise StudyError(
            f"{path} could not be written, because its lock file is gone: restore the folder if "
            "it was removed, and run the same command again, which resumes from the runs"
        ) from error


class Trials:
    """The search as a study in Optuna's journal; a trial has the number of its configuration.

    Only one process may hold it at a time: a lock or a torn last line that a killed process left
    is removed.

    Args:
        optuna: the module.
        folder: directory of the search.
        space: the fields that are searched.

    Attributes:
        labels: the configurations in the journal, in order of their numbers.
        failed: the numbers of those that could not be trained.

    Raises:
        StudyError: the journal is damaged, or holds trials of another search.
    """

    def __init__(self, optuna: ModuleType, folder: Path, space: Sequence[Dimension]) -> None:
        journal, self.path = optuna.storages.journal, folder / FILE_NAME
        for lock in folder.glob(f"{FILE_NAME}.lock*"):
            lock.unlink(missing_ok=True)
        if self.path.exists():
            text = self.path.read_bytes()
            whole = text[: text.rfind(b"\n") + 1]
            if whole != text:
                write_bytes(self.path, whole)
        self.optuna = optuna
        self.distributions = distributions(optuna, space)
        try:
            backend = journal.JournalFileBackend(str(self.path))
            self.storage = optuna.storages.JournalStorage(backend)
            with _written(self.path):
                self.study = optuna.create_study(
                    storage=self.storage, study_name=STUDY_NAME, load_if_exists=True
                )
            self._identity = self.storage.get_study_id_from_name(STUDY_NAME)
            trials = self.study.get_trials(deepcopy=False)
        except (ValueError, LookupError, TypeError) as error:
            raise StudyError(
                f"{self.path} is damaged ({error!r}): remove it and start the search again; it "
                "resumes from its runs"
            ) from error
        for trial in trials:
            if trial.distributions != self.distributions:
                raise StudyError(f"{self.path} holds trial {trial.number} of another search")
        self.labels: list[Labels] = [dict(trial.params) for trial in trials]
        self.failed = {trial.number for trial in trials if trial.state.name == "FAIL"}

    def add(self, labels: Labels) -> None:
        trial = self.optuna.trial.create_trial(
            state=self.optuna.trial.TrialState.RUNNING,
            params=labels,
            distributions=self.distributions,
        )
        with _written(self.path):
            self.study.add_trial(trial)
        self.labels.append(labels)

    def report(self, number: int, size: int, error: float, run: str) -> None:
        """Record the error of a configuration at a size, unless it is recorded."""
        identity, trial = self._find(number)
        if not trial.state.is_finished() and size not in trial.intermediate_values:
            with _written(self.path):
                self.storage.set_trial_user_attr(identity, f"run at {size} px", run)
                self.storage.set_trial_intermediate_value(identity, size, error)

    def close(self, number: int, state: str, error: float | None = None) -> None:
        """Record how a configuration ended, unless that is recorded.

        It is COMPLETE with its error at the largest size, PRUNED if it was not promoted, or FAIL.
        """
        if not self._find(number)[1].state.is_finished():
            with _written(self.path):
                self.study.tell(number, error, state=self.optuna.trial.TrialState[state])

    def _find(self, number: int) -> tuple[int, Any]:
        """Return the storage's number of a trial, and the trial."""
        identity = self.storage.get_trial_id_from_study_id_trial_number(self._identity, number)
        return identity, self.storage.get_trial(identity)
