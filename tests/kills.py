"""Kills a build at random moments, again and again: run as a program by `test_staging.py`.

Each start is a child of one process that has loaded everything, so that many fit into a second. A
child kills itself before its n-th operation on a file of the store.
"""

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from images import contents
from lowres.store import build as builder, render as rendering
from lowres.store.options import BuildOptions, Working

OPTIONS = BuildOptions(size=(8, 16), filter=("box", "lanczos"))
EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir"}
DECODED = "decoded"
"""A file beside the store, with a byte for each image that was decoded."""


def kill_before(last: int, store: Path) -> None:
    """Count down this process's operations on the store."""
    left = last

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS and str(arguments[0]).startswith(str(store)):
            count()

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        return lambda *arguments: (count(), function(*arguments))[1]

    sys.addaudithook(audit)
    os.pwrite = counted(os.pwrite)
    os.fsync = os.fdatasync = lambda _: None  # for speed: no power cut is tested here


def count_decoded(store: Path) -> None:
    file = os.open(store.with_name(DECODED), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    decode = rendering.decode_for
    rendering.decode_for = lambda *a, **k: (os.write(file, b"."), decode(*a, **k))[1]


def start(source: Path, store: Path, workers: int, last: int) -> bool:
    """Build in a child that is killed before an operation; return whether the build ended."""
    child = os.fork()
    if not child:
        kill_before(last, store)
        try:
            working = Working(workers=workers, on_error="skip")
            builder.build(source, store, OPTIONS, working=working)
        except BaseException as error:  # noqa: BLE001  the child must end here
            sys.stderr.write(f"{error}\n")
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status == 0 or os.WIFSIGNALED(status), "the build failed"
    return status == 0


def main(source: Path, folder: Path, stores: int) -> None:
    draw, store = random.Random(0), folder / "store"
    skip = Working(on_error="skip")
    builder.build(source, folder / "expected", OPTIONS, working=skip)  # and all is loaded
    count_decoded(store)
    rendering.CHUNK_ROWS = 1
    for _ in range(stores):
        shutil.rmtree(store, ignore_errors=True)
        decoded, lost = store.with_name(DECODED), 0
        decoded.write_bytes(b"")
        for _ in range(draw.randint(1, 8)):
            workers = draw.randint(1, 8)
            if start(source, store, workers, int(400 ** draw.random())):
                break
            lost += workers
        start(source, store, draw.randint(1, 8), -1)
        assert contents(store) == contents(folder / "expected")
        assert decoded.stat().st_size - 36 <= lost, "each worker loses an image, at most"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]), int(sys.argv[3]))
