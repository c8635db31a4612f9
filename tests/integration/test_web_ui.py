"""What people do to a Run in Temporal's Web UI, through the same calls: nothing of it executes a command twice."""

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import (
    PauseActivityRequest,
    PauseWorkflowExecutionRequest,
    ResetActivityRequest,
    ResetWorkflowExecutionRequest,
    UnpauseActivityRequest,
    UnpauseWorkflowExecutionRequest,
)
from temporalio.client import WorkflowExecutionStatus

from temporal_runs.asking import described
from temporal_runs.client import RunError, RunHandle, RunPaused, RunStopped
from temporal_runs.status import State
from temporal_runs.worker.ledger import recorded
from tests.conftest import System, eventually

CONSOLE = b"begun\ndone\n"


class Desk:
    """Somebody at the Web UI, looking at one Run."""

    def __init__(self, system: System, handle: RunHandle) -> None:
        self._service = system.client.workflow_service
        self._client = system.client
        self._namespace = system.client.namespace
        self._handle = handle

    @property
    def _execution(self) -> WorkflowExecution:
        return WorkflowExecution(workflow_id=self._handle.id)

    async def pause_activity(self, kind: str) -> None:
        await self._service.pause_activity(
            PauseActivityRequest(namespace=self._namespace, execution=self._execution, type=kind)
        )

    async def unpause_activity(self, kind: str) -> None:
        await self._service.unpause_activity(
            UnpauseActivityRequest(namespace=self._namespace, execution=self._execution, type=kind)
        )

    async def reset_activity(self, kind: str) -> None:
        await self._service.reset_activity(
            ResetActivityRequest(namespace=self._namespace, execution=self._execution, type=kind)
        )

    async def pause(self) -> None:
        await self._service.pause_workflow_execution(
            PauseWorkflowExecutionRequest(namespace=self._namespace, workflow_id=self._handle.id, reason="to look")
        )

    async def unpause(self) -> None:
        await self._service.unpause_workflow_execution(
            UnpauseWorkflowExecutionRequest(namespace=self._namespace, workflow_id=self._handle.id, reason="seen")
        )

    async def reset(self, *, to: str) -> str:
        """To the "first" or "last" workflow task; gives the new execution."""
        tasks: list[int] = []
        async for event in self._client.get_workflow_handle(self._handle.id).fetch_history_events():
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                tasks.append(event.event_id)
        answer = await self._service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=self._namespace,
                workflow_execution=self._execution,
                reason="once more",
                workflow_task_finish_event_id=tasks[0 if to == "first" else -1],
                request_id=f"{self._handle.id}-{to}",
            )
        )
        return answer.run_id

    async def attempts(self, kind: str) -> int:
        """How often the pending activity was tried; 0 where none is."""
        description = await described(self._client, self._handle.id)
        return max((one.attempt for one in description.pending_activities if one.activity_type.name == kind), default=0)

    async def is_paused(self, kind: str) -> bool:
        description = await described(self._client, self._handle.id)
        return any(one.paused for one in description.pending_activities if one.activity_type.name == kind)

    async def is_at_work(self, kind: str) -> bool:
        """True where an executor has taken it and not let go."""
        description = await described(self._client, self._handle.id)
        return any(
            one.state == 2 and one.last_worker_identity  # STARTED
            for one in description.pending_activities
            if one.activity_type.name == kind
        )


def holds(system: System, handle: RunHandle) -> bool:
    """True while the executor has anything of a Run."""
    folder = system.settings.home / "executors" / system.executor_id
    return any(one.request.attempt.run_id == handle.id and not one.finished for one in recorded(folder))


async def begun(system: System, project: str, **more) -> RunHandle:
    return await system.begun("echo started >> starts; echo done", project=project, **more)


async def require_executed_once(system: System, handle: RunHandle, project: str) -> None:
    result = await handle.result()
    assert result.state is State.SUCCEEDED
    assert result.attempt == 1
    assert system.files(project)["starts"] == b"started\n"
    assert await system.console(handle) == CONSOLE


async def test_a_paused_command_goes_on_and_its_run_when_it_is_unpaused(system: System):
    project = system.project()
    handle = await begun(system, project)
    desk = Desk(system, handle)
    await desk.pause_activity("run")
    await eventually(lambda: desk.is_paused("run"))
    system.let_go(handle)
    await desk.unpause_activity("run")
    await require_executed_once(system, handle, project)


async def test_a_command_that_ends_while_it_is_paused_is_told_when_it_is_unpaused(system: System):
    project = system.project()
    handle = await begun(system, project)
    desk = Desk(system, handle)
    await desk.pause_activity("run")

    async def is_let_go() -> bool:
        return await desk.is_paused("run") and not await desk.is_at_work("run")

    await eventually(is_let_go)
    system.let_go(handle)
    assert (await handle.status()).state is State.RUNNING
    await desk.unpause_activity("run")
    await require_executed_once(system, handle, project)


async def test_a_run_whose_acknowledge_is_paused_waits(system: System):
    project = system.project()
    handle = await system.start("echo started >> starts", project=project, tier="huge")
    desk = Desk(system, handle)
    await eventually(lambda: desk.attempts("acknowledge"))
    await desk.pause_activity("acknowledge")
    assert (await handle.status()).state is State.QUEUED
    await desk.unpause_activity("acknowledge")
    await handle.stop()
    with pytest.raises(RunStopped):
        await handle.result()


async def test_a_reset_activity_adopts_its_command(system: System):
    project = system.project()
    handle = await begun(system, project)
    desk = Desk(system, handle)
    await desk.reset_activity("run")
    await eventually(lambda: desk.is_at_work("run"))
    system.let_go(handle)
    await require_executed_once(system, handle, project)


async def test_a_paused_workflow_goes_on_when_it_is_unpaused_and_its_command_meanwhile(system: System):
    project = system.project()
    handle = await begun(system, project)
    desk = Desk(system, handle)
    await desk.pause()
    system.let_go(handle)
    await eventually(lambda: not system_containers(handle))
    with pytest.raises(RunPaused, match="unpause it"):
        await handle.status()
    await desk.unpause()
    await require_executed_once(system, handle, project)


async def test_a_cancel_while_queued_is_a_stop(system: System):
    handle = await system.start("true", tier="huge")
    workflow = system.client.get_workflow_handle(handle.id)
    await workflow.cancel()
    with pytest.raises(RunStopped):
        await handle.result()
    assert (await workflow.describe()).status is WorkflowExecutionStatus.CANCELED


async def test_a_cancel_while_its_results_come_back_is_too_late(system: System):
    project = system.project()
    handle = await begun(system, project)
    workflow = system.client.get_workflow_handle(handle.id)
    with system.store_away():
        system.let_go(handle)
        await eventually(lambda: _is(handle, State.FINISHING))
        await workflow.cancel()
    await require_executed_once(system, handle, project)
    assert (await workflow.describe()).status is WorkflowExecutionStatus.COMPLETED


@pytest.mark.parametrize("task", ["first", "last"])
async def test_a_reset_of_a_running_run_ends_its_command_and_executes_it_anew(system: System, task: str):
    project = system.project()
    handle = await begun(system, project)
    (before,) = system_containers(handle)
    desk = Desk(system, handle)
    await desk.reset(to=task)
    # The old one goes with all that it had written, and the new one comes with files of its own.
    running = await eventually(lambda: [one for one in system_containers(handle) if one.name != before.name])
    await eventually(lambda: len(system_containers(handle)) == 1)
    assert len(running) == 1
    system.let_go(handle)
    result = await handle.result()
    assert result.state is State.SUCCEEDED
    assert system.files(project)["starts"] == b"started\n"
    assert (await system.console(handle)).endswith(CONSOLE)


async def test_a_terminated_run_is_freed_whatever_it_does(system: System):
    waiting = await system.start("true", tier="huge")
    project = system.project()
    running = await begun(system, project)
    finishing = await begun(system, system.project())
    with system.store_away():
        system.let_go(finishing)
        await eventually(lambda: _is(finishing, State.FINISHING))
        for handle in (waiting, running, finishing):
            await system.client.get_workflow_handle(handle.id).terminate("by hand")
    for handle in (waiting, running, finishing):
        with pytest.raises(RunError) as error:
            await handle.result()
        assert error.value.result.cause.code == "terminated"
        await eventually(lambda handle=handle: not holds(system, handle))
    assert await eventually(lambda: system.store.head(project, f"recovered/{running.id}/1"))


async def _is(handle: RunHandle, state: State) -> bool:
    return (await handle.status()).state is state


def system_containers(handle: RunHandle) -> list:
    import docker

    return docker.from_env().containers.list(filters={"name": f"run-{handle.id}"}, ignore_removed=True)
