"""The draws of true errors against brute force: hyperparameters drawn from their prior, weighed."""

import math

import numpy as np
import pytest

from lowres.statistics.posterior import (
    FIRST_LENGTH_PRIOR,
    GROWTH_PRIOR,
    NOISE_WIDTH,
    OWN_PRIOR,
    SHARE_PRIOR,
    SURFACE_PRIOR,
    WIDE,
    axis_distances,
    posterior,
)

SEEDS = 60
"""Sets of draws that are averaged: 60 leave an error of 0.02 of the largest moment."""


def by_brute_force(table, squares_of_distance, draws=100_000):
    """Return the scale of the warp, the least mean, and mean and covariance of warped errors."""
    count, seeds = table.shape
    means = table.mean(axis=1)
    above = means - means.min()
    squares = ((table - means[:, None]) ** 2).sum(axis=1)
    good = np.argsort(above)[: max(3, count // 2)]
    variance = squares[good].sum() / (len(good) * (seeds - 1)) if seeds > 1 else 1e-4
    scale = max(np.median(above), 3 * math.sqrt(variance) if seeds > 1 else 0.0, 0.01)
    slope = 1 / (1 + above / scale)
    z = scale * np.log1p(above / scale)
    spread = z.std(ddof=1)
    random = np.random.default_rng(0)

    def drawn(prior, factor=1.0):
        return factor * np.exp(random.normal(*prior, draws))[:, None]

    of_run = drawn((0, NOISE_WIDTH), variance) * (1 + drawn(GROWTH_PRIOR) * above / scale) ** 2
    truth = np.full((draws, count, count), WIDE * spread**2)
    if squares_of_distance is None:
        truth += (drawn(SURFACE_PRIOR, spread) ** 2)[..., None] * np.eye(count)
    else:
        share = 1 / (1 + 1 / drawn(SHARE_PRIOR)[..., None])
        apart = squares_of_distance / drawn(FIRST_LENGTH_PRIOR)[..., None] ** 2
        rough = (1 + np.sqrt(3 * apart)) * np.exp(-np.sqrt(3 * apart))
        kernel = share * np.exp(-apart / 2) + (1 - share) * rough
        truth += drawn(SURFACE_PRIOR, spread)[..., None] ** 2 * kernel
        own = drawn(OWN_PRIOR, spread) * slope  # alike in errors, so less where the warp is flat
        truth += (own**2)[..., None] * np.eye(count)
    total = truth + (of_run / seeds * slope**2)[..., None] * np.eye(count)
    inverse = np.linalg.inv(total)
    log = -0.5 * (inverse @ z @ z + np.linalg.slogdet(total)[1])
    log -= 0.5 * ((seeds - 1) * np.log(of_run) + squares / of_run).sum(axis=1)
    weights = np.exp(log - log.max())
    weights /= weights.sum()
    fits = truth @ (inverse @ z)[..., None]
    seconds = truth - truth @ inverse @ truth + fits * fits.transpose(0, 2, 1)
    mean = weights @ fits[..., 0]
    return scale, means.min(), mean, np.tensordot(weights, seconds, 1) - np.outer(mean, mean)


SMOOTH = ([0.36, 0.41], [0.31, 0.30], [0.30, 0.33], [0.45, 0.47])
JAGGED = ([0.40, 0.41], [0.33, 0.31], [0.30, 0.31], [0.355, 0.34], [0.55, 0.60], [0.80, 0.75])


@pytest.mark.parametrize(
    ("errors", "seeds", "rates"),
    [(SMOOTH, 1, None), (SMOOTH, 2, None), (JAGGED, 2, [0.01, 0.03, 0.1, 0.3, 1.0, 3.0])],
)
def test_draws_have_the_moments_of_brute_force(errors, seeds, rates):
    """A wrong density of a proposal moves a covariance by 0.06 of its size or more."""
    table = np.array(errors)[:, :seeds]
    columns = [rates] if rates else []
    distances = axis_distances(columns, np.arange(len(table)))
    scale, least, mean, covariance = by_brute_force(table, distances[0] if rates else None)
    drawn = np.concatenate(
        [posterior(table, columns, seed=seed).errors for seed in range(SEEDS)]
    )  # fmt: skip
    z = scale * np.log1p((drawn - least) / scale)
    deviations = np.sqrt(np.diag(covariance))
    assert (np.abs(z.mean(axis=0) - mean) / deviations).max() < 0.03
    moved = (np.cov(z.T) - covariance) / np.outer(deviations, deviations)
    assert np.abs(moved).max() < 0.04
