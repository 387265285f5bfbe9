"""How fast a store would be built: measured for real, from a sample, and said in lines."""

import pytest

import lowres
from lowres.errors import SourceError, StoreError
from lowres.store import speed
from lowres.store.options import BuildOptions

MEASURED = speed.BuildSpeed(
    images=400,
    of=1000,
    mean_bytes=110_000.0,
    variants=("16-box", "32-box"),
    stages_s={"read": 0.0001, "decode": 0.001, "resample": 0.0006, "write": 0.0003},
    waiting_s=0.0005,
    floor_s=0.001,
    workers=4,
    per_s=2000.0,
)


def test_a_sample_is_built_and_removed(source, tmp_path):
    found = speed.build_speed(
        source, BuildOptions(size=(8, 16)), sample=9, rounds=1, workers=2, scratch=tmp_path
    )
    assert list(tmp_path.iterdir()) == []
    assert found.of == 36
    assert 9 <= found.images <= 10
    assert found.variants == ("8-box", "16-box")
    assert found.mean_bytes > 300
    assert set(found.stages_s) == {"read", "decode", "resample", "write"}
    assert all(seconds > 0 for seconds in found.stages_s.values())
    assert found.core_s == pytest.approx(sum(found.stages_s.values()))
    assert found.ratio > 1
    assert found.per_s > 0


def test_images_that_cannot_be_decoded_are_passed_over(tmp_path):
    from images import draw_source

    folder = draw_source(tmp_path / "animals", train=2, val=1)
    (folder / "train" / "ant" / "00.jpg").write_bytes(b"broken")
    found = speed.build_speed(folder, sample=100, rounds=1)
    assert found.images == 11
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"broken")
    with pytest.raises(SourceError, match=r"none of 100 images of .* can be decoded"):
        speed.build_speed(folder, sample=100, rounds=1)


def test_pixels_need_no_decoding(store, tmp_path):
    lowres.export(store, tmp_path / "batches", "8-box", to="batches")
    found = speed.build_speed(tmp_path / "batches", sample=10, rounds=1)
    assert found.mean_bytes == 0
    assert found.ratio is None
    assert not any("decoding alone" in line for line in speed.lines(found))


def test_lines_say_what_was_measured():
    lines = list(speed.lines(MEASURED))
    assert lines[0].startswith("measured 400 of 1,000 images, mean 110.0 kB, to 2 variants")
    assert lines[2].split() == ["decode", "1.000", "50%"]
    assert lines[5].split() == ["one", "core", "2.000", "500", "images/s"]
    assert "the whole work takes 2.00 x that" in lines[7]
    assert lines[8] == "4 workers: 2,000 images/s"
    assert lines[9] == "1,000 images of this kind take 0.5 s"
    assert lines[10] == "1,281,167 images of this kind take 11 min"
    assert list(speed.lines(MEASURED, 10**9))[-1].endswith("take 5.8 days")


def test_options_that_make_no_sense(source):
    with pytest.raises(SourceError, match="--sample and --rounds must be at least 1, were 0 and 3"):
        speed.build_speed(source, sample=0)
    with pytest.raises(StoreError, match="--workers must be at least 1, was 0"):
        speed.build_speed(source, workers=0)
