"""A Ray cluster of several nodes on this machine, for tests."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MEMORY = {"object_store_memory": 80 * 2**20}
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_TQDM_PATCH_PRINT": "0",  # else it replaces `print` for all tests that follow
}


@contextmanager
def cluster_of(nodes: int, places: Sequence[Path] = ()) -> Iterator[Any]:
    """Start a head that does no work, and nodes of one core.

    Args:
        nodes: how many.
        places: folders that the processes of the nodes import from first.
    """
    import pytest  # not above: a command that imports this module must not load it
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        # The processes of the nodes import what the tests import.
        for place in (Path(__file__).parent, *places):
            patch.setenv("PYTHONPATH", str(place), prepend=os.pathsep)
        head = {"num_cpus": 0, "include_dashboard": False, **MEMORY}
        made = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(nodes):
            made.add_node(num_cpus=1, **MEMORY)
        yield made
        made.shutdown()
