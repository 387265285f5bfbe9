"""Parts of a build by several processes, and the store that is made of them."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import lowres
from images import contents, draw_image, draw_source, encoded
from lowres import cli
from lowres.errors import SourceError, StoreBusyError, StoreError
from lowres.store import build as builder, journal, render as rendering, staging
from lowres.store.manifest import Manifest
from lowres.store.options import BuildOptions, Working
from lowres.store.rows import RowFile
from lowres.store.staging import BUILDING, Shard, work_directory
from waiting import DEADLINE_S, wait_until

OPTIONS = BuildOptions(size=(8, 16), filter=("box", "lanczos"))
FLAGS = ("--size", "8", "16", "--filter", "box", "lanczos")
SKIP = Working(on_error="skip")
SPLITS = {"train": 24, "val": 12}


def build_shard(source: Path, store: Path, text: str, **how: object) -> int:
    return builder.build_shard(source, store, OPTIONS, shard=Shard.parse(text), **how)


def finish(source: Path, store: Path, **how: object) -> lowres.Store:
    builder.finish_shards(source, store, OPTIONS, **how)
    return lowres.open_store(store)


def start(source: Path, store: Path, *flags: str, **how: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lowres", "build", str(source), str(store), *FLAGS, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )


def run(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str, str]:
    """Run the command line here: status, and what was printed."""
    with pytest.raises(SystemExit) as end:
        cli.main(["build", *map(str, arguments), *FLAGS])
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err


@pytest.mark.parametrize("order", ["123", "312"])
def test_in_any_order_with_any_numbers_of_workers(source, store_path, tmp_path, monkeypatch, order):
    """Shards share the work out alike, though each cuts its part for its own workers."""
    monkeypatch.setattr(staging, "BLOCKS_PER_SHARD", 4)
    store = tmp_path / "store"
    left = [
        build_shard(source, store, f"{n}/3", working=Working(workers=int(n) ** 2)) for n in order
    ]
    assert left[0] > left[1] > left[2] == 0
    assert finish(source, store).splits == SPLITS
    assert contents(store) == contents(store_path)
    assert build_shard(source, store, "2/3") == 0, "of a finished store"
    assert finish(source, store).splits == SPLITS
    assert contents(store) == contents(store_path)


@pytest.mark.full
def test_processes_that_start_at_once(source, store_path, tmp_path):
    store = tmp_path / "store"
    shards = [start(source, store, "--shard", f"{n}/3") for n in (3, 1, 2)]
    for shard, number in zip(shards, (3, 1, 2), strict=True):
        out, errors = shard.communicate(timeout=DEADLINE_S)
        assert shard.returncode == 0, errors
        assert f"shard {number}/3 is built, " in out
        assert "with --finish in place of --shard" in out
    finished = start(source, store, "--finish")
    out, errors = finished.communicate(timeout=DEADLINE_S)
    assert finished.returncode == 0, errors
    assert "24 train, 12 val" in out
    assert contents(store) == contents(store_path)


def test_an_array_that_another_shard_makes_meanwhile_is_kept(
    source, store_path, tmp_path, monkeypatch
):
    """A shard finds no array; before it makes one, another has made it and written rows."""
    store, create = tmp_path / "store", RowFile.create

    def late(*arguments):
        monkeypatch.setattr(RowFile, "create", create)
        build_shard(source, store, "2/2")
        return create(*arguments)

    monkeypatch.setattr(RowFile, "create", late)
    build_shard(source, store, "1/2")
    finish(source, store)
    assert contents(store) == contents(store_path)


def test_a_folder_in_which_another_shard_begins_meanwhile(
    source, store_path, tmp_path, monkeypatch
):
    store, iterdir = tmp_path / "store", Path.iterdir

    def late(folder):
        if folder == store:
            (store / "build-2-of-2.lock").touch()
            (store / "build.entries.0123456789ab").touch()
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", late)
    for number in (1, 2):
        build_shard(source, store, f"{number}/2")
    finish(source, store)
    assert contents(store) == contents(store_path)


def test_files_that_others_make_and_remove_meanwhile(source, store_path, tmp_path):
    """Links to nowhere stand for files that are listed and then gone."""
    store = tmp_path / "store"
    build_shard(source, store, "1/2")
    for name in ("8-box.npy.part.0123456789ab.tmp", "8-box.npy"):
        (store / "train" / name).symlink_to("nowhere")
    build_shard(source, store, "2/2")
    finish(source, store)
    assert contents(store) == contents(store_path)


def test_too_early_to_finish(source, store_path, tmp_path, capsys):
    store = tmp_path / "store"
    with pytest.raises(StoreError, match="is not an unfinished store: build its shards first"):
        finish(source, store)
    assert not store.exists()
    build_shard(source, store, "1/3")
    before = contents(store)
    status, out, errors = run(capsys, source, store, "--finish")
    assert (status, out) == (1, "")
    assert f"{store} is not built yet: 24 of 36 images are missing. Run the shards" in errors
    assert contents(store) == before
    builder.build(source, store, OPTIONS)
    assert contents(store) == contents(store_path)


@pytest.mark.full
def test_a_shard_that_is_killed_is_run_again(source, store_path, tmp_path):
    slow = tmp_path / "slow" / "sitecustomize.py"
    slow.parent.mkdir()
    slow.write_text(
        "import itertools, time\n"
        "import lowres.store.render as b\n"
        "d = b.decode_for\n"
        "taken = itertools.count()\n"
        "b.decode_for = lambda *a, **k: (time.sleep(600 * (next(taken) > 3)), d(*a, **k))[1]\n"
    )
    store, places = tmp_path / "store", f"{slow.parent}{os.pathsep}{os.environ.get('PYTHONPATH')}"
    killed = start(
        source, store, "--shard", "2/2", "-j", "1", env={**os.environ, "PYTHONPATH": places}
    )
    wait_until(lambda: len(journal.read_journals(store)) >= 2)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    build_shard(source, store, "1/2")
    with pytest.raises(StoreError, match="of 36 images are missing"):
        finish(source, store)
    assert build_shard(source, store, "2/2") == 0
    finish(source, store)
    assert contents(store) == contents(store_path)


def test_one_process_at_a_time_for_each_part(source, store_path, tmp_path, capsys):
    store = tmp_path / "store"
    with work_directory(store).lock(BUILDING, part="build-2-of-3"):
        status, out, errors = run(capsys, source, store, "--shard", "2/3")
        assert (status, out) == (75, "")
        assert errors == f"lowres: build-2-of-3 of {store} is being built by another process\n"
        assert build_shard(source, store, "1/3") == 24
        for flags in ([], ["--finish"]):
            status, _, errors = run(capsys, source, store, *flags)
            assert status == 75
            assert errors == f"lowres: store {store} is being built by another process\n"
    with work_directory(store).lock(BUILDING):
        status, _, errors = run(capsys, source, store, "--shard", "2/3")
        assert status == 75
        assert errors == f"lowres: store {store} is being built by another process\n"
        with pytest.raises(StoreBusyError):
            build_shard(source, store, "3/3")
    builder.build(source, store, OPTIONS)
    assert contents(store) == contents(store_path)


def test_other_options_or_images_are_refused(tmp_path):
    source, store = draw_source(tmp_path / "animals"), tmp_path / "store"
    build_shard(source, store, "1/3")
    other = BuildOptions(size=(8,), filter=("box",))
    for call in (builder.finish_shards, builder.build):
        with pytest.raises(StoreError, match="was begun differently: options variants was"):
            call(source, store, other)
    with pytest.raises(StoreError, match="was begun differently: options variants was"):
        builder.build_shard(source, store, other, shard=Shard(2, 3))
    changed = source / "train" / "ant" / "00.jpg"
    changed.write_bytes(encoded(draw_image(77, 50, 50)))
    with pytest.raises(StoreError, match=r"1 images changed after .*ant/00\.jpg first"):
        build_shard(source, store, "1/3")
    build_shard(source, store, "2/3")
    build_shard(source, store, "3/3")
    with pytest.raises(StoreError, match=r"1 images changed after .*ant/00\.jpg first"):
        finish(source, store)
    assert build_shard(source, store, "1/3", working=Working(on_change="rebuild")) == 0
    finish(source, store)
    builder.build(source, tmp_path / "fresh", OPTIONS)
    assert contents(store) == contents(tmp_path / "fresh")
    (source / "val" / "dog" / "99.jpg").write_bytes(encoded(draw_image(1, 30, 30)))
    with pytest.raises(StoreError, match="is finished and was built differently: source images"):
        build_shard(source, store, "2/3")


def test_another_list_of_images_is_refused(tmp_path):
    source, store = draw_source(tmp_path / "animals"), tmp_path / "store"
    build_shard(source, store, "1/3")
    (source / "val" / "dog" / "99.jpg").write_bytes(encoded(draw_image(1, 30, 30)))
    with pytest.raises(StoreError, match=r"val/dog/99\.jpg \(class dog\)"):
        build_shard(source, store, "2/3")


def test_skipped_images(tmp_path, capsys):
    """Finishing without --on-error skip is refused, and forgets nothing."""
    source, store = draw_source(tmp_path / "animals"), tmp_path / "store"
    (source / "train" / "ant" / "03.jpg").write_bytes(b"no image")
    with pytest.raises(SourceError, match=r"ant/03\.jpg cannot be read"):
        build_shard(source, store, "1/3")
    for number in (1, 2, 3):
        build_shard(source, store, f"{number}/3", working=SKIP)
    before = contents(store)
    status, _, errors = run(capsys, source, store, "--finish")
    assert status == 1
    assert f"1 images of {store} were skipped by shards with --on-error skip: add it" in errors
    assert contents(store) == before
    assert finish(source, store, working=SKIP).splits == {"train": 23, "val": 12}
    builder.build(source, tmp_path / "plain", OPTIONS, working=SKIP)
    assert contents(store) == contents(tmp_path / "plain")


def test_a_plain_build_resumes_from_shards(source, store_path, tmp_path, monkeypatch):
    store = tmp_path / "store"
    build_shard(source, store, "2/3")
    read, original = [], rendering.decode_for
    monkeypatch.setattr(
        rendering, "decode_for", lambda *a, **k: read.append(1) or original(*a, **k)
    )
    builder.build(source, store, OPTIONS)
    assert len(read) == 24
    assert contents(store) == contents(store_path)


@pytest.mark.parametrize("how", ["missing", "short"])
def test_arrays_that_were_lost_are_for_a_plain_build(source, store_path, tmp_path, how):
    store = tmp_path / "store"
    build_shard(source, store, "1/3")
    part = store / "train" / "16-box.npy.part"
    part.unlink() if how == "missing" else os.truncate(part, 3000)
    with pytest.raises(StoreError, match="run the same build once without --shard"):
        build_shard(source, store, "2/3")
    builder.build(source, store, OPTIONS)
    assert contents(store) == contents(store_path)


def test_more_shards_than_images(tmp_path):
    for name in ("ant", "bee"):
        (tmp_path / "set" / "train" / name).mkdir(parents=True)
        (tmp_path / "set" / "train" / name / "1.jpg").write_bytes(encoded(draw_image(1, 30, 30)))
    left = [build_shard(tmp_path / "set", tmp_path / "store", f"{n}/8") for n in range(8, 0, -1)]
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    finish(tmp_path / "set", tmp_path / "store")
    builder.build(tmp_path / "set", tmp_path / "plain", OPTIONS)
    assert contents(tmp_path / "store") == contents(tmp_path / "plain")


def test_a_foreign_folder_is_left_alone(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="neither empty nor a store"):
        build_shard(source, tmp_path / "mine", "1/3")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("text", ["0/3", "4/3", "x", "3", "1/0", "-1/3", "1/3/5", "1.5/3", "²/3"])
def test_no_such_shard(source, tmp_path, capsys, text):
    status, _, errors = run(capsys, source, tmp_path / "store", f"--shard={text}")
    assert status == 1
    assert errors == (f"lowres: --shard must be NUMBER/OF, such as 1/8 to 8/8, was {text!r}\n")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--shard", "1/3", "--finish"], "--shard builds a part in threads: leave --finish"),
        (["--shard", "1/3", "--executor", "ray"], "--shard builds a part in threads"),
        (["--finish", "--executor", "ray"], "--finish builds nothing: leave --executor"),
    ],
)
def test_flags_that_exclude_each_other(source, tmp_path, capsys, flags, words):
    status, _, errors = run(capsys, source, tmp_path / "store", *flags)
    assert status == 1
    assert words in errors


def test_a_killed_end_is_taken_up_by_shards(source, store_path, tmp_path, monkeypatch):
    """Arrays that had their names already are written again."""
    store = tmp_path / "store"
    monkeypatch.setattr(Manifest, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        builder.build(source, store, OPTIONS)
    monkeypatch.undo()
    shutil.move(store / "train" / "8-box.npy", store / "train" / "8-box.npy.part")
    assert build_shard(source, store, "1/2") == 0
    finish(source, store)
    assert contents(store) == contents(store_path)
