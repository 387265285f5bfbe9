"""The contact sheet: its size, and that cells are the store's own pixels, enlarged."""

import numpy as np
import pytest
from PIL import Image

import lowres
from lowres.comparing import contact_sheet as show


def top(line: int) -> int:
    """Where a line of the sheet begins, below one line of headings."""
    return show.HEADER_PX + show.LINE_PX + line * (show.CELL_PX + show.GAP_PX)


def test_cells_are_the_pixels_of_the_store(store, tmp_path):
    path = lowres.contact_sheet(store, tmp_path / "new" / "sheet.png", split="val", count=3)
    sheet = np.asarray(Image.open(path).convert("RGB"))
    assert sheet.shape == (top(3), show._left(4), 3)
    for line, row in enumerate((0, 6, 11)):
        for column, variant in enumerate(sorted(store.variants)):
            left, above = show._left(column), top(line)
            cell = sheet[above : above + show.CELL_PX, left : left + show.CELL_PX]
            small = store.images("val", variant)[row]
            repeat = show.CELL_PX // variant.size
            np.testing.assert_array_equal(cell, small.repeat(repeat, 0).repeat(repeat, 1))


def test_more_than_there_are_means_all(store, tmp_path):
    path = lowres.contact_sheet(store, tmp_path / "sheet.png", split="val", count=500)
    with Image.open(path) as sheet:
        assert sheet.height == top(12)


def test_unknown_split(store, tmp_path):
    with pytest.raises(lowres.LowresError, match="no split 'test'"):
        lowres.contact_sheet(store, tmp_path / "sheet.png", split="test")
