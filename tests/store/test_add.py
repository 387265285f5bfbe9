"""Variants that are added to a finished store: equal to one build, and safe at every moment."""

import os
import shutil
import signal
import sys

import numpy as np
import pytest

import lowres
from images import contents, draw_image, encoded
from lowres.cli import main
from lowres.errors import SourceError, StoreError
from lowres.store import add as adding
from lowres.store.add import ADDING, add
from lowres.store.build import build
from lowres.store.manifest import Manifest
from lowres.store.options import BuildOptions, Working


@pytest.fixture
def small(source, tmp_path):
    """A store of one variant, and its source, which tests may change."""
    shutil.copytree(source, tmp_path / "images")
    build(tmp_path / "images", tmp_path / "store", BuildOptions(size=16))
    return tmp_path / "store"


def arrays(path):
    return {name: data for name, data in contents(path).items() if name != "manifest.json"}


def test_a_store_that_was_added_to_is_one_that_was_built_at_once(small, tmp_path):
    digest = lowres.open_store(small).manifest.digest
    manifest = add(tmp_path / "images", small, BuildOptions(size=(8, 16), filter="lanczos"))
    assert manifest.variants == ("8-lanczos", "16-box", "16-lanczos")
    assert manifest.added == ("16-lanczos", "8-lanczos")
    opened = lowres.open_store(small)
    assert opened.manifest == manifest
    assert manifest.digest == digest, "runs of the store continue"
    assert not list(opened.problems())
    build(tmp_path / "images", tmp_path / "whole", BuildOptions(size=(8, 16), filter="lanczos"))
    whole = lowres.open_store(tmp_path / "whole")
    for variant in whole.manifest.variants:
        assert manifest.contents[variant] == whole.manifest.contents[variant]
        assert manifest.statistics["val"][variant] == whole.manifest.statistics["val"][variant]
    ours, theirs = arrays(small), arrays(tmp_path / "whole")
    assert {name: ours[name] for name in theirs} == theirs
    assert ours.keys() - theirs.keys() == {"train/16-box.npy", "val/16-box.npy"}


def test_what_is_there_is_not_added_again(small, tmp_path, monkeypatch):
    before = contents(small)
    monkeypatch.setattr(adding, "build_prepared", None)
    assert add(tmp_path / "images", small, BuildOptions(size=16)).added == ()
    assert contents(small) == before


def test_options_stay_those_of_the_store(source, tmp_path):
    options = BuildOptions(size=16, classes=("bee", "ant"))
    build(source, tmp_path / "store", options)
    manifest = add(source, tmp_path / "store", BuildOptions(size=8))
    assert manifest.classes == ("ant", "bee")
    assert add(source, tmp_path / "store", BuildOptions(size=8, classes=("ant", "bee"))) == manifest
    with pytest.raises(StoreError, match=r"was built differently: .*options classes"):
        add(source, tmp_path / "store", BuildOptions(size=4, classes=("ant", "bee", "cat")))
    with pytest.raises(StoreError, match="was built differently: options exif_rotate"):
        add(source, tmp_path / "store", BuildOptions(size=4, exif_rotate=True))


def test_another_source_is_refused_before_anything_is_decoded(small, tmp_path, monkeypatch):
    monkeypatch.setattr(adding, "build_prepared", None)
    before = contents(small)
    (tmp_path / "images" / "train" / "ant" / "00.jpg").rename(
        tmp_path / "images" / "train" / "ant" / "99.jpg"
    )
    words = r"its images differ: 1 new \(train/ant/99.jpg first\), 1 gone \(train/ant/00.jpg"
    with pytest.raises(StoreError, match=words):
        add(tmp_path / "images", small, BuildOptions(size=8))
    build(tmp_path / "images", tmp_path / "other", BuildOptions(size=8))
    with pytest.raises(StoreError, match="source kind was folder and is now store"):
        add(tmp_path / "other", small, BuildOptions(size=8))
    assert contents(small) == before


@pytest.mark.parametrize("change", ["one level", "unreadable"])
def test_an_image_that_has_changed_is_refused(small, tmp_path, change):
    before = contents(small)
    image = tmp_path / "images" / "val" / "cat" / "01.jpg"
    image.write_bytes(encoded(draw_image(5, 30, 30)) if change == "one level" else b"\xff\xd8\xff")
    with pytest.raises(
        (StoreError, SourceError), match=r"images have changed|cannot be decoded|01"
    ):
        add(tmp_path / "images", small, BuildOptions(size=8))
    working = Working(on_error="skip")
    shutil.rmtree(small / ADDING, ignore_errors=True)
    with pytest.raises(StoreError, match=r"images have changed\. Nothing was added"):
        add(tmp_path / "images", small, BuildOptions(size=8), working=working)
    assert contents(small) == before


def test_skipped_images_stay_skipped(source, tmp_path):
    shutil.copytree(source, tmp_path / "images")
    (tmp_path / "images" / "train" / "bee" / "02.jpg").write_bytes(b"\xff\xd8\xff no image")
    working = Working(on_error="skip")
    build(tmp_path / "images", tmp_path / "store", BuildOptions(size=16), working=working)
    manifest = add(tmp_path / "images", tmp_path / "store", BuildOptions(size=8), working=working)
    assert [one.key for one in manifest.skipped] == ["bee/02.jpg"]
    assert not list(lowres.open_store(tmp_path / "store").problems())


def test_from_a_store(store, tmp_path):
    build(store.path, tmp_path / "copy", BuildOptions(size=8, filter="box"))
    manifest = add(store.path, tmp_path / "copy", BuildOptions(size=16))
    assert manifest.variants == ("8-box", "16-box", "16-lanczos")
    theirs = store.images("train", "16-lanczos")
    np.testing.assert_array_equal(
        lowres.open_store(tmp_path / "copy").images("train", "16-lanczos"), theirs
    )


def killed_at(last, work):
    """Run work in a child that kills itself at its n-th change of a name; return whether it did."""
    child = os.fork()
    if not child:
        left = last

        def audit(event, _):
            nonlocal left
            if event in ("os.rename", "os.remove", "os.mkdir", "shutil.rmtree", "os.rmdir"):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(audit)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


@pytest.mark.slow
def test_a_crash_at_any_moment_leaves_the_old_store_or_the_new_one(small, tmp_path):
    """And the same command ends it."""
    options = BuildOptions(size=8)
    shutil.copytree(small, tmp_path / "expected")
    add(tmp_path / "images", tmp_path / "expected", options)
    expected, before = contents(tmp_path / "expected"), Manifest.read(small)
    kept = {name: data for name, data in contents(small).items() if name != "manifest.json"}
    last, seen, again = 0, set(), tmp_path / "again"
    while True:
        last += 1
        shutil.rmtree(again, ignore_errors=True)
        shutil.copytree(small, again)
        if not killed_at(last, lambda: add(tmp_path / "images", again, options)):
            break
        manifest = Manifest.read(again)
        seen.add(manifest.variants)
        assert manifest == before or contents(again)["manifest.json"] == expected["manifest.json"]
        assert not list(lowres.open_store(again).problems())
        found = contents(again)
        assert {name: found[name] for name in kept} == kept
        add(tmp_path / "images", again, options)
        assert contents(again) == expected
    assert last > 10
    assert len(seen) == 2, "killed before and after the manifest"


def test_another_addition_that_was_begun(small, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("lowres.store.build._build_rows", stop)
        with pytest.raises(KeyboardInterrupt):
            add(tmp_path / "images", small, BuildOptions(size=8))
    with pytest.raises(StoreError, match="has an unfinished --add of 8-box, 16-box: run that"):
        add(tmp_path / "images", small, BuildOptions(size=4))
    assert add(tmp_path / "images", small, BuildOptions(size=8)).added == ("8-box",)


def test_on_the_command_line(small, tmp_path, capsys):
    command = ["build", str(tmp_path / "images"), str(small), "-q", "--size"]

    def status(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main([*command, *words])
        return ended.value.code

    assert status("8") == 1
    assert "is finished and was built differently" in capsys.readouterr().err
    assert status("8", "--add", "--finish") == 1
    assert status("8", "--add") == 0
    assert "24 train, 12 val; 8-box, 16-box" in capsys.readouterr().out
    assert status("8,16") == 0
    command[2] = str(tmp_path / "none")
    assert status("8", "--add") == 1
    assert "does not exist" in capsys.readouterr().err
