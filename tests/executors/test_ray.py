"""A real Ray cluster of several nodes on this machine, one of which is killed while it works."""

import os
import time
from pathlib import Path

import pytest

from lowres.options import BuildOptions

ray = pytest.importorskip("ray", reason="ray is not installed")

OPTIONS = BuildOptions(size=(8, 16), filter=("box", "lanczos"))

pytestmark = [
    # Ray's own: sockets and files that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    memory = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **memory})
    made.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    yield made
    made.shutdown()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def contents(store: Path) -> dict[str, bytes]:
    files = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in files}


def slowly(number: int, folder: str, seconds: float) -> int:
    time.sleep(seconds)
    with (Path(folder) / f"{number}-{ray.get_runtime_context().get_node_id()}").open("a") as file:
        file.write("x")
    return number * number
