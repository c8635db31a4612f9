"""What every activity on an executor does beside its own work: confirm the lease, heartbeat, let go when told.

A newer attempt of an activity first ends the older one in the same process: a server that restarts may hand out
an activity again while its first attempt is still at work.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from temporal_runs.activities.faults import fault, faults
from temporal_runs.activities.leases import Holding, LeaseOfAnother, Leases
from temporal_runs.engine import Interrupt, Progress
from temporal_runs.steps import Assignment

HEARTBEAT_SECONDS = 1
"""Bounds how late a stop is heard on a server that does not push cancellations."""

LET_GO_SECONDS = 10
"""How long a thread that was told to end is waited for."""

AGAIN_AFTER = (1, 2, 4, 8, 15, 30)
"""Seconds after which something is tried again that a fault keeps from being done: a minute in all."""

log = structlog.get_logger()

Result = TypeVar("Result")


class Abandoned(Exception):
    """Raised in a working thread whose activity has been cancelled."""


class Attendance:
    """One attempt of an activity at work: its progress as heartbeats show it, and the holding of the Run it is for."""

    holding: Holding
    """where it is for one Run"""

    def __init__(self, host: str) -> None:
        self._host = host
        self.progress: dict[str, Any] = {}
        self.interrupt = Interrupt()
        """ends what the engine does for it, when the work is no longer wanted"""
        self._abandoned = threading.Event()

    def report(self, **progress: Any) -> None:
        """Called from working threads; raises Abandoned when the work is no longer wanted."""
        self.progress = progress
        if self._abandoned.is_set():
            raise Abandoned

    def report_engine(self, progress: Progress) -> None:
        """The progress of a pull, push or build."""
        self.report(**vars(progress))

    async def persistently(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Tries work again that may be done again, for a while; raises the fault that stays.

        For activities that Temporal asks for without end: among its attempts are those that ended with an executor.
        """
        for pause in AGAIN_AFTER:
            try:
                with faults(self._host):
                    return await work()
            except ApplicationError as fault:
                if fault.non_retryable or activity.cancellation_details():
                    raise
                log.info("tried again", seconds=pause, fault=fault.type)
            await asyncio.sleep(pause)
        return await work()

    async def in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Runs blocking work in a thread. Cancelled, it tells the thread to end at its next report and waits for it."""
        thread = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            self._abandoned.set()
            self.interrupt.set()
            # Whatever becomes of it, nobody asks any more.
            thread.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            await asyncio.wait({thread}, timeout=LET_GO_SECONDS)
            raise


class Attendants:
    """The activities at work in this process."""

    def __init__(self, leases: Leases, host: str, nobody_asks: Callable[[], None]) -> None:
        """`nobody_asks` is called when Temporal knows an activity no more: its Run may be over."""
        self._leases = leases
        self._host = host
        self._nobody_asks = nobody_asks
        self._at_work: dict[tuple[str, str], asyncio.Task[Any]] = {}

    @contextlib.asynccontextmanager
    async def attend(self, assignment: Assignment) -> AsyncIterator[Attendance]:
        """Surrounds an activity's work for one Run, whose lease it confirms."""
        async with self.at_work(assignment.lease.token) as attendance:
            try:
                attendance.holding = self._leases.confirm(assignment)
            except KeyError:
                raise fault("executor_lost", "came back and knows nothing of this Run", final=True) from None
            except LeaseOfAnother:
                message = "gave its place to this Run as it was before its workflow was reset"
                raise fault("executor_lost", message, final=True, began=False) from None
            yield attendance

    @contextlib.asynccontextmanager
    async def at_work(self, on: str) -> AsyncIterator[Attendance]:
        """Surrounds an activity's work on something; what it raises becomes a fault of the table."""
        key = (on, activity.info().activity_type)
        me = asyncio.current_task()
        assert me
        older = self._at_work.get(key)
        self._at_work[key] = me
        if older:
            older.cancel()
            await asyncio.wait({older})
        attendance = Attendance(self._host)
        beating = asyncio.create_task(_heartbeat(attendance))
        try:
            with faults(self._host):
                yield attendance
        except asyncio.CancelledError:
            if (details := activity.cancellation_details()) and details.not_found:
                self._nobody_asks()
            raise
        finally:
            beating.cancel()
            if self._at_work.get(key) is me:
                del self._at_work[key]


async def _heartbeat(attendance: Attendance) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        # When it is sent: whoever is shown it by Temporal knows until when this executor was heard (worker/fence).
        activity.heartbeat(attendance.progress, time.time())
