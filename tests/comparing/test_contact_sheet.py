"""The contact sheet: its size, and cells that are the store's own pixels, enlarged."""

import numpy as np
import pytest
from PIL import Image

import lowres
from lowres.comparing import contact_sheet as module

PITCH = module.CELL_PX + module.GAP_PX
TOP = module.HEADER_PX + module.LINE_PX
"""Of the first row, below one line of headings."""


def test_cells_are_the_pixels_of_the_store(store, tmp_path):
    path = lowres.contact_sheet(store, tmp_path / "new" / "sheet.png", split="val", count=3)
    sheet = np.asarray(Image.open(path).convert("RGB"))
    assert sheet.shape == (TOP + 3 * PITCH, module.MARGIN_PX + 4 * PITCH, 3)
    for line, row in enumerate((0, 6, 11)):
        for column, variant in enumerate(sorted(store.variants)):
            left, top = module.MARGIN_PX + column * PITCH, TOP + line * PITCH
            cell = sheet[top : top + module.CELL_PX, left : left + module.CELL_PX]
            small = store.images("val", variant)[row]
            repeat = module.CELL_PX // variant.size
            np.testing.assert_array_equal(cell, small.repeat(repeat, 0).repeat(repeat, 1))


def test_a_larger_count_shows_all_images(store, tmp_path):
    path = lowres.contact_sheet(store, tmp_path / "sheet.png", split="val", count=500)
    with Image.open(path) as sheet:
        assert sheet.height == TOP + 12 * PITCH


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("sheet.png", {"split": "test"}, "no split 'test'"),
        ("sheet.png", {"count": 0}, "--count must be at least 1, was 0"),
        ("sheet.jpg", {}, r"name it .*sheet\.png, not .*sheet\.jpg"),
    ],
)
def test_bad_requests(store, tmp_path, name, options, words):
    with pytest.raises(lowres.LowresError, match=words):
        lowres.contact_sheet(store, tmp_path / name, **options)


def test_a_store_is_reopened_only_if_it_is_the_same(store):
    again, reason = module.reopen_store(str(store.path), store.manifest.digest)
    assert again.manifest == store.manifest
    assert not reason
    assert "holds another store now" in module.reopen_store(str(store.path), "0" * 64)[1]
    assert module.reopen_store(str(store.path / "missing"), "0" * 64)[0] is None
