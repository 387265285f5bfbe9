"""The demo's images: real, at ImageNet-like size, without overlap of train and val."""

import json

import numpy as np
import pytest
from PIL import Image

from lowres.cli import demo
from lowres.errors import StoreError
from lowres.formats import open_source


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(demo, "CROPS", {"train": 2, "val": 1})


def test_images_are_the_same_bytes_each_time(few, tmp_path):
    assert demo.write_images(tmp_path / "a") == 3 * 14
    demo.write_images(tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in tmp_path.glob("a/*/*/*.jpg"))
    assert len(files) == 42
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        with Image.open(tmp_path / "a" / file) as image:
            assert image.format == "JPEG"
            assert sorted(image.size) == [375, 500]
    index = open_source(tmp_path / "a").index()
    assert {split: len(entries) for split, entries in index.splits.items()} == {
        "train": 28, "val": 14,
    }  # fmt: skip
    assert len(index.classes) == 14


def test_no_validation_crop_touches_a_training_crop():
    for size in ((512, 512), (1411, 1411), (741, 500), (384, 303), (300, 451)):
        covered = {split: np.zeros(size[::-1], bool) for split in ("train", "val")}
        for split, count in demo.CROPS.items():
            for crop in demo.crops("any", size, split, count):
                left, top, right, bottom = crop.box
                assert 0 <= left < right <= size[0]
                assert 0 <= top < bottom <= size[1]
                covered[split][top:bottom, left:right] = True
        assert not (covered["train"] & covered["val"]).any()
        assert covered["train"].mean() > 0.5
        assert covered["val"].mean() > 0.15


def test_finished_images_stay_and_interrupted_ones_are_written_again(few, tmp_path):
    demo.write_images(tmp_path / "a")
    first = tmp_path / "a" / "train" / "cat" / "000.jpg"
    before = first.stat().st_mtime_ns
    demo.write_images(tmp_path / "a")
    assert first.stat().st_mtime_ns == before
    (tmp_path / "a" / "demo.json").unlink()
    first.write_bytes(b"half of a")
    demo.write_images(tmp_path / "a")
    assert first.stat().st_size > 1000
    assert json.loads((tmp_path / "a" / "demo.json").read_text()) == {"images": 42}


def test_a_folder_with_other_files_stays_as_it_is(few, tmp_path, monkeypatch):
    """Even one that looks like the demo's images."""
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="is neither empty nor a folder of the demo"):
        demo.write_images(tmp_path)
    assert (tmp_path / "train" / "thesis.tex").exists()
    demo.write_images(tmp_path / "a")
    monkeypatch.setattr(demo, "SEED", 1)
    with pytest.raises(StoreError, match="seed was 2017 and is now 1"):
        demo.write_images(tmp_path / "a")


def test_the_study_has_enough_configurations_and_seeds_for_a_sure_answer():
    axes = {axis.name: axis.values for axis in demo.AXES}
    assert len(axes["lr"]) >= 5
    assert len(axes["seed"]) >= 2
    assert {f"{size}-box" for size in demo.SIZES} >= set(axes["variant"])
