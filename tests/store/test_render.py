"""A piece of a build in another process or on another machine, without a cluster."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from images import contents
from lowres.errors import MissingExtraError, SourceError, StoreError
from lowres.store import build as builder
from lowres.store import render as rendering
from lowres.store.manifest import FILE_NAME
from lowres.store.options import BuildOptions
from lowres.store.prepare import prepare
from lowres.store.render import build_elsewhere
from lowres.store.staging import Staging

OPTIONS = BuildOptions(size=(8, 16), filter=("box", "lanczos"))


@pytest.fixture
def begun(source, tmp_path):
    """A build with nothing built: the staging, and the work as it is sent to others."""
    store = tmp_path / "store"
    store.mkdir()
    prepared = prepare(source, store, OPTIONS)
    staging = Staging(store, prepared.plan, prepared.index, prepared.variants)
    return staging, prepared.job(store, skip=False)


def test_pieces_make_a_store(source, begun, store_path):
    """In any order; from a process that has never listed the source."""
    staging, job = begun
    for chunk in reversed(staging.todo(1)):
        staging.keep(build_elsewhere(job, chunk, staging.entries(chunk)))
    staging.close()
    staging.parts.close()
    builder.build(source, staging.path, OPTIONS)
    assert contents(staging.path) == contents(store_path)


def test_arrays_are_closed_after_each_piece(begun, monkeypatch):
    """Else file systems such as NFS need not show others what was written."""
    staging, job = begun
    opened = []
    monkeypatch.setattr(
        rendering, "Parts", lambda *a, parts=rendering.Parts: opened.append(parts(*a)) or opened[-1]
    )
    for chunk in staging.todo(1)[:2]:
        build_elsewhere(job, chunk, staging.entries(chunk))
    assert len(opened) == 2
    for parts in opened:
        for rows in (*parts.arrays.values(), *parts.digests.values()):
            with pytest.raises(OSError, match="Bad file descriptor"):
                rows.read_range(0, 1)


def test_other_software_is_refused(begun):
    staging, job = begun
    (chunk, *_) = staging.todo(1)
    versions = {**dict(job.versions), "pillow": "4.1.1"}
    other = replace(job, versions=tuple(versions.items()))
    with pytest.raises(
        StoreError, match=r"has pillow [\d.]+, and the build was begun with 4\.1\.1"
    ):
        build_elsewhere(other, chunk, staging.entries(chunk))


@pytest.mark.parametrize("what", ["source", "store"])
def test_a_file_system_that_is_not_shared(begun, what):
    staging, job = begun
    (chunk, *_) = staging.todo(1)
    other = replace(job, **{what: Path("/nowhere/at-all")})
    with pytest.raises(
        StoreError, match=r"cannot open /nowhere/at-all .*must lie on a file system"
    ):
        build_elsewhere(other, chunk, staging.entries(chunk))


def test_ray_is_not_installed(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[ray\]"):
        builder.build(source, tmp_path / "store", OPTIONS, executor="ray")
    assert not (tmp_path / "store" / FILE_NAME).exists()
    builder.build(source, tmp_path / "store", OPTIONS)


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_image_beyond_the_memory_is_named_and_never_skipped(
    tmp_path, source, monkeypatch, on_error
):
    """It may fit the next time, and rows must not depend on that."""

    def too_large(*_, **__):
        raise MemoryError

    monkeypatch.setattr(rendering, "decode_for", too_large)
    with pytest.raises(SourceError, match=r"ant/00\.jpg needs more memory .* fewer --workers"):
        builder.build(
            source, tmp_path / "store", BuildOptions(size=(8,)), on_error=on_error, workers=1
        )
