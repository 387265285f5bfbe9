"""Which filter made a set of small photographs, by the spectrum of their pixels.

Filters pass different shares of the finest detail, and photographs have similar spectra below it.
Two ratios of power between three bands near the finest detail distinguish all six of Pillow's
filters, for every fit (docs/resampling.md has the measurements).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowres.variant import FILTERS, Filter

BANDS = ((0.3, 0.5), (0.6, 0.8), (0.9, 1.0))
"""Frequencies of the three bands, as shares of the Nyquist frequency."""

TRANSFORM_PX = 256
"""Length of the Fourier transform. Lines are padded with zeros, so that bands do not depend on the
size of the images."""

REFERENCE_PX = (8, 16, 32, 64)
REFERENCE: dict[Filter, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "nearest": ((0.409, 0.354, 0.308, 0.284), (0.103, 0.112, 0.113, 0.085)),
    "box": ((-0.148, -0.261, -0.323, -0.295), (-0.197, -0.217, -0.242, -0.249)),
    "bilinear": ((-0.438, -0.601, -0.682, -0.681), (-0.491, -0.609, -0.659, -0.684)),
    "hamming": ((-0.197, -0.327, -0.394, -0.383), (-0.239, -0.276, -0.306, -0.325)),
    "bicubic": ((-0.282, -0.407, -0.479, -0.473), (-0.438, -0.586, -0.647, -0.676)),
    "lanczos": ((-0.178, -0.258, -0.316, -0.304), (-0.468, -0.703, -0.800, -0.839)),
}
"""The two log power ratios (second over first band, third over second) at each size; measured by
`bench/spectrum.py` on 500 photographs of ImageNet."""

SAMPLE = 1000
"""A sufficient number of images."""

FEWEST = 400
"""Smallest number of images: with 400 photographs, the guess was right for 1,438 of 1,440 sets
(`bench/spectrum.py`)."""

MIN_PX, MAX_PX = 8, 128
FARTHEST = 0.12
"""Largest distance between a set and the reference of its filter. The two closest references, box
and hamming, are 0.08 apart."""


class Guess(NamedTuple):
    """The filter that a set was probably made with.

    Attributes:
        filter: the most likely filter.
        ratios: the two log power ratios of the set.
        distance: distance of the set from the reference of that filter.
        others: distance from the reference of the next best filter.
    """

    filter: Filter
    ratios: tuple[float, float]
    distance: float
    others: float


def band_ratios(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Compute the log ratios of power between the three bands.

    Args:
        images: (N, S, S, 3) uint8.

    Returns:
        Second over first band and third over second, each the natural logarithm of a mean over
        all images with equal weights. Infinite if a band has no power.
    """
    grey = images.astype(np.float32).mean(axis=-1)
    power = _power(np.diff(grey, axis=2)) + _power(np.diff(grey.swapaxes(1, 2), axis=2))
    power /= np.maximum(power.sum(axis=1, keepdims=True), 1e-6)  # not 0 for one colour
    frequencies = 2 * np.fft.rfftfreq(TRANSFORM_PX)
    mean = power.mean(axis=0)
    bands = [mean[(frequencies > low) & (frequencies <= high)].mean() for low, high in BANDS]
    if min(bands) <= 0:
        return math.inf, math.inf
    return float(np.log(bands[1] / bands[0])), float(np.log(bands[2] / bands[1]))


def _power(lines: NDArray[np.float32]) -> NDArray[np.float64]:
    """Average the power spectra of the lines of each image: (N, H, W) to (N, F)."""
    window = np.hanning(lines.shape[2] + 2)[1:-1]
    power: NDArray[np.float64] = (
        np.abs(np.fft.rfft(lines * window, TRANSFORM_PX, axis=2)) ** 2
    ).mean(axis=1)
    return power


def guess_filter(images: NDArray[np.uint8]) -> Guess | None:
    """Guess the filter that small photographs were made with.

    Args:
        images: (N, S, S, 3) uint8, a sample of the set; about 1,000 are enough.

    Returns:
        The guess; None for fewer than 400 images, sizes below 8 or above 128 px, and sets that
        resemble none of the six (drawings, digits, JPEGs saved again).
    """
    size = images.shape[1]
    if len(images) < FEWEST or not MIN_PX <= size <= MAX_PX:
        return None
    ratios = band_ratios(images)
    distances = {}
    for name in FILTERS:  # interpolate between the sizes that were measured
        reference = [np.interp(np.log(size), np.log(REFERENCE_PX), at) for at in REFERENCE[name]]
        distances[name] = float(np.hypot(*np.subtract(ratios, reference)))
    first, second = sorted(FILTERS, key=distances.__getitem__)[:2]
    if distances[first] > FARTHEST:
        return None
    return Guess(first, ratios, distances[first], distances[second])
