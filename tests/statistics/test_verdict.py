"""The verdict of five answers: known truths, diverged and missing runs, odd tables."""

import math
import tracemalloc

import numpy as np
import pytest

from lowres.errors import StudyError
from lowres.statistics.halving import halving
from lowres.statistics.posterior import axis_distances, posterior
from lowres.statistics.verdict import judge

RATES = np.repeat(10.0 ** np.linspace(-2.5, -0.5, 6), 2)
WIDTHS = np.tile([1.0, 2.0], 6)
AXES = (RATES.tolist(), WIDTHS.tolist())


def surface(best, depth=0.12):
    return 0.4 + depth * (np.log10(RATES) - best) ** 2 - 0.03 * WIDTHS


def runs(errors, noise=0.004, seeds=2, seed=0):
    random = np.random.default_rng(seed)
    return errors[:, None] + noise * random.standard_normal((len(errors), seeds))


def test_a_proxy_with_the_same_optimum_stands_in():
    found = judge(runs(surface(-1.5)), runs(surface(-1.5), seed=1), axes=AXES, bearable=0.01)
    assert found.answer == "stands in"
    assert found.p_bearable >= 0.95
    assert found.shortlists[0].most < 0.01
    assert found.sentence("width 2").startswith("the proxy stands in for the target within 1 point")
    assert found.configurations == 12
    assert found.seeds == (2, 2)


def test_a_proxy_with_another_optimum_does_not():
    found = judge(runs(surface(-2.5)), runs(surface(-0.7), seed=1), axes=AXES, bearable=0.01)
    assert found.answer == "does not stand in"
    assert found.shortlists[0].expected > 0.05
    assert found.rival not in (None, found.choice)


def test_noise_leaves_it_open_and_names_a_rival():
    target = runs(surface(-1.5), noise=0.03, seed=2)
    found = judge(runs(surface(-1.3), noise=0.03), target, axes=AXES, bearable=0.002)
    assert found.answer not in ("stands in", "does not stand in")
    assert found.rival != found.choice
    assert f"P = {found.p_bearable:.2f}" in found.sentence("a", "b") or "probably" in found.answer


def test_the_default_is_a_point_or_the_noise_of_a_run():
    quiet = judge(runs(surface(-1.5)), runs(surface(-1.5), seed=1), axes=AXES)
    assert quiet.bearable == 0.01
    loud = judge(runs(surface(-1.5)), runs(surface(-1.5), 0.03, seed=1), axes=AXES)
    assert 0.015 < loud.bearable < 0.06
    assert not loud.given


def test_a_choice_that_diverged_in_most_of_its_runs_does_not_stand_in():
    proxy, target = runs(surface(-1.5), seeds=3), runs(surface(-1.5), seeds=3, seed=1)
    choice = proxy.mean(axis=1).argmin()
    target[choice, :2] = np.inf
    found = judge(proxy, target, axes=AXES)
    assert found.answer == "does not stand in"
    assert "diverged on the target" in found.sentence("width 2")


def test_one_diverged_seed_of_three_counts_by_the_others():
    proxy, target = runs(surface(-1.5), seeds=3), runs(surface(-1.5), seeds=3, seed=1)
    choice = proxy.mean(axis=1).argmin()
    target[choice, 1] = np.inf
    assert judge(proxy, target, axes=AXES, bearable=0.01).answer == "stands in"


def test_missing_runs_are_normal():
    proxy, target = runs(surface(-1.5), seeds=4), runs(surface(-1.5), seeds=4, seed=1)
    target[:, 2:] = np.nan
    choice = proxy.mean(axis=1).argmin()
    target[choice, 2:] = surface(-1.5)[choice]
    target[3] = np.nan
    found = judge(proxy, target, axes=AXES, bearable=0.01)
    assert found.configurations == 11
    assert found.seeds == (2, 4)
    assert found.answer == "stands in"


def test_few_and_unordered_configurations():
    few = judge([[0.3], [0.4], [0.5]], [[0.3], [0.4], [0.5]], axes=[["a", "b", "c"]])
    assert "little is known" in few.sentence("a")
    one = judge([[0.3, 0.31]], [[0.3, 0.29]])
    assert one.answer == "cannot tell yet"
    assert "two configurations" in one.reason
    nothing = judge([[np.inf], [np.inf]], [[0.3], [0.4]])
    assert nothing.choice is None
    assert nothing.answer == "cannot tell yet"


def test_all_equal_errors_are_bearable():
    same = np.full((12, 2), 0.4)
    assert judge(same, same, axes=AXES).answer == "stands in"


def test_pairs_are_counted_with_ties_left_out():
    found = judge([[0.1], [0.2], [0.2]], [[0.1], [0.3], [0.2]])
    assert found.pairs == (2, 2)


def test_wrong_input_is_refused():
    with pytest.raises(StudyError, match="same configurations"):
        judge([[0.1]], [[0.1], [0.2]])
    with pytest.raises(StudyError, match="share from 0 to 1"):
        judge([[0.1]], [[0.1]], bearable=2)
    with pytest.raises(StudyError, match="divide percentages"):
        judge([[10.0]], [[0.1]])


def test_distances_are_in_spans_of_logarithms_numbers_or_words():
    rate, size, word = axis_distances([[0.01, 0.1, 1.0], [2, 3, 4], ["a", "a", "b"]], np.arange(3))
    assert rate[0, 1] == pytest.approx(0.25)
    assert size[0, 1] == pytest.approx(0.25)
    assert word.tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]
    assert axis_distances([[1, 1, 1]], np.arange(3)).shape == (0, 3, 3)
    assert axis_distances([[0.01, 0.1, 1.0]], np.array([0, 1]))[0, 0, 1] == rate[0, 1]


@pytest.mark.parametrize("odd", [math.inf, -math.inf, math.nan])
def test_a_number_that_is_not_finite_makes_words_of_an_axis(odd):
    """Such as a gradient that is clipped at inf, which means never."""
    values = [1.0, odd, 1.0]
    expected = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert axis_distances([values], np.arange(3))[0].tolist() == expected
    errors = [[0.3], [0.4], [0.5], [0.6], [0.7]]
    found = judge(errors, errors, axes={"clip": [1.0, odd, 2.0, 3.0, 4.0]}, bearable=0.01)
    assert found.choice == 0


@pytest.mark.full
def test_all_networks_of_a_benchmark_are_judged_in_little_memory():
    """NAS-Bench-201 has 15,625; distances of all of them would take 2 GB an axis."""
    random = np.random.default_rng(0)
    axes = {f"edge {n}": random.integers(0, 5, 15_625).tolist() for n in range(6)}
    truth = 0.6 - 0.01 * np.sum(list(axes.values()), axis=0) + random.normal(0, 0.02, 15_625)
    tables = [truth[:, None] + random.normal(0, 0.005, (15_625, 1)) for _ in range(2)]
    tracemalloc.start()
    found = judge(*tables, axes=axes, bearable=0.01)
    halved = halving(tables, found.draws, 0.01, axes=axes)
    assert tracemalloc.get_traced_memory()[1] < 2**28
    tracemalloc.stop()
    assert found.pairs[0] > 122_000_000
    assert halved.runs == (15_625, 5_209)


def test_the_bound_holds_about_as_often_as_it_says():
    """40 studies: the whole table is bench/verdict.csv."""
    random, held = np.random.default_rng(5), 0
    for number in range(40):
        truth = surface(random.normal(-1.5, 0.3))
        proxy = runs(surface(random.normal(-1.4, 0.3)), 0.01, seed=number)
        found = judge(proxy, runs(truth, 0.01, seed=1000 + number), axes=AXES, seed=number)
        held += truth[found.choice] - truth.min() <= found.shortlists[0].most
    assert held >= 36


def test_a_posterior_of_many_configurations_keeps_the_best():
    random = np.random.default_rng(0)
    lr = np.linspace(-3, 0, 80)
    errors = 0.3 + 0.05 * (lr + 1.5)[:, None] ** 2 + 0.003 * random.standard_normal((80, 2))
    found = posterior(errors, [(10**lr).tolist()])
    assert found.errors.shape == (3000, 60)
    assert errors.mean(axis=1).argmin() in found.places
    again = posterior(errors, [(10**lr).tolist()])
    assert np.array_equal(found.errors, again.errors), "one seed, one answer"


def test_fewer_than_five_configurations_are_never_sure():
    found = judge([[0.1, 0.1], [0.5, 0.5]], [[0.1, 0.11], [0.5, 0.5]], bearable=0.01)
    assert found.p_bearable > 0.95
    assert found.answer == "probably stands in"
    assert "little is known" in found.sentence("a")
    worse = judge([[0.1, 0.1], [0.5, 0.5]], [[0.5, 0.51], [0.1, 0.1]], bearable=0.01)
    assert worse.answer == "probably does not stand in"


@pytest.mark.full
def test_odd_tables_have_an_answer():
    random = np.random.default_rng(8)
    kinds = (
        lambda shape: np.full(shape, 0.5),
        lambda shape: random.choice([0.2, 0.9], shape),
        lambda shape: 0.3 + 1e-9 * random.standard_normal(shape),
        lambda shape: random.random(shape),
        lambda shape: np.where(random.random(shape) < 0.3, np.inf, random.random(shape)),
        lambda shape: np.round(random.random(shape), 1),
        lambda shape: np.repeat(random.random((shape[0], 1)), shape[1], axis=1),
    )
    for first in kinds:
        for second in kinds:
            for seeds in (1, 3):
                found = judge(first((12, seeds)), second((12, 2)), axes=AXES)
                assert 0 <= found.p_bearable <= 1


@pytest.mark.full
def test_the_choice_among_hundreds_of_configurations_is_modelled():
    for seed in range(4):
        random = np.random.default_rng(seed)
        rates, decays = random.uniform(-3, 0, 400), random.uniform(-5, -2, 400)
        target = 0.3 + 0.1 * (rates + 1.3) ** 2 + 0.02 * (decays + 3.5) ** 2
        proxy = 0.35 + 0.1 * (rates + 1.2) ** 2 + 0.02 * (decays + 3.6) ** 2
        axes = {"lr": (10**rates).tolist(), "wd": (10**decays).tolist()}
        found = judge(runs(proxy, 0.006, 1, seed), runs(target, 0.006, 1, seed + 9), axes=axes)
        regret = target[found.choice] - target.min()
        assert found.shortlists[0].most is not None
        assert found.answer != ("does not stand in" if regret <= 0.01 else "stands in")
        assert regret <= found.shortlists[0].most
