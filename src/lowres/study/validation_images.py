"""What the outcomes of single validation images say: about noise, new images and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lowres.comparing.contact_sheet import reopen_store
from lowres.imagenet import with_word
from lowres.statistics.error_tables import Array, Figure, Mask
from lowres.statistics.finite_images import (
    ClassTransfer,
    ImageNoise,
    class_transfer,
    image_covariance,
    image_noise,
)
from lowres.statistics.posterior import MOST
from lowres.statistics.ranking import rank_correlation
from lowres.training.run import Run

FEWEST_GOOD = 3
"""Configurations whose noise is pooled: the better half, and at least these."""

MOST_CLASSES = 5
"""Classes that are named of those that lose most on the proxy, and of those that lose least."""


class HasOutcomes(Protocol):
    """A run that may have outcomes."""

    @property
    def error(self) -> float:
        """Its error, a share; inf where it diverged."""

    @property
    def path(self) -> Path | None:
        """Its directory; None for a result of another origin."""


ConfigurationRuns = Sequence[Sequence[HasOutcomes]]
"""The runs of each configuration."""


@dataclass(frozen=True, slots=True)
class NamedClass:
    """A class with its name; see `ClassTransfer`."""

    name: str
    transfer: ClassTransfer


@dataclass(frozen=True, slots=True)
class ImageFindings:
    """What single validation images say about a pair.

    Attributes:
        proxy: name of the proxy.
        target: name of the target.
        noise: how much of the noise of a run of a good configuration finite images cause; None
            with one seed.
        configuration: the proxy's choice, in words: the classes are of its runs.
        classes: its classes, the one that loses most on the proxy first; empty without the store.
        ranks: Spearman's rho of the errors of classes on proxy and target.
    """

    proxy: str
    target: str
    noise: ImageNoise | None
    configuration: str
    classes: tuple[NamedClass, ...]
    ranks: Figure

    @property
    def sentences(self) -> list[str]:
        """The findings in words."""
        found = [self.noise.advice()] if self.noise else []
        if not self.classes:
            return found
        sure = [one for one in self.classes if one.transfer.sure]
        lost = [one.name for one in sure if one.transfer.beyond > 0]
        kept = [one.name for one in sure if one.transfer.beyond < 0][::-1]
        parts = [
            f"{verb} on {self.proxy} than other classes: {_listed(names)}"
            for verb, names in (("lose more", lost), ("lose less", kept))
            if names
        ]
        what = "; ".join(parts) or "no class surely loses more or less than the others"
        ranks = "" if self.ranks.value is None else f" (rank correlation {self.ranks.value:.2f})"
        return [*found, f"Classes from {self.target} to {self.proxy}{ranks}: {what}."]

    def to_record(self) -> dict[str, Any]:
        """Return the findings as JSON values; shares from 0 to 1."""
        classes = [{"name": one.name, **asdict(one.transfer)} for one in self.classes]
        return {**asdict(self), "classes": classes, "sentences": self.sentences}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_CLASSES} more" if len(names) > MOST_CLASSES else ""
    return f"{', '.join(names[:MOST_CLASSES])}{more}"


def covariance(target: ConfigurationRuns) -> Array | None:
    """Return the covariance of errors over validation images, as `judge` needs it.

    Returns:
        `(configurations, configurations)`, nan for configurations that no verdict models; None if
        the outcomes of one are not known.
    """
    errors = np.array([_mean(of) for of in target])
    best = np.argsort(errors, kind="stable")[:MOST]
    best = best[np.isfinite(errors[best])]
    wrong: list[Mask] = []
    for place in best:
        found = outcomes(target[place])
        if found is None or (wrong and found.shape[1] != wrong[0].shape[1]):
            return None
        wrong.append(found)
    if len(wrong) < 2 or len({_store_of(target[place]) for place in best}) > 1:
        return None
    whole = np.full((len(target), len(target)), np.nan)
    whole[np.ix_(best, best)] = image_covariance(wrong)
    return whole


def outcomes(runs: Sequence[HasOutcomes]) -> Mask | None:
    """Return what runs that trained classify wrongly, (runs, images); None if one is not known."""
    trained = (run for run in runs if np.isfinite(run.error))
    found = [Run.outcomes_in(run.path) if run.path else None for run in trained]
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found) or len({one.shape for one in known}) > 1:
        return None
    return np.array(known)


def _store_of(runs: Sequence[HasOutcomes]) -> str:
    """Return the digest of the store of runs with outcomes."""
    return next(Run.open(run.path).store_digest for run in runs if run.path)


def _mean(runs: Sequence[HasOutcomes]) -> float:
    finite = [run.error for run in runs if np.isfinite(run.error)]
    return float(np.mean(finite)) if finite else np.inf


def image_findings(
    names: tuple[str, str],
    proxy: ConfigurationRuns,
    target: ConfigurationRuns,
    choice: int | None,
    configuration: str,
) -> ImageFindings | None:
    """Return what validation images say about a pair; None without outcomes.

    Args:
        names: of proxy and target.
        proxy: the runs of each configuration on the proxy.
        target: the runs of the same configurations on the target.
        choice: place of the proxy's choice.
        configuration: the choice, in words.

    Raises:
        RunError: the outcomes of a run are damaged.
    """
    of_choice = None if choice is None else outcomes(target[choice])
    if choice is None or of_choice is None:
        return None
    # The noise of bad configurations is larger and matters to nobody.
    good = sorted(target, key=_mean)[: min(MOST, max(FEWEST_GOOD, len(target) // 2))]
    known = [one for one in map(outcomes, good) if one is not None]
    alike = [one for one in known if one.shape[1] == of_choice.shape[1]]
    same_store = _store_of(proxy[choice]) == _store_of(target[choice])
    of_proxy = outcomes(proxy[choice]) if same_store else None
    classes, ranks = _classes(of_proxy, of_choice, target[choice][0])
    noise = image_noise(alike) if alike else None
    return ImageFindings(*names, noise, configuration, classes, ranks)


def _classes(
    proxy: Mask | None, target: Mask, of_target: HasOutcomes
) -> tuple[tuple[NamedClass, ...], Figure]:
    nothing = (), Figure(None, None, "outcomes of the proxy or the store are missing")
    assert of_target.path is not None
    run = Run.open(of_target.path)
    store, _ = reopen_store(str(run.store_path), run.store_digest)
    split = str(run.result().get("eval_split", ""))
    if store is None or split not in store.splits or proxy is None:
        return nothing
    labels: NDArray[np.integer[Any]] = np.asarray(store.labels(split))
    if proxy.shape[1:] != labels.shape or target.shape[1:] != labels.shape:
        return nothing
    found = class_transfer(proxy, target, labels)
    sides = [[one.proxy] for one in found], [[one.target] for one in found]
    named = (NamedClass(with_word(store.classes[one.label]), one) for one in found)
    return tuple(named), rank_correlation(*sides, "spearman")
