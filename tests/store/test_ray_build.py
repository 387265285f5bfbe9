"""Builds on a real Ray cluster of several nodes on this machine, one of which is killed."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import lowres
from images import cmyk_jpeg, contents, draw_source
from lowres.errors import StoreBusyError, StoreError
from lowres.progress import Display
from lowres.store import build as builder
from lowres.store.cluster import DRIVER
from lowres.store.journal import images_built
from lowres.store.options import BuildOptions, Working
from lowres.store.staging import BUILDING, work_directory
from ray_work import MEMORY, cluster_of
from waiting import DEADLINE_S, wait_until

ray = pytest.importorskip("ray", reason="ray is not installed")

OPTIONS = BuildOptions(size=(8, 16), filter=("box", "lanczos"))
FLAGS = ("--size=8,16", "--filter=box,lanczos", "--executor=ray")
BROKEN = Path("train", "bee", "02.jpg")
FATAL = "fatal"
"""A file beside `sitecustomize.py`: an image with its bytes kills the shard that decodes it."""

SLOW = "slow"
"""A file beside `sitecustomize.py`: while it exists, shards take a second for an image."""

pytestmark = [
    pytest.mark.slow,
    # Ray's own: sockets and files that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that makes the decoding of all shards slow while it contains SLOW."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "sitecustomize.py").write_text(
        "import os, pathlib, sys, time\n"
        f"if any(word.startswith('--shard') for word in sys.orig_argv):\n"
        "    import lowres.store.render as render\n"
        "    decode = render.decode_for\n"
        f"    slow = pathlib.Path(__file__).with_name({SLOW!r})\n"
        f"    fatal = pathlib.Path(__file__).with_name({FATAL!r})\n"
        "    render.decode_for = lambda data, *a, **k: (\n"
        "        fatal.exists() and data == fatal.read_bytes() and os.kill(os.getpid(), 9),\n"
        "        time.sleep(slow.exists()), decode(data, *a, **k))[2]\n"
    )
    return folder


@pytest.fixture(scope="module")
def cluster(place):
    with cluster_of(nodes=2, places=[place]) as made:
        yield made


@pytest.fixture
def working(cluster):
    return Working(executor="ray", address=cluster.address)


@pytest.fixture
def slow(place):
    (place / SLOW).touch()
    yield place / SLOW
    (place / SLOW).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    source = draw_source(tmp_path_factory.mktemp("ray") / "animals")
    (source / "train" / "cat" / "03.jpg").write_bytes(cmyk_jpeg(5, 37, 41))
    return source


@pytest.fixture(scope="module")
def expected(animals, tmp_path_factory):
    """The bytes of a build in threads."""
    store = tmp_path_factory.mktemp("local") / "store"
    builder.build(animals, store, OPTIONS)
    return contents(store)


@pytest.fixture
def broken(animals, tmp_path):
    """The same animals, of which one is not an image."""
    copy = Path(shutil.copytree(animals, tmp_path / "animals"))
    (copy / BROKEN).write_bytes(b"no image")
    return copy


def test_the_bytes_are_those_of_a_local_build(cluster, broken, tmp_path, monkeypatch):
    """With every option; from a relative path; a broken image is skipped."""
    options = BuildOptions(
        size=(8, 16), filter="all", rule=("pillow", "release-2017"),
        classes=("ant", "bee", "cat"), exif_rotate=True,
    )  # fmt: skip
    counts = []

    class Counting(Display):
        def advance(self, count=1):
            counts.append(count)

    @contextmanager
    def track(what, total, *, done=0):
        yield Counting() if what == "build" else Display()

    builder.build(broken, tmp_path / "local", options, working=Working(on_error="skip"))
    monkeypatch.chdir(broken.parent)
    working = Working(executor="ray", address=cluster.address, on_error="skip")
    manifest = lowres.build(broken.name, tmp_path / "ray", options, working=working, track=track)
    assert [skipped.key for skipped in manifest.skipped] == ["bee/02.jpg"]
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert sum(counts) == 27
    assert not ray.is_initialized()


def test_an_error_has_the_end_of_the_log_and_a_local_build_resumes(
    working, broken, animals, expected, tmp_path
):
    store = tmp_path / "store"
    with pytest.raises(StoreError) as error:
        lowres.build(broken, store, OPTIONS, working=working)
    words = str(error.value)
    assert "failed on the Ray cluster with exit status 1; the end of" in words
    assert "bee/02.jpg cannot be read: is none of JPEG" in words
    shutil.copy2(animals / BROKEN, broken / BROKEN)
    builder.build(broken, store, OPTIONS)
    assert contents(store) == expected


def test_a_shard_that_was_killed_names_its_image(working, place, animals, expected, tmp_path):
    """As by the kernel, when memory runs out."""
    store, fatal = tmp_path / "store", place / FATAL
    fatal.write_bytes((animals / BROKEN).read_bytes())
    try:
        with pytest.raises(StoreError) as error:
            lowres.build(animals, store, OPTIONS, working=working)
    finally:
        fatal.unlink()
    words = str(error.value)
    assert re.match(r"shard \d+/\d+ was killed on the Ray cluster by SIGKILL while it read", words)
    assert f"{animals / BROKEN}" in words
    assert "If memory ran out: build with fewer --workers" in words
    lowres.build(animals, store, OPTIONS, working=working)
    assert contents(store) == expected


def shards(store: Path) -> list[int]:
    """Find the processes that build shards of a store."""
    found = []
    for listed in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = listed.read_bytes().decode().split("\0")
        except OSError:
            continue
        if str(store) in words and any(word.startswith("--shard") for word in words):
            found.append(int(listed.parent.name))
    return found


def ancestors(process: int) -> list[int]:
    found = []
    while process > 1:
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            break
        process = int(stat.rpartition(")")[2].split()[1])
        found.append(process)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_driver_leaves_nothing_running(
    cluster, slow, place, animals, expected, tmp_path, number
):
    """And another executor resumes."""
    store = tmp_path / "store"
    driver = subprocess.Popen(
        [sys.executable, "-m", "lowres", "build", animals, store, *FLAGS,
         "--address", cluster.address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: images_built(store) >= 3)
    driver.send_signal(number)
    out, errors = driver.communicate(timeout=DEADLINE_S)
    assert "8-box" not in out  # Ray may print its own words
    if number == signal.SIGINT:
        assert driver.returncode == 130, errors
        assert "Traceback" not in errors
        assert not shards(store)
    # A process that ends has no name before it has released its locks.
    wait_until(lambda: not shards(store) and not work_directory(store).busy)
    assert 3 <= images_built(store) < 36
    builder.build(animals, store, OPTIONS)
    assert contents(store) == expected


def test_two_ray_builds_of_one_store(animals, tmp_path):
    store = tmp_path / "store"
    with (
        work_directory(store).lock(BUILDING, part=DRIVER),
        pytest.raises(StoreBusyError, match="is being built by another process"),
    ):
        lowres.build(animals, store, OPTIONS, working=Working(executor="ray"))


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "nowhere.invalid:6379", "rubbish"])
def test_no_cluster_is_found_out_soon(animals, tmp_path, address):
    """Ray itself would try for two minutes where a name or port does not answer."""
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        given = address.format(bound.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(lowres.LowresError, match="no Ray cluster answers at --address"):
            lowres.build(
                animals, tmp_path / "store", OPTIONS,
                working=Working(executor="ray", address=given),
            )  # fmt: skip
    assert time.monotonic() - began < 100


def test_a_node_is_killed_while_it_works(cluster, working, slow, animals, expected, tmp_path):
    """Other nodes do its shard again, and the bytes are the same."""
    store, doomed = tmp_path / "store", cluster.add_node(num_cpus=1, **MEMORY)
    (raylet,) = doomed.all_processes["raylet"]

    def doomed_shards() -> list[int]:
        return [one for one in shards(store) if raylet.process.pid in ancestors(one)]

    def kill() -> None:
        try:
            wait_until(lambda: doomed_shards() and images_built(store) > 3)
            for process in (raylet.process.pid, ancestors(doomed_shards()[0])[0]):
                os.kill(process, signal.SIGKILL)
            cluster.remove_node(doomed, allow_graceful=False)
        finally:
            slow.unlink()

    killer = threading.Thread(target=kill)
    killer.start()
    lowres.build(animals, store, OPTIONS, working=working)
    killer.join()
    assert contents(store) == expected
