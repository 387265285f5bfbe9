"""Work for a Ray cluster that notes where and when it is done; workers import it by its name."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from lowres.formats.source import Entry
from lowres.store.journal import Built, Chunk
from lowres.store.render import Job, build_elsewhere

PAUSE_S = 0.06
"""Before and after the rows of a piece are written."""


MEMORY = {"object_store_memory": 80 * 2**20}
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_TQDM_PATCH_PRINT": "0",  # else it replaces `print` for all tests that follow
}


@contextmanager
def cluster_of(nodes: int) -> Iterator[Any]:
    """Start a head that works on nothing, and nodes of one core."""
    import pytest  # not above: a command that imports this module is not to see it
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        # Where the processes of the nodes find what the tests have them do.
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        head = {"num_cpus": 0, "include_dashboard": False, **MEMORY}
        made = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(nodes):
            made.add_node(num_cpus=1, **MEMORY)
        yield made
        made.shutdown()


class Piece(NamedTuple):
    """The rows of a split from `start` on."""

    split: str
    start: int


class Note(NamedTuple):
    """Who was at a piece: a process on a node of the cluster."""

    node: str
    process: int
    piece: Piece


def notes_beside(store: Path) -> Path:
    return store.with_name(f"{store.name}-notes")


def noted_build(job: Job, chunk: Chunk, entries: Sequence[Entry]) -> Built:
    """Build a piece slowly, with a file beside the store when it is begun and one when it is done.

    Their names are NODE.PROCESS.SPLIT.START.begun and .done.
    """
    import ray

    node = ray.get_runtime_context().get_node_id()
    name = f"{node}.{os.getpid()}.{chunk.split}.{chunk.start}"
    notes = notes_beside(job.store)
    notes.mkdir(exist_ok=True)
    (notes / f"{name}.begun").touch()
    time.sleep(PAUSE_S)
    built = build_elsewhere(job, chunk, entries)
    time.sleep(PAUSE_S)
    (notes / f"{name}.done").touch()
    return built


def noted(store: Path, what: str) -> set[Note]:
    """Give the notes that a piece was `begun` or `done`."""
    names = [path.name.split(".") for path in notes_beside(store).glob(f"*.{what}")]
    return {
        Note(node, int(process), Piece(split, int(start)))
        for node, process, split, start, _ in names
    }


def dying(folder: str) -> None:
    """Leave a file and be killed."""
    (Path(folder) / str(os.getpid())).touch()
    os.kill(os.getpid(), signal.SIGKILL)
