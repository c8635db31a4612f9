"""How a Run asks for its phases: which queue, which patience, and what it means when one does not succeed.

The one rule guarded here: whatever goes wrong comes out as one of three exceptions, `StopReceived`, `Fault` or
`ExecutorLost`, so that the workflow can be read as a life and not as error handling.
"""

import asyncio
from datetime import timedelta
from typing import Any, TypeVar, Unpack

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, FailureError

from temporal_runs.status import RunResult
from temporal_runs.steps import (
    Assignment,
    BuildPlan,
    BuildTicket,
    Built,
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
from temporal_runs.workflows.causes import CAUSES, cause
from temporal_runs.workflows.executors import (
    HEARTBEAT,
    PATIENT,
    ExecutorLost,
    Fault,
    Options,
    asked_twice,
    meaning,
    patience,
)
from temporal_runs.workflows.life import Life

Result = TypeVar("Result")

SOON = timedelta(seconds=30)
"""for what takes milliseconds when all is well"""

SUMMARY = 200
"""Characters that Temporal keeps of an activity's summary."""

JOIN_AGAIN = timedelta(minutes=2)
"""After which a Run that waits for a build sees to it that there is one: somebody may have terminated it."""

UNTIL_THE_END = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(seconds=10),
    non_retryable_error_types=list(CAUSES),
)
"""For the command: its executor may restart any number of times while it runs, and what that counts as attempts must
not end the Run. A fault is final: the executor itself has tried again."""


class StopReceived(Exception):
    """The phase was ended by a stop, or did not begin because of one."""


class Phases:
    """The activities of one Run."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._stoppable: asyncio.Task[Any] | None = None
        self._built: dict[int, Built] = {}

    def stop(self) -> None:
        """Cancels the phase that is under way, if it can be stopped."""
        if self._stoppable:
            self._stoppable.cancel()

    async def queue(self, submission: Submission) -> Inputs:
        return await self._ask(
            "queue",
            submission,
            Inputs,
            summary="checks the spec, and pins what it names",
            start_to_close_timeout=SOON,
            retry_policy=PATIENT,
        )

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
            schedule_to_close_timeout=self._patience(spec.queue_limit) if spec.queue_limit else None,
            priority=Priority(priority_key=spec.priority, fairness_key=spec.owner[:64]),
            # What the Web UI shows of a Run that waits; it costs no event.
            summary=f"waits for tier {spec.tier} since {workflow.now():%Y-%m-%d %H:%M:%S} UTC; "
            f"why: temporal-runs status {request.attempt.run_id}",
        )

    def _patience(self, queue_limit: float) -> timedelta:
        """What is left of it, after the wait for a place of its project; a second at least, to look for room."""
        waited = (workflow.now() - self._life.history[-1].at).total_seconds()
        return timedelta(seconds=min(queue_limit, max(queue_limit - waited, 1)))

    async def prepare(self, assignment: Assignment) -> Prepared:
        inputs = assignment.inputs
        summary = f"brings the files of {inputs.spec.project} at {inputs.commit[:12]}"
        return await self._ask_executor("prepare", assignment, assignment, Prepared, PATIENT, summary=summary)

    async def build(self, assignment: Assignment) -> Image:
        """Builds for this Run alone: what Runs did before builds were shared, and their histories tell."""
        return await self._ask_executor("build", assignment, assignment, Image, PATIENT, summary="builds the image")

    async def share_build(self, plan: BuildPlan, assignment: Assignment) -> Built:
        """Waits for the one build of an environment, which all Runs that need it share; raises what it ended with."""
        self._life.build = plan.workflow_id
        try:
            while (built := self._built.get(assignment.attempt.number)) is None:
                ticket = BuildTicket(plan=plan, assignment=assignment)
                # What joined before builds had a console gave nothing.
                self._life.build_console = await self._ask(
                    "join_build",
                    ticket,
                    str | None,
                    summary=f"joins {plan.workflow_id}",
                    start_to_close_timeout=SOON,
                    retry_policy=PATIENT,
                )
                await self._answered(assignment.attempt.number)
        except StopReceived:
            await self._leave(plan, assignment)
            raise
        finally:
            self._life.build = None
        if built.fault:
            raise Fault(cause(built.fault.code, self._life.state, built.fault.message, built.fault.evidence))
        if built.lost:
            raise ExecutorLost(began=False, message=built.lost)
        return built

    def take(self, built: Built) -> None:
        """The answer of a build, for the attempt that waits for it."""
        self._built[built.attempt] = built

    async def pull(self, assignment: Assignment, reference: str | None) -> Image:
        """Fetches the Run's image: the one of a reference, where what it means is known already."""
        summary = f"fetches {reference or assignment.inputs.runs_in.starts_from}"
        return await self._ask_executor("pull", (assignment, reference), assignment, Image, PATIENT, summary=summary)

    async def run(self, order: Order) -> Exit:
        summary = order.assignment.inputs.spec.summary
        return await self._ask_executor("run", order, order.assignment, Exit, UNTIL_THE_END, summary=summary)

    async def end(self, assignment: Assignment) -> Exit | None:
        """Ends the command after its `run` activity is gone; None: it never began."""
        return await self._ask_executor(
            "end", assignment, assignment, Exit | None, UNTIL_THE_END, summary="ends the command", stoppable=False
        )

    async def finish(self, completion: Completion) -> Finished:
        assignment = completion.assignment
        summary = "makes changed files a version of the project" if completion.commit_results else "discards results"
        return await self._ask_executor(
            "finish", completion, assignment, Finished, PATIENT, summary=summary, stoppable=False
        )

    async def release(self, assignment: Assignment) -> None:
        """Frees what the attempt holds, where its executor answers at once; else its janitor does."""
        try:
            await self._ask(
                "release",
                assignment,
                type(None),
                summary="frees its place",
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

    async def _answered(self, attempt: int) -> None:
        """Waits for a build's answer, for a while."""
        if self._life.stop:
            raise StopReceived
        waiting = asyncio.ensure_future(workflow.wait_condition(lambda: attempt in self._built, timeout=JOIN_AGAIN))
        self._stoppable = waiting
        try:
            await waiting
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            raise StopReceived from None
        finally:
            self._stoppable = None

    async def _leave(self, plan: BuildPlan, assignment: Assignment) -> None:
        build = workflow.get_external_workflow_handle(plan.workflow_id)
        try:
            await build.signal("leave", assignment.attempt)
        except FailureError as gone:
            workflow.logger.info("no build to leave: %s", gone)

    async def _ask_executor(
        self,
        name: str,
        argument: Any,
        assignment: Assignment,
        result_type: Any,
        retry_policy: RetryPolicy,
        *,
        summary: str,
        stoppable: bool = True,
    ) -> Any:
        options = patience(assignment.lease, retry_policy)
        return await asked_twice(
            lambda: self._ask(name, argument, result_type, summary=summary, stoppable=stoppable, **options)
        )

    async def _ask(
        self,
        name: str,
        argument: Any,
        result_type: type[Result],
        *,
        summary: str,
        stoppable: bool = True,
        **options: Unpack[Options],
    ) -> Result:
        if stoppable and self._life.stop:
            raise StopReceived
        self._life.publish()
        activity = workflow.start_activity(
            name,
            args=argument if isinstance(argument, tuple) else [argument],
            activity_id=self._life.attempt.activity_id(name),
            result_type=result_type,
            summary=summary[:SUMMARY],
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            **options,
        )
        self._stoppable = activity if stoppable else None
        try:
            return await activity
        except ActivityError as error:
            if stoppable and self._life.stop:
                raise StopReceived from None
            raise meaning(error, self._life.state) from None
        finally:
            self._stoppable = None
