"""An executor's presence in the fleet: tells of itself in the store, and hears there that it is to drain.

A store that is away keeps it from both, and from nothing else.
"""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

import structlog
from temporalio.common import MetricMeter

from temporal_runs import metrics
from temporal_runs.fleet import SILENT_AFTER, ExecutorStatus, Fleet, HeldRun, TierRoom
from temporal_runs.worker.gate import RoomChanged
from temporal_runs.worker.ledger import ExecutorExists, Ledger
from temporal_runs.worker.room import Room
from temporal_runs.worker.rounds import tried_again

log = structlog.get_logger()

Result = TypeVar("Result")

LOOK_SECONDS = 5.0
"""How late it is heard that somebody wants a drain, at most."""

BETWEEN_SECONDS = 1.0
"""Between two words at least, however much changes."""

FAREWELL_SECONDS = 3.0
"""How long an executor that ends tries to say so."""


class Presence:
    """`claim` the id; `tell` and `listen` until cancelled, then `leave`."""

    def __init__(
        self,
        fleet: Fleet,
        ledger: Ledger,
        room: Room,
        changed: RoomChanged,
        host: str,
        period: float,
        meter: MetricMeter,
    ) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._room = room
        self._changed = changed
        self._host = host
        self._period = period
        self._meter = meter
        self._process = uuid.uuid4().hex
        self._started_at = datetime.now(UTC)
        self._place = _place(ledger.folder)
        self._is_the_one = False
        self._word: asyncio.Task[None] | None = None

    async def claim(self) -> None:
        """Raises ExecutorExists where an executor of this id is at work in another place, StoreError."""
        other = await asyncio.to_thread(self._fleet.executor, self._ledger.executor)
        if other and self._is_elsewhere(other):
            raise self._exists(other)
        self._is_the_one = True

    async def tell(self) -> None:
        """Tells whenever something has changed, and once a period.

        Raises ExecutorExists for the later one of two that have claimed the id in the same moment.
        """
        while True:
            other = await self._in_store(self._fleet.executor, self._ledger.executor)
            if other and self._is_elsewhere(other) and other.started_at < self._started_at:
                self._is_the_one = False
                raise self._exists(other)
            changes = asyncio.create_task(self._changed.wait())
            with tried_again("not told"):
                status = self._status()
                self._measure(status)
                self._word = asyncio.create_task(self._in_store(self._fleet.tell, status))
                await asyncio.shield(self._word)
            await asyncio.sleep(min(BETWEEN_SECONDS, self._period))
            await asyncio.wait({changes}, timeout=self._period)
            changes.cancel()

    async def listen(self, drain: asyncio.Event) -> None:
        """Sets the event when somebody wants this process to drain."""
        while not drain.is_set():
            if await self._in_store(self._fleet.is_to_drain, self._ledger.executor, self._process):
                log.info("was asked to drain")
                drain.set()
            await asyncio.sleep(min(LOOK_SECONDS, self._period))

    async def leave(self) -> None:
        """The last word: that commands are left at work; where none is, nothing is left of this executor."""
        if not self._is_the_one:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                if self._word:
                    await self._word
                if self._ledger.holdings():
                    await self._in_store(self._fleet.tell, self._status().model_copy(update={"state": "ended"}))
                else:
                    await self._in_store(self._fleet.forget, self._ledger.executor)

    async def _in_store(self, work: Callable[..., Result], *arguments: Any) -> Result | None:
        with tried_again("not heard of by the fleet"):
            return await asyncio.to_thread(work, *arguments)
        return None

    def _is_elsewhere(self, other: ExecutorStatus) -> bool:
        return other.place != self._place and not other.is_silent

    def _exists(self, other: ExecutorStatus) -> ExecutorExists:
        seconds = SILENT_AFTER * other.period
        return ExecutorExists(
            f"executor {self._ledger.executor!r} is at work on {other.host} already: choose another --id, or end that "
            f"one; if it is gone for good, its id is free {seconds:.0f} seconds after its last word"
        )

    def _measure(self, status: ExecutorStatus) -> None:
        for tier, room in status.tiers.items():
            metrics.LEASES.show(self._meter, room.held, executor=status.id, tier=tier)
            metrics.ROOM.show(self._meter, room.left, executor=status.id, tier=tier)

    def _state(self) -> Literal["works", "draining", "unwritable"]:
        if self._ledger.is_draining:
            return "draining"
        return "works" if self._ledger.can_write else "unwritable"

    def _status(self) -> ExecutorStatus:
        at_work = [holding for holding in self._ledger.holdings() if holding.finished is None]
        return ExecutorStatus(
            id=self._ledger.executor,
            process=self._process,
            place=self._place,
            host=self._host,
            version=version("temporal-runs"),
            state=self._state(),
            started_at=self._started_at,
            seen_at=datetime.now(UTC),
            period=self._period,
            tiers={
                name: TierRoom(
                    held=sum(holding.request.tier.name == name for holding in at_work),
                    left=self._ledger.left(tier),
                )
                for name, tier in self._room.tiers.items()
            },
            whole=self._room.whole,
            used=self._ledger.used(),
            runs=[
                HeldRun(
                    run_id=holding.request.attempt.run_id,
                    attempt=holding.request.attempt.number,
                    tier=holding.request.tier.name,
                    since=holding.granted_at,
                )
                for holding in at_work
            ],
        )


def _place(folder: Path) -> str:
    """Tells an executor's folder from that of every other, on whichever machine; made with the first start in it."""
    path = folder / "place"
    if not path.exists():
        draft = path.with_suffix(".draft")
        draft.write_text(uuid.uuid4().hex)
        draft.replace(path)
    return path.read_text()
