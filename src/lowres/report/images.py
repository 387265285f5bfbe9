"""What the outcomes of single validation images say: about noise, new images and classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowres.comparing.contact_sheet import reopen_store
from lowres.imagenet import with_word
from lowres.report.reading import Row, fields_but, label
from lowres.statistics import (
    ClassTransfer,
    Figure,
    ImageNoise,
    Verdict,
    class_transfer,
    image_covariance,
    image_noise,
    rank_correlation,
)
from lowres.statistics.error_tables import Array, Mask
from lowres.statistics.posterior import MOST
from lowres.training.run import Run

MOST_CLASSES = 5
"""Classes that a table shows of those that lose most, and of those that lose least."""


@dataclass(frozen=True, slots=True)
class NamedClass:
    """A class with its name; see `ClassTransfer`."""

    name: str
    transfer: ClassTransfer


@dataclass(frozen=True, slots=True)
class ImageFindings:
    """What single validation images say about the pair of the first screen.

    Attributes:
        proxy: name of the proxy.
        target: name of the target.
        noise: how much of a run's noise finite images cause; None with one seed.
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
        lost = [one.name for one in self.classes if one.transfer.sure and one.transfer.beyond > 0]
        kept = [one.name for one in self.classes if one.transfer.sure and one.transfer.beyond < 0]
        parts = []
        if lost:
            parts.append(f"{_listed(lost)} lose more on {self.proxy} than other classes")
        if kept:
            parts.append(f"{_listed(kept[::-1])} lose less")
        sure = "; ".join(parts) or "no class surely loses more or less than the others"
        ranks = (
            f" (rank correlation {self.ranks.value:.2f})" if self.ranks.value is not None else ""
        )
        return [*found, f"Classes from {self.target} to {self.proxy}{ranks}: {sure}."]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_CLASSES} more" if len(names) > MOST_CLASSES else ""
    return f"{', '.join(names[:MOST_CLASSES])}{more}"


def outcomes(rows: Sequence[Row]) -> Mask | None:
    """Return what runs that trained classify wrongly, (runs, images); None if one is not known."""
    trained = (row for row in rows if np.isfinite(row.error))
    found = [Run.outcomes_in(row.path) if row.path else None for row in trained]
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found) or len({one.shape for one in known}) > 1:
        return None
    return np.array(known)


def covariance(groups: Mapping[str, Sequence[Row]], common: Sequence[str]) -> Array | None:
    """Return the covariance of errors over validation images; None where it is not known.

    Args:
        groups: runs on the target by configuration.
        common: the configurations, in the order of the result; nan stands for the worse ones that
            no verdict needs.
    """
    errors = np.array([_mean([row.error for row in groups[key]]) for key in common])
    best = np.argsort(errors, kind="stable")[:MOST]
    best = best[np.isfinite(errors[best])]
    wrong: list[Mask] = []
    for place in best:
        found = outcomes(groups[common[place]])
        if found is None or (wrong and found.shape[1] != wrong[0].shape[1]):
            return None
        wrong.append(found)
    if len(wrong) < 2:
        return None
    whole = np.full((len(common), len(common)), np.nan)
    whole[np.ix_(best, best)] = image_covariance(wrong)
    return whole


def _mean(errors: Sequence[float]) -> float:
    finite = [error for error in errors if np.isfinite(error)]
    return float(np.mean(finite)) if finite else np.inf


def image_findings(
    rows: Sequence[Row], swept: Sequence[str], verdict: Verdict, configurations: Sequence[str]
) -> ImageFindings | None:
    """Return what validation images say about a pair of sizes; None without outcomes.

    Args:
        rows: all runs.
        swept: the recipe fields in which they differ.
        verdict: of the pair.
        configurations: of the pair, in words.
    """
    names = fields_but(swept, "variant")
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.finished:
            groups[row.recipe.variant, label(row.recipe, names)].append(row)
    keys = ["" if one == "the only one" else one for one in configurations]
    if verdict.choice is None:
        return None
    choice = keys[verdict.choice]
    proxy, target = (outcomes(groups[side, choice]) for side in (verdict.proxy, verdict.target))
    if target is None:
        return None
    errors = {key: _mean([row.error for row in groups[verdict.target, key]]) for key in keys}
    best = sorted(errors, key=lambda key: errors[key])[:MOST]
    known = [outcomes(groups[verdict.target, key]) for key in best]
    alike = [one for one in known if one is not None and one.shape[1] == target.shape[1]]
    classes, ranks = _classes(proxy, target, groups[verdict.target, choice][0])
    return ImageFindings(
        verdict.proxy,
        verdict.target,
        image_noise(alike) if alike else None,
        configurations[verdict.choice],
        classes,
        ranks,
    )


def _classes(proxy: Mask | None, target: Mask, row: Row) -> tuple[tuple[NamedClass, ...], Figure]:
    nothing = (), Figure(None, None, "the outcomes or the store are missing")
    store, _ = reopen_store(*row.store)
    split = str(row.result.get("eval_split", ""))
    if store is None or split not in store.splits or proxy is None:
        return nothing
    labels: NDArray[np.integer] = store.labels(split)
    if proxy.shape[1:] != labels.shape or target.shape[1:] != labels.shape:
        return nothing
    found = class_transfer(proxy, target, np.asarray(labels))
    ranks = rank_correlation(
        [[one.proxy] for one in found], [[one.target] for one in found], "spearman"
    )
    named = (NamedClass(with_word(store.classes[one.label]), one) for one in found)
    return tuple(named), ranks
