"""Doing the same with many things at once."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

AHEAD = 64
"""Items that wait for a thread: more would only take memory."""


def work_through(pool: ThreadPoolExecutor, work: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Does `work` on every item. The first exception ends it; nothing goes on when this returns."""
    pending: deque[Future[None]] = deque()
    try:
        for item in items:
            if len(pending) >= AHEAD:
                pending.popleft().result()
            pending.append(pool.submit(work, item))
        while pending:
            pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        for future in pending:
            if not future.cancelled():
                future.exception()
