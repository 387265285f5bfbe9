"""A store as a source: it is copied, in parts or whole, and never resampled."""

import numpy as np
import pytest

import lowres
from images import contents
from lowres.cli import main
from lowres.errors import SourceError, StoreError, VariantError
from lowres.store.build import build, build_shard, finish_shards
from lowres.store.prepare import StoreSource, open_source
from lowres.store.staging import Shard
from lowres.testing import SourceContract


class TestStoreSource(SourceContract):
    @pytest.fixture
    def opened(self, source, tmp_path):
        lowres.build(source, tmp_path / "one", lowres.BuildOptions(size=8))
        return open_source(tmp_path / "one")


def test_entries_are_the_rows_of_the_store(store):
    source = open_source(store.path, "16-lanczos")
    index = source.index()
    assert (source.kind, index.layout, index.native_px) == ("store", "16-lanczos", 16)
    assert index.classes == store.classes
    for split in store.splits:
        entries = index.splits[split]
        assert [entry.key for entry in entries] == store.keys(split)
        assert [entry.label for entry in entries] == store.labels(split).tolist()
        images = np.array([source.read(entry) for entry in entries])
        np.testing.assert_array_equal(images, store.images(split, "16-lanczos"))
    assert "copied from a store with contents" in index.notes[-1]


def test_a_copy_of_a_store_has_its_content(store, tmp_path):
    lowres.build(store.path, tmp_path / "copy")
    copy = lowres.open_store(tmp_path / "copy")
    assert copy.manifest.contents == store.manifest.contents
    assert copy.manifest.statistics == store.manifest.statistics
    assert not list(copy.problems())
    ours, theirs = contents(copy.path), contents(store.path)
    same = [name for name in theirs if name.endswith((".npy", ".txt"))]
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}


def test_a_subset_of_classes_is_that_of_the_images(store, source, tmp_path):
    """In a copy, the classes are the same as if the full images had been built."""
    options = {"classes": ("dog", "ant"), "size": (8, 16), "filter": ("box", "lanczos")}
    lowres.build(source, tmp_path / "whole", lowres.BuildOptions(**options))
    lowres.build(store.path, tmp_path / "copy", lowres.BuildOptions(classes=("dog", "ant")))
    whole, copy = (lowres.open_store(tmp_path / name) for name in ("whole", "copy"))
    assert copy.classes == ("ant", "dog")
    assert copy.manifest.contents == whole.manifest.contents
    assert copy.keys("train") == whole.keys("train")


def test_any_number_of_workers_and_a_new_split(source, tmp_path):
    (tmp_path / "set").symlink_to(source / "train")
    lowres.build(tmp_path / "set", tmp_path / "store", lowres.BuildOptions(size=(4, 8)))
    options = lowres.BuildOptions(val_fraction=0.3, size=4)
    for workers in (1, 3):
        lowres.build(
            tmp_path / "store", tmp_path / f"copy{workers}", options,
            working=lowres.store.options.Working(workers=workers),
        )  # fmt: skip
    assert contents(tmp_path / "copy1") == contents(tmp_path / "copy3")
    copy = lowres.open_store(tmp_path / "copy1")
    assert list(copy.splits) == ["train", "val"]
    assert copy.manifest.variants == ("4-box",)


@pytest.mark.parametrize(
    ("options", "variants"),
    [
        ({}, ("8-box", "8-lanczos", "16-box", "16-lanczos")),
        ({"size": 8}, ("8-box", "8-lanczos")),
        ({"filter": "lanczos"}, ("8-lanczos", "16-lanczos")),
        ({"size": 16, "filter": "box"}, ("16-box",)),
        ({"filter": "all", "fit": "squash"}, ("8-box", "8-lanczos", "16-box", "16-lanczos")),
    ],
)
def test_options_choose_among_the_variants(store, options, variants):
    chosen = StoreSource(store.path).choose(lowres.BuildOptions(**options))
    assert tuple(map(str, sorted(chosen.variants))) == variants


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (8, 32)}, "not all of size 8, size 32: choose"),
        ({"filter": "hamming"}, "not all of filter hamming: choose"),
        (
            {"preset": "chrabaszcz2017"},
            "not all of filter box, fit squash, rule release-2017: choose",
        ),
        ({"fit": ("squash", "crop")}, "not all of fit squash, fit crop"),
    ],
)
def test_a_store_is_not_resampled(store, tmp_path, options, words):
    with pytest.raises(StoreError, match=f"has 8-box, 8-lanczos, 16-box, 16-lanczos, {words}"):
        lowres.build(store.path, tmp_path / "copy", lowres.BuildOptions(**options))


def test_refusals(store, source):
    with pytest.raises(StoreError, match="has 8-box, 8-lanczos, 16-box, 16-lanczos, not 32-box"):
        open_source(store.path, "32-box")
    with pytest.raises(VariantError, match="did you mean lanczos"):
        open_source(store.path, "8-lancsoz")
    with pytest.raises(SourceError, match="is not a store, so it has no variant 8-box"):
        open_source(source, "8-box")
    several = open_source(str(store.path))
    with pytest.raises(StoreError, match="choose one of them"):
        several.read(several.index().splits["train"][0])


def test_the_mean_image_of_the_source_is_copied_with_its_size(store, tmp_path, monkeypatch):
    assert open_source(store.path, "8-box").mean() is None
    mean = np.zeros((8, 8, 3))
    monkeypatch.setattr(lowres.Store, "source_mean", lambda self: mean)
    assert open_source(store.path, "8-box").mean() is mean
    assert open_source(store.path, "16-box").mean() is None


def test_subsets_and_splits_on_the_command_line(source, store, tmp_path, capsys):
    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["build", *words, "-q"])
        assert ended.value.code == 0
        return capsys.readouterr().out

    subset = str(tmp_path / "subset")
    said = run(str(store.path), subset, "--classes", "ant,bee", "--size", "16", "--filter", "box")
    assert "12 train, 6 val; 16-box" in said
    build(source / "train", tmp_path / "flat", lowres.BuildOptions(size=8))
    said = run(str(tmp_path / "flat"), str(tmp_path / "split"), "--val-fraction", "0.3")
    split = lowres.open_store(tmp_path / "split")
    assert split.splits["train"] + split.splits["val"] == 24
    assert f"{split.splits['val']} val; 8-box" in said


def test_shards_of_a_copy(store, tmp_path):
    options = lowres.BuildOptions(classes=("bee", "cat"))
    lowres.build(store.path, tmp_path / "whole", options)
    for shard in ("2/2", "1/2"):
        build_shard(store.path, tmp_path / "parts", options, shard=Shard.parse(shard))
    finish_shards(store.path, tmp_path / "parts", options)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
