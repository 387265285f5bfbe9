"""The unfinished store: what a killed, failed or crowded-out build leaves, and how it resumes."""

import errno
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import kills
from hooks import hooked
from images import contents, draw_source
from lowres.errors import SourceError, StoreError
from lowres.store import build as builder, journal, manifest, render as rendering, staging
from lowres.store.options import BuildOptions, Working
from lowres.store.rows import RowFile

ALONE, SKIP = Working(workers=1, on_error="skip"), Working(on_error="skip")


@pytest.fixture
def broken(tmp_path):
    source = draw_source(tmp_path / "animals")
    (source / "train" / "bee" / "02.jpg").write_bytes(b"not an image")
    return source


@pytest.mark.full
def test_killed_before_any_operation_it_resumes_to_the_same_bytes(tmp_path, broken):
    """Some fifty kills, with 1 to 8 workers, one after the other in each store."""
    run = subprocess.run(
        [sys.executable, kills.__file__, broken, tmp_path, "12"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.returncode == 0, run.stderr


def sizes(store: Path) -> int:
    return sum(file.stat().st_size for file in store.rglob("*") if file.is_file())


def test_copies_of_killed_processes_do_not_pile_up(tmp_path, broken, monkeypatch):
    """Each is as large as an array."""
    store, hashed, taken = tmp_path / "store", builder.sha256_of_file, set()
    monkeypatch.setattr(builder, "sha256_of_file", lambda _: 1 / 0)
    for number in range(3):
        with pytest.raises(ZeroDivisionError):
            builder.build(broken, store, kills.OPTIONS, working=ALONE)
        taken.add(sizes(store))
        for part in store.glob("*/*.npy.part"):
            shutil.copy(part, part.with_name(f"{part.name}.{number}.tmp"))
    assert len(taken) == 1
    monkeypatch.setattr(builder, "sha256_of_file", hashed)
    builder.build(broken, store, kills.OPTIONS, working=SKIP)
    assert not list(store.rglob("*.tmp")) + list(store.glob("build*"))


def refusing(function, number):
    def refused(*arguments, **options):
        nonlocal number
        number -= 1
        if number < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return function(*arguments, **options)

    return refused


@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [
        (RowFile, "write", 40),
        (journal.Journal, "add", 9),
        (RowFile, "create", 5),
        (RowFile, "create", 17),
        (builder, "write_bytes", 1),
        (manifest.Manifest, "write", 0),
    ],
    ids=["rows", "journal", "arrays", "copies", "labels", "manifest"],
)
def test_a_full_disk_is_named_and_nothing_is_lost(
    tmp_path, broken, monkeypatch, owner, name, after
):
    monkeypatch.setattr(owner, name, refusing(getattr(owner, name), after))
    store = tmp_path / "store"
    with pytest.raises(StoreError, match=r"no space is left to write .* resumes the build"):
        builder.build(broken, store, kills.OPTIONS, working=SKIP)
    monkeypatch.undo()
    builder.build(broken, store, kills.OPTIONS, working=SKIP)
    builder.build(broken, tmp_path / "fresh", kills.OPTIONS, working=SKIP)
    assert contents(store) == contents(tmp_path / "fresh")


def test_other_errors_of_the_disk_are_not_called_full(tmp_path, source, monkeypatch):
    def failing(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(builder, "write_bytes", failing)
    with pytest.raises(OSError, match="Input/output error"):
        builder.build(source, tmp_path / "store", kills.OPTIONS)


def test_images_with_odd_names_that_came_or_went_are_named(tmp_path):
    source = draw_source(tmp_path / "animals")
    odd = source / "train" / "ant" / "a\rb.jpg"
    (source / "train" / "ant" / "00.jpg").rename(odd)
    (source / "train" / "bee" / "00.jpg").write_bytes(b"")
    with pytest.raises(SourceError, match="is empty"):
        builder.build(source, tmp_path / "store", BuildOptions(size=(8,)))
    odd.rename(odd.with_name("c\u2028\x85.jpg"))
    words = (
        "differ: new: train/ant/c\u2028\x85.jpg .class ant.; gone: train/ant/a\rb.jpg .class ant."
    )
    with pytest.raises(StoreError, match=words):
        builder.build(source, tmp_path / "store", BuildOptions(size=(8,)))


@pytest.fixture
def half(tmp_path, monkeypatch):
    """A source, and a store that was stopped at one of its last images; all of them are whole."""
    monkeypatch.setattr(rendering, "CHUNK_ROWS", 1)
    source = draw_source(tmp_path / "animals")
    last = source / "val" / "dog" / "02.jpg"
    whole = last.read_bytes()
    last.write_bytes(b"")
    with pytest.raises(SourceError):
        builder.build(source, tmp_path / "store", kills.OPTIONS, working=Working(workers=1))
    last.write_bytes(whole)
    return source, tmp_path / "store"


@pytest.mark.parametrize("what", ["rows", "digests", "both, of other images"])
def test_rows_that_did_not_reach_the_disk_are_built_again(tmp_path, half, what):
    """As after a power cut, which may keep the journal and lose any page of any array."""
    source, store = half
    rows = RowFile(store / "train" / "16-box.npy.part", writable=True)
    digests = RowFile(store / "train" / "16-box.digests.part", writable=True, dimensions=2)
    if what == "both, of other images":
        rows.write(0, rows.read_range(5, 8))
        digests.write(0, digests.read_range(5, 8))
    else:
        lost = rows if what == "rows" else digests
        lost.write(4, lost.read_range(0, 3) * 0)
    said = []
    builder.build(source, store, kills.OPTIONS, track=hooked(say=said.append))
    assert said[0] == "3 rows had not reached the disk whole: lowres builds them again"
    builder.build(source, tmp_path / "fresh", kills.OPTIONS)
    assert contents(store) == contents(tmp_path / "fresh")


def test_shards_whose_rows_were_lost_are_not_finished(tmp_path, source):
    store, shard = tmp_path / "store", staging.Shard(1, 1)
    builder.build_shard(source, store, kills.OPTIONS, shard=shard)
    rows = RowFile(store / "train" / "8-box.npy.part", writable=True)
    rows.write(7, rows.read_range(7, 8) ^ 1)
    with pytest.raises(StoreError, match="1 of 36 images are missing"):
        builder.finish_shards(source, store, kills.OPTIONS)
    builder.build_shard(source, store, kills.OPTIONS, shard=shard)
    builder.finish_shards(source, store, kills.OPTIONS)
    builder.build(source, tmp_path / "fresh", kills.OPTIONS)
    assert contents(store) == contents(tmp_path / "fresh")


def test_a_disk_that_fails_while_rows_are_synced_ends_the_build(tmp_path, source, monkeypatch):
    def failing(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(staging.Staging, "sync", failing)
    with pytest.raises(OSError, match="Input/output error"):
        builder.build(source, tmp_path / "store", kills.OPTIONS)
    assert not (tmp_path / "store" / "manifest.json").exists()


@pytest.mark.parametrize("name", ["train/labels.npy", "val/8-box.npy", "val/keys.txt"])
@pytest.mark.parametrize("how", ["empty", "missing"])
def test_a_finished_store_that_is_damaged_is_refused(tmp_path, source, name, how):
    store = tmp_path / "store"
    builder.build(source, store, kills.OPTIONS)
    (store / name).unlink() if how == "missing" else os.truncate(store / name, 0)
    words = rf"is finished, but damaged: .*{name}.*remove the folder .*run the same command"
    with pytest.raises(StoreError, match=words):
        builder.build(source, store, kills.OPTIONS)


def test_chunks_take_a_quarter_of_a_second_and_leave_no_worker_alone(tmp_path):
    source = draw_source(tmp_path / "animals")
    for number in range(800):
        (source / "train" / "bee" / f"more-{number}.jpg").write_bytes(b"any image")
    prepared = builder.prepare(source, tmp_path / "store", kills.OPTIONS)
    (tmp_path / "store").mkdir()
    with closing(staging.Staging(tmp_path / "store", prepared)) as begun:
        rows = rendering.Rendering(begun)

        def lengths(workers, image_s):
            rows.image_s = image_s
            chunks = list(rows.chunks(workers))
            taken = [(c.split, row) for c in chunks for row in range(c.start, c.stop)]
            assert taken == [(s, row) for s, count in begun.rows.items() for row in range(count)]
            return list(map(len, chunks))

        images = prepared.images
        fast = lengths(2, 1e-3)
        assert fast[0] == 64
        assert fast[-8:] == [1] * 8
        assert len(fast) < images / 15
        assert set(lengths(1, 0.05)) == {5, 4, 3, 2, 1}
        assert lengths(2, 1.0) == [1] * images
