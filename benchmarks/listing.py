"""The first page of a list of thousands of Runs, beside `temporal workflow list` of the same page on the same server.

    python -m benchmarks.listing [--runs 10000] [--looks 10]

The Runs are workflows of the type and with the search attributes of Runs, of which half have ended and half are open;
a stub ends them, so that only listing is measured.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.system import OURS
from temporal_runs import search_attributes
from temporal_runs.connection import connect
from temporal_runs.search_attributes import RUN_OWNER, RUN_PROJECT, RUN_STATE, RUN_TIER
from temporal_runs.settings import Settings
from temporal_runs.worker.embedded import EmbeddedServer, temporal_binary

AT_ONCE = 50
PAGE = 20


@workflow.defn(name="Run")
class Ends:
    @workflow.run
    async def run(self) -> None:
        return


async def start(client: Client, number: int) -> None:
    """Starts so many; those of an even number end."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(index: int) -> None:
        ends = index % 2 == 0
        said = [
            SearchAttributePair(RUN_STATE, "Succeeded" if ends else "Queued"),
            SearchAttributePair(RUN_PROJECT, f"project-{index % 100}"),
            SearchAttributePair(RUN_TIER, "small"),
            SearchAttributePair(RUN_OWNER, f"owner-{index % 10}"),
        ]
        async with room:
            started = await client.start_workflow(
                "Run",
                id=f"run-{index:06}",
                task_queue="ends" if ends else "nobody",
                search_attributes=TypedSearchAttributes(said),
            )
            if ends:
                await started.result()

    async with Worker(client, task_queue="ends", workflows=[Ends], workflow_runner=UnsandboxedWorkflowRunner()):
        await asyncio.gather(*(one(index) for index in range(number)))


def seconds(command: list[str], environment: Mapping[str, str], looks: int) -> float:
    """The median time of a command."""
    taken: list[float] = []
    for _ in range(looks):
        begun = time.perf_counter()
        subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--looks", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        settings = Settings(home=Path(folder))
        async with EmbeddedServer(settings) as server:
            client = await connect(settings)
            await search_attributes.register(client)
            await start(client, given.runs)
            environment = {"TEMPORAL_ADDRESS": server.address, "TEMPORAL_RUNS_HOME": folder}
            temporal = [str(temporal_binary()), "workflow", "list", "--limit", str(PAGE)]
            theirs = await asyncio.to_thread(
                seconds, [*temporal, "--query", "WorkflowType = 'Run'"], environment, given.looks
            )
            print(f"{given.runs} Runs, a page of {PAGE}: temporal workflow list {theirs:.2f} s")
            for name, options in {
                "list": [],
                "list --state queued --project": ["--state", "queued", "--project", "project-1"],
                "list --owner": ["--owner", "owner-2"],
            }.items():
                ours = await asyncio.to_thread(seconds, [OURS, "list", *options], environment, given.looks)
                print(f"temporal-runs {name}: {ours:.2f} s, {ours / theirs:.1f} times that")


if __name__ == "__main__":
    asyncio.run(main())
