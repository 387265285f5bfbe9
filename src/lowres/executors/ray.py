"""Work on the machines of a Ray cluster, few pieces at a time, done again where a machine is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from lowres.errors import LowresError, require

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 5
"""How often a piece is begun again whose machine or process was lost."""

AHEAD = 3
"""Pieces handed out for each core, so that none waits for the next one."""


def on_ray(
    work: Callable[..., Result], items: Sequence[Item], arguments: Callable[[Item], tuple[Any, ...]],
    address: str,
) -> Iterator[tuple[Item, Result]]:  # fmt: skip
    """Do work on items on a Ray cluster and give each as it is done, in any order.

    At the first error nothing more begins.

    Args:
        work: a function that can be imported on every machine; doing it twice must be harmless.
        items: what it is done on.
        arguments: what `work` is called with for an item.
        address: of the cluster, as `ray.init` takes it: auto for the one this machine belongs to.

    Raises:
        MissingExtraError: ray is not installed.
        LowresError: no cluster is there, or a machine was lost too often.
        Exception: what the work raised.
    """
    ray = require("ray", "ray")
    with _connected(ray, address):
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(work)
        waiting = iter(items)
        running: dict[Any, Item] = {}
        try:
            while True:
                wanted = AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1)
                for item in islice(waiting, max(wanted - len(running), 0)):
                    running[task.remote(*arguments(item))] = item
                if not running:
                    return
                for done in ray.wait(list(running), timeout=None)[0]:
                    item = running.pop(done)
                    yield item, _result(ray, done)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
