"""Limiting: a Run asks for one of the places that its project has, and the places are looked after."""

from temporalio import activity
from temporalio.service import RPCError, RPCStatusCode

from temporal_runs.asking import OPEN, described
from temporal_runs.steps import Ticket, Turns


@activity.defn(name="join")
async def join(ticket: Ticket) -> None:
    """Has the workflow `Limit` of the project take the Run's ticket, and starts it where there is none."""
    await activity.client().start_workflow(
        "Limit",
        Turns(limit=ticket.limit),
        id=ticket.limit_id,
        task_queue=activity.info().task_queue,
        start_signal="join",
        start_signal_args=[ticket],
    )


@activity.defn(name="gone")
async def gone(run_ids: list[str]) -> list[str]:
    """Those of the Runs that are over."""
    return [run_id for run_id in run_ids if await _is_over(run_id)]


async def _is_over(run_id: str) -> bool:
    try:
        description = await described(activity.client(), run_id)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return True
        raise
    return description.workflow_execution_info.status not in OPEN
