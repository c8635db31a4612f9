"""A Run of every outcome, and its history replayed at once.

With RECORD_HISTORIES=1 they are written to `tests/histories`, which `tests/unit/test_replay.py` replays ever after:
record under a new name when the workflow changes (`RECORD_HISTORIES=1 pytest tests/integration/test_histories.py`),
and keep the old ones.
"""

import os
from pathlib import Path

import pytest
from temporalio.client import WorkflowHandle
from temporalio.worker import Replayer

from temporal_runs import RunsPlugin
from temporal_runs.client import RunDidNotSucceed
from temporal_runs.project import ProjectSettings
from temporal_runs.status import State
from tests.conftest import System

HISTORIES = Path(__file__).parent.parent / "histories"
WAITS = "echo ready; while true; do sleep 0.05; done"


async def replayed(name: str, system: System, run_id: str) -> None:
    workflow: WorkflowHandle = system.client.get_workflow_handle(run_id)
    history = await workflow.fetch_history()
    await Replayer(workflows=[], plugins=[RunsPlugin()]).replay_workflow(history)
    if os.environ.get("RECORD_HISTORIES"):
        HISTORIES.mkdir(exist_ok=True)
        (HISTORIES / f"{name}.json").write_text(history.to_json())


async def outcome(handle) -> State:
    try:
        return (await handle.result()).state
    except RunDidNotSucceed as end:
        return end.result.state


@pytest.mark.parametrize(
    ("name", "spec", "state"),
    [
        ("succeeded", {"command": "true"}, State.SUCCEEDED),
        ("failed", {"command": "exit 3"}, State.FAILED),
        ("error", {"command": "true", "tier": "huge", "queue_limit": 0.2}, State.ERROR),
        ("built", {"command": "true", "instructions": ["ENV A=replay"]}, State.SUCCEEDED),
        ("invalid", {"command": "true", "tier": "no-such-tier"}, State.FAILED),
    ],
)
async def test_an_outcome_replays(system: System, name: str, spec: dict, state: State):
    if instructions := spec.pop("instructions", None):
        spec = {**spec, "environment": {"base": system.image, "instructions": instructions}}
    handle = await system.start(**spec)
    assert await outcome(handle) is state
    await replayed(name, system, handle.id)


async def test_a_stopped_run_replays(system: System):
    handle = await system.start(WAITS, stop_grace=1)
    async for _ in handle.logs(follow=True):
        break
    await handle.stop()
    assert await outcome(handle) is State.STOPPED
    await replayed("stopped", system, handle.id)


async def test_a_run_stopped_while_queued_replays(system: System):
    handle = await system.start("true", tier="huge")
    await handle.status()
    await handle.stop()
    assert await outcome(handle) is State.STOPPED
    await replayed("stopped_while_queued", system, handle.id)


async def test_a_run_that_waited_for_its_project_replays(system: System):
    ProjectSettings(max_running=1).save(system.store, project := system.project())
    handle = await system.start("true", project=project)
    assert await outcome(handle) is State.SUCCEEDED
    await replayed("limited_joining_again", system, handle.id)
    await replayed("limit", system, f"limit:{project}")


async def test_a_cancelled_run_replays(system: System):
    handle = await system.start(WAITS, stop_grace=1)
    async for _ in handle.logs(follow=True):
        break
    await system.client.get_workflow_handle(handle.id).cancel()
    assert await outcome(handle) is State.STOPPED
    await replayed("cancelled", system, handle.id)
