"""Fills a disk again and again: a program that `test_reliability.py` runs as root.

The disk is a small file system in memory with a little free space, less than the work needs.

    python full_disks.py build FOLDER SIZES
"""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lowres.cli import explained
from lowres.errors import LowresError
from power_cuts import SUBJECTS, done

AMPLE_KB = 64 << 10
PAGE_KB = 4
TEMPORARY = ("*.tmp", "*.lowres-partial")


@contextmanager
def disk_of(folder: Path) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={AMPLE_KB}K", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def resize(disk: Path, size_kb: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size_kb}K", disk], check=True)


def failure_of(work: Callable[[], object]) -> str:
    """Do some work in a child process, and return the error as a user reads it."""
    into, out = os.pipe()
    child = os.fork()
    if not child:
        said = ""
        try:
            work()
        except LowresError as error:
            said = str(error)
        except OSError as error:
            said = explained(error, resumes=True)
        os.write(out, said.encode())
        os._exit(0)
    os.close(out)
    with os.fdopen(into, "rb") as file:
        said = file.read().decode()
    assert os.waitpid(child, 0)[1] == 0
    return said


def used_kb(disk: Path) -> int:
    status = os.statvfs(disk)
    return (status.f_blocks - status.f_bfree) * status.f_frsize >> 10


def main(name: str, folder: Path, sizes: int) -> None:
    draw, subject, failed = random.Random(0), SUBJECTS[name](folder), 0
    subject.prepare()
    with disk_of(folder / "disk") as disk:
        done(lambda: subject.work(disk))
        wanted, most = subject.result(disk), used_kb(disk)
        for number in range(sizes):
            subprocess.run(["find", disk, "-mindepth", "1", "-delete"], check=True)
            resize(disk, PAGE_KB + int(most * (number + draw.random()) / sizes))
            said = failure_of(lambda: subject.work(disk))
            failed += bool(said)
            if said:
                assert str(disk) in said, said
                assert "the same command" in said or "free space" in said, said
                assert not subject.finished(disk), said
            for pattern in TEMPORARY:
                assert not list(disk.rglob(pattern)), f"{pattern} stayed: {said}"
            resize(disk, AMPLE_KB)
            done(lambda: subject.work(disk))
            assert subject.result(disk) == wanted, said
    print(f"{name}: {failed} full disks of {sizes}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
