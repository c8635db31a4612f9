"""Questions to Temporal, and what its refusals mean to a user of Runs."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest, DescribeWorkflowExecutionResponse
from temporalio.client import Client, WorkflowHandle, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from temporal_runs.outcome import RunsError

ANSWER_WITHIN = timedelta(seconds=5)
"""How long one question may take."""

OPEN = (Status.WORKFLOW_EXECUTION_STATUS_RUNNING, Status.WORKFLOW_EXECUTION_STATUS_PAUSED)
"""What a workflow is that has not ended."""


class UnknownRun(RunsError):
    """Neither Temporal nor the store knows a Run of this id."""


class NoDispatcher(RunsError):
    """Nobody answers for open Runs: no dispatcher polls the task queue."""


class RunPaused(RunsError):
    """Somebody has paused the Run's workflow, and until it is unpaused nothing answers for it."""


class ServerUnavailable(RunsError):
    """Temporal does not answer, or refuses."""


UNANSWERED = (RPCError, RunPaused, WorkflowQueryFailedError)
"""What `answer_of` raises."""


@contextmanager
def asking(workers: str = "") -> Generator[None]:
    """Translates Temporal's refusals; `workers` names who has to answer, where it is not the server alone."""
    try:
        yield
    except RPCError as error:
        no_answer = error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)
        if workers and (no_answer or error.status == RPCStatusCode.FAILED_PRECONDITION):
            raise NoDispatcher(
                f"no dispatcher answers on {workers}: start one with `temporal-runs dispatcher` or `temporal-runs up`"
            ) from error
        if error.status == RPCStatusCode.NOT_FOUND and not error.message.startswith("Namespace"):
            raise UnknownRun(error.message) from error
        if error.status == RPCStatusCode.INVALID_ARGUMENT:
            raise RunsError(
                f"Temporal refuses ({error.message}): are the search attributes there? `temporal-runs setup`"
            ) from error
        raise ServerUnavailable(
            f"Temporal does not answer ({error.message}): start it with `temporal-runs up`, "
            "or correct TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE"
        ) from error


async def answer_of(workflow: WorkflowHandle[Any, Any], query: str, result_type: Any, within: timedelta) -> Any:
    """What a workflow answers to a query; raises RunPaused, RPCError, WorkflowQueryFailedError."""
    try:
        return await workflow.query(query, result_type=result_type, rpc_timeout=within)
    except ValueError as error:
        # temporalio 1.35 does not know that a workflow can be paused, and so cannot say why it is refused.
        raise RunPaused(f"the workflow of {workflow.id} is paused: unpause it in Temporal's Web UI") from error


async def described(client: Client, run_id: str, execution_id: str = "") -> DescribeWorkflowExecutionResponse:
    """What Temporal says of a Run's workflow, of its newest execution by default; raises RPCError.

    Undecoded: of a paused workflow, temporalio 1.35's own `describe` raises ValueError.
    """
    execution = WorkflowExecution(workflow_id=run_id, run_id=execution_id)
    request = DescribeWorkflowExecutionRequest(namespace=client.namespace, execution=execution)
    return await client.workflow_service.describe_workflow_execution(request, retry=True, timeout=ANSWER_WITHIN)
