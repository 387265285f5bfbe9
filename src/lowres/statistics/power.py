"""What runs can decide before they are made: of a plan, and of further runs of a study.

A plan is judged by the verdict on simulated studies on its own grid. Numbers that `axis_distances`
compares in logarithms have a skewed dip of the error, with an optimum that the proxy moves. Other
numbers have a steady gain, and words have small effects. The constants are those of
bench/verdict.py, which measures the verdict by another generator.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lowres.errors import StudyError
from lowres.statistics.answers import SURE
from lowres.statistics.error_tables import Array
from lowres.statistics.posterior import Posterior, in_logarithms
from lowres.statistics.verdict import judge
from lowres.text import is_number

STUDIES = 60
"""Simulated studies of up to 12 configurations. Of more they are fewer, which limits the time."""

FEWEST_STUDIES = 20

MOST_JUDGED = 24
"""Configurations that are judged: the best on the target. Worse ones add power: of 24, the best 16
decided 0.50 of 200 studies, and all of them 0.52 (a run's deviation 1 point, 2 seeds)."""

LEAST, WORST_RISE = 0.4, 0.5
"""Error at the optimum, and how far errors rise until they saturate."""

NOISE_GROWTH = 7.0
"""The standard deviation of a run grows by this factor times its error above the least."""

WORD_EFFECT = 0.01
"""Standard deviation of the effect of a word, and half of it of the proxy's departure."""


MORE_RUNS = (6, 12, 24, 48)
"""Further runs after which `chances_of_an_answer` looks."""

FUTURES = 100
"""Futures that it simulates."""


def power(
    axes: Sequence[Sequence[object]],
    seeds: tuple[int, int],
    noise: float,
    bearable: float | None = None,
    *,
    studies: int = STUDIES,
    seed: int = 0,
) -> float:
    """Return the share of simulated studies whose answer is sure.

    It is too small beyond 24 configurations, because only the best 24 are judged.
    Each simulated study has the same truth and the same first runs, whatever the number of seeds.

    Args:
        axes: the values of each swept field, one a configuration: numbers or words.
        seeds: runs of each configuration on the proxy and on the target.
        noise: standard deviation of a run of a good configuration, a share.
        bearable: regret that does not matter, a share; None for the default of `judge`.
        studies: how many are simulated; fewer, at least 20, if there are many configurations.
        seed: of the simulation.

    Raises:
        StudyError: there are no configurations, axes differ in length, or an argument is outside
            its range.
    """
    lengths = {len(values) for values in axes}
    if len(lengths) != 1 or not min(lengths):
        raise StudyError(f"axes must have equally many configurations, had {sorted(lengths)}")
    if min(seeds) < 1 or not 0 < noise < 1 or studies < 1:
        raise StudyError(
            "a simulation needs 1 or more seeds and studies and a noise between 0 and 1, had "
            f"{seeds}, {studies} and {noise:g}"
        )
    judged = min(MOST_JUDGED, *lengths)
    studies = min(studies, max(FEWEST_STUDIES, int(studies * 12 / judged)))
    sure = 0
    for number in range(studies):
        random = np.random.default_rng((seed, number))
        truths = _world(axes, random)
        tables = [
            _runs(errors, count, noise, np.random.default_rng((seed, number, side)))
            for side, (errors, count) in enumerate(zip(truths, seeds, strict=True))
        ]
        kept = np.argsort(truths[1], kind="stable")[:judged]
        kept = np.union1d(kept, tables[0].mean(axis=1).argmin())  # the proxy's choice
        found = judge(
            tables[0][kept],
            tables[1][kept],
            axes=[[values[row] for row in kept] for values in axes],
            bearable=bearable,
            seed=number,
        )
        sure += found.sure
    return sure / studies


def chances_of_an_answer(
    found: Posterior, choice: int, bearable: float, *, at_a_time: int = 2, seed: int = 0
) -> tuple[float, ...]:
    """Return the chance that an answer is sure by 6, 12, 24 and 48 further runs on the target.

    Each simulated future draws a truth from the posterior, and adds runs as `lowres decide` does:
    of the choice and of its strongest rival. The draws are weighed by these runs, and not fitted
    anew, so the true chance differs somewhat (bench/verdict.py compares them).

    Args:
        found: draws of the target's true errors.
        choice: row of the proxy's choice.
        bearable: regret that does not matter, a share.
        at_a_time: runs of a round, an even number.
        seed: of the simulation.

    Returns:
        One chance for each of `MORE_RUNS`; all 0 if the choice is not modelled.
    """
    place = np.flatnonzero(found.places == choice)
    if not len(place):
        return (0.0,) * len(MORE_RUNS)
    random = np.random.default_rng(seed)
    errors, own = found.errors, int(place[0])
    best = errors.argmin(axis=1)
    holds = errors[:, own] - errors.min(axis=1) <= bearable
    truth = errors[random.integers(0, len(errors), FUTURES)]
    # Which configuration beats the choice in a draw; the choice itself where none does by much.
    rivals = np.where(holds, own, best)
    is_rival = np.eye(errors.shape[1])[rivals]
    is_rival[:, own] = 0.0
    logs = np.zeros((FUTURES, len(errors)))
    each = max(1, at_a_time // 2)
    told_after = np.full(FUTURES, np.inf)
    for added in range(0, MORE_RUNS[-1] + 1, 2 * each):
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        p = weights @ holds
        sure = (p >= SURE) | (p <= 1 - SURE)
        told_after = np.where(sure, np.minimum(told_after, added), told_after)
        rival = (weights @ is_rival).argmax(axis=1)
        for column in (np.full(FUTURES, own), rival):
            deviation = found.noise / np.sqrt(each)
            seen = truth[np.arange(FUTURES), column] + deviation * random.standard_normal(FUTURES)
            logs -= 0.5 * ((seen[:, None] - errors.T[column]) / deviation) ** 2
    return tuple(float((told_after <= runs).mean()) for runs in MORE_RUNS)


def _world(axes: Sequence[Sequence[object]], random: np.random.Generator) -> tuple[Array, Array]:
    """Draw the true errors of all configurations on proxy and target."""
    count = len(axes[0])
    logs, linear, words = _coordinates(axes)
    target, proxy = np.zeros(count), np.zeros(count)
    tilts = np.zeros((2, count))
    for x in linear:
        gain = abs(random.normal(0.03, 0.02))
        target -= gain * x
        proxy -= gain * np.exp(random.normal(0, 0.4)) * x
        tilt = random.normal(0, 0.1)
        tilts += np.outer((tilt + random.normal(0, 0.05), tilt), x)
    rises = np.zeros((2, count))
    for place, x in enumerate(logs):
        best = (x.min() + x.max()) / 2 + random.normal(0, 0.175 * np.ptp(x))
        depth, skew = np.exp(random.normal(np.log((0.1, 0.75)), (0.5, 0.2)))
        moved, deeper = best + random.normal(0.1, 0.25), depth * np.exp(random.normal(0, 0.3))
        sides = ((moved, deeper, tilts[0]), (best, depth, tilts[1]))
        for side, (optimum, bend, tilt_of_side) in enumerate(sides):
            away = x - optimum - (tilt_of_side if place == 0 else 0.0)
            rises[side] += bend * np.where(away > 0, away / skew, away) ** 2
    for codes in words:
        effects = random.normal(0, WORD_EFFECT, codes.max() + 1)
        target += effects[codes]
        proxy += (effects + random.normal(0, WORD_EFFECT / 2, len(effects)))[codes]
    saturated = LEAST + WORST_RISE * (1 - np.exp(-rises / WORST_RISE))
    return proxy + saturated[0], target + saturated[1]


def _coordinates(
    axes: Sequence[Sequence[object]],
) -> tuple[list[Array], list[Array], list[np.ndarray]]:
    """Return decades of log axes, steps of other numbers (at most two in all), codes of words."""
    logs, linear, words = [], [], []
    for values in axes:
        if len(set(values)) < 2:
            continue
        if all(map(is_number, values)):
            x = np.asarray(values, np.float64)
            if in_logarithms(values):
                logs.append(np.log10(x))
            else:
                steps = min(len(set(values)) - 1, 2)
                linear.append(steps * (x - x.min()) / np.ptp(x))
        else:
            words.append(np.unique([str(v) for v in values], return_inverse=True)[1])
    return logs, linear, words


def _runs(errors: Array, seeds: int, noise: float, random: np.random.Generator) -> Array:
    """Draw the errors of runs: `(configurations, seeds)`."""
    grown = noise * (1 + NOISE_GROWTH * (errors - errors.min()))
    drawn = random.standard_normal((seeds, len(errors))).T  # further seeds leave the first ones
    return np.asarray(np.clip(errors[:, None] + grown[:, None] * drawn, 0, 1))
