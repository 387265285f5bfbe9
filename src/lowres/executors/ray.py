"""Work on the machines of a Ray cluster; what was under way on a lost machine is done again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from lowres.errors import LowresError, require

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 5
"""How often a piece is begun again whose machine or process was lost."""

AHEAD = 2
"""Pieces handed out for each core, so that none waits for the next one."""

POLL_S = 1.0
"""How long to wait for results before the cluster is counted again."""


def on_ray(
    work: Callable[..., Result],
    items: Sequence[Item],
    arguments: Callable[[Item], tuple[Any, ...]],
    address: str,
) -> Iterator[tuple[Item, Result]]:
    """Do work on items on a Ray cluster and give each as it is done, in any order.

    Machines may join and leave meanwhile. At the first error nothing more begins.

    Args:
        work: a function that can be imported on every machine; doing it twice must be harmless.
        items: what it is done on.
        arguments: what `work` is called with for an item.
        address: of the cluster, as `ray.init` takes it; auto for the one this machine belongs to.

    Raises:
        MissingExtraError: ray is not installed.
        LowresError: no cluster is there, or a piece lost its machine too often.
        Exception: what the work raised.
    """
    ray = require("ray", "ray")
    with _connected(ray, address):
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
            for reference in running:
                ray.cancel(reference, force=True)


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:  # noqa: ANN401  the module
    """Be connected to a cluster, with the connection that is there or one for this work."""
    if ray.is_initialized():
        yield
        return
    try:
        with _own_signals():
            ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise LowresError(
            f"no Ray cluster answers at --address {address}: start one with 'ray start --head', "
            f"or give the address that it printed ({error})"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's answer to SIGTERM, which Ray replaces."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _result(ray: Any, reference: Any) -> Any:  # noqa: ANN401
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise cause if isinstance(cause, LowresError | OSError) else error from None
    except ray.exceptions.RayError as error:
        raise LowresError(
            f"a piece of work was lost {RETRIES + 1} times on the Ray cluster: {error}"
        ) from error
