"""The draws of true errors against a quadrature over all hyperparameters."""

import math

import numpy as np
import pytest

from lowres.statistics.posterior import GROWTH_PRIOR, NOISE_WIDTH, SURFACE_PRIOR, WIDE, posterior

SEEDS = 60
"""Sets of draws that are averaged: 60 leave an error of 0.02 of the largest moment."""


def by_quadrature(table):
    """Integrate the model without axes on a grid of its three hyperparameters.

    Returns the scale of the warp, the least mean, and mean and covariance of the warped errors.
    """
    count, seeds = table.shape
    means = table.mean(axis=1)
    above = means - means.min()
    squares = ((table - means[:, None]) ** 2).sum(axis=1)
    good = np.argsort(above)[: max(3, count // 2)]
    variance = squares[good].sum() / (len(good) * (seeds - 1)) if seeds > 1 else 1e-4
    scale = max(np.median(above), 3 * math.sqrt(variance) if seeds > 1 else 0.0, 0.01)
    z = scale * np.log1p(above / scale)
    spread = z.std(ddof=1)
    steps = np.linspace(-4, 4, 33)
    grid = np.array(np.meshgrid(steps, steps, steps)).reshape(3, -1)
    centres = (math.log(spread) + SURFACE_PRIOR[0], math.log(variance), GROWTH_PRIOR[0])
    widths = (SURFACE_PRIOR[1], NOISE_WIDTH, GROWTH_PRIOR[1])
    own, noise, growth = np.array(centres)[:, None] + np.array(widths)[:, None] * grid
    of_run = np.exp(noise)[:, None] * (1 + np.exp(growth)[:, None] * above / scale) ** 2
    of_mean = of_run / seeds / (1 + above / scale) ** 2
    truth = np.exp(2 * own)[:, None, None] * np.eye(count) + WIDE * spread**2
    total = truth + of_mean[:, :, None] * np.eye(count)
    inverse = np.linalg.inv(total)
    log = -0.5 * (grid**2).sum(axis=0) - 0.5 * (inverse @ z @ z + np.linalg.slogdet(total)[1])
    log -= 0.5 * ((seeds - 1) * np.log(of_run) + squares / of_run).sum(axis=1)
    weights = np.exp(log - log.max())
    weights /= weights.sum()
    fits = truth @ (inverse @ z)[..., None]
    seconds = truth - truth @ inverse @ truth + fits * fits.transpose(0, 2, 1)
    mean = weights @ fits[..., 0]
    return scale, means.min(), mean, np.tensordot(weights, seconds, 1) - np.outer(mean, mean)


@pytest.mark.parametrize("seeds", [1, 2])
def test_draws_have_the_moments_of_a_quadrature(seeds):
    """A wrong density of a proposal moves a covariance by 0.06 of its size or more."""
    table = np.array([[0.30, 0.33], [0.31, 0.30], [0.36, 0.41], [0.45, 0.47]])[:, :seeds]
    scale, least, mean, covariance = by_quadrature(table)
    drawn = np.concatenate(
        [posterior(table, np.zeros((0, 4, 4)), seed=seed).errors for seed in range(SEEDS)]
    )
    z = scale * np.log1p((drawn - least) / scale)
    deviations = np.sqrt(np.diag(covariance))
    assert (np.abs(z.mean(axis=0) - mean) / deviations).max() < 0.04
    moved = (np.cov(z.T) - covariance) / np.outer(deviations, deviations)
    assert np.abs(moved).max() < 0.04
