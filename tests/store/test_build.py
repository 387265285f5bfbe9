"""Building: the right bytes, for any number of workers, after any interruption, or an error."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import lowres
from hooks import hooked
from images import contents, draw_image, draw_source, encoded
from lowres.errors import SourceError, StoreError
from lowres.progress import Display
from lowres.store import build as builder, journal, render as rendering, staging
from lowres.store.manifest import Manifest
from lowres.store.options import BuildOptions, Working
from waiting import DEADLINE_S, wait_until

OPTIONS = BuildOptions(size=(8, 16), filter=("box", "lanczos"))
ALONE, SKIP = Working(workers=1), Working(on_error="skip")


def test_rows_are_pillows_answer(source, store):
    for split in ("train", "val"):
        for row, key in enumerate(store.keys(split)):
            with Image.open(source / split / key) as image:
                across = image.convert("RGB").resize((8, image.height), Image.Resampling.BOX)
            expected = np.asarray(across.resize((8, 8), Image.Resampling.BOX))
            np.testing.assert_array_equal(store.images(split, "8-box")[row], expected)
            assert store.classes[store.labels(split)[row]] == key.split("/")[0]


def test_layout_on_disk(store_path, store):
    assert sorted(path.relative_to(store_path).as_posix() for path in store_path.rglob("*.*")) == [
        "manifest.json",
        *(
            f"{split}/{name}"
            for split in ("train", "val")
            for name in (
                "16-box.npy",
                "16-lanczos.npy",
                "8-box.npy",
                "8-lanczos.npy",
                "keys.txt",
                "labels.npy",
            )
        ),
    ]
    images = np.load(store_path / "train" / "16-box.npy")
    assert images.shape == (24, 16, 16, 3)
    assert images.dtype == np.uint8
    assert images.flags.c_contiguous


def test_statistics_are_those_of_the_pixels(store):
    images = np.array(store.images("train", "16-box"), np.float64)
    mean, std = store.statistics("train", "16-box")
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, images.std(axis=(0, 1, 2)), rtol=1e-9)


def test_any_number_of_workers_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "CHUNK_ROWS", 3)
    source = draw_source(tmp_path / "animals", train=9)
    for workers in (1, 3, 8):
        builder.build(
            source, tmp_path / f"store{workers}", OPTIONS, working=Working(workers=workers)
        )
    one = contents(tmp_path / "store1")
    assert one == contents(tmp_path / "store3") == contents(tmp_path / "store8")


def test_options_in_another_order_make_the_same_store(source, store_path, tmp_path):
    options = BuildOptions(size=(16, 8, 16), filter=("lanczos", "box"))
    builder.build(source, tmp_path / "store", options)
    assert contents(tmp_path / "store") == contents(store_path)


def test_an_image_changed_meanwhile_is_refused_or_built_again(tmp_path):
    source = draw_source(tmp_path / "animals")
    broken = source / "val" / "cat" / "01.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-300])
    with pytest.raises(SourceError, match=r"cat/01\.jpg cannot be read: .*truncated"):
        builder.build(source, tmp_path / "store", OPTIONS, working=ALONE)
    changed = source / "train" / "ant" / "00.jpg"
    changed.write_bytes(encoded(draw_image(77, 50, 50)))
    broken.write_bytes(whole)
    with pytest.raises(StoreError, match=r"1 images changed after .*train/ant/00\.jpg first"):
        builder.build(source, tmp_path / "store", OPTIONS)
    builder.build(source, tmp_path / "store", OPTIONS, working=Working(on_change="rebuild"))
    builder.build(source, tmp_path / "fresh", OPTIONS)
    assert contents(tmp_path / "store") == contents(tmp_path / "fresh")


def test_skip_records_and_keeps_the_rest(tmp_path, store):
    source = draw_source(tmp_path / "animals")
    (source / "train" / "bee" / "02.jpg").write_bytes(b"not an image")
    (source / "train" / "dog" / "05.jpg").unlink()
    (source / "train" / "dog" / "05.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(SourceError, match="--on-error skip"):
        builder.build(source, tmp_path / "store", OPTIONS)
    manifest = builder.build(source, tmp_path / "store", OPTIONS, working=SKIP)
    assert [(s.split, s.key) for s in manifest.skipped] == [
        ("train", "bee/02.jpg"),
        ("train", "dog/05.jpg"),
    ]
    assert "is none of JPEG" in manifest.skipped[0].reason
    assert manifest.skipped[1].reason == "No such file or directory"
    skipping = lowres.open_store(tmp_path / "store")
    assert list(skipping.problems()) == []
    assert skipping.splits == {"train": 22, "val": 12}
    kept = [row for row, key in enumerate(store.keys("train")) if key in skipping.keys("train")]
    assert len(kept) == 22
    for variant in store.variants:
        expected = store.images("train", variant)[kept]
        np.testing.assert_array_equal(skipping.images("train", variant), expected)


@pytest.fixture
def stopped(tmp_path, source, monkeypatch):
    """A source, and a store of it whose build stopped at an image of val, which is whole again."""
    monkeypatch.setattr(rendering, "CHUNK_ROWS", 1)
    animals = Path(shutil.copytree(source, tmp_path / "animals"))
    broken = animals / "val" / "dog" / "02.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    with pytest.raises(SourceError):
        builder.build(animals, tmp_path / "store", OPTIONS, working=ALONE)
    broken.write_bytes(whole)
    return animals, tmp_path / "store"


@pytest.mark.parametrize("how", ["missing", "short"])
@pytest.mark.parametrize("killed", [(staging, "RunningChecksums"), (builder, "in_threads")])
def test_rows_that_were_lost_are_built_again(stopped, store_path, monkeypatch, killed, how):
    """Also where the process is killed once more before it has built them."""
    animals, store = stopped
    assert (store / journal.MAIN_JOURNAL).read_text().count("train") == 24
    part = store / "train" / "16-box.npy.part"
    part.unlink() if how == "missing" else os.truncate(part, 3000)
    monkeypatch.setattr(*killed, lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        builder.build(animals, store, OPTIONS)
    monkeypatch.undo()
    builder.build(animals, store, OPTIONS)
    assert contents(store) == contents(store_path)


def test_a_failing_disk_is_not_skipped(tmp_path, source, monkeypatch):
    def failing(self, entry):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("lowres.formats.folder.FolderSource.read_stamped", failing)
    with pytest.raises(SourceError, match="cannot be read: Input/output error"):
        builder.build(source, tmp_path / "store", OPTIONS, working=SKIP)


def test_damaged_records_of_an_unfinished_build(stopped, store_path):
    animals, store = stopped
    lines = store / journal.MAIN_JOURNAL
    nowhere = b'{"split":"no","start":0,"stop":64,"stamps":"x","skipped":{},"sums":[]}\n'
    lines.write_bytes(b'\xff garbage\n[]\n{"split": 1}\n' + nowhere + lines.read_bytes() + b'{"sp')
    planned = (store / staging.PLAN).read_bytes()
    (store / staging.PLAN).write_bytes(planned[:50])
    with pytest.raises(StoreError, match=r"build\.json is damaged"):
        builder.build(animals, store, OPTIONS)
    (store / staging.PLAN).write_bytes(planned)
    builder.build(animals, store, OPTIONS)
    assert contents(store) == contents(store_path)


@pytest.mark.parametrize("skipping", [False, True])
def test_a_build_killed_while_it_is_finished_resumes(tmp_path, monkeypatch, skipping):
    """Also where an image has changed since, so that rows must be written again."""
    source = draw_source(tmp_path / "animals")
    if skipping:
        (source / "train" / "bee" / "02.jpg").write_bytes(b"not an image")
    monkeypatch.setattr(builder, "write_bytes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        builder.build(source, tmp_path / "store", OPTIONS, working=SKIP)
    assert (tmp_path / "store" / "train" / "16-box.npy").exists()
    monkeypatch.undo()
    (source / "train" / "ant" / "00.jpg").write_bytes(encoded(draw_image(55, 60, 60)))
    (source / "train" / "ant" / "old.bak").write_text("a file that is no image changes nothing")
    builder.build(
        source, tmp_path / "store", OPTIONS, working=Working(on_error="skip", on_change="rebuild")
    )
    builder.build(source, tmp_path / "fresh", OPTIONS, working=SKIP)
    assert contents(tmp_path / "store") == contents(tmp_path / "fresh")


def test_a_split_without_any_readable_image_is_refused(tmp_path):
    for split, name in itertools.product(("train", "val"), "ab"):
        (tmp_path / "set" / split / name).mkdir(parents=True)
        (tmp_path / "set" / split / name / "1.jpg").write_bytes(b"broken")
    with pytest.raises(StoreError, match="no image of train can be decoded"):
        builder.build(tmp_path / "set", tmp_path / "store", OPTIONS, working=SKIP)
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_a_foreign_folder_is_refused(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="neither empty nor a store"):
        builder.build(source, tmp_path / "mine", OPTIONS)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_a_finished_store_is_kept_or_refused(source, store_path):
    before = (store_path / "manifest.json").stat().st_mtime_ns
    manifest = builder.build(source, store_path, OPTIONS)
    assert manifest.splits == {"train": 24, "val": 12}
    assert (store_path / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(
        StoreError, match=r"options variants was 8-box, .* 16-box, .* and is now 8-box, 8-lanczos"
    ):
        builder.build(source, store_path, BuildOptions(size=(8,), filter=("box", "lanczos")))


def test_an_unfinished_store_takes_no_other_options(tmp_path):
    source = draw_source(tmp_path / "animals")
    (source / "train" / "ant" / "00.jpg").write_bytes(b"")
    with pytest.raises(SourceError, match="is empty"):
        builder.build(source, tmp_path / "store", OPTIONS)
    (source / "train" / "ant" / "00.jpg").write_bytes(encoded(draw_image(1, 30, 30)))
    other = BuildOptions(size=(8, 16), filter=("box", "lanczos"), exif_rotate=True)
    with pytest.raises(StoreError, match="was begun differently: options exif_rotate was False"):
        builder.build(source, tmp_path / "store", other)
    (source / "train" / "ant" / "99.jpg").write_bytes(encoded(draw_image(1, 30, 30)))
    (source / "val" / "dog" / "00.jpg").unlink()
    words = (
        r"images train was 24 and is now 25; .* its images differ: new: "
        r"train/ant/99\.jpg \(class ant\); gone: val/dog/00\.jpg \(class dog\)\. Use"
    )
    with pytest.raises(StoreError, match=words):
        builder.build(source, tmp_path / "store", OPTIONS)


def test_a_store_inside_its_source_is_refused(source):
    with pytest.raises(StoreError, match="must not lie inside the source"):
        builder.build(source, source / "store", OPTIONS)
    assert not (source / "store").exists()


def test_too_little_disk_is_refused_before_work(source, tmp_path, monkeypatch):
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match=r"needs 1\.1 MB and .* has 0\.0 MB free"):
        builder.build(source, tmp_path / "store", OPTIONS)
    assert not (tmp_path / "store").exists()


@pytest.mark.full
def test_interrupt_leaves_an_unfinished_store(tmp_path, source, store_path):
    command = [sys.executable, "-m", "lowres", "build", str(source), str(tmp_path / "store")]
    slow = tmp_path / "sitecustomize.py"
    slow.write_text(
        "import itertools, time\n"
        "import lowres.store.render as b\n"
        "d = b.decode_for\n"
        "taken = itertools.count()\n"
        "b.decode_for = lambda *a, **k: (time.sleep(next(taken) > 3), d(*a, **k))[1]\n"
    )
    arguments = ["--size", "8", "16", "--filter", "box", "lanczos", "--workers", "1"]
    process = subprocess.Popen(
        [*command, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    wait_until(lambda: journal.images_built(tmp_path / "store") >= 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    with pytest.raises(StoreError, match="is unfinished: run the same lowres build again"):
        lowres.open_store(tmp_path / "store")
    builder.build(source, tmp_path / "store", OPTIONS)
    assert contents(tmp_path / "store") == contents(store_path)


def test_manifest_says_where_everything_came_from(store_path):
    record = json.loads((store_path / "manifest.json").read_text())
    assert record["format"] == "lowres store"
    assert record["source"]["name"] == "animals"
    assert record["source"]["images"] == {"train": 24, "val": 12}
    assert record["options"]["variants"] == ["8-box", "8-lanczos", "16-box", "16-lanczos"]
    assert record["classes"] == ["ant", "bee", "cat", "dog"]
    assert set(record["versions"]) == {
        "lowres",
        "pillow",
        "libjpeg-turbo",
        "simplejpeg",
        "numpy",
    }
    assert str(store_path.parent) not in (store_path / "manifest.json").read_text()


def test_everything_is_on_the_disk_before_the_manifest(tmp_path, source, monkeypatch):
    """Files and the folders that name them."""
    synced, expected = set(), []
    fsync, write = os.fsync, Manifest.write

    def noted(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checked(manifest, folder):
        paths = [folder / name for name in manifest.files]
        expected.extend([*paths, *{path.parent for path in paths}, folder])
        assert {path.stat().st_ino for path in expected} <= synced
        write(manifest, folder)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Manifest, "write", checked)
    builder.build(source, tmp_path / "store", OPTIONS)
    assert len(expected) == 2 * (4 + 2) + 2 + 1


def test_compiling_is_said_and_not_part_of_the_estimate(tmp_path, source, monkeypatch):
    numba = pytest.importorskip("numba")
    events = []

    class Noted(Display):
        def say(self, text):
            events.append(text)

        def restart(self):
            events.append("restart")

        def advance(self, count=1):
            events.append("advance")

    @contextmanager
    def track(what, total, *, done=0):
        yield Noted()

    with monkeypatch.context() as patched:
        patched.setattr(rendering.Rendering, "warm_up", lambda _: numba.njit(lambda: 0)())
        builder.build(source, tmp_path / "store", OPTIONS, track=track)
    assert events[:3] == ["compiling the resampler, once: a few seconds", "restart", "advance"]
    events.clear()
    builder.build(source, tmp_path / "again", OPTIONS, track=track)
    assert events[:2] == ["restart", "advance"], "it is compiled already"


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_an_image_beyond_the_memory_is_named_and_never_skipped(
    tmp_path, source, monkeypatch, on_error
):
    """It may fit the next time, and rows must not depend on that."""

    def too_large(*_, **__):
        raise MemoryError

    monkeypatch.setattr(rendering, "decode_for", too_large)
    working = Working(on_error=on_error, workers=1)
    with pytest.raises(SourceError, match=r"ant/00\.jpg needs more memory .* fewer --workers"):
        builder.build(source, tmp_path / "store", OPTIONS, working=working)


def test_images_that_are_too_large_stop_or_are_skipped_before_they_are_decoded(tmp_path):
    source = draw_source(tmp_path / "animals")
    large = source / "train" / "cat" / "00.png"
    Image.new("RGB", (300, 200)).save(large)
    Image.new("RGB", (250, 200)).save(source / "val" / "cat" / "00.jpg")
    limit = Working(max_pixels=50_000)
    words = r"00\.png cannot be read: has 60,000 pixels, more than --max-pixels 50,000"
    with pytest.raises(SourceError, match=words):
        builder.build(source, tmp_path / "store", OPTIONS, working=limit)
    skip = Working(max_pixels=50_000, on_error="skip")
    manifest = builder.build(source, tmp_path / "store", OPTIONS, working=skip)
    assert [skipped.key for skipped in manifest.skipped] == ["cat/00.png"]
    assert Image.MAX_IMAGE_PIXELS > 50_000, "Pillow has its own limit again"
    manifest = builder.build(
        source, tmp_path / "all", OPTIONS, working=Working(max_pixels="none", on_error="skip")
    )
    assert not manifest.skipped


def test_another_limit_decides_anew_when_a_build_resumes(tmp_path):
    source = draw_source(tmp_path / "animals")
    Image.new("RGB", (300, 200)).save(source / "train" / "ant" / "00.jpg")
    store, part = tmp_path / "store", staging.Shard(1, 2)
    skip = Working(max_pixels=50_000, on_error="skip")
    builder.build_shard(source, store, OPTIONS, shard=part, working=skip)
    more = Working(max_pixels=60_000, on_error="skip")
    assert not builder.build(source, store, OPTIONS, working=more).skipped
    builder.build(source, tmp_path / "fresh", OPTIONS)
    assert contents(store) == contents(tmp_path / "fresh")


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("shard", [None, staging.Shard(1, 1)])
def test_the_image_at_which_a_build_was_killed_is_named(tmp_path, source, workers, shard):
    """As by the kernel, when memory runs out."""
    store, working = tmp_path / "store", Working(workers=workers)
    child = os.fork()
    if not child:
        decode, fatal = rendering.decode_for, (source / "train" / "bee" / "01.jpg").read_bytes()
        kill = partial(os.kill, os.getpid(), signal.SIGKILL)
        rendering.decode_for = lambda data, *a, **k: (
            kill() if data == fatal else decode(data, *a, **k)
        )
        if shard is None:
            builder.build(source, store, OPTIONS, working=working)
        else:
            builder.build_shard(source, store, OPTIONS, working=working, shard=shard)
        os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    said = []
    builder.build(source, store, OPTIONS, track=hooked(say=said.append))
    [words] = [
        text for text in said if text.startswith("an earlier build was killed while it read")
    ]
    names, _, advice = words.partition(". If memory ran out")
    assert f"{source}/train/bee/01.jpg" in names
    assert names.count("; ") < workers
    assert "fewer --workers" in advice
    assert not list(store.glob("build*"))
    again = []
    builder.build(source, tmp_path / "other", OPTIONS, track=hooked(say=again.append))
    assert not again
