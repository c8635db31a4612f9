"""What a Run's status needs I/O for: a waiting Run's place in the queue, and the progress of the phase under way."""

import time
from typing import Any

from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    DescribeWorkflowExecutionResponse,
    ListWorkersRequest,
)
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from temporal_runs.asking import described
from temporal_runs.spec import RunSpec
from temporal_runs.status import Queue, RunStatus, State

HEARD_WITHIN = 150
"""Seconds: workers tell Temporal every minute that they are there."""


async def joined(client: Client, status: RunStatus, description: DescribeWorkflowExecutionResponse) -> RunStatus:
    """The status with its place in the queue, or with the progress of its phase. Raises RPCError."""
    if status.build:
        # The build that it waits for is the phase under way, for all who wait.
        description = await described(client, status.build)
    pending = [activity for activity in description.pending_activities if activity.HasField("heartbeat_details")]
    if pending:
        progress: list[Any] = await pydantic_data_converter.decode(pending[0].heartbeat_details.payloads)
        return status.model_copy(update={"progress": progress[0] if progress else None})
    if status.state is State.QUEUED and status.input_commit:
        spec = RunSpec.parse(status.spec)
        return status.model_copy(update={"queue": await _queue(client, spec, status)})
    return status


async def _queue(client: Client, spec: RunSpec, status: RunStatus) -> Queue:
    since = status.history[0].at.isoformat().replace("+00:00", "Z")
    ahead = (
        f"WorkflowType = 'Run' AND ExecutionStatus = 'Running' AND RunState = 'Queued' AND RunTier = '{spec.tier}' AND "
        f"(RunPriority < {spec.priority} OR (RunPriority = {spec.priority} AND StartTime < '{since}'))"
    )
    counted = await client.workflow_service.count_workflow_executions(
        CountWorkflowExecutionsRequest(namespace=client.namespace, query=ahead)
    )
    listed = await client.workflow_service.list_workers(
        ListWorkersRequest(namespace=client.namespace, query=f"TaskQueue = 'tier.{spec.tier}'")
    )
    there = {
        worker.worker_heartbeat.worker_identity
        for worker in listed.workers_info
        if time.time() - worker.worker_heartbeat.heartbeat_time.seconds < HEARD_WITHIN
    }
    return Queue(position=counted.count + 1, executors=len(there))
