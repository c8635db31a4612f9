"""Another team's worker that takes Runs in beside its own workflow, which starts a Run as a child workflow.

    python examples/plugin/nightly.py          # works until ctrl-C

Executors are started apart, with `temporal-runs executor`; `temporal-runs up` brings one.
"""

import asyncio

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from temporal_runs import RunResult, RunSpec, RunsPlugin

TASK_QUEUE = "nightly"


@workflow.defn
class Nightly:
    """Prepares a report every night: one of its steps is a Run."""

    @workflow.run
    async def run(self, project: str, command: str, image: str) -> str:
        spec = RunSpec.parse({"project": project, "command": command, "environment": {"image": image}})
        # Failed, Error and a stop raise ChildWorkflowError here: no outcome but Succeeded passes as success.
        result = await workflow.execute_child_workflow(
            "Run", spec, id=f"{workflow.info().workflow_id}-report", result_type=RunResult
        )
        return result.output_commit or ""


async def work(client: Client) -> None:
    """Their worker as it was: the client's plugin brings Runs into it."""
    await Worker(client, task_queue=TASK_QUEUE, workflows=[Nightly]).run()


async def main() -> None:
    from temporal_runs.connection import connect
    from temporal_runs.settings import Settings
    from temporal_runs.store import Store

    settings = Settings.load()
    plugin = RunsPlugin(Store.open(settings.store_url), settings.tier_table)
    await work(await connect(settings, plugins=[plugin]))


if __name__ == "__main__":
    asyncio.run(main())
