"""Sources, stores and directories that vanish before or while a verb reads them.

Every verb names the path, says what to run, and leaves no temporary file and no traceback.
"""

import contextlib
import errno
import os
import re

import pytest

import vanishing

MOMENTS = (0, 1, 3, 8, 20, 50)
"""Before the verb starts, and before its n-th operation on a file of what vanishes."""


@pytest.fixture(scope="module")
def whole(source, store_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vanishing") / "whole"
    vanishing.make_whole(folder, source, store_path)
    return folder


@pytest.fixture(scope="module")
def remover():
    return vanishing.Remover()


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    vanishing.quiet(monkeypatch)


def check(name, at, whole, remover, tmp_path):
    with vanishing.placed(whole, tmp_path) as place:
        wrong, text, _ = vanishing.fault(place, name, remover, at)
    assert not wrong, text


@pytest.mark.full
@pytest.mark.parametrize("name", ["build", "verify", "export to edm", "search again", "report"])
def test_at_one_moment(name, whole, remover, tmp_path):
    check(name, 8, whole, remover, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("at", MOMENTS)
@pytest.mark.parametrize("name", vanishing.VERBS)
def test_every_verb(name, at, whole, remover, tmp_path):
    check(name, at, whole, remover, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("at", [40, 50])
def test_a_source_that_vanished_is_not_skipped(at, whole, remover, tmp_path):
    """A disk that is taken away must not become a store of the images before it."""
    with vanishing.placed(whole, tmp_path) as place:
        wrong, text, _ = vanishing.fault(place, "build, skipping", remover, at)
        assert not (place / "made" / "manifest.json").exists()
    assert not wrong
    assert "is gone" in text
    assert "restore it and run the same command again, which resumes" in text


@pytest.mark.full
@pytest.mark.parametrize(
    "name", ["check", "show", "verify, this against", "export of a study", "report", "search again"]
)
def test_on_a_full_disk(name, whole, tmp_path, monkeypatch):
    """What `full_disks.py` leaves out: the path is named, and nothing half written stays."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with vanishing.placed(whole, tmp_path) as place:
        before = sorted(place.rglob("*"))
        with monkeypatch.context() as patch, contextlib.chdir(place):
            patch.setattr(os, "fsync", full)
            status, text = vanishing.said(tuple(vanishing.VERBS[name][1:]))
        left = [path for path in sorted(place.rglob("*")) if path not in before]
    assert status == 1
    assert re.search(r"lowres: \S+: No space left on device\. .* run the same command", text)
    assert not [path for path in left if path.suffix in (".csv", ".png", ".tmp", ".html")], left
    assert not list(place.glob("*.lowres-partial")), left


@pytest.mark.slow
@pytest.mark.parametrize("at", [2, 9])
@pytest.mark.parametrize(
    "name",
    ["build --add", "check", "decide", "export of a study", "export to a folder", "export to edm",
     "export to parquet", "export to webdataset", "publish", "report", "show"],
)  # fmt: skip
def test_after_a_kill(name, at, whole, remover, tmp_path):
    """The same command ends as if it had not been killed, and removes what was left."""
    with vanishing.placed(whole, tmp_path) as place:
        assert vanishing.killed(place, name, remover, at)
        wrong, text, _ = vanishing.fault(place, name, remover, -1)
    assert not wrong, text
