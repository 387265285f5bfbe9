"""Cuts the power of a disk again and again: a program that `test_reliability.py` runs.

A child process works on the disk and is stopped before its n-th operation. What the disk has
received by then is the disk after a power cut at that moment. Before most cuts, some files at
random are synced: a kernel writes back what it wants, in any order.

    python power_cuts.py build FOLDER CUTS [mounted|layer]

The disk is an ext4 file system in a file, which only root may mount; or a layer over a folder that
keeps what was synced and drops the rest.
"""

import filecmp
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import lowres
from images import contents, draw_source
from lowres.errors import StudyError
from lowres.recipe import Recipe
from lowres.store import build as builder, render as rendering, staging
from lowres.store.export import export
from lowres.store.options import BuildOptions
from lowres.work import files

EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}
OPTIONS = BuildOptions(size=(8, 16), filter=("box", "lanczos"))
SIZE_MB = 48
UNORDERED = "loop,data=writeback,noauto_da_alloc,commit=300"
"""ext4 without its own precautions, so that only what lowres has synced is certain."""


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", UNORDERED, image, at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


def make_disk(image: Path) -> None:
    with image.open("wb") as file:
        file.truncate(SIZE_MB << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)


class MountedDisk:
    """An ext4 file system in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.image = folder, folder / "disk.img"

    @contextmanager
    def opened(self) -> Iterator[Path]:
        make_disk(self.image)
        with mounted(self.image, self.folder / "disk") as disk:
            yield disk

    def watch(self) -> None:
        """Called in the process that works."""

    sync = staticmethod(os.fsync)

    @contextmanager
    def after_a_cut(self) -> Iterator[Path]:
        copy = self.folder / "cut.img"
        while True:  # again if the disk received something meanwhile
            subprocess.run(["cp", "--sparse=always", self.image, copy], check=True)
            if filecmp.cmp(self.image, copy, shallow=False):
                break
            filecmp.clear_cache()
        with mounted(copy, self.folder / "cut") as disk:
            yield disk


class LayerDisk:
    """A folder, and beside it what of each file and folder was synced, by its inode."""

    def __init__(self, folder: Path) -> None:
        self.disk, self.synced, self.cut = (folder / name for name in ("disk", "synced", "cut"))

    @contextmanager
    def opened(self) -> Iterator[Path]:
        for path in (self.disk, self.synced):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
        self.sync_path(self.disk)
        yield self.disk

    def watch(self) -> None:
        os.fsync = os.fdatasync = self.sync
        files.MANY_FILES = sys.maxsize  # one call for all would pass this layer

    def sync_path(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        self.sync(descriptor)
        os.close(descriptor)

    def sync(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        record = self.synced / f"{status.st_ino}"
        new = record.with_name(f"{record.name}.{threading.get_ident()}")
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(descriptor) as children:
                inside = {child.name: (child.inode(), child.is_dir()) for child in children}
            new.write_text(json.dumps(inside))
        else:
            new.write_bytes(Path(f"/proc/self/fd/{descriptor}").read_bytes())
        new.replace(record)

    @contextmanager
    def after_a_cut(self) -> Iterator[Path]:
        shutil.rmtree(self.cut, ignore_errors=True)
        self._restore(self.disk.stat().st_ino, self.cut)
        yield self.cut

    def _restore(self, inode: int, path: Path) -> None:
        path.mkdir()
        record = self.synced / f"{inode}"
        inside = json.loads(record.read_text()) if record.exists() else {}
        for name, (number, is_folder) in inside.items():
            content = self.synced / f"{number}"
            if is_folder:
                self._restore(number, path / name)
            else:
                (path / name).write_bytes(content.read_bytes() if content.exists() else b"")


def stop_before(points: set[int], disk: Path, stop: Callable[[], object]) -> Callable[[], int]:
    """Call `stop` before some of the operations on the disk; return how to count them."""
    done, counting = 0, threading.Lock()

    def count() -> None:
        nonlocal done
        with counting:
            done += 1
            if done in points:
                stop()

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS and str(arguments[0]).startswith(str(disk)):
            count()

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        return lambda *arguments: (count(), function(*arguments))[1]

    sys.addaudithook(audit)
    os.pwrite = counted(os.pwrite)
    return lambda: done


def start(work: Callable[[], object]) -> int:
    """Run some work in a child process."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException as error:  # noqa: BLE001  the child must end here
        sys.stderr.write(f"{error!r}\n")
        os._exit(1)
    os._exit(0)


def done(work: Callable[[], object]) -> None:
    status = os.waitpid(start(work), 0)[1]
    assert status == 0, f"the work ended with {status}"


def write_back(disk: Path, draw: random.Random, sync: Callable[[int], None]) -> None:
    """Sync some files, as a kernel may do at any time; small ones more often than large ones."""
    small, large = draw.choice(((0.0, 0.0), (1.0, 0.0), (0.9, 0.2), (0.5, 0.5), (0.2, 0.9)))
    for path in sorted(disk.rglob("*")):
        share = large if ".npy" in path.name else small
        if draw.random() < share:
            descriptor = os.open(path, os.O_RDONLY)
            sync(descriptor)
            os.close(descriptor)


class Subject:
    """What is done on the disk: `work` begins or resumes it, `finished` says whether it looks so.

    `result` returns what must be equal after every cut.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "animals"
        if not self.source.exists():
            draw_source(self.source, train=12, val=4)

    def prepare(self) -> None:
        """Make what the work reads, outside the disk."""


class Build(Subject):
    def prepare(self):
        staging.SYNC_S, rendering.CHUNK_ROWS = 0.05, 1
        done(lambda: self.work(self.folder / "warm"))  # compiles the resampler

    def work(self, disk):
        builder.build(self.source, disk / "store", OPTIONS)

    def finished(self, disk):
        return (disk / "store" / "manifest.json").exists()

    def result(self, disk):
        assert list(lowres.open_store(disk / "store").problems()) == []
        # That files of a finished build are removed may not have reached the disk.
        left = re.compile(r"build\.|.*\.part$")
        files = contents(disk / "store")
        return {name: data for name, data in files.items() if not left.match(name)}


class Export(Subject):
    to = "folder"

    def prepare(self):
        done(lambda: builder.build(self.source, self.folder / "store", OPTIONS))

    def work(self, disk):
        if not self.finished(disk):
            export(lowres.open_store(self.folder / "store"), disk / "set", "16-box", to=self.to)

    def finished(self, disk):
        return (disk / "set").exists()

    def result(self, disk):
        return contents(disk / "set")


class ExportParquet(Export):
    to = "parquet"


class Train(Export):
    recipe = Recipe(variant="8-box", width=0.5, blocks=1, epochs=4, batch_size=8)

    def work(self, disk):
        import torch

        from lowres.training.loop import train

        torch.set_num_threads(1)
        train(lowres.open_store(self.folder / "store"), self.recipe, disk / "run")

    def finished(self, disk):
        return (disk / "run" / "result.json").exists()

    def result(self, disk):
        result = json.loads((disk / "run" / "result.json").read_text())
        same = {name: result[name] for name in ("weights_sha256", "top1_error", "epochs")}
        return same, (disk / "run" / "weights.safetensors").read_bytes()


class Search(Export):
    def work(self, disk):
        from search_kills import Formula, search_and_confirm

        store = lowres.open_store(self.folder / "store")
        try:
            search_and_confirm(disk / "search", store, Formula())
        except StudyError as error:
            if "remove it and start the search again" not in str(error):
                raise
            (disk / "search" / "journal.log").unlink()
            search_and_confirm(disk / "search", store, Formula())

    def finished(self, disk):
        return (disk / "search" / "result.json").exists() and False

    def result(self, disk):
        return json.loads((disk / "search" / "result.json").read_text())


SUBJECTS = {
    "build": Build,
    "export-folder": Export,
    "export-parquet": ExportParquet,
    "train": Train,
    "search": Search,
}


def operations(subject: Subject, disk: Path, watch: Callable[[], None]) -> int:
    """Count the operations of uninterrupted work."""
    into, out = os.pipe()

    def work() -> None:
        watch()
        count = stop_before(set(), disk, lambda: None)
        subject.work(disk)
        os.write(out, str(count()).encode())

    done(work)
    os.close(out)
    return int(os.read(into, 100))


def main(name: str, folder: Path, cuts: int, kind: str = "mounted") -> None:
    draw, subject = random.Random(0), SUBJECTS[name](folder)
    subject.prepare()
    machine = LayerDisk(folder) if kind == "layer" else MountedDisk(folder)
    looked_finished = at = 0
    with machine.opened() as disk:
        count, wanted = operations(subject, disk, machine.watch), subject.result(disk)
    points = {1 + int(count * (n + draw.random()) / cuts) for n in range(cuts)}

    def cut_and_resume(*, ended: bool) -> None:
        nonlocal looked_finished
        with machine.after_a_cut() as disk:
            if subject.finished(disk):
                looked_finished += 1
                assert subject.result(disk) == wanted, f"cut {at}: it looks whole and is not"
            assert subject.finished(disk) or not ended or name == "search", "finished was not"
            done(lambda: subject.work(disk))
            assert subject.result(disk) == wanted, f"cut {at}: it resumed to something else"

    (asks, ask), (goes, go) = os.pipe(), os.pipe()
    with machine.opened() as disk:

        def work() -> None:
            os.close(asks)
            machine.watch()
            stop_before(points, disk, lambda: (os.write(ask, b"?"), os.read(goes, 1)))
            subject.work(disk)

        child = start(work)
        os.close(ask)
        try:
            while os.read(asks, 1):
                at += 1
                os.kill(child, signal.SIGSTOP)  # all threads of it
                assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
                write_back(disk, draw, machine.sync)
                cut_and_resume(ended=False)
                os.kill(child, signal.SIGCONT)
                os.write(go, b"!")
            assert os.waitpid(child, 0)[1] == 0, "the work failed"
        except BaseException:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            raise
        cut_and_resume(ended=True)
    print(f"{name}: {at + 1} cuts in {count} operations, {looked_finished} looked finished")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
