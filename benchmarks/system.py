"""A whole system for a benchmark: a server as `temporal-runs up` starts it, dispatcher and executor as processes."""

import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from temporalio.client import Client

from temporal_runs.connection import connect
from temporal_runs.settings import Settings
from temporal_runs.worker.embedded import EmbeddedServer

IMAGE = "temporal-runs-test/busybox:1"
"""The tests' small image: `make test` makes it."""
OURS = str(Path(sys.executable).parent / "temporal-runs")
TIER = '[tiny]\ncores = 0.5\nmemory = "32MiB"\n'


@asynccontextmanager
async def system(at_once: int, registry: str | None = None) -> AsyncGenerator[tuple[Client, Settings]]:
    """A client, and the settings of a HOME of its own; one executor serves the tier `tiny`, so many Runs at once."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        (home / "tiers.toml").write_text(TIER)
        settings = Settings(home=home, tiers=home / "tiers.toml", registry=registry)
        async with EmbeddedServer(settings) as server:
            environment = {
                "TEMPORAL_ADDRESS": server.address,
                "TEMPORAL_RUNS_HOME": str(home),
                "TEMPORAL_RUNS_TIERS": str(home / "tiers.toml"),
                **({"TEMPORAL_RUNS_REGISTRY": registry} if registry else {}),
            }
            serve = f"tiny={at_once}"
            with (
                process("dispatcher", environment=environment),
                process("executor", "--serve", serve, environment=environment),
            ):
                yield await connect(settings), settings


@contextmanager
def process(*arguments: str, environment: dict[str, str], program: str = OURS) -> Generator[int]:
    """A process of ours, killed with the block or with the benchmark; gives its id."""
    command = ["setpriv", "--pdeathsig", "KILL", program, *arguments]
    running = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    try:
        yield running.pid
    finally:
        running.kill()
        running.wait(30)


async def activity_seconds(client: Client, run_id: str) -> dict[str, float]:
    """How long each activity of a Run took, from its being handed to a worker to its answer; by name."""
    spent: dict[str, float] = {}
    begun: dict[int, float] = {}
    names: dict[int, str] = {}
    history = await client.get_workflow_handle(run_id).fetch_history()
    for event in history.events:
        at = event.event_time.ToNanoseconds() / 1e9
        if event.HasField("activity_task_scheduled_event_attributes"):
            names[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
        elif event.HasField("activity_task_started_event_attributes"):
            begun[event.activity_task_started_event_attributes.scheduled_event_id] = at
        elif event.HasField("activity_task_completed_event_attributes"):
            number = event.activity_task_completed_event_attributes.scheduled_event_id
            spent[names[number]] = at - begun[number]
    first, *_, last = history.events
    spent["the whole Run"] = (last.event_time.ToNanoseconds() - first.event_time.ToNanoseconds()) / 1e9
    return spent
