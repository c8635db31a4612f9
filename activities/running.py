"""Running: the command executes in its container, exactly once an attempt.

The ledger's mark `begun` is on disk before the container is started, and the container is named after the lease:
a restarted executor finds it, takes its console up where it stood, and waits on. Where the mark stands and no
container does, the command is never started again.
"""

import asyncio
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog
from temporalio import activity

from temporal_runs.activities.attending import Attendance, Attendants
from temporal_runs.activities.capture import Capture
from temporal_runs.activities.command import Command, engine_answers
from temporal_runs.activities.containers import container_for, read_secrets
from temporal_runs.activities.faults import fault
from temporal_runs.activities.leases import Fence, Holding, Leases
from temporal_runs.activities.meter import DiskFull, Meter
from temporal_runs.engine import ContainerMissing, Engine, EngineError
from temporal_runs.spec import RunSpec
from temporal_runs.steps import Assignment, Exit, Order
from temporal_runs.store import Store, StoreError
from temporal_runs.workspaces import Workspaces

log = structlog.get_logger()

WATCH_SECONDS = 1
"""Between two looks at a running command: usage and last lines go into the heartbeat."""


class Running:
    def __init__(
        self,
        store: Store,
        engine: Engine,
        leases: Leases,
        fence: Fence,
        workspaces: Workspaces,
        attendants: Attendants,
        secrets_folder: Path,
        labels: dict[str, str],
        console_cap: int,
    ) -> None:
        self._store = store
        self._engine = engine
        self._leases = leases
        self._fence = fence
        self._workspaces = workspaces
        self._attendants = attendants
        self._secrets_folder = secrets_folder
        self._labels = labels
        self._console_cap = console_cap

    @activity.defn(name="run")
    async def run(self, order: Order) -> Exit:
        """Starts the command, or finds it started; returns when it has ended, by itself, its time limit or a stop."""
        async with self._attendants.attend(order.assignment) as attendance:
            return await attendance.persistently(partial(self._run, order, attendance))

    @activity.defn(name="end")
    async def end(self, assignment: Assignment) -> Exit | None:
        """Ends a command whose `run` activity is gone; None where it never began."""
        async with self._attendants.attend(assignment) as attendance:
            if not attendance.holding.begun:
                return None
            return await attendance.persistently(partial(self._end, assignment, attendance))

    async def _run(self, order: Order, attendance: Attendance) -> Exit:
        attendance.holding = self._leases.confirm(order.assignment)  # an earlier try may have begun
        self._require_lease(order.assignment, attendance.holding)
        await engine_answers(self._engine)
        await attendance.in_thread(self._begin, order, attendance)
        return await self._until_it_ends(order.assignment, attendance)

    async def _end(self, assignment: Assignment, attendance: Attendance) -> Exit | None:
        holding = self._leases.confirm(assignment)
        await engine_answers(self._engine)
        if await attendance.in_thread(self._was_kept_from_starting, holding):
            return None
        capture, meter = await self._observe(holding)
        async with Command(self._engine, self._leases, holding) as command:
            await command.end("stop", assignment.inputs.spec.stop_grace)
            return await self._exit(command, capture, meter)

    def _begin(self, order: Order, attendance: Attendance) -> None:
        holding = attendance.holding
        if holding.begun and not self._was_never_started(holding.container):
            return
        self._workspaces.require_whole(holding.request.attempt.key)
        if not holding.begun:
            secrets = read_secrets(order.assignment.inputs.spec.secrets, self._secrets_folder)
            self._engine.create(container_for(order, holding, secrets, self._labels))
            attendance.report()  # what was stopped meanwhile does not begin
            holding = self._leases.update(holding.token, begun=True)
        if holding.is_fenced:
            self._fence.guard(holding)
        self._engine.start(holding.container)

    def _require_lease(self, assignment: Assignment, holding: Holding) -> None:
        if self._fence.has_fallen(holding):
            seconds = assignment.lease.seconds
            message = f"was cut off from Temporal for {seconds:g} seconds, and the command was ended with its lease"
            raise fault("executor_lost", message, final=True)

    def _was_never_started(self, container: str) -> bool:
        """True where an executor died between its mark and the start: nothing has executed yet."""
        state = self._engine.state(container)
        return state is not None and state.status == "created"

    def _was_kept_from_starting(self, holding: Holding) -> bool:
        """Takes away a container that was to be started, and has not been: nobody starts it any more."""
        if not self._was_never_started(holding.container):
            return False
        self._engine.remove(holding.container)
        self._leases.update(holding.token, commit_results=False)  # there are none
        return True

    async def _until_it_ends(self, assignment: Assignment, attendance: Attendance) -> Exit:
        capture, meter = await self._observe(attendance.holding)
        async with Command(self._engine, self._leases, attendance.holding) as command:
            async with capture:
                watching = asyncio.create_task(_watch(attendance, capture, meter))
                try:
                    await self._end_of(command, assignment.inputs.spec)
                finally:
                    watching.cancel()
            self._require_lease(assignment, attendance.holding)
            return await self._exit(command, capture, meter)

    async def _observe(self, holding: Holding) -> tuple[Capture, Meter]:
        secrets = await asyncio.to_thread(self._secrets_given, holding)
        return (
            Capture(self._engine, self._store, holding, secrets, self._console_cap),
            Meter(self._engine, self._store, holding, partial(self._disk_full, holding)),
        )

    def _secrets_given(self, holding: Holding) -> list[str] | None:
        """What a container really got: the executor's secrets may have been changed or removed since. None where it
        is gone."""
        assert holding.assignment
        names = holding.assignment.inputs.spec.secrets
        if not names:
            return []
        try:
            given = self._engine.environment(holding.container)
        except ContainerMissing:
            return None
        return [given[name] for name in names if name in given]

    async def _end_of(self, command: Command, spec: RunSpec) -> None:
        """Waits for the command's end, and brings it about when its time is over or a stop is received."""
        try:
            async with asyncio.timeout(await self._seconds_left(command.container, spec.time_limit)):
                await command.ended()
        except TimeoutError:
            await command.end("time_limit", spec.stop_grace)
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            if not (details and details.cancel_requested):
                # A worker that shuts down, a newer attempt, a pause, a Run that is over: the container is not ours to
                # end here. The next attempt adopts it, or the janitor ends it.
                raise
            await command.end("stop", spec.stop_grace)

    async def _seconds_left(self, container: str, time_limit: float | None) -> float | None:
        if time_limit is None:
            return None
        state = await asyncio.to_thread(self._engine.state, container)
        now = datetime.now(UTC)
        started_at = (state and state.started_at) or now
        return time_limit - (now - started_at).total_seconds()

    def _disk_full(self, holding: Holding) -> DiskFull | None:
        assert holding.assignment
        if not self._workspaces.is_full(holding.request.attempt.key):
            return None
        return "limit" if holding.assignment.inputs.tier.disk else "machine"

    async def _exit(self, command: Command, capture: Capture, meter: Meter) -> Exit:
        state = await command.ended()
        await meter.read_disk()
        await meter.store()
        console_bytes = None
        if state:
            try:
                console_bytes = await capture.finish()
            except (StoreError, EngineError) as error:
                log.warning("console is stored when the Run finishes", container=command.container, error=str(error))
        exit = Exit(
            exit_code=state and state.exit_code,
            ended_by=command.ended_by,
            begun_at=state and state.started_at,
            ended_at=state and state.finished_at,
            console_bytes=console_bytes,
            last_lines=capture.last_lines,
            usage=meter.usage,
            disk_full=meter.disk_full,
        )
        if state is None or exit.ended_by != "itself":
            return exit
        return exit.model_copy(update=await asyncio.to_thread(command.evidence, state))


async def _watch(attendance: Attendance, capture: Capture, meter: Meter) -> None:
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        await meter.read()
        attendance.report(last_lines=capture.last_lines, **meter.now)
