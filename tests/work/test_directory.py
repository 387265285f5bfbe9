"""Directories of resumable work: planned once, locked, refused if another plan is there."""

import errno
import json
import subprocess
import sys
import threading
import warnings
from typing import TypedDict

import pytest

from lowres.errors import RunBusyError, StudyError
from lowres.work import files
from lowres.work.directory import WorkDirectory, differences
from lowres.work.files import held

PLAN = {"store": {"path": "a", "digest": "1"}, "sizes": [8, 16], "budget": 2.0}


class Best(TypedDict):
    best: int


def directory(path, **others):
    return WorkDirectory(
        path, "search", "search.json", "result.json", StudyError, RunBusyError, **others
    )


def test_a_plan_is_written_once_and_the_result_last(tmp_path):
    work = directory(tmp_path / "work")
    assert not work.planned
    assert not work.busy
    work.begin(PLAN)
    work.begin({**PLAN, "sizes": (8, 16)})
    assert work.planned
    assert not work.finished
    assert work.read() == PLAN
    work.finish({"best": 1})
    assert work.finished
    assert work.result(Best) == {"best": 1}
    assert sorted(child.name for child in work.path.iterdir()) == ["result.json", "search.json"]


def test_another_plan_is_refused_with_every_difference(tmp_path):
    work = directory(tmp_path / "work", ignored=frozenset({"path"}))
    work.begin(PLAN)
    other = {"store": {"path": "b", "digest": "2"}, "sizes": [8], "sampler": "tpe"}
    with pytest.raises(StudyError) as refused:
        work.begin(other)
    assert str(refused.value) == (
        f"search {work.path} was planned differently: store digest was 1 and is now 2; sizes was "
        "8, 16 and is now 8; budget was 2.0 and is now not set; sampler was not set and is now "
        "tpe. Use the same values again, or choose another directory with --out"
    )
    work.begin({**PLAN, "store": {"path": "elsewhere", "digest": "1"}})


def test_differences_compare_what_json_keeps():
    assert differences({"a": [1]}, {"a": (1,)}) == []
    assert differences({"a": {"b": 1}}, {"a": 2}) == ["a was b 1 and is now 2"]


@pytest.mark.parametrize("own", [(), ("entries",)])
def test_other_files_are_refused(tmp_path, own):
    work = directory(tmp_path, own=own)
    (tmp_path / "search.json.tmp").touch()  # of a process that was killed
    (tmp_path / "entries").touch()
    if own:
        work.begin(PLAN)
    else:
        with pytest.raises(StudyError, match="is neither empty nor a search: choose another"):
            work.begin(PLAN)
    with pytest.raises(StudyError, match="must be a directory, but it is a file"):
        directory(tmp_path / "entries").begin(PLAN)
    with (
        pytest.raises(StudyError, match="must be a directory, but it is a file"),
        directory(tmp_path / "entries").lock("being searched"),
    ):
        pass


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sizes": 8', '{"sizes": 8}'])
def test_damaged_plans_and_results(tmp_path, text):
    def check(record):
        return {"sizes": list(record["sizes"])}

    work = directory(tmp_path / "work", check=check)
    with pytest.raises(StudyError, match=r"is not a search: it has no search\.json"):
        work.read()
    work.begin({"sizes": [8]})
    with pytest.raises(StudyError, match=r"result\.json is missing"):
        work.result(Best)
    for name in ("search.json", "result.json"):
        (work.path / name).write_text(text)
    with pytest.raises(StudyError, match=r"search\.json is damaged: "):
        work.read()
    with pytest.raises(StudyError, match=r"result\.json is damaged: .*; remove it and start"):
        work.result(Best)


def test_a_lock_keeps_others_out_and_parts_share_it(tmp_path):
    work = directory(tmp_path / "work")
    with work.lock("being searched"):
        assert work.busy
        with (
            pytest.raises(RunBusyError, match="work is being searched by another process"),
            work.lock("being searched", part="one", wait_s=0),
        ):
            pass
        work.begin(PLAN)
    with work.lock("being searched", part="one"), work.lock("being searched", part="two"):
        with (
            pytest.raises(RunBusyError, match=r"one of .*work is being searched by another"),
            work.lock("being searched", part="one", wait_s=0),
        ):
            pass
        with pytest.raises(RunBusyError), work.lock("being searched", wait_s=0):
            pass
    assert not work.busy
    with directory(tmp_path / "empty").lock("being searched"):
        assert (tmp_path / "empty").exists()
    assert not (tmp_path / "empty").exists(), "nothing was written"


def test_a_lock_of_the_plan(tmp_path):
    work = directory(tmp_path / "work", locks_plan=True)
    assert not work.busy
    work.begin(PLAN)
    with work.lock("being searched"):
        assert work.busy
        with held(work.path) as free:
            assert free
        with pytest.raises(RunBusyError), work.lock("being searched", wait_s=0):
            pass
    assert not work.busy


def test_a_lock_waits(tmp_path):
    work, waited = directory(tmp_path), threading.Event()

    def wait():
        with work.lock("being searched", wait_s=300):
            waited.set()

    with work.lock("being searched"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not waited.wait(0.2)
    thread.join()
    assert waited.is_set()


BEGIN = """
import sys
from pathlib import Path
from lowres.errors import StudyError
from lowres.work.directory import WorkDirectory

sys.stdin.readline()
try:
    WorkDirectory(Path("work"), "search", "search.json", "", StudyError).begin({"n": sys.argv[1]})
except StudyError:
    sys.exit(3)
"""


def test_of_many_that_begin_at_once_one_writes_the_plan(tmp_path):
    begun = [
        subprocess.Popen([sys.executable, "-c", BEGIN, n], cwd=tmp_path, stdin=subprocess.PIPE)
        for n in "123"
    ]
    for process in begun:
        process.stdin.write(b"\n")
        process.stdin.close()
    ended = [process.wait() for process in begun]
    assert sorted(ended) == [0, 3, 3]
    (plan,) = (tmp_path / "work").iterdir()
    assert json.loads(plan.read_text()) == {"n": "123"[ended.index(0)]}


def test_without_locks_lowres_says_so_once(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)
    monkeypatch.setattr(files, "_without_locks", set())
    (tmp_path / "file").touch()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for path in (tmp_path, tmp_path / "file"):
            with files.held(path) as free:
                assert free
    assert [warning.category for warning in said] == [files.NoLocksWarning]
    assert "has no locks (No locks available)" in str(said[0].message)


def test_errors_of_a_full_disk_name_the_file_and_leave_no_other(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/x\.json"):
        files.write_json(tmp_path / "x.json", {})
    assert not list(tmp_path.iterdir())


def test_many_files_are_synced_by_one_call(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MANY_FILES", 2)
    for name in "abc":
        (tmp_path / name).write_text(name)
    synced = []
    monkeypatch.setattr("os.fsync", synced.append)
    files.sync_tree(tmp_path)
    if sys.platform == "linux":
        assert not synced
    files.sync_tree(tmp_path / "a")
    assert synced
