"""How a Run asks for its phases: which queue, which patience, and what it means when one does not succeed.

The one rule guarded here: whatever goes wrong comes out as one of three exceptions, `StopReceived`, `Fault` or
`ExecutorLost`, so that the workflow can be read as a life and not as error handling.
"""

import asyncio
from datetime import timedelta
from typing import Any, TypedDict, TypeVar, Unpack

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, TimeoutError, TimeoutType

from temporal_runs.status import Cause, RunResult
from temporal_runs.steps import (
    Assignment,
    Completion,
    Exit,
    Finished,
    Image,
    Inputs,
    Lease,
    Order,
    Prepared,
    Request,
    Submission,
    Ticket,
    tier_queue,
)
from temporal_runs.workflows.causes import cause
from temporal_runs.workflows.life import Life

Result = TypeVar("Result")

HEARTBEAT = timedelta(seconds=10)
A_LONG_TIME = timedelta(days=366)
SOON = timedelta(seconds=30)
"""for what takes milliseconds when all is well"""

PATIENT = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(seconds=10),
    maximum_attempts=9,
)
"""A platform fault is retried for about a minute (design, section 4)."""

UNTIL_THE_END = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10))
"""For the command: its executor may restart any number of times while it runs, and decides itself what is final."""


class StopReceived(Exception):
    """The phase was ended by a stop, or did not begin because of one."""


class Fault(Exception):
    """The phase failed for good."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message)
        self.cause = cause


class ExecutorLost(Exception):
    """The executor was silent for as long as its lease, or says itself that the lease is lost.

    `began`: it may have taken the phase before.
    """

    def __init__(self, began: bool, message: str = "did not answer in time") -> None:
        super().__init__(message)
        self.began = began
        self.message = message


class _Options(TypedDict, total=False):
    task_queue: str
    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    priority: Priority
    summary: str


class Phases:
    """The activities of one Run."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._stoppable: asyncio.Task[Any] | None = None

    def stop(self) -> None:
        """Cancels the phase that is under way, if it can be stopped."""
        if self._stoppable:
            self._stoppable.cancel()

    async def queue(self, submission: Submission) -> Inputs:
        return await self._ask("queue", submission, Inputs, start_to_close_timeout=SOON, retry_policy=PATIENT)

    async def join(self, ticket: Ticket) -> None:
        """Asks for one of the places of its project; the answer is the signal `admit`."""
        await workflow.execute_local_activity("join", ticket, start_to_close_timeout=SOON)

    async def leave(self, ticket: Ticket) -> None:
        """Gives the place up, or the wish for one."""
        try:
            await workflow.get_external_workflow_handle(ticket.limit_id).signal("leave", ticket.run_id)
        except FailureError:
            # Somebody has ended that workflow; it holds nothing any more.
            workflow.logger.warning("nobody took the place back", exc_info=True)

    async def acknowledge(self, request: Request, inputs: Inputs) -> Lease:
        """Waits in the queue of the tier until an executor with room takes the Run."""
        spec = inputs.spec
        return await self._ask(
            "acknowledge",
            request,
            Lease,
            task_queue=tier_queue(spec.tier),
            start_to_close_timeout=SOON,
            schedule_to_close_timeout=timedelta(seconds=spec.queue_limit) if spec.queue_limit else None,
            priority=Priority(priority_key=spec.priority, fairness_key=spec.owner[:64]),
            # What the Web UI shows of a Run that waits; it costs no event.
            summary=f"waits for tier {spec.tier} since {workflow.now():%Y-%m-%d %H:%M:%S} UTC; "
            f"why: temporal-runs status {request.attempt.run_id}",
        )

    async def prepare(self, assignment: Assignment) -> Prepared:
        return await self._ask_executor("prepare", assignment, assignment, Prepared, PATIENT)

    async def build(self, assignment: Assignment) -> Image:
        return await self._ask_executor("build", assignment, assignment, Image, PATIENT)

    async def pull(self, assignment: Assignment) -> Image:
        return await self._ask_executor("pull", assignment, assignment, Image, PATIENT)

    async def run(self, order: Order) -> Exit:
        return await self._ask_executor("run", order, order.assignment, Exit, UNTIL_THE_END)

    async def end(self, assignment: Assignment) -> Exit | None:
        """Ends the command after its `run` activity is gone; None: it never began."""
        return await self._ask_executor("end", assignment, assignment, Exit | None, UNTIL_THE_END, stoppable=False)

    async def finish(self, completion: Completion) -> Finished:
        return await self._ask_executor("finish", completion, completion.assignment, Finished, PATIENT, stoppable=False)

    async def release(self, assignment: Assignment) -> None:
        """Frees what the attempt holds, where its executor answers at once; else its janitor does."""
        try:
            await self._ask(
                "release",
                assignment,
                type(None),
                stoppable=False,
                task_queue=assignment.lease.task_queue,
                start_to_close_timeout=SOON,
                schedule_to_close_timeout=SOON,
                heartbeat_timeout=HEARTBEAT,
            )
        except (Fault, ExecutorLost) as left:
            workflow.logger.warning("left to the janitor of %s: %s", assignment.lease.executor, left)

    async def record(self, result: RunResult) -> None:
        """Keeps the final status beyond Temporal's retention; a Run's outcome never depends on it."""
        self._life.publish()
        try:
            await workflow.execute_local_activity(
                "record",
                result,
                start_to_close_timeout=timedelta(seconds=10),
                # Seconds: a local activity's backoff would keep the outcome from being told for a minute and more.
                retry_policy=RetryPolicy(maximum_attempts=3),
            )
        except FailureError as error:
            # A local activity's own failure comes as it is, not in an ActivityError.
            workflow.logger.warning("the final status was not stored: %s", error)

    async def _ask_executor(
        self,
        name: str,
        argument: Any,
        assignment: Assignment,
        result_type: Any,
        retry_policy: RetryPolicy,
        *,
        stoppable: bool = True,
    ) -> Any:
        lease = assignment.lease
        options = _Options(
            task_queue=lease.task_queue,
            # Half the lease, asked twice: a server that was down itself lets its timers run out as it comes back,
            # before any executor can have asked it for work.
            schedule_to_start_timeout=timedelta(seconds=lease.seconds / 2),
            start_to_close_timeout=A_LONG_TIME,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=retry_policy,
        )
        try:
            return await self._ask(name, argument, result_type, stoppable=stoppable, **options)
        except ExecutorLost as silent:
            began = silent.began
        try:
            return await self._ask(name, argument, result_type, stoppable=stoppable, **options)
        except ExecutorLost as lost:
            raise ExecutorLost(began or lost.began, lost.message) from None

    async def _ask(
        self,
        name: str,
        argument: Any,
        result_type: type[Result],
        *,
        stoppable: bool = True,
        **options: Unpack[_Options],
    ) -> Result:
        if stoppable and self._life.stop:
            raise StopReceived
        self._life.publish()
        activity = workflow.start_activity(
            name,
            argument,
            activity_id=self._life.attempt.activity_id(name),
            result_type=result_type,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            **options,
        )
        self._stoppable = activity if stoppable else None
        try:
            return await activity
        except ActivityError as error:
            if stoppable and self._life.stop:
                raise StopReceived from None
            raise self._meaning(error) from None
        finally:
            self._stoppable = None

    def _meaning(self, error: ActivityError) -> Fault | ExecutorLost:
        stage = self._life.state
        match error.cause:
            case TimeoutError() if error.activity_type == "acknowledge":
                return Fault(cause("queue_limit", stage, "no machine of its tier came free within its queue_limit"))
            case TimeoutError(type=TimeoutType.SCHEDULE_TO_START) as timeout:
                taken_before = timeout.cause is not None or bool(timeout.last_heartbeat_details)
                return ExecutorLost(began=taken_before)
            case TimeoutError():
                return ExecutorLost(began=True)
            case ApplicationError(type="executor_lost") as lost:
                return ExecutorLost(began=True, message=lost.message)
            case ApplicationError() as failure:
                evidence: dict[str, Any] = failure.details[0] if failure.details else {}
                return Fault(cause(failure.type or "internal", stage, failure.message, evidence))
            case unknown:
                return Fault(cause("internal", stage, f"{error.activity_type}: {unknown}"))
