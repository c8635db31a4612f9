"""The workflow `Run`: the life of one Run, from top to bottom (design, section 2).

What a phase does is in `activities/`, how it is asked for in `phases`, what is known of the Run in `life`,
whose fault an ending is in `causes`, which state may follow which in `states`.
"""

import asyncio
from datetime import timedelta
from typing import Any, cast

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from temporal_runs import words
from temporal_runs.spec import InvalidSpec, RunSpec, check_id
from temporal_runs.status import Cause, RunResult, RunStatus, State, Stop
from temporal_runs.steps import (
    Assignment,
    BuildPlan,
    Built,
    Completion,
    Exit,
    Image,
    ImageSearch,
    Inputs,
    Order,
    Prepared,
    Request,
    Submission,
    Ticket,
    Workspace,
)
from temporal_runs.workflows.causes import cause, judge
from temporal_runs.workflows.executors import ExecutorLost, Fault
from temporal_runs.workflows.life import Life
from temporal_runs.workflows.phases import Phases, StopReceived
from temporal_runs.workflows.states import ending

JOIN_AGAIN, JOIN_AGAIN_AT_LEAST = timedelta(minutes=2), timedelta(hours=1)
"""After which a Run that waits for a place of its project sees to it that somebody gives them: at first, in the end."""


@workflow.defn(name="Run")
class Run:
    """One execution of a user's command."""

    def __init__(self) -> None:
        self.life = Life()
        self.phases = Phases(self.life)
        self.assignment: Assignment | None = None
        self.can_be_stopped = True
        self.restarts = 0
        self.ticket: Ticket | None = None
        self.is_admitted = False

    @workflow.run
    async def run(self, *inputs: Any) -> RunResult:
        """Runs the command of a RunSpec, its one input.

        Taken as whatever it is: one that does not fit a typed argument, or one too many, would fail the workflow task
        for ever, and a bad spec must end the Run instead.
        """
        living = asyncio.create_task(self.live(inputs[0] if len(inputs) == 1 else list(inputs) or None))
        try:
            await asyncio.shield(living)
        except asyncio.CancelledError:
            self.request_stop(Stop(at=workflow.now(), reason="cancelled"))
            await living
            if self.life.state is State.STOPPED:
                raise
        return self.outcome()

    async def live(self, spec: Any) -> None:
        try:
            inputs = await self.queue(spec)
            await self.wait_for_its_turn(inputs)
            while True:
                assignment = await self.acknowledge(inputs)
                try:
                    prepared = await self.prepare(assignment)
                    image = await self.provide_image(assignment, prepared.image)
                    exit = await self.execute(assignment, prepared.workspace, image)
                    self.end(await self.finish(assignment, exit))
                    break
                except ExecutorLost as lost:
                    self.queue_again_or_raise(lost)
        except StopReceived:
            self.life.enter(State.STOPPING, "frees its place")
            await self.release()
            self.life.enter(State.STOPPED)
        except Fault as fault:
            self.can_be_stopped = False
            await self.release()
            self.end(fault.cause)
        if self.ticket:
            await self.phases.leave(self.ticket)
        await self.phases.record(self.life.result())

    async def queue(self, given: Any) -> Inputs:
        """Queued, until it is known exactly what is to be run."""
        if self.life.stop:
            raise StopReceived
        try:
            check_id(self.life.attempt.run_id)
            spec = RunSpec.parse(self.life.take_spec(given))
        except InvalidSpec as invalid:
            raise Fault(cause("invalid_spec", State.QUEUED, str(invalid), {"field": invalid.field})) from None
        self.life.begin(spec)
        inputs = await self.phases.queue(Submission(run_id=self.life.attempt.run_id, spec=spec))
        self.life.pin(inputs)
        return inputs

    async def wait_for_its_turn(self, inputs: Inputs) -> None:
        """Still Queued: where its project lets only so many Runs on at once."""
        if inputs.max_running is None:
            return
        spec = inputs.spec
        self.life.reason = f"waits for one of the {inputs.max_running} places of project {spec.project} (max_running)"
        self.life.publish()
        self.ticket = Ticket(
            project=spec.project,
            run_id=self.life.attempt.run_id,
            priority=spec.priority,
            limit=inputs.max_running,
        )
        await self.phases.join(self.ticket)
        try:
            if workflow.patched("join the limit again"):
                await asyncio.wait_for(self.join_until_admitted(self.ticket), spec.queue_limit)
            else:
                await workflow.wait_condition(
                    lambda: self.is_admitted or bool(self.life.stop), timeout=spec.queue_limit
                )
        except TimeoutError:
            message = f"its project had {inputs.max_running} other Runs on their way for all of its queue_limit"
            raise Fault(cause("queue_limit", State.QUEUED, message)) from None
        if self.life.stop:
            raise StopReceived

    async def join_until_admitted(self, ticket: Ticket) -> None:
        """Joins again now and then: somebody may have terminated the workflow that gives the places."""
        patience = JOIN_AGAIN
        while True:
            try:
                return await workflow.wait_condition(lambda: self.is_admitted or bool(self.life.stop), timeout=patience)
            except TimeoutError:
                await self.phases.join(ticket)
                # A Run may wait for days: its history must not show each minute of them.
                patience = min(2 * patience, JOIN_AGAIN_AT_LEAST)

    async def acknowledge(self, inputs: Inputs) -> Assignment:
        """Queued → Scheduled: waits for a machine of its tier with room."""
        self.life.reason = f"waits for an executor of tier {inputs.spec.tier}"
        attempt = self.life.attempt
        lease = await self.phases.acknowledge(Request(attempt=attempt, tier=inputs.tier), inputs)
        self.assignment = Assignment(attempt=attempt, inputs=inputs, lease=lease)
        self.life.executor = lease.executor
        self.enter_unless_stopped(State.SCHEDULED, f"has a place on {lease.host}")
        return self.assignment

    async def prepare(self, assignment: Assignment) -> Prepared:
        """Preparing: the project's files are brought to the executor."""
        self.enter_unless_stopped(State.PREPARING, "files are brought to the executor")
        prepared = await self.phases.prepare(assignment)
        self.life.did(words.brought(prepared.workspace))
        return prepared

    async def provide_image(self, assignment: Assignment, search: ImageSearch) -> Image:
        """Building or Pulling, where the image is not on the machine."""
        if search.image:
            image = search.image
        elif search.missing == "build":
            image = await self.build(assignment, search.plan)
        else:
            image = await self.pull(assignment, search.reference)
        self.life.image = image.name
        return image

    async def build(self, assignment: Assignment, plan: BuildPlan | None) -> Image:
        """Building: one build for all Runs in the fleet that need it."""
        self.enter_unless_stopped(State.BUILDING, "the environment's image is built")
        if plan is None:
            return await self.phases.build(assignment)
        built = await self.phases.share_build(plan, assignment)
        return built.image or await self.pull(assignment, built.reference)

    async def pull(self, assignment: Assignment, reference: str | None) -> Image:
        self.enter_unless_stopped(State.PULLING, "the image is fetched from its registry")
        return await self.phases.pull(assignment, reference)

    async def execute(self, assignment: Assignment, workspace: Workspace, image: Image) -> Exit:
        """Running: the command executes, until it ends by itself, by its time limit or by a stop."""
        self.enter_unless_stopped(State.RUNNING, "the command executes")
        try:
            return await self.phases.run(Order(assignment=assignment, workspace=workspace, image=image))
        except StopReceived:
            # Its activity is gone, its container may not be: only the executor can tell.
            exit = await self.phases.end(assignment)
            if exit is None:
                raise
            return exit

    async def finish(self, assignment: Assignment, exit: Exit) -> Cause | None:
        """Finishing or Stopping: changed files are copied back. Gives the cause, None for success and stop."""
        self.can_be_stopped = False
        self.life.exit_code, self.life.usage = exit.exit_code, exit.usage
        self.life.did(words.ended(exit))
        verdict = judge(exit, assignment.inputs.spec.time_limit)
        commit_results = True
        if exit.ended_by == "stop" and self.life.stop:
            commit_results = self.life.stop.commit_results
            self.life.enter(State.STOPPING, "changed files are copied back")
        else:
            self.life.note_stop_came_too_late()
            self.life.enter(State.FINISHING, "changed files are copied back")
        try:
            finished = await self.phases.finish(Completion(assignment=assignment, commit_results=commit_results))
        except ExecutorLost as lost:
            return verdict or self.lost(assignment, lost)
        except Fault as fault:
            return verdict or fault.cause
        self.life.did(words.changes(finished.results))
        self.life.output_commit, self.life.results = finished.output_commit, finished.results
        self.life.metrics, self.life.metrics_note = finished.metrics, finished.metrics_note
        return verdict

    def queue_again_or_raise(self, lost: ExecutorLost) -> None:
        """Back to Queued with the same inputs, where the command has not begun or may be executed anew."""
        assert self.assignment
        assignment, self.assignment = self.assignment, None  # what it holds is its janitor's now
        spec = assignment.inputs.spec
        began = lost.began and self.life.state is State.RUNNING
        may_restart = spec.on_executor_lost == "restart" and self.restarts < spec.max_restarts
        if self.life.stop or (began and not may_restart):
            raise Fault(self.lost(assignment, lost))
        self.restarts += began
        self.life.begin_next_attempt()

    def lost(self, assignment: Assignment, lost: ExecutorLost) -> Cause:
        lease = assignment.lease
        message = f"executor {lease.executor} on {lease.host} {lost.message}"
        evidence = {"executor": lease.executor, "host": lease.host}
        if lost.last_lines:
            evidence["last_lines"] = lost.last_lines
        return cause("executor_lost", self.life.state, message, evidence)

    async def release(self) -> None:
        if self.assignment:
            await self.phases.release(self.assignment)

    def end(self, cause: Cause | None) -> None:
        """Enters the final state that the cause asks for."""
        final = ending(self.life.state, cause and cause.blame)
        if final is State.STOPPED:
            if self.life.state is State.STOP_REQUESTED:
                self.life.enter(State.STOPPING, "frees its place")
            self.life.enter(State.STOPPED, cause and cause.message)
        else:
            self.life.cause = cause
            self.life.enter(final)

    def outcome(self) -> RunResult:
        """What the workflow gives back; raises for Failed and Error, with the result as detail."""
        result = self.life.result()
        if result.cause:
            message = f"{result.cause.message}. {result.cause.advice}"
            raise ApplicationError(message, result, type=result.state.value, non_retryable=True)
        return result

    @workflow.signal
    def stop(self, *requests: Any) -> None:
        """Ends the Run: `{"commit_results": true, "reason": "..."}`; anything malformed is a plain stop."""
        wishes = cast(dict[str, Any], requests[0]) if requests and isinstance(requests[0], dict) else {}
        reason = wishes.get("reason")
        self.request_stop(
            Stop(
                at=workflow.now(),
                commit_results=wishes.get("commit_results") is not False,
                reason=reason if isinstance(reason, str) else None,
            )
        )

    @workflow.signal
    def admit(self) -> None:
        """The project has a place for it, and holds it until the Run ends."""
        self.is_admitted = True

    def request_stop(self, stop: Stop) -> None:
        if not self.can_be_stopped:
            self.life.stop = self.life.stop or stop.model_copy(update={"too_late": True})
        elif self.life.stop is None:
            self.life.stop = stop
            self.life.enter(State.STOP_REQUESTED, stop.reason or "somebody asked for it")
            self.life.publish()
            self.phases.stop()
        elif not stop.commit_results:
            self.life.stop = self.life.stop.model_copy(update={"commit_results": False})

    @workflow.signal
    def built(self, answer: Built) -> None:
        """What became of the build that this Run has joined."""
        self.phases.take(answer)

    @workflow.query
    def status(self) -> RunStatus:
        """What is known of the Run now."""
        return self.life.status()

    @workflow.query
    def lease(self) -> str | None:
        """The token of the lease that holds the Run's place now: a janitor frees every other."""
        return self.assignment.lease.token if self.assignment else None

    def enter_unless_stopped(self, state: State, reason: str) -> None:
        if self.life.stop:
            raise StopReceived
        self.life.enter(state, reason)
