"""Another team's worker takes Runs in, and their workflow starts a Run as a child."""

import asyncio
import sys
import uuid
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from examples.plugin.nightly import TASK_QUEUE, Nightly, work
from temporal_runs import RunsPlugin
from temporal_runs.search_attributes import SearchAttributeProblem
from tests.conftest import System


@pytest.fixture
async def nightly(system: System):
    """Their worker, on a client of theirs, with nothing of ours but the plugin."""
    plugin = RunsPlugin(system.store, system.settings.tier_table)
    theirs = await Client.connect(system.client.service_client.config.target_host, plugins=[plugin])
    working = asyncio.create_task(work(theirs))
    yield theirs
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_their_workflow_starts_a_run_as_a_child(system: System, nightly: Client):
    project = system.project()
    commit = await nightly.execute_workflow(
        Nightly.run,
        args=[project, "echo report > report.txt", system.image],
        id=f"nightly-{uuid.uuid4().hex[:6]}",
        task_queue=TASK_QUEUE,
    )
    assert system.files(project, commit)["report.txt"] == b"report\n"


async def test_a_child_that_fails_fails_its_parent(system: System, nightly: Client):
    with pytest.raises(WorkflowFailureError):
        await nightly.execute_workflow(
            Nightly.run,
            args=[system.project(), "exit 1", system.image],
            id=f"nightly-{uuid.uuid4().hex[:6]}",
            task_queue=TASK_QUEUE,
        )


async def test_a_worker_refuses_a_server_without_the_search_attributes(system: System):
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).parent / "temporal")
    ) as bare:
        worker = Worker(bare.client, task_queue=TASK_QUEUE, plugins=[RunsPlugin(system.store)])
        with pytest.raises(SearchAttributeProblem, match="temporal-runs setup"):
            await worker.run()
