"""Matching against plain loops."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from lowres.comparing import matching


@pytest.mark.parametrize("seed", range(20))
def test_equal_rows_is_a_multiset_intersection(seed):
    random = np.random.default_rng(seed)
    one = random.integers(0, 4, (random.integers(0, 40), 2)).astype(np.uint64)
    other = random.integers(0, 4, (random.integers(0, 40), 2)).astype(np.uint64)
    rows, other_rows = matching.equal_rows(one, other)
    assert len(set(rows.tolist())) == len(rows) == len(set(other_rows.tolist()))
    np.testing.assert_array_equal(one[rows], other[other_rows])
    common = Counter(map(tuple, one.tolist())) & Counter(map(tuple, other.tolist()))
    assert Counter(map(tuple, one[rows].tolist())) == common


def test_high_bits_count():
    one = np.array([[2**63, 5], [2**63 + 1, 5]], np.uint64)
    rows, other_rows = matching.equal_rows(one, one[::-1].copy())
    assert dict(zip(rows.tolist(), other_rows.tolist(), strict=True)) == {0: 1, 1: 0}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 28, 32])
def test_thumbnails_are_averages(size):
    images = np.random.default_rng(size).integers(0, 256, (3, size, size, 3)).astype(np.uint8)
    small = matching.thumbnails(images)
    edges = [*sorted({i * size // 4 for i in range(4)}), size]
    expected = [
        images[:, top:bottom, left:right].mean(axis=(1, 2))
        for top, bottom in pairwise(edges)
        for left, right in pairwise(edges)
    ]
    np.testing.assert_allclose(small, np.stack(expected, 1).reshape(3, -1), rtol=1e-5)


@pytest.mark.parametrize("values", [1, 100, 10**6])
def test_alike_rows_are_each_others_nearest(monkeypatch, values):
    monkeypatch.setattr(matching, "TABLE_VALUES", values)
    random = np.random.default_rng(3)
    one = random.normal(0, 50, (30, 48)).astype(np.float32)
    order = random.permutation(30)
    other = (one[order] + random.normal(0, 1, (30, 48))).astype(np.float32)
    rows, other_rows = matching.alike_rows(one, other[:25])
    assert sorted(rows.tolist()) == sorted(order[:25].tolist())
    np.testing.assert_array_equal(order[other_rows], rows)


def test_alike_rows_of_nothing_or_too_much(monkeypatch):
    some = np.zeros((3, 2), np.float32)
    assert len(matching.alike_rows(some, some[:0])[0]) == 0
    monkeypatch.setattr(matching, "LIKENESS_LIMIT", 2)
    assert len(matching.alike_rows(some, some)[0]) == 0
