"""Work in threads of this process, which stop soon after an error or an interrupt."""

from __future__ import annotations

import operator
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

GATHER_SHARE, GATHER_S = 0.01, 0.05
"""How long results are gathered before the caller's thread wakes: a share of the time so far, and
at most this many seconds. Each time it wakes, it takes the interpreter's lock from the threads that
work."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    stopping: threading.Event,
) -> Iterator[tuple[Item, Result]]:
    """Do `work` on items in threads, and yield each item with its result when it is done.

    The next free thread takes the next item. At the first error or an interrupt, no further item
    is taken and `stopping` is set, so that `work` can return early. The iterator ends when all
    threads have ended.
    """
    waiting = iter(items)
    taking = threading.Lock()
    done: queue.SimpleQueue[tuple[Item, Result] | BaseException | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            while not stopping.is_set():
                with taking:
                    item = next(waiting, done)
                if item is done:
                    break
                done.put((item, work(item)))  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001  the caller's thread raises it again
            done.put(error)
        finally:
            done.put(None)

    most = min(workers, operator.length_hint(items, workers))
    threads = [threading.Thread(target=run, daemon=True) for _ in range(most)]
    try:
        for thread in threads:
            thread.start()
        yield from _results(done, len(threads))
    finally:
        stopping.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _results(
    done: queue.SimpleQueue[tuple[Item, Result] | BaseException | None], threads: int
) -> Iterator[tuple[Item, Result]]:
    """Yield results until each thread has sent None; raise the first error."""
    began = time.monotonic()
    while threads:
        if done.empty():
            time.sleep(min(GATHER_SHARE * (time.monotonic() - began), GATHER_S))
        result = done.get()
        if isinstance(result, BaseException):
            raise result
        if result is None:
            threads -= 1
        else:
            yield result
