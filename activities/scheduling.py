"""Scheduling: an executor with room takes a Run from its tier's queue, and gives its word."""

from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from temporal_runs.activities.leases import Leases
from temporal_runs.steps import Lease, Request

ASK_AGAIN = timedelta(seconds=0.1)
"""Soon: another executor may have room. This one does not ask for such Runs again before it has."""


class Scheduling:
    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    @activity.defn(name="acknowledge")
    async def acknowledge(self, request: Request) -> Lease:
        """The lease. Declines where the room is gone since the executor asked for work, or none can be written down."""
        lease = self._leases.grant(request)
        if lease is None:
            raise ApplicationError(
                "no room",
                type="no_room",
                next_retry_delay=ASK_AGAIN,
                category=ApplicationErrorCategory.BENIGN,
            )
        return lease
