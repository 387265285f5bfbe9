"""What the runs say about true errors: draws from their posterior, by a smooth model of the axes.

The true error of a configuration is the mean over all seeds that one could run, measured on this
study's validation images. Errors are warped so that the bad end, where they saturate, counts less:
z = s log(1 + e / s) for an error e above the least. Then

    z = mean + smooth surface over the axes + own deviation of the configuration + noise of runs,

with a Gaussian process (Rasmussen and Williams 2006, chapter 4) for the surface, so that neighbours
inform each other, and noise that grows with the error. The process blends a smooth kernel (RBF),
which decides more, and a rough one (Matern 3/2), whose bounds hold on rough surfaces; the data
weigh them. Scales, lengths and noise are unknown: importance sampling integrates over them, so the
draws contain their uncertainty. Needs NumPy alone; bench/verdict.py measures how often it is right.

The proxy's runs inform how smooth errors are over the axes and how noise grows, as those of similar
trainings. They do not inform where errors are small: that would assume what is judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lowres.statistics.error_tables import Array, Places, checked
from lowres.text import is_number

FEW = 5
"""Configurations below which no surface is fitted: they are then taken as exchangeable."""

MOST = 60
"""Configurations that are modelled: the proxy's best 30, and the target's best of the others. Time
grows with the cube of the number. The target's best alone would be those with lucky runs."""

PROPOSALS = 400
"""Hyperparameters of each round of importance sampling."""

KEPT, EACH = 250, 12
"""Hyperparameters kept, and draws of true errors for each: 3,000 draws."""

FEWEST_EFFECTIVE = 20.0
"""Effective number of hyperparameters below which a further round is made, 4 at most."""

MOST_ROUNDS = 4

LOG_FROM = 4.0
"""A numeric axis that spans this factor is compared in logarithms."""

TRUSTED_FREEDOM = 6
"""Repeats from which their pooled variance is the noise that `Posterior` states."""

PAIRED_SEEDS = 4
"""Common seeds from which runs of one seed are compared with each other. They share initial
weights and order, so their noise is alike; with fewer seeds the pairing costs more degrees of
freedom than it gains (bench/verdict.py)."""

# Priors of the logarithms of hyperparameters, as (mean, standard deviation).
SURFACE_PRIOR = (0.0, 0.7)  # deviation of the surface over that of the mean errors
OWN_PRIOR = (math.log(0.1), 1.5)  # own deviation of a configuration over the same
NOISE_WIDTH = 2.0  # of the variance of a run around its estimate, if nothing repeats
GROWTH_PRIOR = (math.log(0.7), 0.7)  # growth of noise with the error, in units of s
SHARE_PRIOR = (2.0, 2.0)  # log odds of the smooth kernel
FIRST_LENGTH_PRIOR = (math.log(0.5), 0.5)  # length of the first axis, in spans
LENGTH_PRIOR = (0.0, 0.7)  # of further axes
RATIO_WIDTHS = (1.0, 2.0, 0.8)
"""Standard deviations of the logarithms of factors between proxy and target: of the deviation of
the surface, the own deviation and the variance of a run. Lengths, kernel and growth are shared."""
RELEVANCE = 0.5
"""Weight of the likelihood of the other runs: they are similar, not the same. With 1, 6 x 2
configurations with one seed hold their bound in 92 % of studies, not in 93 % (docs/log.md)."""
JITTER = 1e-9  # share that is added to each variance, so that a covariance has a Cholesky factor
WIDE = 25.0  # variance of the mean, in variances of the mean errors
DEGREES = 6.0  # of freedom of the second round's t distribution


@dataclass(frozen=True, slots=True)
class Posterior:
    """Draws of the true errors.

    Attributes:
        places: (n,) rows of the configurations that are modelled, rising.
        errors: (3000, n) draws of their true errors, shares.
        noise: standard deviation of one run of a good configuration, a share: of the better
            half where runs repeat, else as the surface leaves it.
        effective: effective number of the hyperparameters that were kept.
        smooth: whether a surface over the axes was fitted.
    """

    places: Places
    errors: Array
    noise: float
    effective: float
    smooth: bool


def axis_distances(columns: Sequence[Sequence[object]], rows: Places) -> Array:
    """Return squared distances between some configurations along each axis, in spans of all.

    Numbers are compared in logarithms where all are above 0 and they span a factor of 4. Words and
    booleans have distance 1 where they differ; an axis with a number that is not finite holds
    words. An axis with one value is left out.

    Args:
        columns: the values of each axis, one a configuration.
        rows: `(n,)` the configurations that are compared.

    Returns:
        `(axes, n, n)`.
    """
    layers = []
    for values in columns:
        if len(set(values)) < 2:
            continue
        if is_scale(values):
            x = np.asarray(values, np.float64)
            if in_logarithms(values):
                x = np.log(x)
            layers.append(((x[rows, None] - x[rows]) / (x.max() - x.min())) ** 2)
        else:
            codes = {value: code for code, value in enumerate(dict.fromkeys(values))}
            word = np.array([codes[values[row]] for row in rows.tolist()])
            layers.append((word[:, None] != word).astype(np.float64))
    return np.array(layers) if layers else np.zeros((0, len(rows), len(rows)))


def is_scale(values: Sequence[object]) -> bool:
    """Return whether an axis holds numbers with finite distances."""
    if not all(map(is_number, values)):
        return False
    x = np.asarray(values, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(x.max() - x.min()))


def in_logarithms(values: Sequence[object]) -> bool:
    """Return whether an axis is compared in logarithms: numbers above 0 that span a factor of 4."""
    if not is_scale(values):
        return False
    x = np.asarray(values, np.float64)
    return bool(x.min() > 0 and x.max() / x.min() >= LOG_FROM)


@dataclass(frozen=True, slots=True)
class _Summary:
    """Mean errors of configurations, and what repeats say of noise.

    Attributes:
        rows: (n,) places in the table.
        means: (n,) mean errors.
        counts: (n,) runs of each.
        squares: (n,) sums of squares between the runs of each.
        freedom: (n,) degrees of freedom of these.
        scale: the s of the warp.
        variance: of one run of a good configuration; None where nothing repeats.
    """

    rows: Places
    means: Array
    counts: Array
    squares: Array
    freedom: Array
    scale: float
    variance: float | None

    @property
    def above(self) -> Array:
        return np.asarray(self.means - self.means.min())


def _summary(table: Array, wanted: Sequence[int] = ()) -> _Summary | None:
    """Summarise the configurations with a run that trained; None where there are fewer than two.

    Of more than `MOST` they are those that are wanted, and the best of the others.
    """
    trained = np.isfinite(table)
    counts = trained.sum(axis=1).astype(np.float64)
    rows = np.flatnonzero(counts > 0)
    if len(rows) < 2:
        return None
    table, trained, counts = table[rows], trained[rows], counts[rows]
    means = np.where(trained, table, 0.0).sum(axis=1) / counts
    if len(rows) > MOST:
        others = means + np.where(np.isin(rows, wanted[:MOST]), -np.inf, 0.0)
        kept = np.sort(np.argsort(others, kind="stable")[:MOST])
        return _summary_of(rows[kept], table[kept], trained[kept], means[kept], counts[kept])
    return _summary_of(rows, table, trained, means, counts)


def _summary_of(
    rows: Places, table: Array, trained: Array, means: Array, counts: Array
) -> _Summary:
    above = means - means.min()
    left = np.where(trained, table - means[:, None], 0.0)
    freedom = counts - 1
    if table.shape[1] >= PAIRED_SEEDS and trained.all() and len(rows) > 2:
        # What all configurations share with a seed falls out of their differences. Good ones
        # count more, because their noise is what matters.
        weights = 1 / (1 + above / max(float(np.median(above)), 0.01)) ** 2
        weights /= weights.sum()
        left = left - weights @ left
        lost = 1 - 2 * weights + (weights**2).sum()
        freedom = freedom * (1 - weights)
        squares = (left**2).sum(axis=1) * (1 - weights) / np.maximum(lost, 0.1)
    else:
        squares = (left**2).sum(axis=1)
    good = np.argsort(above, kind="stable")[: max(3, len(rows) // 2)]
    of_good = freedom[good].sum()
    variance = float(squares[good].sum() / of_good) if of_good > 0 else None
    scale = max(float(np.median(above)), 3 * math.sqrt(variance or 0.0), 0.01)
    return _Summary(rows, means, counts, squares, freedom, scale, variance)


class _Model:
    """The likelihood of a table, for many hyperparameters at a time.

    Hyperparameters are rows of logarithms: deviation of the surface, own deviation, variance of a
    run, growth of noise; with a surface, log odds of the smooth kernel and a length for each axis;
    with the model of other runs, the three factors of `RATIO_WIDTHS`.
    """

    def __init__(
        self,
        found: _Summary,
        columns: Sequence[Sequence[object]],
        guess: float,
        width: float,
        floor: float,
        other: _Model | None = None,
    ) -> None:
        self.found, self.floor = found, floor
        self.ratio = found.above / found.scale
        self.z = found.scale * np.log1p(self.ratio)
        self.spread = max(float(self.z.std(ddof=1)), 1e-4)
        near = axis_distances(columns, found.rows)
        axes, count = near.shape[:2]
        # Grids repeat their distances: a kernel is computed once for each of them.
        self.distances, self.of_pair = np.unique(
            near.reshape(axes, count * count), axis=1, return_inverse=True
        )
        self.of_pair = self.of_pair.reshape(count, count)
        self.smooth = len(found.rows) >= FEW and axes > 0
        # Beside a surface, an own deviation is alike in errors, not in warped errors: else bad
        # configurations, whose deviations the warp reduces, would hide those of good ones.
        self.slope = 1 / (1 + self.ratio) if self.smooth else np.ones(count)
        self.other = other if self.smooth and other is not None and other.smooth else None
        self.lengths = slice(5, 5 + axes)
        own = OWN_PRIOR if self.smooth else SURFACE_PRIOR
        lengths = (
            [SHARE_PRIOR, FIRST_LENGTH_PRIOR, *[LENGTH_PRIOR] * (axes - 1)] if self.smooth else []
        )
        log_spread = math.log(self.spread)
        priors = np.array(
            [
                (SURFACE_PRIOR[0] + log_spread, SURFACE_PRIOR[1]),
                (own[0] + log_spread, own[1]),
                (math.log(guess), width),
                GROWTH_PRIOR,
                *lengths,
                *((0.0, ratio) for ratio in (RATIO_WIDTHS if self.other else ())),
            ]
        )
        self.centre, self.width = priors.T

    def covariance(self, hyper: Array) -> Array:
        """Return `(M, n, n)` prior covariances of the true warped errors."""
        own = np.exp(2 * hyper[:, 1])[:, None] * self.slope**2
        total: Array = own[:, :, None] * np.eye(len(self.z)) + WIDE * self.spread**2
        if self.smooth:
            squares = np.exp(-2 * hyper[:, self.lengths]) @ self.distances
            reach = np.sqrt(3 * squares)
            share = (1 / (1 + np.exp(-hyper[:, 4])))[:, None]
            kernel = share * np.exp(-squares / 2) + (1 - share) * (1 + reach) * np.exp(-reach)
            total = total + (np.exp(2 * hyper[:, 0])[:, None] * kernel)[:, self.of_pair]
        return total

    def noise(self, hyper: Array) -> tuple[Array, Array]:
        """Return `(M, n)` variances of one run, and of the warped mean errors."""
        growth = np.exp(hyper[:, 3])[:, None]
        one = np.exp(hyper[:, 2])[:, None] * (1 + growth * self.ratio) ** 2 + self.floor
        return one, one / self.found.counts / (1 + self.ratio) ** 2

    def log_density(self, hyper: Array) -> Array:
        """Return the logarithm of likelihood times prior, up to a constant: `(M,)`."""
        log = self.log_likelihood(hyper)
        if self.other is not None:
            of_other = hyper[:, : self.lengths.stop].copy()
            of_other[:, :3] += hyper[:, self.lengths.stop :]
            of_other[:, :2] += math.log(self.other.spread / self.spread)
            of_other[:, 3] += math.log(self.other.found.scale / self.found.scale)
            log += RELEVANCE * self.other.log_likelihood(of_other)
        return np.asarray(log - 0.5 * (((hyper - self.centre) / self.width) ** 2).sum(axis=1))

    def log_likelihood(self, hyper: Array) -> Array:
        """Return the logarithm of the likelihood, up to a constant: `(M,)`."""
        one, of_mean = self.noise(hyper)
        total = self.covariance(hyper)
        places = np.arange(len(self.z))
        total[:, places, places] *= 1 + JITTER
        total[:, places, places] += of_mean
        lower = np.linalg.cholesky(total)
        solved = np.linalg.solve(
            lower, np.broadcast_to(self.z[:, None], (len(hyper), len(self.z), 1))
        )
        log = -0.5 * (solved[..., 0] ** 2).sum(axis=1)
        log -= np.log(lower[:, places, places]).sum(axis=1)
        freedom, squares = self.found.freedom, self.found.squares
        log -= 0.5 * (freedom * np.log(one) + squares / one).sum(axis=1)
        return np.asarray(log)

    def draw(self, hyper: Array, random: np.random.Generator) -> Array:
        """Draw `(len(hyper) * EACH, n)` true errors."""
        # Matheron's rule: draw errors and means from the prior, then correct them by what was seen.
        prior = self.covariance(hyper)
        _, of_mean = self.noise(hyper)
        count = len(self.z)
        total = prior.copy()
        places = np.arange(count)
        total[:, places, places] *= 1 + JITTER
        total[:, places, places] += of_mean
        sure = prior.copy()
        sure[:, places, places] *= 1 + JITTER
        normal = random.standard_normal((2, len(hyper), EACH, count))
        drawn = normal[0] @ np.linalg.cholesky(sure).transpose(0, 2, 1)
        seen = drawn + np.sqrt(of_mean)[:, None] * normal[1]
        solved = np.linalg.solve(total, (self.z - seen).transpose(0, 2, 1))
        warped = (drawn + (prior @ solved).transpose(0, 2, 1)).reshape(-1, count)
        scale = self.found.scale
        errors = self.found.means.min() + scale * np.expm1(np.clip(warped / scale, -50.0, 5.0))
        return np.asarray(errors)


def posterior(
    errors: Array,
    columns: Sequence[Sequence[object]],
    *,
    alike: Array | None = None,
    wanted: Sequence[int] = (),
    floor: float = 0.0,
    seed: int = 0,
) -> Posterior | None:
    """Draw the true errors of configurations from all their runs.

    Args:
        errors: `(configurations, seeds)` shares, inf for diverged, nan for missing. Tables with
            missing runs are normal. A configuration counts by its runs that trained.
        columns: the values of each axis, one a configuration, as for `axis_distances`.
        alike: errors of the same configurations in similar trainings, such as the proxy's. They
            inform how smooth the surface is and how large the noise is, and no error.
        wanted: rows that are modelled in any case, where there are more than `MOST`.
        floor: variance of one run that is certain, whatever the repeats say, such as
            p (1 - p) / (2 n) for an error p measured on n images.
        seed: of the draws.

    Returns:
        None where fewer than two configurations trained.

    Raises:
        StudyError: `errors` is no table of errors.
    """
    table = checked(errors, "errors")
    found = _summary(table, wanted)
    if found is None:
        return None
    other = _summary(checked(alike, "alike"), wanted) if alike is not None else None
    known = [s for s in (found, other) if s is not None and s.variance is not None]
    guess = max(known[0].variance or 0.0 if known else 1e-4, 1e-8)
    width = 0.8 if known and known[0] is not found else NOISE_WIDTH
    random = np.random.default_rng(seed)
    beside = _Model(other, columns, guess, width, floor) if other is not None else None
    model = _Model(found, columns, guess, width, floor, beside)
    hyper, effective = _sampled(model, random)
    repeated = found.variance if found.freedom.sum() >= TRUSTED_FREEDOM else None
    one = float(np.median(np.exp(hyper[:, 2]))) + floor if repeated is None else repeated
    return Posterior(
        found.rows,
        model.draw(hyper, random),
        math.sqrt(one),
        effective,
        model.smooth,
    )


def _sampled(model: _Model, random: np.random.Generator) -> tuple[Array, float]:
    """Sample hyperparameters by importance: around the prior, then one to four times near the best.

    Returns:
        `(KEPT, H)` hyperparameters and their effective number.
    """
    size = len(model.centre)
    width = model.width.copy()
    freedom = float(model.found.freedom.sum())
    if freedom:
        width[2] = min(width[2], 1.3 * math.sqrt(2 / max(freedom, 1.0)))
    seen = [model.centre + width * random.standard_normal((PROPOSALS, size))]
    densities = [model.log_density(seen[0])]

    def of_first(hyper: Array) -> Array:
        squares = (((hyper - model.centre) / width) ** 2).sum(axis=1)
        constant = np.log(width).sum() + size / 2 * math.log(2 * math.pi)
        return np.asarray(-0.5 * squares - constant)

    proposals: list[Callable[[Array], Array]] = [of_first]
    weights = np.zeros(0)
    for _ in range(MOST_ROUNDS):
        every, density = np.concatenate(seen), np.concatenate(densities)
        mixture = np.logaddexp.reduce([p(every) for p in proposals]) - math.log(len(proposals))
        log = density - mixture
        tempered = np.exp(0.7 * (log - log.max()))
        tempered /= tempered.sum()
        middle = tempered @ every
        left = every - middle
        shape = 1.5 * (left.T @ (left * tempered[:, None])) + 0.02 * np.diag(model.width**2)
        lower = np.linalg.cholesky(shape)
        chi = random.chisquare(DEGREES, (PROPOSALS, 1)) / DEGREES
        new = middle + random.standard_normal((PROPOSALS, size)) @ lower.T / np.sqrt(chi)
        proposals.append(_student(middle, lower))
        seen.append(new)
        densities.append(model.log_density(new))
        every, density = np.concatenate(seen), np.concatenate(densities)
        log = density - np.logaddexp.reduce([p(every) for p in proposals])
        weights = np.exp(log - log.max())
        weights /= weights.sum()
        effective = float(1 / (weights**2).sum())
        if effective >= FEWEST_EFFECTIVE:
            break
    return every[random.choice(len(every), KEPT, p=weights)], effective


def _student(middle: Array, lower: Array) -> Callable[[Array], Array]:
    """Return the log density of a multivariate t distribution."""
    size = len(middle)
    constant = (
        math.lgamma((DEGREES + size) / 2)
        - math.lgamma(DEGREES / 2)
        - size / 2 * math.log(DEGREES * math.pi)
        - float(np.log(np.diag(lower)).sum())
    )

    def log_density(hyper: Array) -> Array:
        square = (np.linalg.solve(lower, (hyper - middle).T) ** 2).sum(axis=0)
        return np.asarray(constant - (DEGREES + size) / 2 * np.log1p(square / DEGREES))

    return log_density
