"""A source of small images, a store built from it, and the maintainers' real images."""

import os
import signal
from pathlib import Path

# Networks here are tiny: more threads would wait for each other most of the time. Before torch.
os.environ["OMP_NUM_THREADS"] = "1"
# A thread that waits sleeps: on a busy machine, one that spins takes a core from the others.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
# The width at which messages are compared.
os.environ["COLUMNS"] = "80"

import pytest
from hypothesis import HealthCheck, settings

import lowres
from images import draw_source
from lowres.store.build import build
from lowres.store.options import BuildOptions

# A busy machine is slow at times, so no test is timed. Every run draws the same examples, so that
# none fails by chance; `pytest --hypothesis-profile explore` draws others.
UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("explore", **UNTIMED)
settings.register_profile("repeatable", derandomize=True, **UNTIMED)
settings.load_profile("repeatable")

# The shell of a script starts background commands with SIGINT ignored, and so do their children.
# Tests interrupt children: a signal that has a handler here has its default there.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _nothing_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test names the code that it trusts; the next test starts without it."""
    monkeypatch.setattr("lowres.networks.imported._trusted", set())


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs unless `-m gpu` asks for their tests: results there are not equal to the bit."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_source(tmp_path_factory.mktemp("source") / "animals")


@pytest.fixture(scope="session")
def store_path(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "store"
    build(source, path, BuildOptions(size=(8, 16), filter=("box", "lanczos")))
    return path


@pytest.fixture
def store(store_path: Path) -> lowres.Store:
    return lowres.open_store(store_path)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real images of the maintainers, which are not part of the project."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("real images are not here: they are not part of the project")
    return path
