"""Pieces of a build on a Ray cluster; what was under way on a lost machine is done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from lowres.errors import LowresError, require
from lowres.work.ray import CANNOT_IMPORT, NOT_IMPORTED, connected

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 5
"""How often a piece is begun again whose machine or process was lost."""

AHEAD = 2
"""Pieces handed out for each core, so that none waits for the next one."""

POLL_S = 1.0
"""How long to wait for results before the cluster is counted again."""

STOP_S = 10.0
"""How long to wait for work that was handed out, where it cannot be ended."""


def on_ray(
    work: Callable[..., Result],
    items: Sequence[Item],
    arguments: Callable[[Item], tuple[Any, ...]],
    address: str,
) -> Iterator[tuple[Item, Result]]:
    """Do work on items on a Ray cluster and give each as it is done, in any order.

    Machines may join and leave meanwhile. At the first error nothing more is handed out, and what
    was handed out is ended, or awaited where the caller has connected this process to Ray.

    Args:
        work: a function that can be imported on every machine; doing it twice must be harmless.
        items: what it is done on.
        arguments: what `work` is called with for an item.
        address: of the cluster, as `ray.init` takes it; auto for the one this machine belongs to.

    Raises:
        MissingExtraError: ray is not installed.
        LowresError: no cluster is there, it cannot import `work`, or a piece was lost too often.
        Exception: what the work raised.
    """
    ray = require("ray", "ray")
    with connected(ray, address) as own:
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(work)
        waiting = iter(items)
        running: dict[Any, Item] = {}
        try:
            while True:
                wanted = AHEAD * max(int(ray.cluster_resources().get("CPU", 0)), 1)
                for item in islice(waiting, max(wanted - len(running), 0)):
                    running[task.remote(*arguments(item))] = item
                if not running:
                    return
                done, _ = ray.wait(list(running), num_returns=len(running), timeout=0)
                done = done or ray.wait(list(running), timeout=POLL_S)[0]
                for reference in done:
                    yield running.pop(reference), _result(ray, reference)
        finally:
            # What is left ends with a connection of our own. It is not cancelled: where a piece is
            # just done, `ray.cancel` brings this process down (ray-project/ray, #54798).
            if running and not own:
                ray.wait(list(running), num_returns=len(running), timeout=STOP_S)


def _result(ray: Any, reference: Any) -> Any:  # noqa: ANN401
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, LowresError | OSError):
            raise error.cause from None
        if NOT_IMPORTED in str(error.cause):
            raise LowresError(CANNOT_IMPORT) from error
        raise
    except ray.exceptions.RayError as error:
        raise LowresError(
            f"the Ray cluster lost a piece of work {RETRIES + 1} times: {error}"
        ) from error
