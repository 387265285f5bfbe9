"""Finite validation images: figures by hand, and how often intervals hold the truth."""

import numpy as np
import pytest

from lowres.errors import StudyError
from lowres.statistics.finite_images import (
    class_transfer,
    image_covariance,
    image_noise,
    on_new_images,
)
from lowres.statistics.verdict import judge


def simulated(random, images, seeds, configurations=1, common=0.0, apart=0.5):
    """Draw outcomes: a difficulty for each image, deviations of configurations and of seeds."""
    difficulty = random.normal(0, 1.5, images)
    truth = difficulty + random.normal(0, apart, (configurations, images))
    shift = common * random.standard_normal((configurations, seeds, 1))
    chance = 1 / (1 + np.exp(-(truth[:, None] + shift)))
    return random.random((configurations, seeds, images)) < chance


def test_noise_of_images_alone_and_of_training_alone():
    random = np.random.default_rng(0)
    alone = image_noise(list(simulated(random, 500, 12, configurations=20)))
    assert alone.share == pytest.approx(1, abs=0.15)
    assert "more validation images help more than more seeds" in alone.advice()
    # All images change together: the error of a run is 0.2 or 0.3 on any number of images.
    worse = np.arange(1000) < 300
    better = np.arange(1000) < 200
    shared = image_noise([np.array([worse, better] * 4)] * 3)
    assert shared.share < 0.02
    assert "more seeds help more" in shared.advice()
    assert shared.noise == pytest.approx(np.std([0.2, 0.3] * 4, ddof=1))
    assert image_noise([np.ones((1, 9), bool)]) is None
    assert image_noise([np.ones((3, 9), bool)]) is None
    with pytest.raises(StudyError, match="same images"):
        image_noise([np.ones((2, 9), bool), np.ones((2, 8), bool)])


@pytest.mark.parametrize("common", [0.0, 0.15, 0.4])
def test_the_share_of_noise_is_covered(common):
    random = np.random.default_rng(1)
    large = simulated(random, 300, 4000, common=common)[0]
    truth = image_noise([large]).share
    held = 0
    for start in range(0, 4000, 10):
        found = image_noise([large[start : start + 5], large[start + 5 : start + 10]])
        held += found.interval.low <= truth <= found.interval.high
    assert held / 400 >= 0.92


@pytest.mark.full
def test_at_most_on_new_images_holds():
    """The bound for the images at hand fails for new images; the bound for new ones holds."""
    random = np.random.default_rng(2)
    images, seeds, held, narrow = 250, 3, 0, 0
    for _ in range(120):
        pool = 20_000
        difficulty = random.normal(0, 1.5, pool)
        chance = 1 / (1 + np.exp(-(difficulty + random.normal(0, 0.7, (8, pool)))))
        truth, chosen = chance.mean(axis=1), random.choice(pool, images, replace=False)
        wrong = random.random((8, seeds, images)) < chance[:, None, chosen]
        proxy = random.random((8, seeds, images)) < chance[:, None, chosen]
        found = judge(
            proxy.mean(axis=2),
            wrong.mean(axis=2),
            axes=[list(map(str, range(8)))],
            image_covariance=image_covariance(list(wrong)),
        )
        regret = truth[found.choice] - truth.min()
        held += regret <= found.most_new
        narrow += regret <= found.shortlists[0].most
    assert held / 120 >= 0.92
    assert held >= narrow


def test_without_a_spread_over_images_nothing_changes():
    draws = np.random.default_rng(0).random((50, 3))
    assert np.allclose(on_new_images(draws, np.zeros((3, 3))), draws)
    one = [np.ones((2, 9), bool)]
    assert image_covariance(one).item() == pytest.approx(0)


def test_the_covariance_is_that_of_the_probabilities():
    random = np.random.default_rng(3)
    wrong = simulated(random, 50_000, 2, 2, apart=1.0)
    found = image_covariance(list(wrong)) * 50_000
    other = np.mean([np.cov(wrong[0, one], wrong[1, one])[0, 1] for one in (0, 1)])
    assert found[0, 1] == pytest.approx(other, rel=0.06)
    # Two runs of one configuration covary as its probabilities vary.
    for place in (0, 1):
        assert found[place, place] == pytest.approx(np.cov(*wrong[place])[0, 1], rel=0.06)


def test_classes_by_hand():
    labels = np.repeat([0, 1, 2], 40)
    target = np.zeros((2, 120), bool)
    proxy = np.zeros((3, 120), bool)
    proxy[:, :40] = True  # class 0 is lost on the proxy
    first, *others = class_transfer(proxy, target, labels)
    assert (first.label, first.proxy, first.target, first.beyond) == (0, 1.0, 0.0, 1.0)
    assert first.sure
    assert [one.beyond for one in others] == [-0.5, -0.5]
    assert class_transfer(proxy, target, labels)[0].images == 40
    few = class_transfer(proxy[:, 37:43], target[:, 37:43], labels[37:43])
    assert all(one.interval is None and not one.sure for one in few)
    with pytest.raises(StudyError, match="one an image"):
        class_transfer(proxy, target, labels[:-1])


def test_intervals_of_classes_hold_at_once():
    random = np.random.default_rng(4)
    held, studies, classes, each = 0, 300, 10, 50
    labels = np.repeat(np.arange(classes), each)
    lost = np.linspace(0.05, 0.35, classes)
    truth = np.array([one - np.delete(lost, place).mean() for place, one in enumerate(lost)])
    for _ in range(studies):
        base = random.uniform(0.1, 0.5, classes * each)
        target = random.random((2, classes * each)) < base
        proxy = random.random((2, classes * each)) < base + lost[labels]
        found = class_transfer(proxy, target, labels)
        held += all(one.interval.low <= truth[one.label] <= one.interval.high for one in found)
    assert held / studies >= 0.92
