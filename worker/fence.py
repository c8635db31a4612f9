"""The fence: a command that may be restarted elsewhere never runs beside its replacement.

Such a command ends with its lease. A watchdog, a process of its own that outlives this one, ends its container when the
lease has not been renewed in time; and a lease is renewed up to when the last heartbeat that Temporal has seen of the
command was sent, so that the workflow can give it up only after the watchdog has. Sent by this machine's clock, which
the watchdog reads too: no other's has to agree with it.
"""

import asyncio
import subprocess
import sys
import threading
import time

from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client

from temporal_runs.activities.leases import Holding
from temporal_runs.asking import described
from temporal_runs.steps import Attempt
from temporal_runs.worker.ledger import Ledger, fallen
from temporal_runs.worker.rounds import tried_again
from temporal_runs.worker.watchdog import LOCK, is_locked

UP_WITHIN = 10.0
"""Seconds a new watchdog has for its first breath: by no more may the lease of a command begin later than the last
heartbeat that Temporal has seen of it, since it is by HEARTBEAT (`workflows/executors`) that it is given up later."""


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
                    with tried_again("lease not renewed", run_id=holding.request.attempt.run_id):
                        await self._renew(holding)
            await asyncio.sleep(self._period)

    def guard(self, holding: Holding) -> None:
        """Begins the lease of a container that is to be started; raises OSError where no watchdog comes up."""
        self._require_watchdog()
        self._ledger.renew(holding.token, time.time())

    def has_fallen(self, holding: Holding) -> bool:
        """True where the watchdog has ended the container."""
        return fallen(self._ledger.folder, holding.token).exists()

    async def _renew(self, holding: Holding) -> None:
        attempt = holding.request.attempt
        await asyncio.to_thread(self._require_watchdog)
        description = await described(self._client, attempt.run_id, attempt.execution_id)
        if sent_at := await self._last_seen(description, attempt):
            self._ledger.renew(holding.token, sent_at)

    async def _last_seen(self, description: DescribeWorkflowExecutionResponse, attempt: Attempt) -> float | None:
        """When the last heartbeat was sent that Temporal has seen of a command; None where it has seen none."""
        ours = (attempt.activity_id("run"), attempt.activity_id("end"))
        for activity in description.pending_activities:
            if activity.activity_id in ours and activity.heartbeat_details.payloads:
                _, sent_at = await self._client.data_converter.decode(activity.heartbeat_details.payloads)
                return sent_at
        return None

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
