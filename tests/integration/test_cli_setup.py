"""A server that was never set up: every command that needs it says so and starts nothing; `setup` mends it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from tests.unit.test_cli_usage import SPEC, Machine


@pytest_asyncio.fixture
async def bare_server() -> AsyncIterator[WorkflowEnvironment]:
    temporal = Path(sys.executable).parent / "temporal"
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=str(temporal)) as environment:
        yield environment


async def test_a_server_that_was_never_set_up(bare_server: WorkflowEnvironment, tmp_path: Path):
    machine = Machine(tmp_path)
    there = {"TEMPORAL_ADDRESS": bare_server.client.service_client.config.target_host}
    given = {"stdin": json.dumps(SPEC), "env": there}
    for arguments in (["run", "--", "true"], ["start", "-"], ["dispatcher"], ["executor"], ["up"]):
        await asyncio.to_thread(machine.refuses, *arguments, saying="register them with `temporal-runs setup`", **given)
    assert (await bare_server.client.count_workflows()).count == 0
    assert len(machine.store.log("penguins")) == 1, "nothing may be pushed for a Run that cannot start"

    done = await asyncio.to_thread(machine.run, "setup", env=there)
    assert (done.returncode, done.stderr) == (0, "")
    assert "RunState" in done.stdout
    started = await asyncio.to_thread(machine.run, "start", "-", "--id", "r1", **given)
    assert (started.returncode, started.stdout) == (0, "r1\n")

    followed = await asyncio.to_thread(machine.run, "run", "--id", "r2", "--", "true", env=there)
    assert (followed.returncode, followed.stdout) == (2, "")
    assert "no dispatcher answers" in followed.stderr
    assert "Run r2 goes on" in followed.stderr, "it waits for a dispatcher, and is not lost"
