"""A store as notebooks show it: its line of text, and images that are its own pixels."""

import base64
import io

import numpy as np
from PIL import Image

from lowres.store import preview


def test_images_of_a_page_are_the_pixels_of_the_store(store):
    sheet = preview.sheet(store, ["8-box", "16-lanczos", "64-box"])
    assert sheet.variants == ("8-box", "16-lanczos"), "the store has no 64-box"
    assert [shown.name for shown in sheet.images][::5] == ["ant, train 0", "dog, train 23"]
    for variant, uri in zip(sheet.variants, sheet.images[0].images, strict=True):
        png = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
        found = np.asarray(Image.open(io.BytesIO(png)))
        np.testing.assert_array_equal(found, store.images("train", variant)[0])


def test_a_store_in_a_notebook(store, monkeypatch):
    assert len(store) == 36
    assert bool(store)
    words = "24 train, 12 val; 4 classes; 8-box, 8-lanczos, 16-box, 16-lanczos"
    assert repr(store) == f"Store({str(store.path)!r}): {words}"
    page = store._repr_html_()
    assert page.count("<img") == 6 * 4
    assert "ant, train 0" in page
    assert "more variant" not in page
    monkeypatch.setattr(preview, "MOST_VARIANTS", 1)
    assert "and 3 more variants" in store._repr_html_()


def test_a_store_whose_files_are_missing_says_so_in_its_notebook(store, tmp_path):
    import shutil

    import lowres

    shutil.copytree(store.path, tmp_path / "copy")
    (tmp_path / "copy" / "train" / "8-box.npy").unlink()
    assert "8-box.npy is missing or damaged" in lowres.open_store(tmp_path / "copy")._repr_html_()
