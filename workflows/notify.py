"""The workflow `Notify`: what follows a Run that somebody wants to hear of. It begins when the Run's outcome is final,
and whatever becomes of it changes nothing about the Run.
"""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from temporal_runs.notices import Notice
from temporal_runs.status import RunResult
from temporal_runs.steps import Notification

A_DAY = timedelta(days=1)
"""How long it is tried: a weekend's outage of somebody's server is not waited for."""

ONE_TRY = timedelta(minutes=1)
AGAIN_AND_AGAIN = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5))


@workflow.defn(name="Notify")
class Notify:
    """Tells all whom a Run's spec and project name; fails where one could not be told within a day."""

    @workflow.run
    async def run(self, result: RunResult) -> None:
        recipients = await workflow.execute_activity(
            "recipients",
            result,
            result_type=list[Notice],
            start_to_close_timeout=ONE_TRY,
            schedule_to_close_timeout=A_DAY,
            retry_policy=AGAIN_AND_AGAIN,
        )
        ends = await asyncio.gather(*(self.tell(result, notice) for notice in recipients), return_exceptions=True)
        failures: list[str] = []
        for notice, end in zip(recipients, ends, strict=True):
            if isinstance(end, ActivityError):
                failures.append(f"{notice.shown}: {end.cause}")
            elif end:
                raise end
        if failures:
            raise ApplicationError("not told: " + "; ".join(failures), type="not_delivered", non_retryable=True)

    async def tell(self, result: RunResult, notice: Notice) -> None:
        await workflow.execute_activity(
            "deliver",
            Notification(notice=notice, result=result),
            summary=f"tells {notice.shown}"[:200],
            start_to_close_timeout=ONE_TRY,
            schedule_to_close_timeout=A_DAY,
            retry_policy=AGAIN_AND_AGAIN,
        )
