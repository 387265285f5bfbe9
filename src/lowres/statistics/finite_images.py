"""What a finite number of validation images hides: noise of runs, regret on new images, classes.

`wrong` is a list with an array `(seeds, images)` of truth values for each configuration: whether a
run classifies an image wrongly. All have the same images, in one order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lowres.errors import StudyError
from lowres.statistics.error_tables import CONFIDENCE, TAILS, Array, Interval, Mask
from lowres.text import count

FEWEST_OF_CLASS = 5
"""Images of a class below which its difference has no interval."""


@dataclass(frozen=True, slots=True)
class ImageNoise:
    """How much of a run's noise is the finite number of validation images.

    A run with another seed errs on other images. With endless images these changes would cancel,
    and only the part of the noise that all images share would remain.

    Attributes:
        images: their number.
        noise: standard deviation of the error of a run over seeds, a share from 0 to 1.
        share: part of its variance that the finite number of images causes, 0 to 1.
        interval: of `share`.
    """

    images: int
    noise: float
    share: float
    interval: Interval

    def advice(self) -> str:
        """Return in words whether more validation images or more seeds help."""
        ends = f"{100 * self.interval.low:.0f} to {100 * self.interval.high:.0f} %"
        found = (
            f"Of the noise of a run ({max(0.1, 100 * self.noise):.1f} points), "
            f"{100 * self.share:.0f} % of the variance ({ends}) comes from having only "
            f"{count(self.images, 'validation image')}"
        )
        if self.interval.low > 0.5:
            return f"{found}: more validation images help more than more seeds."
        if self.interval.high < 0.5:
            return f"{found}: more seeds help more than more validation images."
        return f"{found}: whether more images or more seeds help more is open."


def image_noise(wrong: Sequence[Mask]) -> ImageNoise | None:
    """Split the noise of runs over seeds into the part of finite images and the part of training.

    Configurations with one run are omitted. The variance of an error over seeds is the mean over
    pairs of images of their covariance over seeds. The diagonal of these pairs is the part that
    falls as 1 / images.

    Returns:
        None without a configuration of two runs, or without noise.

    Raises:
        StudyError: the arrays do not have the same images.
    """
    images = _images(wrong)
    several = [one.astype(np.float64) for one in wrong if len(one) > 1]
    freedom = sum(len(one) - 1 for one in several)
    if not freedom:
        return None
    of_runs = sum((len(one) - 1) * one.mean(axis=1).var(ddof=1) for one in several) / freedom
    flips = sum((len(one) - 1) * one.var(axis=0, ddof=1).mean() for one in several) / freedom
    if of_runs <= 0:
        return None
    share = flips / images / of_runs
    low, high = (2 * share * special.gammaincinv(freedom / 2, tail) / freedom for tail in TAILS)
    ends = Interval(min(1.0, float(low)), min(1.0, float(high)))
    return ImageNoise(images, math.sqrt(of_runs), min(1.0, float(share)), ends)


def image_covariance(wrong: Sequence[Mask]) -> Array:
    """Estimate how the errors of configurations would change together on other images.

    It is the covariance over images of the probabilities of an error, divided by the number of
    images. Seeds that differ on an image are noise of training, which the posterior has; it is
    subtracted where a configuration has two runs. With one run it stays, and the covariance is too
    large.

    Returns:
        `(configurations, configurations)`, of squared shares, without negative eigenvalues.

    Raises:
        StudyError: the arrays do not have the same images.
    """
    images = _images(wrong)
    means = np.array([one.mean(axis=0) for one in wrong])
    left = means - means.mean(axis=1, keepdims=True)
    found = left @ left.T / max(images - 1, 1)
    for place, one in enumerate(wrong):
        if len(one) > 1:
            found[place, place] -= one.astype(np.float64).var(axis=0, ddof=1).mean() / len(one)
    values, vectors = np.linalg.eigh(found / images)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def on_new_images(draws: Array, covariance: Array, *, seed: int = 0) -> Array:
    """Turn draws of true errors on these images into draws of errors on all possible images.

    Args:
        draws: `(draws, configurations)` true errors on these images, shares.
        covariance: as `image_covariance` returns it.
        seed: of the draws.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    random = np.random.default_rng(seed)
    return np.asarray(draws + random.standard_normal(draws.shape) @ root.T)


@dataclass(frozen=True, slots=True)
class ClassTransfer:
    """A class on a proxy and on a target.

    Attributes:
        label: its number.
        images: validation images of it.
        proxy: its error on the proxy, a share.
        target: its error on the target.
        beyond: its loss on the proxy (proxy less target) beyond the mean loss of other classes.
        interval: of `beyond`, for all classes at once; None with fewer than 5 images.
    """

    label: int
    images: int
    proxy: float
    target: float
    beyond: float
    interval: Interval | None

    @property
    def sure(self) -> bool:
        """Whether the class loses surely more or less than the others."""
        return self.interval is not None and (self.interval.low > 0 or self.interval.high < 0)


def class_transfer(
    proxy: Mask, target: Mask, labels: NDArray[np.integer]
) -> tuple[ClassTransfer, ...]:
    """Compare the error of each class on a proxy and on a target, image by image.

    The intervals are over images, of these runs: other seeds are not part of them.

    Args:
        proxy: `(seeds, images)`, whether a run of the proxy is wrong.
        target: the same images, with any number of seeds.
        labels: `(images,)` class numbers.

    Returns:
        The classes, the one that loses most on the proxy first.

    Raises:
        StudyError: the arrays do not have the same images.
    """
    images = _images([proxy, target])
    if labels.shape != (images,):
        raise StudyError(f"labels must be one an image: {images}, had shape {labels.shape}")
    first, second = proxy.mean(axis=0), target.mean(axis=0)
    loss, known = first - second, np.unique(labels)
    found = []
    for label in known:
        of = labels == label
        inside, outside = loss[of], loss[~of]
        beyond = float(inside.mean() - outside.mean()) if len(outside) else 0.0
        ends = None
        if min(len(inside), len(outside)) >= FEWEST_OF_CLASS:
            error = math.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))
            tail = (1 - CONFIDENCE) / 2 / len(known)
            reach = -error * float(special.stdtrit(len(inside) - 1, tail))
            ends = Interval(beyond - reach, beyond + reach)
        shares = float(first[of].mean()), float(second[of].mean())
        found.append(ClassTransfer(int(label), int(of.sum()), *shares, beyond, ends))
    return tuple(sorted(found, key=lambda one: -one.beyond))


def _images(wrong: Sequence[Mask]) -> int:
    """Return the number of images that all configurations share."""
    shapes = {one.shape[1:] for one in wrong}
    if len(shapes) != 1 or any(one.ndim != 2 or 0 in one.shape for one in wrong):
        raise StudyError(
            f"outcomes must be (seeds, images) with the same images, had shapes "
            f"{[one.shape for one in wrong]}"
        )
    return int(wrong[0].shape[1])
