"""The fence: a command that may be restarted elsewhere never runs beside its replacement.

Such a command ends with its lease. A watchdog, a process of its own that outlives this one, ends its container when the
lease has not been renewed in time; and a lease is renewed up to the last heartbeat that Temporal has seen of the
command, so that the workflow can give it up only after the watchdog has.
"""

import asyncio
import os
import subprocess
import sys
import threading
import time

import structlog
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client
from temporalio.service import RPCError

from temporal_runs.activities.leases import Holding
from temporal_runs.asking import described
from temporal_runs.steps import Attempt
from temporal_runs.worker.ledger import Ledger
from temporal_runs.worker.watchdog import LOCK, fallen, is_locked, renewed

log = structlog.get_logger()

UP_WITHIN = 15.0
"""Seconds a new watchdog has for its first breath."""


class Fence:
    """Renews the leases of an executor's restartable commands, and sees to it that a watchdog is there."""

    def __init__(self, client: Client, ledger: Ledger, lease_seconds: float) -> None:
        self._client = client
        self._ledger = ledger
        self._period = lease_seconds / 6
        self._starting = threading.Lock()

    async def work(self) -> None:
        """Renews now and then, until cancelled."""
        while True:
            for holding in self._ledger.holdings():
                if holding.is_fenced and holding.begun and not holding.finished:
                    await self._renew(holding)
            await asyncio.sleep(self._period)

    def guard(self, holding: Holding) -> None:
        """Begins the lease of a container that is to be started; raises OSError where no watchdog comes up."""
        self._touch(holding, time.time())
        self._require_watchdog()

    def has_fallen(self, holding: Holding) -> bool:
        """True where the watchdog has ended the container."""
        return fallen(self._ledger.folder, holding).exists()

    async def _renew(self, holding: Holding) -> None:
        attempt = holding.request.attempt
        try:
            await asyncio.to_thread(self._require_watchdog)
            description = await described(self._client, attempt.run_id, attempt.execution_id)
        except (RPCError, OSError) as error:
            log.warning("lease not renewed", run_id=attempt.run_id, error=str(error))
            return
        if seen_at := _last_seen(description, attempt):
            self._touch(holding, seen_at)

    def _touch(self, holding: Holding, at: float) -> None:
        path = renewed(self._ledger.folder, holding)
        path.touch()
        os.utime(path, (at, at))

    def _require_watchdog(self) -> None:
        lock = self._ledger.folder / LOCK
        with self._starting:
            if is_locked(lock):
                return
            watchdog = self._started()
            deadline = time.monotonic() + UP_WITHIN
            while not is_locked(lock):
                if watchdog.poll() is not None or time.monotonic() > deadline:
                    raise OSError(f"no watchdog comes up: see watchdog.log in {self._ledger.folder}")
                time.sleep(0.05)

    def _started(self) -> subprocess.Popen[bytes]:
        folder = self._ledger.folder
        with (folder / "watchdog.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "temporal_runs.worker.watchdog", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


def _last_seen(description: DescribeWorkflowExecutionResponse, attempt: Attempt) -> float | None:
    """When Temporal last saw this attempt's command attended to; None where it is not, or no more."""
    ours = (attempt.activity_id("run"), attempt.activity_id("end"))
    for activity in description.pending_activities:
        if activity.activity_id in ours:
            times = (activity.last_started_time, activity.last_heartbeat_time)
            return max(time.ToNanoseconds() for time in times) / 1e9
    return None
