"""What Optuna does in a search: it chooses configurations, and its journal tells of them.

::

    SEARCH/journal.log    a study of Optuna, a trial for each configuration, with the error at each
                          size as intermediate value; `optuna-dashboard SEARCH/journal.log` opens it

A configuration is chosen in a study in memory that holds what is known by then, with a seed made of
its number, so that a search that was killed chooses as one that was not. A trial in the journal is
written whole, as one line; what is there already is not written again.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lowres.errors import StudyError, require
from lowres.study.search.plan import SearchPlan
from lowres.study.search.space import Choice, Dimension, Plain, combinations, every
from lowres.work.files import write_bytes

FILE_NAME = "journal.log"
STUDY_NAME = "lowres search"

TRIES = 20
"""How often another configuration is asked for where the one that came was there before."""

Labels = dict[str, Plain]


@contextmanager
def quiet() -> Iterator[Any]:
    """Give optuna, without its messages on every trial.

    Raises:
        MissingExtraError: it is not installed.
    """
    optuna: Any = require("optuna", "study")
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            # said of QMCSampler, and of arguments that have been there since 3.0
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield optuna
    finally:
        optuna.logging.set_verbosity(before)


def distributions(optuna: Any, space: Sequence[Dimension]) -> dict[str, Any]:  # noqa: ANN401
    """Give a space in Optuna's terms."""
    return {one.name: _distribution(optuna.distributions, one) for one in space}


def _distribution(kinds: Any, one: Dimension) -> Any:  # noqa: ANN401  a module and its classes
    if isinstance(one, Choice):
        return kinds.CategoricalDistribution(one.labels)
    if one.whole:
        return kinds.IntDistribution(int(one.low), int(one.high), log=one.log)
    return kinds.FloatDistribution(one.low, one.high, log=one.log)


class Chooser:
    """Chooses configurations by one of Optuna's samplers, none twice while there are others.

    Attributes:
        learns: whether choices depend on errors so far; else they are all made at once.

    Args:
        optuna: the module.
        plan: what is searched.
        count: how many configurations are wanted.
    """

    def __init__(self, optuna: Any, plan: SearchPlan, count: int) -> None:  # noqa: ANN401
        self.optuna = optuna
        self.plan = plan
        self.learns = plan.sampler in ("tpe", "gp")
        self.distributions = distributions(optuna, plan.dimensions)
        self.listed: list[Labels] = [] if self.learns else self._list(count)

    def choose(
        self, chosen: Sequence[Labels], errors: Mapping[int, float], failed: Collection[int]
    ) -> Labels:
        """Choose the configuration after some others.

        Args:
            chosen: the configurations so far.
            errors: at the smallest size, by number, of those that are trained.
            failed: numbers of those that failed, of which nothing is learned; what has neither
                error nor failed is under way, and other choices keep away from it.
        """
        if not self.learns:
            return self.listed[len(chosen)]
        optuna, states = self.optuna, self.optuna.trial.TrialState
        trials = [
            optuna.trial.create_trial(
                state=states.COMPLETE if number in errors else states.RUNNING,
                value=errors.get(number),
                params=labels,
                distributions=self.distributions,
            )
            for number, labels in enumerate(chosen)
            if number not in failed
        ]
        for attempt in range(TRIES):
            study = optuna.create_study(sampler=self._sampler(len(chosen), attempt))
            study.add_trials(trials)
            labels: Labels = study.ask(self.distributions).params
            if labels not in chosen:
                return labels
        return self._untried(chosen) or labels

    def _list(self, count: int) -> list[Labels]:
        """Choose all configurations of a sampler that learns nothing."""
        study = self.optuna.create_study(sampler=self._sampler(0, 0))
        listed: list[Labels] = []
        for _ in range(TRIES * count):
            trial = study.ask(self.distributions)
            study.tell(trial, 0.0)
            if trial.params not in listed:
                listed.append(trial.params)
            if len(listed) == count:
                return listed
        while (labels := self._untried(listed)) and len(listed) < count:
            listed.append(labels)
        return listed

    def _untried(self, chosen: Sequence[Labels]) -> Labels | None:
        if combinations(self.plan.dimensions) is None:
            return None
        return next(
            (labels for labels in every(self.plan.dimensions) if labels not in chosen), None
        )

    def _sampler(self, number: int, attempt: int) -> Any:  # noqa: ANN401
        samplers, words = self.optuna.samplers, [self.plan.sampler_seed, number, attempt]
        seed = int(np.random.SeedSequence(words).generate_state(1)[0])
        if self.plan.sampler == "tpe":
            return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        if self.plan.sampler == "gp":
            return samplers.GPSampler(seed=seed)
        if self.plan.sampler == "qmc":
            return samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
        return samplers.RandomSampler(seed=seed)


class Trials:
    """The search as a study in Optuna's journal; trial and configuration have one number.

    Args:
        optuna: the module.
        folder: directory of the search.
        space: what is searched.

    Raises:
        StudyError: the journal is damaged.
    """

    def __init__(self, optuna: Any, folder: Path, space: Sequence[Dimension]) -> None:  # noqa: ANN401
        journal, self.path = optuna.storages.journal, folder / FILE_NAME
        _mend(self.path)
        self.optuna = optuna
        self.distributions = distributions(optuna, space)
        try:
            backend = journal.JournalFileBackend(str(self.path))
            self.storage = optuna.storages.JournalStorage(backend)
            self.study = optuna.create_study(
                storage=self.storage, study_name=STUDY_NAME, load_if_exists=True
            )
            self._identity = self.storage.get_study_id_from_name(STUDY_NAME)
            self.known = self.study.get_trials(deepcopy=False)
        except (ValueError, LookupError, TypeError, OSError) as error:
            raise StudyError(
                f"{self.path} is damaged ({error!r}): remove it, and the search goes on from its "
                "runs"
            ) from error

    def labels(self) -> list[Labels]:
        """Give the configurations that the journal has, in order of their numbers.

        Raises:
            StudyError: it holds trials of another kind.
        """
        for trial in self.known:
            if trial.distributions != self.distributions:
                raise StudyError(f"{self.path} holds trial {trial.number} of another search")
        return [dict(trial.params) for trial in self.known]

    def failed(self) -> set[int]:
        """Give the numbers of the configurations that were given up."""
        state = self.optuna.trial.TrialState.FAIL
        return {trial.number for trial in self.known if trial.state == state}

    def add(self, labels: Labels) -> None:
        """Add a configuration."""
        trial = self.optuna.trial.create_trial(
            state=self.optuna.trial.TrialState.RUNNING,
            params=labels,
            distributions=self.distributions,
        )
        self.study.add_trial(trial)

    def report(self, number: int, size: int, error: float, run: str) -> None:
        """Tell the error of a configuration at a size, once."""
        trial = self._open(number)
        if trial is None or size in trial.intermediate_values:
            return
        identity = self.storage.get_trial_id_from_study_id_trial_number(self._identity, number)
        self.storage.set_trial_user_attr(identity, f"run at {size} px", run)
        self.storage.set_trial_intermediate_value(identity, size, error)

    def complete(self, number: int, error: float) -> None:
        """Tell that a configuration came to the end of the largest size, once."""
        if self._open(number) is not None:
            self.study.tell(number, error)

    def prune(self, number: int) -> None:
        """Tell that a configuration does not go on, once."""
        if self._open(number) is not None:
            self.study.tell(number, state=self.optuna.trial.TrialState.PRUNED)

    def fail(self, number: int) -> None:
        """Tell that a configuration could not be trained, once."""
        if self._open(number) is not None:
            self.study.tell(number, state=self.optuna.trial.TrialState.FAIL)

    def _open(self, number: int) -> Any:  # noqa: ANN401  Optuna's record
        """Give a trial that has not been told, or None."""
        identity = self.storage.get_trial_id_from_study_id_trial_number(self._identity, number)
        trial = self.storage.get_trial(identity)
        return None if trial.state.is_finished() else trial


def _mend(path: Path) -> None:
    """Remove what a killed process left: a lock, and a last line that was not written to its end.

    No other process searches here, as `Search.finish` sees to.
    """
    for left in path.parent.glob(f"{path.name}.lock*"):
        left.unlink(missing_ok=True)
    if path.exists():
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            write_bytes(path, whole)
