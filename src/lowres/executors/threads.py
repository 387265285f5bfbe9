"""Work in threads of this process, few pieces at a time, which an error or interrupt ends soon."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    stopping: threading.Event,
) -> Iterator[tuple[Item, Result]]:
    """Do `work` on items in threads, few at a time, and give each as it is done.

    At the first error or an interrupt, nothing more begins and `stopping` is set, which work that
    is under way may heed.
    """
    waiting = iter(items)
    running: dict[Future[Result], Item] = {}
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in islice(waiting, 2 * workers):
                running[pool.submit(work, item)] = item
            while running:
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    item = running.pop(done)
                    yield item, done.result()
                    for following in islice(waiting, 1):
                        running[pool.submit(work, following)] = following
        finally:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
