"""The workflow `Build`: one build of an environment's image, however many Runs in the fleet need it.

Runs join by signal, and are answered by signal. The build runs on the executor of one of them; where that one is lost,
on another's. It ends when nobody waits for it any more.
"""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, CancelledError, FailureError

from temporal_runs.status import State
from temporal_runs.steps import Assignment, Attempt, BuildFault, BuildPlan, Built, Image
from temporal_runs.workflows.executors import PATIENT, ExecutorLost, Fault, asked_twice, meaning, patience

OF_ONE_MACHINE = ("docker_unavailable", "host_disk_full", "host_out_of_memory")
"""What fails those who wait on the machine that builds, and is no reason not to build on another."""


class NobodyWaits(Exception):
    """The last Run that waited for the build has left it."""


@workflow.defn(name="Build")
class Build:
    """One build."""

    def __init__(self) -> None:
        self.waiting: dict[str, Assignment] = {}
        self.building: workflow.ActivityHandle[Image] | None = None

    @workflow.run
    async def run(self, plan: BuildPlan) -> None:
        """Builds on the executor of a Run that waits, brings the image into the registry, and answers all who wait."""
        while self.waiting:
            builder = next(iter(self.waiting.values()))
            try:
                image = await asked_twice(lambda builder=builder: self.build(builder, plan))
                await self.answer(Built(image=image), on=builder.lease.executor)
                if plan.shared and await self.push(builder, plan):
                    await self.answer(Built(reference=plan.reference))
            except NobodyWaits:
                continue  # unless somebody came as it ended
            except ExecutorLost as lost:
                await self.answer(Built(lost=lost.message), on=builder.lease.executor)
            except Fault as fault:
                cause = fault.cause
                await self.answer(
                    Built(fault=BuildFault(code=cause.code, message=cause.message, evidence=cause.evidence)),
                    on=builder.lease.executor if cause.code in OF_ONE_MACHINE else None,
                )

    async def build(self, builder: Assignment, plan: BuildPlan) -> Image:
        self.building = workflow.start_activity(
            "build",
            args=[builder, plan],
            result_type=Image,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            **patience(builder.lease, PATIENT),
        )
        try:
            return await self.building
        except ActivityError as error:
            if not self.waiting or isinstance(error.cause, CancelledError):
                raise NobodyWaits from None
            raise meaning(error, State.BUILDING) from None
        finally:
            self.building = None

    async def push(self, builder: Assignment, plan: BuildPlan) -> bool:
        """False where the registry does not take it: then each executor builds its own."""

        async def ask() -> None:
            try:
                await workflow.execute_activity("push", args=[builder, plan], **patience(builder.lease, PATIENT))
            except ActivityError as error:
                raise meaning(error, State.BUILDING) from None

        try:
            await asked_twice(ask)
            return True
        except (Fault, ExecutorLost) as failed:
            workflow.logger.warning("%s is not in the registry: %s", plan.reference, failed)
            return False

    async def answer(self, built: Built, on: str | None = None) -> None:
        """Tells those who wait, on one executor or on all; they wait no more."""
        told = [one.attempt for one in self.waiting.values() if on in (None, one.lease.executor)]
        for attempt in told:
            del self.waiting[attempt.key]
        await asyncio.gather(*(self.tell(attempt, built) for attempt in told))

    async def tell(self, attempt: Attempt, built: Built) -> None:
        run = workflow.get_external_workflow_handle(attempt.run_id, run_id=attempt.execution_id)
        try:
            await run.signal("built", built.model_copy(update={"attempt": attempt.number}))
        except FailureError as gone:
            workflow.logger.info("nobody to tell: %s", gone)

    @workflow.signal
    def join(self, waiter: Assignment) -> None:
        """A Run waits from now on."""
        self.waiting[waiter.attempt.key] = waiter

    @workflow.signal
    def leave(self, attempt: Attempt) -> None:
        """A Run waits no more. The last one ends the build, but no push: that is of use to later Runs."""
        self.waiting.pop(attempt.key, None)
        if not self.waiting and self.building:
            self.building.cancel()

    @workflow.query
    def who_waits(self) -> list[Attempt]:
        """Those that have neither been answered nor left."""
        return [waiter.attempt for waiter in self.waiting.values()]
