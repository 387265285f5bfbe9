"""The order of values in words: known truths, reversed pairs, diverged values, and calibration."""

import numpy as np
import pytest

from lowres.statistics.verdict import judge

NAMES = ("momentum", "muon", "adamw", "sgd")
CENTRES = {"momentum": -1.2, "muon": -1.4, "adamw": -2.5, "sgd": -0.3}
FIELD = [name for name in NAMES for _ in range(3)]
RATES = [10 ** (CENTRES[name] + step) for name in NAMES for step in (-0.5, 0.0, 0.5)]
AXES = {"optimizer": FIELD, "lr": RATES}


def table(least, noise=0.004, seeds=2, seed=0):
    """Errors of four optimizers at three rates each; the middle one is nearly the best."""
    random = np.random.default_rng(seed)
    true = np.array([least[name] + rise for name in NAMES for rise in (0.04, 0.0, 0.06)])
    return true[:, None] + noise * random.standard_normal((len(true), seeds))


LEAST = {"muon": 0.30, "momentum": 0.35, "adamw": 0.40, "sgd": 0.46}


def test_an_order_that_holds():
    found = judge(table(LEAST, seed=1), table(LEAST, seed=2), axes=AXES, bearable=0.01)
    [order] = found.orders
    assert (order.field, order.values) == ("optimizer", ("muon", "momentum", "adamw", "sgd"))
    assert order.answer == "stands in"
    assert order.p_bearable >= 0.95
    assert order.most <= 0.01
    assert order.pairs == (6, 6, 0)
    assert order.reversal is None
    assert np.allclose(order.errors, sorted(LEAST.values()), atol=0.015)
    assert all(i.low < e < i.high for i, e in zip(order.intervals, order.errors, strict=True))
    assert order.sentence() == (
        "order of optimizer on the proxy, each at its best: muon, momentum, adamw, sgd; on the "
        f"target it holds within 1 point (P = {order.p_bearable:.2f}, at most "
        f"{100 * max(order.most, 0.001):.1f} points lost); of 6 pairs 6 surely agree and 0 surely "
        "reverse"
    )


def test_an_order_with_a_reversed_pair_behind_the_best():
    """The best one carries over, and the order does not: the field's answer alone would hide it."""
    other = {**LEAST, "momentum": 0.46, "sgd": 0.35}
    found = judge(table(LEAST, seed=1), table(other, seed=2), axes=AXES, bearable=0.01)
    assert [one.answer for one in found.fields if one.field == "optimizer"] == ["stands in"]
    [order] = found.orders
    assert order.answer == "does not stand in"
    assert (order.reversal.ahead, order.reversal.behind) == ("momentum", "sgd")
    assert 0.08 < order.reversal.interval.low < order.reversal.loss < 0.13
    assert order.pairs == (6, 3, 3)
    assert "does not hold within 1 point" in order.sentence()
    assert "the most reversed: sgd is better than momentum by 10.2 [" in order.sentence()


def test_noise_leaves_an_order_open():
    close = {"muon": 0.300, "momentum": 0.302, "adamw": 0.301, "sgd": 0.304}
    found = judge(table(close, 0.03, seed=1), table(close, 0.03, seed=2), axes=AXES, bearable=0.001)
    [order] = found.orders
    assert order.answer not in ("stands in", "does not stand in")
    assert order.pairs[1] < 6


def test_values_that_diverged():
    proxy, target = table(LEAST, seed=1), table(LEAST, seed=2)
    proxy[9:] = np.inf  # sgd: no place in the proxy's order
    [order] = judge(proxy, target, axes=AXES, bearable=0.01).orders
    assert order.values == ("muon", "momentum", "adamw")
    proxy, target = table(LEAST, seed=1), table(LEAST, seed=2)
    target[9:] = np.inf  # the last one on the proxy: the order holds
    [order] = judge(proxy, target, axes=AXES, bearable=0.01).orders
    assert (order.values[-1], order.errors[-1], order.answer) == ("sgd", 1.0, "stands in")
    target[3:6] = np.inf  # muon, the first one on the proxy
    [order] = judge(proxy, target, axes=AXES, bearable=0.01).orders
    assert (order.values[0], order.answer) == ("muon", "does not stand in")


def test_only_words_with_three_values_or_more_have_an_order():
    numbers = {"lr": RATES, "width": [1.0, 2.0, 4.0] * 4}
    assert judge(table(LEAST), table(LEAST, seed=1), axes=numbers).orders == ()
    two = {"lr": RATES, "flip": ["both", "none"] * 6}
    assert judge(table(LEAST), table(LEAST, seed=1), axes=two).orders == ()
    each = {"lr": RATES, "run": [f"run {n}" for n in range(12)]}
    assert [one.field for one in judge(table(LEAST), table(LEAST, seed=1), axes=each).orders] == [
        "run"
    ]


def test_a_field_that_follows_from_another_has_no_answer_of_its_own():
    decay = {"momentum": 0.001, "muon": 1.0, "adamw": 0.05, "sgd": 0.001}
    axes = {
        **AXES,
        "weight_decay": [decay[name] for name in FIELD],
        "schedule": ["constant" if name == "sgd" else "cosine" for name in FIELD],
    }
    found = judge(table(LEAST), table(LEAST, seed=1), axes=axes)
    assert [one.field for one in found.fields] == ["optimizer", "lr"]
    axes["weight_decay"][0] = 0.5  # momentum with two decays: a decision of its own
    found = judge(table(LEAST), table(LEAST, seed=1), axes=axes)
    assert [one.field for one in found.fields] == ["optimizer", "lr", "weight_decay"]
    names = {"run": [f"run {n}" for n in range(12)], "lr": RATES}  # each run has a name
    found = judge(table(LEAST), table(LEAST, seed=1), axes=names)
    assert [one.field for one in found.fields] == ["run", "lr"]


@pytest.mark.full
def test_sure_answers_on_orders_are_right_and_the_bound_holds():
    """60 studies of four optimizers whose least errors are random on both sides."""
    random, held, wrong, sure = np.random.default_rng(7), 0, 0, 0
    for number in range(60):
        base = dict(zip(NAMES, 0.35 + 0.03 * random.standard_normal(4), strict=True))
        target = {name: base[name] + 0.01 * random.standard_normal() for name in NAMES}
        found = judge(
            table(base, 0.01, seed=2 * number), table(target, 0.01, seed=2 * number + 1),
            axes=AXES, bearable=0.01, seed=number,
        )  # fmt: skip
        [order] = found.orders
        true = [target[name] for name in order.values]
        loss = max(max(a - b, 0.0) for place, a in enumerate(true) for b in true[place + 1 :])
        held += loss <= order.most + 1e-12
        sure += order.answer in ("stands in", "does not stand in")
        wrong += (order.answer == "stands in" and loss > 0.01) or (
            order.answer == "does not stand in" and loss <= 0.01
        )
    assert held >= 54
    assert sure >= 15
    assert wrong <= 3
