"""What build and info say about a set: classes, images of each split, and every note."""

import re

import numpy as np
import pytest
from PIL import Image

from images import draw_image, encoded


@pytest.fixture
def odd(tmp_path):
    """A set whose classes differ in size, with a transparent, a turned and a deep image."""
    images = {f"train/cat/{n}.png": encoded(draw_image(n, 40, 40), "PNG") for n in range(5)}
    images |= {f"train/dog/{n}.png": encoded(draw_image(50 + n, 40, 40), "PNG") for n in range(2)}
    images["val/cat/leak.png"] = images["train/cat/1.png"]
    images["val/dog/v.png"] = encoded(draw_image(99, 40, 40), "PNG")
    clear = np.dstack([draw_image(7, 40, 40), np.zeros((40, 40), np.uint8)])
    images["train/cat/clear.png"] = encoded(clear, "PNG")
    exif = Image.Exif()
    exif[0x0112] = 3
    images["train/cat/turned.jpg"] = encoded(draw_image(8, 40, 40), exif=exif)
    for name, data in images.items():
        path = tmp_path / "odd" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "odd"


def test_build_ends_with_what_it_understood_and_info_repeats_it(call, odd, tmp_path):
    status, out, err = call("build", odd, tmp_path / "store", "--quiet")
    assert status == 0
    store = tmp_path / "store"
    understood = "classes: 2, cat, dog; 2 images (dog) to 7 (cat) in train"
    assert out.splitlines() == [understood, f"{store}: 9 train, 2 val; 16-box, 32-box"]
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert [note.split(":")[1].split(" ", 2)[1:] for note in notes] == [
        ["no", "64 px by default, which would enlarge most images"],
        ["1", "image with transparent pixels"],
        ["1", "image with an EXIF orientation"],
        ["duplicates"],
    ]
    shown = call("info", store)[1].splitlines()
    assert [line for line in shown if line.startswith("note: ")] == notes
    assert understood in shown
    assert "train: 9 pictures" in shown
    assert "val: 2 pictures" in shown


def test_info_shows_a_source_before_anything_is_built(call, odd):
    lines = call("info", odd)[1].splitlines()
    assert "classes: 2, cat, dog; 2 images (dog) to 7 (cat) in train" in lines
    assert [line for line in lines if re.fullmatch(r"(train|val): \d+ pictures", line)] == [
        "train: 9 pictures",
        "val: 2 pictures",
    ]
    looked = "of 11 images that were looked at; built by default: 16, 32 px"
    assert f"sizes: 40 x 40 px, {looked}" in lines
    assert "note: of 11 looked at, 1 image with transparent pixels" in "\n".join(lines)
    assert "note: of 11 looked at, 1 image with an EXIF orientation: stored unturned" in "\n".join(
        lines
    )


def test_info_names_deep_and_broken_images(call, odd):
    (odd / "train" / "dog" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    deep = Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40)
    deep.save(odd / "train" / "dog" / "deep.png")
    text = call("info", odd)[1]
    assert "note: 1 of 12 images have more than 8 bits: to build, add --depth scale or" in text
    assert "note: 1 of 13 images cannot be read" in text


def test_info_of_a_large_split_has_no_comma(call, tmp_path):
    for number in range(1001):
        path = tmp_path / "many" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "\ntrain: 1001 pictures\n" in call("info", tmp_path / "many")[1]
