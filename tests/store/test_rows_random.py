"""RowFile against a NumPy array, for any ranges that are written and read."""

import numpy as np
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from lowres.store.rows import RowFile


@st.composite
def ranges(draw, rows: int):
    start = draw(st.integers(0, rows))
    return start, draw(st.integers(start, rows))


@settings(max_examples=50)
@given(st.data())
def test_any_ranges(tmp_path_factory, data):
    rows, side = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 4))
    path = tmp_path_factory.mktemp("rows") / "images.npy"
    file = RowFile.create(path, (rows, side, side, 3))
    expected = np.zeros(file.shape, np.uint8)
    for start, stop in data.draw(st.lists(ranges(rows), max_size=5)):
        images = data.draw(arrays(np.uint8, (stop - start, side, side, 3)))
        file.write(start, images)
        expected[start:stop] = images
    start, stop = data.draw(ranges(rows))
    np.testing.assert_array_equal(file.read_range(start, stop), expected[start:stop])
    some = np.array(data.draw(st.lists(st.integers(0, rows - 1), max_size=8)), np.int64)
    np.testing.assert_array_equal(file.read(some), expected[some])
    np.testing.assert_array_equal(np.concatenate(list(file.blocks())), expected)
    file.close()
    np.testing.assert_array_equal(np.load(path), expected)
