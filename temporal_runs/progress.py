"""What a Run's status needs I/O for: a waiting Run's place in the queue, and the progress of the phase under way."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest, DescribeWorkflowExecutionResponse
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError

from temporal_runs.asking import described
from temporal_runs.spec import RunSpec
from temporal_runs.status import Queue, RunStatus, State
from temporal_runs.store import StoreError

if TYPE_CHECKING:
    from temporal_runs.client import Runs


async def joined(runs: "Runs", status: RunStatus, description: DescribeWorkflowExecutionResponse) -> RunStatus:
    """The status with its place in the queue, or with the progress of its phase. Raises RPCError."""
    if status.build:
        # The build that it waits for is the phase under way, for all who wait; it may be about to begin.
        with suppress(RPCError):
            description = await described(runs.client, status.build)
    pending = [activity for activity in description.pending_activities if activity.HasField("heartbeat_details")]
    if pending:
        progress: list[Any] = await pydantic_data_converter.decode(pending[0].heartbeat_details.payloads)
        return status.model_copy(update={"progress": progress[0] if progress else None})
    if status.state is State.QUEUED and status.input_commit:
        return status.model_copy(update={"queue": await _queue(runs, status)})
    return status


async def _queue(runs: "Runs", status: RunStatus) -> Queue:
    spec = RunSpec.parse(status.spec)
    since = status.history[0].at.isoformat().replace("+00:00", "Z")
    ahead = (
        f"WorkflowType = 'Run' AND ExecutionStatus = 'Running' AND RunState = 'Queued' AND RunTier = '{spec.tier}' AND "
        f"(RunPriority < {spec.priority} OR (RunPriority = {spec.priority} AND StartTime < '{since}'))"
    )
    counted = await runs.client.workflow_service.count_workflow_executions(
        CountWorkflowExecutionsRequest(namespace=runs.client.namespace, query=ahead)
    )
    position = counted.count + 1
    try:
        executors = [executor for executor in await runs.executors() if spec.tier in executor.tiers]
    except StoreError:
        return Queue(position=position)
    rooms = [executor.tiers[spec.tier] for executor in executors if executor.serves(spec.tier)]
    return Queue(
        position=position,
        executors=len(rooms),
        held=sum(room.held for room in rooms),
        left=sum(room.left for room in rooms),
        idle={executor.id: executor.standing for executor in executors if not executor.serves(spec.tier)},
    )
