"""A real Ray cluster of several nodes on this machine, one of which is killed while it works."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

import lowres
import ray_work
from images import cmyk_jpeg, contents, draw_source
from lowres.errors import LowresError, SourceError
from lowres.store import build as builder
from lowres.store import journal
from lowres.store.options import BuildOptions
from lowres.work import ray_pieces as module
from lowres.work.ray_pieces import on_ray
from ray_work import MEMORY, Note, Piece, cluster_of, noted

ray = pytest.importorskip("ray", reason="ray is not installed")

OPTIONS = BuildOptions(size=(8, 16), filter=("box", "lanczos"))
FLAGS = ("--size", "8", "16", "--filter", "box", "lanczos", "--executor", "ray")
MANY = BuildOptions(size=(8, 16), filter=("all",), rule=("pillow", "release-2017"))
BROKEN = Path("train", "bee", "02.jpg")

pytestmark = [
    # Ray's own: sockets and files that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    with cluster_of(nodes=2) as made:
        yield made


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    source = draw_source(tmp_path_factory.mktemp("ray") / "animals")
    (source / "train" / "cat" / "03.jpg").write_bytes(cmyk_jpeg(5, 37, 41))
    return source


@pytest.fixture(scope="module")
def expected(animals, tmp_path_factory):
    """What a build without Ray makes of them."""
    store = tmp_path_factory.mktemp("local") / "store"
    builder.build(animals, store, OPTIONS)
    return contents(store)


@pytest.fixture
def broken(animals, tmp_path):
    """The same animals, of which one is no image."""
    copy = Path(shutil.copytree(animals, tmp_path / "animals"))
    (copy / BROKEN).write_bytes(b"no image")
    return copy


def test_the_bytes_are_those_of_a_local_build(cluster, animals, tmp_path, monkeypatch):
    """With 24 variants; from a path that means nothing where the workers are."""
    builder.build(animals, tmp_path / "local", MANY)
    monkeypatch.chdir(animals.parent)
    lowres.build("animals", tmp_path / "ray", MANY, executor="ray", address=cluster.address)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert len(lowres.open_store(tmp_path / "ray").variants) == 24
    assert not ray.is_initialized()


def test_images_are_skipped_as_locally(cluster, broken, tmp_path):
    builder.build(broken, tmp_path / "local", MANY, on_error="skip")
    manifest = lowres.build(
        broken, tmp_path / "ray", MANY, on_error="skip", executor="ray", address=cluster.address
    )
    assert [skipped.key for skipped in manifest.skipped] == ["bee/02.jpg"]
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")


def test_a_node_is_killed_while_it_works(cluster, animals, expected, tmp_path, monkeypatch):
    """What it had under way is done again by others, and the bytes are the same."""
    monkeypatch.setattr(builder, "build_elsewhere", ray_work.noted_build)
    store, doomed = tmp_path / "store", cluster.add_node(num_cpus=1, **MEMORY)

    def of_doomed(what: str) -> set[Note]:
        return {note for note in noted(store, what) if note.node == doomed.node_id}

    def under_way() -> set[Note]:
        return of_doomed("begun") - of_doomed("done")

    def kill() -> None:
        wait_until(lambda: of_doomed("done") and under_way())
        (raylet,) = doomed.all_processes["raylet"]
        for process in (raylet.process.pid, *{note.process for note in under_way()}):
            os.kill(process, signal.SIGKILL)
        cluster.remove_node(doomed, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    lowres.build(animals, store, OPTIONS, executor="ray", address=cluster.address)
    killer.join()
    assert contents(store) == expected
    lost = {note.piece for note in under_way()}
    assert lost
    assert lost <= {note.piece for note in noted(store, "done") if note.node != doomed.node_id}


def test_an_error_is_that_of_a_local_build_which_goes_on(
    cluster, broken, animals, expected, tmp_path, monkeypatch
):
    """Nothing begins after it."""
    with pytest.raises(SourceError) as locally:
        builder.build(broken, tmp_path / "local", OPTIONS)
    monkeypatch.setattr(builder, "build_elsewhere", ray_work.noted_build)
    store = tmp_path / "store"
    with pytest.raises(SourceError) as on_cluster:
        lowres.build(broken, store, OPTIONS, executor="ray", address=cluster.address)
    assert type(on_cluster.value) is type(locally.value)
    assert str(on_cluster.value) == str(locally.value)
    begun = noted(store, "begun")
    assert len(begun) < 20
    assert not _still_begins(store)
    assert noted(store, "begun") == begun
    assert 0 < len(journal.read_journals(store)) < len(begun)
    shutil.copy2(animals / BROKEN, broken / BROKEN)
    builder.build(broken, store, OPTIONS)
    assert contents(store) == expected


@pytest.fixture
def command(cluster, animals, tmp_path):
    """Start `lowres build` on the cluster, as a process whose pieces take their time."""
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "from lowres.store import build\nimport ray_work\n"
        "build.build_elsewhere = ray_work.noted_build\n"
    )
    places = [folder, Path(ray_work.__file__).parent, os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}

    def start() -> subprocess.Popen[str]:
        arguments = (str(animals), str(tmp_path / "store"), "--address", cluster.address)
        return subprocess.Popen(
            [sys.executable, "-m", "lowres", "build", *arguments, *FLAGS],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    return start


def test_a_driver_that_is_killed_goes_on(command, expected, tmp_path):
    """Pieces that were kept are not built again."""
    store, first = tmp_path / "store", command()
    wait_until(lambda: len(noted(store, "done")) >= 6)
    first.kill()
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    kept = {Piece(b.chunk.split, b.chunk.start) for b in journal.read_journals(store)}
    assert 4 <= len(kept) < 36
    wait_until(lambda: not _still_begins(store))
    shutil.rmtree(ray_work.notes_beside(store))
    second = command()
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    again = {note.piece for note in noted(store, "begun")}
    assert not again & kept
    assert len(again | kept) == 36
    assert contents(store) == expected


def _still_begins(store: Path) -> bool:
    before = noted(store, "begun")
    time.sleep(4 * ray_work.PAUSE_S)
    return noted(store, "begun") != before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(command, animals, expected, tmp_path, number):
    """Promptly, with one line; another executor goes on."""
    store, process = tmp_path / "store", command()
    wait_until(lambda: len(noted(store, "done")) >= 3)
    began = time.monotonic()
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    took_s = time.monotonic() - began
    assert process.returncode == 130, errors
    assert out == ""
    said = [line for line in errors.splitlines() if not line.startswith("[")]  # Ray's own log
    assert said == ["lowres: interrupted; the same command goes on from here"]
    assert took_s < 10
    assert not _still_begins(store)
    builder.build(animals, store, OPTIONS)
    assert contents(store) == expected


def test_a_piece_that_is_lost_every_time(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RETRIES", 1)
    with pytest.raises(LowresError, match="the Ray cluster lost a piece of work 2 times"):
        list(on_ray(ray_work.dying, [1], lambda _: (str(tmp_path),), cluster.address))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_machine_without_the_function(cluster, monkeypatch):
    """As where lowres is not installed."""
    module = types.ModuleType("only_here")
    exec("def work(): pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(LowresError, match="cannot import lowres: install the same lowres"):
        list(on_ray(module.work, [1], lambda _: (), cluster.address))


def test_a_connection_that_is_there_is_used_and_stays(cluster, broken, tmp_path, monkeypatch):
    """What was handed out is awaited, since it cannot be ended."""
    monkeypatch.setattr(builder, "build_elsewhere", ray_work.noted_build)
    store = tmp_path / "store"
    ray.init(cluster.address, log_to_driver=False)
    try:
        with pytest.raises(SourceError, match=r"bee/02\.jpg cannot be read"):
            lowres.build(broken, store, OPTIONS, executor="ray", address="is not asked")
        assert ray.is_initialized()
        left = {note.piece for note in noted(store, "begun") - noted(store, "done")}
        assert left == {Piece("train", 8)}, "the one that failed"
    finally:
        ray.shutdown()


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "nowhere.invalid:6379", "rubbish", "auto"])
def test_no_cluster_is_found_out_soon(cluster, animals, tmp_path, address):
    """Ray itself would try for two minutes where a name or port does not answer."""
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        command = [sys.executable, "-m", "lowres", "build", animals, tmp_path / "store", *FLAGS]
        began = time.monotonic()
        run = subprocess.run(
            [*command, "--address", address.format(port)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "RAY_ADDRESS": f"127.0.0.1:{port}"},
        )
    assert time.monotonic() - began < 15
    assert run.returncode == 1
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert line.startswith("lowres: no Ray cluster answers at --address ")
    assert "start one with 'ray start --head', or give the address that it printed (" in line


def wait_until(true, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
