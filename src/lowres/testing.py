"""Contracts of the extension points, as classes of tests for pytest.

Subclass one beside your implementation and add the fixtures that its docstring names
(docs/how-to/own-format.md shows a format and its tests).
"""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from lowres.errors import StoreBusyError, StoreError
from lowres.formats.sink import Outline, Sink
from lowres.formats.source import Index, Source
from lowres.variant import Variant
from lowres.work.executor import Executor, Job, Result

__all__ = ["ExecutorContract", "SinkContract", "SourceContract", "python_job"]


class SourceContract:
    """What every source must do.

    Fixture `opened`: a source of at least two classes, with a split `train`.
    """

    def test_rows_are_sorted_by_key_and_keys_are_unique(self, opened: Source) -> None:
        for entries in opened.index().splits.values():
            keys = [entry.key for entry in entries]
            assert keys == sorted(set(keys))

    def test_labels_are_positions_in_the_classes(self, opened: Source) -> None:
        index = opened.index()
        assert len(index.classes) == len(set(index.classes))
        labels = {entry.label for entries in index.splits.values() for entry in entries}
        assert labels <= set(range(len(index.classes)))

    def test_listing_twice_returns_the_same(self, opened: Source) -> None:
        assert opened.index() == opened.index()
        assert opened.index().digest() == opened.index().digest()

    def test_entries_are_read_in_any_order(self, opened: Source) -> None:
        entries = opened.index().splits["train"]
        forwards = [opened.read(entry) for entry in entries]
        backwards = [opened.read(entry) for entry in reversed(entries)]
        assert all(map(np.array_equal, forwards, backwards[::-1]))
        assert all(map(len, forwards))

    def test_entries_are_read_without_listing(self, opened: Source) -> None:
        """On another machine, which receives entries and has not listed any."""
        entries = [entry for some in opened.index().splits.values() for entry in some]
        elsewhere = type(opened)(opened.path)
        assert [elsewhere.stamp(entry) for entry in entries] == list(map(opened.stamp, entries))
        for reader in (type(opened)(opened.path), elsewhere):
            for entry in reversed(entries):
                np.testing.assert_array_equal(reader.read(entry), opened.read(entry))
                assert reader.describe(entry) == opened.describe(entry)

    def test_stamps_stay_while_nothing_changes(self, opened: Source) -> None:
        entry = opened.index().splits["train"][0]
        read, stamp = opened.read_stamped(entry)
        np.testing.assert_array_equal(read, opened.read(entry))
        assert stamp == opened.stamp(entry) == opened.stamp(entry)

    def test_info_has_a_line_on_the_labels(self, opened: Source) -> None:
        assert type(opened).kind
        assert "\n" not in type(opened).label_order

    def test_the_path_is_recognised(self, opened: Source) -> None:
        assert type(opened).recognises(opened.path)


class SinkContract:
    """What every sink must do.

    Fixtures `sink`, the class, and `reader`, the class of sources that reads what it writes.

    Attributes:
        suffix: of the path to write, such as `.zip`.
    """

    suffix: ClassVar[str] = ""
    classes: ClassVar[tuple[str, ...]] = ("ant", "bee")

    def outline(self, sink: type[Sink]) -> Outline:
        """Return what the tests write: 12 images of train; 3 of val, if the format has splits."""
        splits = {"train": 12} if sink.one_split else {"train": 12, "val": 3}
        variant = Variant(8, "box")
        return Outline(
            name="set", variant=variant, classes=self.classes, splits=splits, content="0"
        )

    def image(self, split: str, row: int) -> NDArray[np.uint8]:
        """Return the image of a row, (8, 8, 3)."""
        chance = np.random.default_rng([len(split), row])
        return chance.integers(0, 256, (8, 8, 3), np.uint8)

    def written(self, sink: type[Sink], path: Path) -> Path:
        """Write a whole set."""
        target = sink(path, self.outline(sink))
        for split, count in target.outline.splits.items():
            for row in range(count):
                target.write(split, f"{row:03}.png", row % 2, self.image(split, row))
        target.finish()
        return path

    def test_a_written_set_is_read_back(
        self, sink: type[Sink], reader: type[Source], tmp_path: Path
    ) -> None:
        source = reader(self.written(sink, tmp_path / f"set{self.suffix}"))
        index: Index = source.index()
        assert type(source).recognises(source.path)
        for split, count in self.outline(sink).splits.items():
            expected = Counter((row % 2, self.image(split, row).tobytes()) for row in range(count))
            found = (
                (entry.label, _pixels(source.read(entry)).tobytes())
                for entry in index.splits[split]
            )
            assert Counter(found) == expected

    def test_equal_sets_are_equal_files(self, sink: type[Sink], tmp_path: Path) -> None:
        one, other = (self.written(sink, tmp_path / f"{n}{self.suffix}") for n in "ab")
        assert _files(one) == _files(other)

    def test_only_a_finished_set_has_its_name(self, sink: type[Sink], tmp_path: Path) -> None:
        path = tmp_path / f"set{self.suffix}"
        target = sink(path, self.outline(sink))
        target.write("train", "000.png", 0, self.image("train", 0))
        assert not path.exists()
        target.abandon()
        assert not list(tmp_path.glob("set*"))

    def test_a_path_that_exists_is_refused(self, sink: type[Sink], tmp_path: Path) -> None:
        path = self.written(sink, tmp_path / f"set{self.suffix}")
        before = _files(path)
        with pytest.raises(StoreError, match=re.escape(str(path))):
            sink(path, self.outline(sink))
        assert _files(path) == before

    def test_two_at_once_are_refused(self, sink: type[Sink], tmp_path: Path) -> None:
        path = tmp_path / f"set{self.suffix}"
        target = sink(path, self.outline(sink))
        with pytest.raises(StoreBusyError, match=re.escape(str(path))):
            sink(path, self.outline(sink))
        target.abandon()


def _pixels(read: bytes | NDArray[np.uint8]) -> NDArray[np.uint8]:
    if isinstance(read, np.ndarray):
        return read
    from PIL import Image

    with Image.open(io.BytesIO(read)) as image:
        return np.asarray(image.convert("RGB"))


def _files(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of every file in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


def python_job(folder: Path, name: str, code: str) -> Job:
    """Return a job that runs Python code and logs to `folder/NAME.log`."""
    return Job(name, (sys.executable, "-c", code), folder / f"{name}.log")


class ExecutorContract:
    """What every executor must do.

    Fixture `executor`: an executor that runs at least two jobs at a time.
    """

    def test_every_job_is_run_once(self, executor: Executor, tmp_path: Path) -> None:
        jobs = [python_job(tmp_path, f"p{n}", f"print({n})") for n in range(5)]
        results = list(executor.finish(jobs))
        assert {result.job for result in results} == set(jobs)
        assert all(result.exit_status == 0 for result in results)
        for n, job in enumerate(jobs):
            assert job.log.read_text() == f"{n}\n"

    def test_failures_are_results_and_stop_nothing(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        jobs = [
            python_job(tmp_path, "bad", "raise SystemExit(3)"),
            python_job(tmp_path, "killed", "import os; os.kill(os.getpid(), 9)"),
            python_job(tmp_path, "good", "print('done')"),
        ]
        statuses = {result.job.name: result.exit_status for result in executor.finish(jobs)}
        assert statuses == {"bad": 3, "killed": -9, "good": 0}

    def test_no_jobs_no_results(self, executor: Executor) -> None:
        assert list(executor.finish([])) == []

    def test_stopping_early_leaves_nothing_running(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
        sleeper = python_job(tmp_path, "sleeper", code)
        results = executor.finish([python_job(tmp_path, "quick", ""), sleeper])
        next(iter(results))
        while not (sleeper.log.exists() and sleeper.log.read_text()):
            time.sleep(0.01)
        cast("Generator[Result]", results).close()
        process = int(sleeper.log.read_text())
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
