"""The contract needs nothing of ours: Temporal's own CLI starts, asks and stops a Run."""

import asyncio
import json
import sys
import uuid
from pathlib import Path
from typing import Any

from tests.conftest import System

TEMPORAL = Path(sys.executable).parent / "temporal"


async def temporal(system: System, *arguments: str) -> Any:
    address = system.client.service_client.config.target_host
    process = await asyncio.create_subprocess_exec(
        TEMPORAL, *arguments, "--address", address, "-o", "json", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return json.loads(output)


async def test_temporals_own_cli_is_enough(system: System):
    run_id = f"cli-{uuid.uuid4().hex[:6]}"
    spec = json.dumps(system.spec("echo ready; while true; do sleep 0.05; done"))
    await temporal(
        system, "workflow", "start", "--type", "Run", "--task-queue", "runs", "--workflow-id", run_id, "--input", spec
    )
    handle = system.runs.get(run_id)
    async for _ in handle.logs(follow=True):
        break
    answer = await temporal(system, "workflow", "query", "--type", "status", "--workflow-id", run_id)
    assert answer["queryResult"][0]["state"] == "Running"
    found = await temporal(system, "workflow", "list", "--query", f"RunState='Running' AND WorkflowId='{run_id}'")
    assert found[0]["execution"]["workflowId"] == run_id
    process = await asyncio.create_subprocess_exec(
        TEMPORAL,
        *("workflow", "signal", "--name", "stop", "--workflow-id", run_id),
        *("--input", '{"commit_results": false, "reason": "enough"}'),
        *("--address", system.client.service_client.config.target_host),
    )
    assert await process.wait() == 0
    answer = await temporal(system, "workflow", "result", "--workflow-id", run_id)
    assert answer["status"] == "COMPLETED"
    assert answer["result"]["state"] == "Stopped"
    assert answer["result"]["stop"]["reason"] == "enough"


async def test_a_workflow_id_that_is_no_run_id_is_an_invalid_spec(system: System):
    workflow = await system.client.start_workflow(
        "Run", system.spec("true"), id=f"not/an id {uuid.uuid4().hex}", task_queue="runs"
    )
    answer = await temporal(system, "workflow", "result", "--workflow-id", workflow.id)
    assert answer["status"] == "FAILED"
    assert (await workflow.query("status"))["cause"]["code"] == "invalid_spec"
