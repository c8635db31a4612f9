"""A Run is stopped, or its workflow is terminated, in every state that takes its time: what it held is freed."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest

from temporal_runs.client import RunError, RunHandle, RunStopped
from temporal_runs.status import State
from tests.conftest import System
from tests.held import Held, held_before


@dataclass(frozen=True)
class Moment:
    """A state of a Run, and the call before which it is held there."""

    state: State
    place: str


PREPARING = Moment(State.PREPARING, "temporal_runs.workspaces:Workspaces.make")
BUILDING = Moment(State.BUILDING, "temporal_runs.engine:Engine.build")
PULLING = Moment(State.PULLING, "temporal_runs.engine:Engine.pull")
NOT_BEGUN = Moment(State.RUNNING, "temporal_runs.engine:Engine.create")
FINISHING = Moment(State.FINISHING, "temporal_runs.store:Store.land")

BEFORE_THE_COMMAND = [PREPARING, BUILDING, PULLING, NOT_BEGUN]
NAMES = ["preparing", "building", "pulling", "before the command begins"]


@pytest.fixture
def start(
    system: System, registry: str, new_image: Callable[..., str]
) -> Callable[[Moment, str], AbstractAsyncContextManager[tuple[RunHandle, Held]]]:
    @asynccontextmanager
    async def start(moment: Moment, project: str) -> AsyncIterator[tuple[RunHandle, Held]]:
        """A Run that is held at a moment of its life."""
        environment = {
            BUILDING: {"base": system.image, "instructions": [f"ENV OF={project}"]},
            PULLING: {"image": new_image(registry, base=system.image) if moment is PULLING else ""},
        }.get(moment, {"image": system.image})
        async with held_before(moment.place) as held:
            handle = await system.start("echo begun; echo made > made.txt", project=project, environment=environment)
            await held.reached()
            async for status in handle.watch():
                if status.state is moment.state:
                    break
            yield handle, held

    return start


@pytest.mark.parametrize("moment", BEFORE_THE_COMMAND, ids=NAMES)
async def test_a_stop_before_the_command_begins_keeps_it_from_beginning(system: System, start, moment: Moment):
    project = system.project()
    async with start(moment, project) as (handle, held):
        await handle.stop()
        if moment is not NOT_BEGUN:
            held.go()
        with pytest.raises(RunStopped) as stop:
            await handle.result()
        held.go()  # too late
        await system.require_freed(handle)
    states = [change.state for change in stop.value.result.history]
    assert states[-4:] == [moment.state, State.STOP_REQUESTED, State.STOPPING, State.STOPPED]
    assert stop.value.result.output_commit is None
    assert await system.console(handle) == b""
    assert set(system.files(project)) == {"data.txt"}
    assert system.store.head(project, f"recovered/{handle.id}/1") is None


async def test_a_stop_while_results_come_back_is_too_late(system: System, start):
    project = system.project()
    async with start(FINISHING, project) as (handle, held):
        await handle.stop(commit_results=False)
        held.go()
        result = await handle.result()
        await system.require_freed(handle)
    assert result.state is State.SUCCEEDED
    assert result.stop.too_late
    assert system.files(project)["made.txt"] == b"made\n"


@pytest.mark.parametrize("moment", BEFORE_THE_COMMAND, ids=NAMES)
async def test_a_termination_before_the_command_begins_keeps_it_from_beginning(system: System, start, moment: Moment):
    project = system.project()
    async with start(moment, project) as (handle, held):
        await terminated(system, handle)
        if moment is not NOT_BEGUN:
            held.go()
        await system.require_freed(handle)
    assert await system.console(handle) == b""
    assert set(system.files(project)) == {"data.txt"}


async def test_a_termination_while_queued_leaves_nothing_to_free(system: System):
    handle = await system.start("true", tier="huge")
    async for status in handle.watch():
        assert status.state is State.QUEUED
        break
    await terminated(system, handle)
    await system.require_freed(handle)


async def test_a_termination_while_running_ends_the_command_and_keeps_what_it_wrote(system: System):
    project = system.project()
    handle = await system.start("echo made > made.txt; echo begun; while true; do sleep 0.05; done", project=project)
    async for _ in handle.logs(follow=True):
        break
    await terminated(system, handle)
    await system.require_freed(handle)
    saved = system.store.head(project, f"recovered/{handle.id}/1")
    assert saved
    assert system.files(project, saved)["made.txt"] == b"made\n"
    assert set(system.files(project)) == {"data.txt"}


async def test_a_termination_while_results_come_back_keeps_them(system: System, start):
    project = system.project()
    async with start(FINISHING, project) as (handle, held):
        await terminated(system, handle)
        held.go()
        await system.require_freed(handle)
    # Whichever was faster: they are on main, or where the janitor has brought them.
    saved = system.store.head(project, f"recovered/{handle.id}/1")
    assert system.files(project, saved)["made.txt"] == b"made\n"


async def terminated(system: System, handle: RunHandle) -> None:
    """By hand; it then shows as Error."""
    await system.client.get_workflow_handle(handle.id).terminate("by hand")
    with pytest.raises(RunError) as error:
        await handle.result()
    assert error.value.result.state is State.ERROR
    assert error.value.result.cause.code == "terminated"
