"""The gate of a tier: an executor asks its tier's queue for a Run only while it has room for one.

A Run that nobody can hold yet so stays in Temporal's queue, where another executor can take it. The gate counts what
it has asked for; tiers that share their room may both have asked, and then the ledger declines the later one. To count
what other tiers have asked for would leave room empty for as long as nothing of theirs comes. For the same reason no
room is kept for a large Run while small ones come: who wants that serves its tier by places.
"""

import asyncio
import threading

from temporalio.worker import (
    CustomSlotSupplier,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
)

from temporal_runs.steps import Tier
from temporal_runs.worker.ledger import Ledger


class RoomChanged:
    """Wakes the gates of one executor. `notify` may be called from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Event] = set()

    def notify(self) -> None:
        self._loop.call_soon_threadsafe(self._wake)

    async def wait(self) -> None:
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            await event.wait()
        finally:
            self._waiting.discard(event)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()


class Gate(CustomSlotSupplier):
    """Slots for the `acknowledge` activities of one tier."""

    def __init__(self, ledger: Ledger, tier: Tier, changed: RoomChanged) -> None:
        self._ledger = ledger
        self._tier = tier
        self._changed = changed
        self._asked = 0
        self._lock = threading.Lock()  # the SDK reserves and releases on threads of its own

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        """Waits until there is room that has not been asked for."""
        while (permit := self.try_reserve_slot(ctx)) is None:
            await self._changed.wait()
        return permit

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        with self._lock:
            if self._ledger.left(self._tier) <= self._asked:
                return None
            self._asked += 1
        return SlotPermit()

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        pass

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        with self._lock:
            self._asked -= 1
        self._changed.notify()
