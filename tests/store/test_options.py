"""What to make and how to work: values, lists, presets, and what is refused."""

import sys

import pytest

import lowres
from lowres import cli
from lowres.errors import LowresError, StoreError, VariantError
from lowres.store.options import BuildOptions, Working
from lowres.variant import FILTERS


def names(**options: object) -> list[str]:
    return list(map(str, BuildOptions(size=32, **options).variants()))


def test_all_means_six_filters():
    assert [v.filter for v in BuildOptions(size=8, filter="all").variants()] == [*FILTERS]


def test_one_value_is_a_list_of_one():
    one = BuildOptions(size=8, filter="box", fit="crop", rule="pillow", classes="ant")
    lists = {"size": [8], "filter": ["box"], "fit": ("crop",), "rule": ["pillow"]}
    assert one == BuildOptions(**lists, classes=["ant"])
    assert (one.size, one.classes) == ((8,), ("ant",))
    assert BuildOptions(size=range(8, 10)).size == (8, 9)


@pytest.mark.parametrize("sizes", [["--size", "8,16"], ["--size", "8", "16"], ["--size=8,", "16"]])
def test_lists_on_the_command_line(source, tmp_path, capsys, sizes):
    flags = [*sizes, "--filter", "box,lanczos", "--classes", "ant,bee", "cat"]
    with pytest.raises(SystemExit) as ended:
        cli.main(["build", str(source), str(tmp_path / "store"), *flags])
    assert ended.value.code == 0, capsys.readouterr().err
    store = lowres.open_store(tmp_path / "store")
    assert list(map(str, store.variants)) == ["8-box", "8-lanczos", "16-box", "16-lanczos"]
    assert store.classes == ("ant", "bee", "cat")


def test_presets_stand_for_filter_fit_and_rule():
    assert names(preset="chrabaszcz2017") == ["32-box-release-2017"]
    assert names(preset="edm") == ["32-lanczos-crop"]
    assert names(preset="hf-lanczos") == ["32-lanczos-resize-crop"]
    assert names(fit=("crop", "squash"), rule=("pillow", "release-2017")) == [
        "32-box-crop",
        "32-box-crop-release-2017",
        "32-box",
        "32-box-release-2017",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preset": "edm", "filter": "box"}, "--preset edm already sets --filter lanczos"),
        ({"preset": "ffhq"}, "--preset must be one of chrabaszcz2017, edm"),
        ({"filter": "boxx"}, "did you mean box"),
    ],
)
def test_variants_that_do_not_exist(options, words):
    with pytest.raises(VariantError, match=words):
        names(**options)


@pytest.mark.parametrize(
    ("working", "words"),
    [
        ({"workers": 0}, "--workers must be at least 1, was 0"),
        ({"address": "10.0.0.1:6379"}, "--address .* is for --executor ray: add that"),
    ],
)
def test_ways_to_work_that_do_not_exist(working, words):
    with pytest.raises(StoreError, match=words):
        Working(**working)


def test_ten_skipped_images_are_named_and_the_others_counted(source, tmp_path, capsys):
    copy, store = tmp_path / "animals", tmp_path / "store"
    for path in sorted(source.rglob("*.jpg")):
        target = copy / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        broken = "train" in path.parts and path.stem != "00"
        target.write_bytes(b"broken" if broken else path.read_bytes())
    with pytest.raises(SystemExit):
        cli.main(["build", str(copy), str(store), "--size=4", "--on-error=skip"])
    lines = capsys.readouterr().err.splitlines()
    start = lines.index("note: skipped 20 images that cannot be decoded:")
    assert len([line for line in lines[start:] if line.startswith("  train/")]) == 10
    assert lines[-1] == f"  and 10 more: {store / 'manifest.json'} lists them all"


def test_ray_is_not_installed(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LowresError, match="needs ray, which is not installed"):
        lowres.build(source, tmp_path / "store", working=Working(executor="ray"))
    lowres.build(source, tmp_path / "store")
