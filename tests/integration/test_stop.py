"""A stop, in whatever state it comes."""

import signal
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus

from temporal_runs.client import RunError, RunStopped
from temporal_runs.status import State
from temporal_runs.store.history import History
from tests.conftest import System, eventually

WAITS = "echo partial > out.txt; echo ready; while true; do sleep 0.05; done"


async def running(handle) -> None:
    async for _ in handle.logs(follow=True):
        return


def states(facts) -> list[State]:
    return [change.state for change in facts.history]


async def stopped(handle):
    with pytest.raises(RunStopped) as stop:
        await handle.result()
    return stop.value.result


async def test_a_stop_while_running_brings_results_back(system: System):
    project = system.project()
    handle = await system.start(WAITS, project=project, stop_grace=1)
    await running(handle)
    assert await handle.stop(reason="enough")
    result = await stopped(handle)
    assert states(result)[-4:] == [State.RUNNING, State.STOP_REQUESTED, State.STOPPING, State.STOPPED]
    assert result.stop.reason == "enough"
    assert system.files(project)["out.txt"] == b"partial\n"


async def test_a_stop_that_discards_brings_nothing_back(system: System):
    project = system.project()
    handle = await system.start(WAITS, project=project, stop_grace=1)
    await running(handle)
    await handle.stop(commit_results=False)
    result = await stopped(handle)
    assert result.output_commit is None
    assert "out.txt" not in system.files(project)


async def test_a_second_stop_that_discards_overrides_the_first(system: System):
    project = system.project()
    handle = await system.start(f"trap '' TERM; {WAITS}", project=project, stop_grace=2)
    await running(handle)
    await handle.stop()
    await handle.stop(commit_results=False)
    await stopped(handle)
    assert "out.txt" not in system.files(project)


async def test_a_command_that_ends_well_on_sigterm_is_stopped_all_the_same(system: System):
    command = "trap 'echo bye; exit 0' TERM; echo ready; while true; do sleep 0.05; done"
    handle = await system.start(command)
    await running(handle)
    await handle.stop()
    result = await stopped(handle)
    assert result.exit_code == 0
    assert (await system.console(handle)).endswith(b"bye\n")


async def test_a_command_that_ignores_sigterm_ends_within_its_grace_and_five_seconds(system: System):
    project = system.project()
    handle = await system.start(f"trap '' TERM; {WAITS}", project=project, stop_grace=2)
    await running(handle)
    await handle.stop()
    result = await stopped(handle)
    at = {change.state: change.at for change in result.history}
    assert at[State.STOPPING] - at[State.STOP_REQUESTED] < timedelta(seconds=2 + 5)
    assert result.exit_code == 128 + signal.SIGKILL
    assert system.files(project)["out.txt"] == b"partial\n"
    await system.require_freed(handle)


async def test_a_stop_reaches_the_whole_container(system: System):
    handle = await system.start(f"(trap '' TERM; sleep 1000) & {WAITS}", stop_grace=1)
    await running(handle)
    await handle.stop()
    await stopped(handle)
    await system.require_freed(handle)


async def test_a_stop_while_queued_ends_stopped_without_an_executor(system: System):
    handle = await system.start("true", tier="huge")
    async for status in handle.watch():
        assert status.state is State.QUEUED
        break
    await handle.stop()
    result = await stopped(handle)
    assert states(result) == [State.QUEUED, State.STOP_REQUESTED, State.STOPPING, State.STOPPED]
    assert result.executor is None


async def test_a_malformed_stop_is_a_plain_stop(system: System):
    handle = await system.start(WAITS, stop_grace=1)
    await running(handle)
    await system.client.get_workflow_handle(handle.id).signal("stop", args=[["nonsense"], 7])
    await stopped(handle)


async def test_temporals_cancel_is_a_stop(system: System):
    project = system.project()
    handle = await system.start(WAITS, project=project, stop_grace=1)
    await running(handle)
    workflow = system.client.get_workflow_handle(handle.id)
    await workflow.cancel()
    result = await stopped(handle)
    assert result.state is State.STOPPED
    assert (await workflow.describe()).status is WorkflowExecutionStatus.CANCELED
    assert system.files(project)["out.txt"] == b"partial\n"


async def test_a_stop_of_an_ended_run_changes_nothing(system: System):
    handle = await system.start("true")
    await handle.result()
    assert not await handle.stop()
    assert (await handle.status()).state is State.SUCCEEDED


async def test_terminate_frees_everything_and_shows_as_error(system: System):
    handle = await system.start(WAITS)
    await running(handle)
    await system.client.get_workflow_handle(handle.id).terminate("by hand")
    with pytest.raises(RunError) as error:
        await handle.result()
    assert error.value.result.cause.code == "terminated"
    attempt = f"recovered/{handle.id}/1"
    project = (await handle.status()).spec["project"]
    saved = await eventually(lambda: system.store.head(project, attempt))
    assert system.files(project, saved)["out.txt"] == b"partial\n"
    assert "out.txt" not in system.files(project)


async def test_a_stop_whose_results_no_longer_fit_its_project_ends_stopped_and_says_so(system: System):
    project = system.project()
    handle = await system.start(WAITS, project=project, stop_grace=1)
    await running(handle)
    # As somebody does who tidies the store by hand: what the Run was given is no version of its project any more.
    commit = (await handle.status()).input_commit
    assert commit
    version = Path(system.settings.store_url) / History(system.store.objects, project).key(commit)
    kept = version.read_bytes()
    version.unlink()
    await handle.stop()
    result = await stopped(handle)
    assert result.cause is None
    assert commit in result.reason
    version.write_bytes(kept)
    await system.require_freed(handle)
