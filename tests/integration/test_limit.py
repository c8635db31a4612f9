"""A project lets so many of its Runs on their way at once, and no more."""

from datetime import datetime, timedelta

import pytest

from temporal_runs.client import RunError, RunHandle, RunStopped
from temporal_runs.project import ProjectSettings
from temporal_runs.status import State
from temporal_runs.workflows import limit, run
from tests.conftest import System, eventually


@pytest.fixture
def project(system: System) -> str:
    """One that lets two of its Runs on their way."""
    ProjectSettings(max_running=2).save(system.store, name := system.project())
    return name


async def waits(handle: RunHandle) -> bool:
    status = await handle.status()
    return status.state is State.QUEUED and "(max_running)" in (status.reason or "")


async def from_to(handle: RunHandle) -> tuple[datetime, datetime]:
    """When a Run that has succeeded had its place on an executor."""
    history = (await handle.result()).history
    return next(change.at for change in history if change.state is State.SCHEDULED), history[-1].at


async def test_no_more_are_on_their_way_and_the_urgent_go_first(system: System, project: str):
    first, second = [await system.begun("true", project=project) for _ in range(2)]
    later = [await system.start("true", project=project) for _ in range(3)]
    urgent = await system.start("true", project=project, priority=1)
    stopped = await system.start("true", project=project)
    for handle in (*later, urgent, stopped):
        await eventually(lambda handle=handle: waits(handle))
    with pytest.raises(RunError, match="queue_limit"):
        await (await system.start("true", project=project, queue_limit=0.2)).result()
    await (await system.start("true")).result()  # other projects do not wait
    await stopped.stop()
    with pytest.raises(RunStopped):
        await stopped.result()
    for handle in (first, second):
        system.let_go(handle)
    spans = [await from_to(handle) for handle in (first, second, urgent, *later)]
    assert spans[2][0] == min(begun for begun, _ in spans[2:])
    for begun, _ in spans:
        assert sum(one <= begun < end for one, end in spans) <= 2
    await eventually(lambda: nobody_is_left(system, project))


async def test_a_wait_for_the_project_leaves_less_of_the_queue_limit_for_the_machine(system: System, project: str):
    first, second = [await system.begun("true", project=project) for _ in range(2)]
    later = await system.start("true", project=project, queue_limit=100)
    await eventually(lambda: waits(later))
    for handle in (first, second):
        system.let_go(handle)
    await later.result()
    history = await system.client.get_workflow_handle(later.id).fetch_history()
    [asked] = [
        event.activity_task_scheduled_event_attributes
        for event in history.events
        if event.activity_task_scheduled_event_attributes.activity_type.name == "acknowledge"
    ]
    assert asked.schedule_to_close_timeout.ToTimedelta() < timedelta(seconds=100)


async def test_the_place_of_a_run_that_was_terminated_is_given_to_another(
    system: System, project: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limit, "ASK_AFTER", timedelta(seconds=1))
    gone, there = [await system.begun("true", project=project) for _ in range(2)]
    await system.client.get_workflow_handle(gone.id).terminate()
    assert (await (await system.start("true", project=project)).result()).state is State.SUCCEEDED
    system.let_go(there)
    assert (await there.result()).state is State.SUCCEEDED
    await eventually(lambda: nobody_is_left(system, project))


async def test_those_who_wait_join_again_when_somebody_has_terminated_what_they_wait_for(
    system: System, project: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run, "JOIN_AGAIN", timedelta(seconds=1))
    there = [await system.begun("true", project=project) for _ in range(2)]
    waiting = await system.start("true", project=project)
    await eventually(lambda: waits(waiting))
    await system.client.get_workflow_handle(f"limit:{project}").terminate("by hand")
    assert (await waiting.result()).state is State.SUCCEEDED
    for handle in there:
        system.let_go(handle)
        assert (await handle.result()).state is State.SUCCEEDED
    await eventually(lambda: nobody_is_left(system, project))


async def nobody_is_left(system: System, project: str) -> bool:
    description = await system.client.get_workflow_handle(f"limit:{project}").describe()
    return description.status is not None and description.status.name == "COMPLETED"
