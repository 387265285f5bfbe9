"""Simulated studies whose truth is known, for `interval_coverage.py`.

Errors are shares around 0.4 with a spread between configurations of 0.04. `normal` draws
configurations from a normal law; `curve` draws learning rate and width, with an error that is
skewed in the learning rate, and another best learning rate on the proxy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CENTRE = 0.4
SPREAD = 0.04
LIKENESS = 0.9
"""Correlation of true errors of proxy and target in the normal population."""
MOVED = 0.3
"""Decades between the best learning rates of proxy and target in the other."""
CURVE_SPREAD = 0.883
"""Standard deviation of the unscaled errors of `curve`, which divides them."""


@dataclass(frozen=True)
class Design:
    """A kind of study: its population, configurations, seeds, and noise over spread."""

    population: str
    configurations: int
    seeds: int
    noise: float


def true_errors(
    population: str, shape: tuple[int, ...], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw true errors of configurations on proxy and target."""
    if population == "normal":
        target, other = random.standard_normal((2, *shape))
        proxy = LIKENESS * target + np.sqrt(1 - LIKENESS**2) * other
    else:
        lr, width = random.uniform(-1.5, 1.5, shape), random.uniform(0, 1, shape)
        target = (_response(lr) - width) / CURVE_SPREAD
        proxy = (_response(lr - MOVED) - 0.8 * width) / CURVE_SPREAD
    return CENTRE + SPREAD * proxy, CENTRE + SPREAD * target


def _response(lr: np.ndarray) -> np.ndarray:
    return lr**2 + 0.3 * np.maximum(lr, 0) ** 3


def runs(errors: np.ndarray, design: Design, random: np.random.Generator) -> np.ndarray:
    """Run configurations with every seed: `(configurations, seeds)` noisy errors."""
    noise = design.noise * SPREAD * random.standard_normal((*errors.shape, design.seeds))
    return np.clip(errors[..., None] + noise, 0.0, 1.0)


LEARNING_RATES = {count: 10.0 ** np.linspace(-3, 0, count) for count in (5, 7, 9)}


def learning_curve(shape: str, best: float, rates: np.ndarray) -> np.ndarray:
    """Return true errors at learning rates, least at log10 rate `best`.

    Args:
        shape: parabola, skewed (with a cube above the best), morse (a Morse curve, steep above the
            best), or `dip W`: a saturating dip whose right side is W as wide as the left.
        best: log10 of the best learning rate.
        rates: learning rates.
    """
    away = np.log10(rates) - best
    if shape.startswith("dip"):
        away = np.where(away > 0, away / float(shape.split()[1]), away)
        return 0.3 + 0.5 * (1 - np.exp(-0.2 * away**2))
    if shape == "morse":
        return 0.3 + 0.2 * (1 - np.exp(0.5 * away)) ** 2
    if shape == "parabola":
        return 0.3 + 0.05 * away**2
    return 0.3 + 0.05 * away**2 + 0.02 * np.maximum(away, 0) ** 3 + 0.02 * (away > 0) * away**2
