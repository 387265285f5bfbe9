"""The optimum of a learning curve: closed forms, edges, lean curves, regions."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from lowres import statistics
from lowres.errors import StudyError

INF, NAN = np.inf, np.nan
RATES = 10.0 ** np.linspace(-3, 0, 7)


def parabola(best, rates=RATES):
    return (0.3 + 0.05 * (np.log10(rates) - best) ** 2)[:, None]


def test_the_vertex_of_a_parabola():
    found = statistics.optimum(RATES, np.repeat(parabola(-1.37), 2, axis=1))
    assert math.log10(found.lr) == pytest.approx(-1.37)
    # Noise has no part in it: 0.4 of the grid's spacing of half a decade remain.
    assert math.log10(found.interval.low) == pytest.approx(-1.57, abs=1e-3)
    assert math.log10(found.interval.high) == pytest.approx(-1.17, abs=1e-3)
    assert found.best_lr == pytest.approx(10**-1.5)
    assert (found.at_edge, found.reason) == (False, "")


def test_the_interval_is_where_the_slope_does_not_differ_from_0_and_a_share_of_the_spacing():
    """Against the definition, solved by numbers, with the lean as one more observation of it."""
    random = np.random.default_rng(1)
    errors = parabola(-1.45) + 0.004 * random.standard_normal((7, 2))
    found = statistics.optimum(RATES, errors)
    means = errors.mean(axis=1)
    best = int(means.argmin())
    window = slice(best - 2, best + 3)
    middle = np.log10(RATES[best])
    x, y = np.log10(RATES[window]) - middle, means[window]
    deviation = math.sqrt(errors.var(axis=1, ddof=1).mean() / 2)
    lean = 0.6 * np.polyfit(x, y, 2)[0]
    design = np.vstack([np.vander(x, 4, increasing=True), [0, 0, 0, deviation / lean]])
    coefficients, *_ = np.linalg.lstsq(design, np.append(y, 0), rcond=None)
    spread = np.linalg.inv(design.T @ design) * deviation**2
    quantile = stats.t.ppf(0.975, 7)

    def beyond(v):
        row = np.array([0, 1, 2 * v, 3 * v**2])
        return (row @ coefficients) ** 2 - quantile**2 * row @ spread @ row

    vertex = optimize.brentq(lambda v: [0, 1, 2 * v, 3 * v**2] @ coefficients, -0.5, 0.5)
    assert math.log10(found.lr) == pytest.approx(vertex + middle)
    low = optimize.brentq(beyond, vertex - 0.3, vertex)
    high = optimize.brentq(beyond, vertex, vertex + 0.3)
    ends = np.log10([found.interval.low, found.interval.high]) - middle
    away = [math.hypot(end - vertex, 0.4 * 0.5) for end in (low, high)]
    assert ends == pytest.approx([vertex - away[0], vertex + away[1]])


@pytest.mark.parametrize(("best", "end"), [(-4.0, "smallest"), (1.0, "largest")])
def test_the_edge_of_the_grid(best, end):
    found = statistics.optimum(RATES, parabola(best) / 2)
    assert found.at_edge
    assert found.lr is None
    assert found.reason.startswith(f"the best learning rate is the {end} that trained")


def test_where_training_ends_is_an_edge_too():
    errors = parabola(-1.0)
    errors[5:] = INF
    found = statistics.optimum(RATES, errors)
    assert found.at_edge
    assert found.best_lr == pytest.approx(0.1)


def test_one_seed_takes_the_noise_from_the_fit():
    random = np.random.default_rng(1)
    errors = parabola(-1.5) + 0.001 * random.standard_normal((7, 1))
    found = statistics.optimum(RATES, errors)
    assert found.interval.low < 10**-1.5 < found.interval.high
    three = statistics.optimum(RATES[2:5], errors[2:5])
    assert three.lr is not None
    assert three.interval is None
    assert three.reason == "one seed and three learning rates: the noise is unknown"


def test_a_flat_curve_has_no_interval():
    errors = np.array([[0.50, 0.52], [0.49, 0.53], [0.49, 0.51], [0.52, 0.50], [0.49, 0.54]])
    found = statistics.optimum(RATES[:5], errors)
    assert found.interval is None
    assert found.reason


def test_an_interval_that_ends_nowhere_is_none():
    """The noise hides the curvature: no end has a finite learning rate."""
    random = np.random.default_rng(5)
    found = []
    for _ in range(500):
        errors = parabola(-1.5) + 0.03 * random.standard_normal((7, 2))
        found.append(statistics.optimum(RATES, np.clip(errors, 0, 1)))
    ends = [each.interval.high for each in found if each.interval]
    assert 0 < len(ends) < 500
    assert max(ends) < 1e11
    assert {each.reason for each in found if not each.interval and each.lr} == {
        "noise hides the curvature: the optimum may lie anywhere"
    }


def test_a_leaning_curve_is_followed():
    away = np.log10(RATES) + 1.4
    truth = (0.3 + 0.05 * away**2 + 0.015 * away**3)[:, None]
    found = statistics.optimum(RATES, np.repeat(truth, 2, axis=1))
    assert math.log10(found.lr) == pytest.approx(-1.4, abs=0.001)
    noise = 0.002 * np.random.default_rng(3).standard_normal((7, 2))
    noisy = statistics.optimum(RATES, truth + noise)
    assert noisy.interval.low < 10**-1.4 < noisy.interval.high


def test_the_shift_between_two_curves():
    random = np.random.default_rng(3)
    first, second = (
        statistics.optimum(RATES, parabola(best) + 0.003 * random.standard_normal((7, 2)))
        for best in (-1.7, -1.3)
    )
    found = statistics.shift(first, second)
    assert found.value == pytest.approx(math.log10(second.lr / first.lr))
    assert found.interval.low < 0.4 < found.interval.high
    back = statistics.shift(second, first)
    assert back.interval == statistics.Interval(
        pytest.approx(-found.interval.high), pytest.approx(-found.interval.low)
    )
    edge = statistics.optimum(RATES, parabola(0.5))
    assert statistics.shift(first, edge) == statistics.Figure(None, None, edge.reason)
    vague = statistics.Optimum(0.1, None, 0.1, False, "noise hides the curvature")
    assert statistics.shift(vague, edge) == statistics.Figure(None, None, edge.reason)
    assert (
        statistics.shift(vague, first).reason
        == statistics.shift(first, vague).reason
        == vague.reason
    )


def test_equal_intervals_join_by_pythagoras():
    first = statistics.Optimum(0.1, statistics.Interval(0.01, 1.0), 0.1, False)
    second = statistics.Optimum(1.0, statistics.Interval(0.1, 10.0), 1.0, False)
    found = statistics.shift(first, second)
    assert found.value == pytest.approx(1)
    assert found.interval.low == pytest.approx(1 - math.sqrt(2))
    assert found.interval.high == pytest.approx(1 + math.sqrt(2))


def test_the_region_within_a_standard_error():
    errors = np.array([[0.50, 0.52], [0.41, 0.43], [0.40, 0.42], [0.42, 0.44], [0.40, 0.425]])
    # Pooled variance of a run: 0.0002 four times and 0.0003125, so a standard error of 0.0105.
    found = statistics.region(RATES[:5], errors)
    assert found.bar == pytest.approx(0.41 + math.sqrt((4 * 0.0002 + 0.0003125) / 5 / 2))
    assert found.learning_rates == pytest.approx(RATES[1:3].tolist()), "0.43 ends it"
    assert (found.low, found.high) == (found.learning_rates[0], found.learning_rates[-1])
    assert statistics.region(RATES, parabola(-1)) is None, "one seed has no standard error"


@pytest.mark.parametrize(
    ("low", "high", "both"), [(0.1, 0.3, True), (0.3, 1, True), (0.4, 1, False)]
)
def test_overlapping_regions(low, high, both):
    first = statistics.Region(0.01, 0.3, (), 0.0)
    assert statistics.overlap(first, statistics.Region(low, high, (), 0.0)) is both


@pytest.mark.parametrize(
    ("rates", "errors", "words"),
    [
        ([0.1, 0.1], [[0.1], [0.2]], "above 0 and rising, were"),
        ([0.0, 0.1], [[0.1], [0.2]], "above 0 and rising"),
        ([0.1, NAN], [[0.1], [0.2]], "above 0 and rising"),
        ([0.1, 0.2], [[0.1]], "a row for each of 2 learning rates, had 1"),
        ([0.1, 0.2], [[INF], [NAN]], "no learning rate trained"),
    ],
)
def test_bad_curves(rates, errors, words):
    for function in (statistics.optimum, statistics.region):
        with pytest.raises(StudyError, match=words):
            function(rates, errors)


@pytest.mark.parametrize("rates", [5, 7, 9])
@pytest.mark.parametrize("wide", [0.86, 0.64])
def test_intervals_hold_the_optimum_of_a_skewed_dip(wide, rates):
    """The right side of the dip is narrower than the left, and errors saturate."""
    random = np.random.default_rng(6)
    grid = 10.0 ** np.linspace(-3, 0, rates)
    held = []
    for _ in range(150):
        best = random.uniform(-2.2, -0.8)
        away = np.log10(grid) - best
        away = np.where(away > 0, away / wide, away)
        truth = 0.3 + 0.5 * (1 - np.exp(-0.2 * away**2))
        found = statistics.optimum(
            grid, truth[:, None] + 0.005 * random.standard_normal((rates, 2))
        )
        if found.interval:
            held.append(found.interval.low <= 10**best <= found.interval.high)
    assert len(held) > 120
    assert np.mean(held) >= 0.92


def test_intervals_hold_the_optimum_of_a_parabola():
    random = np.random.default_rng(4)
    held = {"optimum": [], "shift": []}
    for _ in range(400):
        best = random.uniform(-2, -1, 2)
        found = [
            statistics.optimum(RATES, parabola(each) + 0.005 * random.standard_normal((7, 2)))
            for each in best
        ]
        moved = statistics.shift(*found).interval
        if found[0].interval:
            held["optimum"].append(found[0].interval.low <= 10 ** best[0] <= found[0].interval.high)
        if moved:
            held["shift"].append(moved.low <= best[1] - best[0] <= moved.high)
    assert all(len(each) > 350 for each in held.values())
    assert all(np.mean(each) >= 0.97 for each in held.values()), "wider than a parabola needs"


def test_a_fine_grid_shows_the_optimum_as_a_coarse_one_does():
    """With two neighbours alone, steps of sqrt 2 showed no curvature in three of four studies."""
    random, held, without = np.random.default_rng(0), 0, 0
    rates = 0.02 * math.sqrt(2) ** np.arange(11)
    for _ in range(60):
        best = math.log10(0.113) + random.uniform(-0.15, 0.15)
        away = np.log10(rates) - best
        errors = 0.5 + (0.1 * away**2)[:, None] + random.normal(0, 0.01, (len(rates), 8))
        found = statistics.optimum(rates, errors)
        if found.interval is None:
            without += 1
        else:
            held += found.interval.low <= 10**best <= found.interval.high
    assert without <= 3
    assert held >= 0.92 * (60 - without)
