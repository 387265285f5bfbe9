"""A connection to a Ray cluster: made, found, and left as it was."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lowres.errors import LowresError

NOT_IMPORTED = "failed to import on the worker"
"""What Ray says, in a RuntimeError, where a machine lacks the module of a function."""

CONNECT_S = 5.0
"""How long a cluster may take to answer."""

CANNOT_IMPORT = (
    "a machine of the Ray cluster cannot import lowres: install the same lowres, with the same "
    "Pillow and NumPy, on every machine"
)


@contextmanager
def connected(ray: Any, address: str) -> Iterator[bool]:  # noqa: ANN401  the module
    """Be connected to a cluster, by the connection that is there or one of our own: say which."""
    if ray.is_initialized():
        yield False
        return
    try:
        _knock(address)
        with _own_signals():
            ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise LowresError(
            f"no Ray cluster answers at --address {address}: start one with 'ray start --head', "
            f"or give the address that it printed ({reason})"
        ) from error
    try:
        yield True
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """See whether anybody answers at an address; Ray itself tries for minutes, and prints much.

    Raises:
        OSError, OverflowError: nobody does.
    """
    given = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, _, port = given.rpartition(":")
    if "://" not in given and host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's answer to SIGTERM, which Ray replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
