"""What carries over by field, the law of the learning rate, halving, the chance of an answer."""

import math

import numpy as np
import pytest

from lowres.errors import StudyError
from lowres.statistics.error_tables import Interval
from lowres.statistics.halving import halving
from lowres.statistics.law import learning_rate_law
from lowres.statistics.optimum import Optimum
from lowres.statistics.power import chances_of_an_answer
from lowres.statistics.verdict import judge

RATES = np.repeat(10.0 ** np.linspace(-2.5, -0.5, 6), 2)
WIDTHS = np.tile([1.0, 2.0], 6)
AXES = {"lr": RATES.tolist(), "width": WIDTHS.tolist()}


def surface(best, gain=0.03):
    return 0.4 + 0.12 * (np.log10(RATES) - best) ** 2 - gain * WIDTHS


def runs(errors, noise=0.004, seeds=2, seed=0):
    random = np.random.default_rng(seed)
    return errors[:, None] + noise * random.standard_normal((len(errors), seeds))


def test_one_field_carries_over_and_the_other_does_not():
    target = runs(surface(-1.5), seed=1)
    found = judge(runs(surface(-1.5, gain=-0.03)), target, axes=AXES, bearable=0.01)
    lr, width = found.fields
    assert (lr.field, lr.answer) == ("lr", "stands in")
    assert lr.interval.low < 10**-1.5 < lr.interval.high
    assert (width.field, width.value, width.answer) == ("width", 1.0, "does not stand in")
    assert width.best == (2.0,)
    assert 0.02 < width.most < 0.05
    assert found.answer == "does not stand in"
    assert "width: the proxy's best, 1, does not stand in (P = 0.00" in width.sentence()


def test_words_few_configurations_and_a_choice_that_diverged():
    axes = {"filter": ["box", "box", "hann", "hann"], "lr": [0.1, 0.2, 0.1, 0.2], "one": [1] * 4}
    errors = [[0.3, 0.31], [0.4, 0.41], [0.5, 0.51], [0.6, 0.61]]
    few = judge(errors, errors, axes=axes, bearable=0.01)
    assert [field.field for field in few.fields] == ["filter", "lr"]
    assert few.fields[0].answer == "probably stands in"
    assert few.fields[0].optimum is None
    target = runs(surface(-1.5), seed=1)
    proxy = runs(surface(-1.5))
    choice = proxy.mean(axis=1).argmin()
    target[choice] = np.inf
    lost = judge(proxy, target, axes=AXES, bearable=0.01)
    assert lost.answer == "does not stand in"
    assert [field.answer for field in lost.fields][1] == "stands in"


def test_many_best_values_are_a_range():
    rates = np.linspace(0.01, 0.02, 12)
    flat = runs(np.full(12, 0.4), noise=0.02)
    (field,) = judge(flat, flat, axes={"lr": rates.tolist()}, bearable=0.01).fields
    assert len(field.best) > 4
    assert field.best_in_words == f"{field.best[0]:g} to {field.best[-1]:.6g}"


def test_the_choice_is_by_scores_where_they_are_given():
    proxy, target = runs(surface(-1.5)), runs(surface(-1.5), seed=1)
    found = judge(proxy, target, axes=AXES, scores=10 - proxy, bearable=0.01)
    assert found.choice == proxy.mean(axis=1).argmax()
    assert found.pairs[1] < found.pairs[0] / 4
    with pytest.raises(StudyError, match="same configurations"):
        judge(proxy, target, scores=proxy[:5])


def curve(size, width, random, spread=0.05):
    rate = -2 + 0.3 * math.log2(size / 8) + 0.1 * math.log2(width) + random.normal(0, spread)
    return Optimum(
        10**rate, Interval(10 ** (rate - 1.96 * spread), 10 ** (rate + 1.96 * spread)), 0.01, False
    )


def test_the_law_holds_its_truth_and_extrapolates():
    random = np.random.default_rng(4)
    held = {"size": 0, "width": 0, "prediction": 0}
    for _ in range(300):
        sizes, widths = [8, 8, 16, 16, 32, 32], [1, 2] * 3
        optima = [curve(*at, random) for at in zip(sizes, widths, strict=True)]
        law = learning_rate_law(sizes, widths, optima, [(64, 2)])
        held["size"] += law.by_size.interval.low <= 0.3 <= law.by_size.interval.high
        held["width"] += law.by_width.interval.low <= 0.1 <= law.by_width.interval.high
        (one,) = law.predictions
        assert one.extrapolated
        held["prediction"] += one.interval.low <= 10**-1.0 <= one.interval.high
    assert all(count >= 0.92 * 300 for count in held.values()), held


def test_the_law_widens_where_optima_scatter_more_than_they_say():
    random = np.random.default_rng(4)
    sizes, widths = [8, 16, 32, 64], [1] * 4
    optima = [curve(size, 1, random, spread=0.01) for size in sizes]
    near = learning_rate_law(sizes, widths, optima)
    assert near.by_width is None
    far = list(optima)
    far[1] = curve(256, 1, random, spread=0.01)
    wide = learning_rate_law(sizes, widths, far)
    assert wide.by_size.interval.high - wide.by_size.interval.low > 5 * (
        near.by_size.interval.high - near.by_size.interval.low
    )


def test_the_law_names_the_curves_that_it_leaves_out():
    random = np.random.default_rng(4)
    sizes, widths = [8, 8, 16, 16, 32, 32], [0.5, 1] * 3
    optima = [curve(*at, random) for at in zip(sizes, widths, strict=True)]
    assert "Left out" not in learning_rate_law(sizes, widths, optima).sentence()
    optima[2] = Optimum(0.01, None, 0.01, False, "noise hides the curvature")
    said = learning_rate_law(sizes, widths, optima).sentence()
    assert said.startswith("From 5 curves of 8 to 32 px: if the size doubles, ")
    assert said.endswith(
        ". Left out: 16 px width 0.5 (noise hides the curvature). More seeds help."
    )


def test_there_is_no_law_below_three_sizes_or_of_fields_that_vary_together():
    random = np.random.default_rng(4)
    none = Optimum(None, None, 0.01, True, "the best is the first")
    law = learning_rate_law([8, 16, 32], [1, 1, 1], [curve(8, 1, random), none, none])
    assert law.a is None
    assert "1 of 3 have one" in law.reason
    assert law.sentence().startswith("No law of the learning rate: a law needs")
    assert law.sentence().endswith(
        "Left out: 16 px, 32 px (the best is the first). More seeds and further rates help."
    )
    assert learning_rate_law([8], [1], [none]).sizes == ()
    together = [curve(size, size / 8, random) for size in (8, 16, 32)]
    assert "vary together" in learning_rate_law([8, 16, 32], [1, 2, 4], together).reason
    with pytest.raises(StudyError, match="size and a width for each curve"):
        learning_rate_law([8], [1, 2], together)


def test_halving_pays_less_and_loses_what_its_rungs_hide():
    tables = [runs(surface(best), seed=n) for n, best in enumerate((-1.5, -1.5, -1.5))]
    found = judge(tables[0], tables[2], axes=AXES).draws
    good = halving(tables, found, 0.01, costs=(1.0, 4.0, 16.0), whole=16.0)
    assert good.runs == (12, 4, 2)
    assert good.paid == pytest.approx((12 + 16 + 32) / (12 * 16))
    assert good.expected < 0.005
    misled = [runs(surface(-2.5), seed=5), *tables[1:]]
    bad = halving(misled, found, 0.01)
    assert bad.paid is None
    assert bad.expected > 0.02
    assert bad.p_bearable < 0.1
    missing = [np.where(np.arange(12)[:, None] == 3, np.nan, table) for table in tables]
    assert halving(missing, found, 0.01).runs == (11, 4, 2)
    gaps = [table.copy() for table in tables]
    gaps[0][0, 0] = np.nan
    assert halving(gaps, found, 0.01).expected < 0.005
    with pytest.raises(StudyError, match="axes of"):
        halving(tables, found, 0.01, axes=[[1, 2]])
    for wrong, one_in in ((tables[:1], 3.0), ([tables[0], tables[1][:4]], 3.0), (tables, 1.0)):
        with pytest.raises(StudyError):
            halving(wrong, found, 0.01, one_in=one_in)


@pytest.mark.full
def test_the_bound_of_halving_holds_for_a_new_search_after_one_seed():
    """40 studies of ten searches: the whole table is bench/halving.csv."""
    random, held = np.random.default_rng(5), []
    for number in range(40):
        best = random.normal(-1.5, 0.3)
        truths = [surface(best + moved) for moved in (random.normal(0.1, 0.2), 0.05, 0.0)]
        tables = [e[:, None] + random.normal(0, 0.015, (12, 1)) for e in truths]
        found = judge(tables[0], tables[-1], axes=AXES, seed=number).draws
        stated = halving(tables, found, 0.01, axes=AXES, seed=number)
        for _ in range(10):
            alive = np.arange(12)
            for errors, kept in zip(truths, (4, 2, 1), strict=True):
                seen = errors[alive] + random.normal(0, 0.015, len(alive))
                alive = alive[seen.argsort()[:kept]]
            held.append(truths[-1][alive[0]] - truths[-1].min() <= stated.most)
    assert np.mean(held) >= 0.9, "0.85 if the search is repeated with the runs on file"


def test_chances_of_an_answer_rise_with_runs_and_are_sure_where_all_is_told():
    noisy = runs(surface(-1.5), noise=0.02, seed=3)
    verdict = judge(runs(surface(-1.4)), noisy, axes=AXES, bearable=0.01)
    chances = chances_of_an_answer(verdict.draws, verdict.choice, 0.01)
    assert list(chances) == sorted(chances)
    assert 0 <= chances[0] < chances[-1] <= 1
    sure = judge(runs(surface(-1.5)), runs(surface(-1.5), seed=1), axes=AXES, bearable=0.01)
    assert chances_of_an_answer(sure.draws, sure.choice, 0.01) == (1.0,) * 4
    assert chances_of_an_answer(sure.draws, 99, 0.01) == (0.0,) * 4
