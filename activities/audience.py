"""Who waits for a build: as long as one Run does, it goes on."""

import asyncio

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from temporal_runs.asking import ANSWER_WITHIN, OPEN, UNANSWERED, answer_of, described
from temporal_runs.steps import Attempt

LOOK_SECONDS = 30


async def until_nobody_waits(client: Client, build: str) -> None:
    """Returns when none of the Runs that wait for a build is there any more; one that was terminated did not say so."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            workflow = client.get_workflow_handle(build)
            waiting: list[Attempt] = await answer_of(workflow, "who_waits", list[Attempt], ANSWER_WITHIN)
            if not await _any_open(client, waiting):
                return
        except UNANSWERED:
            continue  # whoever cannot be asked may well wait


async def _any_open(client: Client, waiting: list[Attempt]) -> bool:
    for attempt in waiting:
        try:
            description = await described(client, attempt.run_id, attempt.execution_id)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                continue
            raise
        if description.workflow_execution_info.status in OPEN:
            return True
    return False
