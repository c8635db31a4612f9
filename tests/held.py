"""Holding a process of ours at a point: for what takes milliseconds, in the middle of which nobody could do anything.

What is called there is the real thing, only later.
"""

import asyncio
import functools
import importlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

LONGEST = 60
"""Seconds after which who is held goes on by itself."""


class Held:
    """Whoever comes to the point waits there. `go` lets them go on, and whoever comes later."""

    def __init__(self) -> None:
        self._come = threading.Event()
        self._go = threading.Event()

    async def reached(self) -> None:
        """Returns when somebody is held."""
        assert await asyncio.to_thread(self._come.wait, LONGEST), "nobody came"

    def go(self) -> None:
        self._go.set()

    def hold(self) -> None:
        self._come.set()
        self._go.wait(LONGEST)


@asynccontextmanager
async def held_before(place: str) -> AsyncIterator[Held]:
    """`place` is a MODULE:CLASS.METHOD that is called in threads of this process."""
    module, _, path = place.partition(":")
    class_name, _, method_name = path.partition(".")
    owner = getattr(importlib.import_module(module), class_name)
    method = getattr(owner, method_name)
    held = Held()

    @functools.wraps(method)
    def holding(*arguments: Any, **more: Any) -> Any:
        held.hold()
        return method(*arguments, **more)

    with patch.object(owner, method_name, holding):
        try:
            yield held
        finally:
            held.go()
