"""What a Run used and what it tells of itself is known while it runs, and afterwards."""

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from temporal_runs.client import RunHandle
from temporal_runs.status import State
from tests.conftest import System, eventually

WRITES = "head -c 3000000 /dev/urandom > big; "


async def test_usage_is_seen_while_a_command_runs_and_summed_up_in_its_result(system: System):
    handle = await system.begun(WRITES)
    await eventually(handle.usage)
    status = await eventually(lambda: shows_memory(system, handle.id))
    assert status["memory_limit_bytes"] == 32 * 2**20
    system.let_go(handle)
    result = await handle.result()
    series = await handle.usage()
    assert series
    assert series.usage == result.usage
    assert result.usage.cpu_seconds > 0
    assert 0 < result.usage.mean_memory_bytes <= result.usage.peak_memory_bytes <= 32 * 2**20
    assert result.usage.received_bytes is not None


async def shows_memory(system: System, run_id: str) -> dict[str, int] | None:
    progress = (await system.runs.get(run_id).status()).progress or {}
    return progress if progress.get("memory_bytes") else None


async def test_the_command_line_draws_usage_and_gives_its_numbers(system: System):
    handle = await system.begun("true")
    await eventually(lambda: _has_been_read(handle, 3))
    system.let_go(handle)
    await handle.result()

    async def usage(*options: str) -> str:
        home = {
            "TEMPORAL_RUNS_HOME": str(system.settings.home),
            "TEMPORAL_ADDRESS": system.client.service_client.config.target_host,
        }
        command = [Path(sys.executable).with_name("temporal-runs"), "usage", handle.id, *options]
        done = await asyncio.to_thread(
            subprocess.run, command, env={**os.environ, **home}, capture_output=True, text=True, check=True
        )
        return done.stdout

    drawn = await usage()
    assert "CPU" in drawn
    assert "of its memory" in drawn
    document = json.loads(await usage("--json"))
    assert document["usage"]["memory_limit_bytes"] == 32 * 2**20
    rows = list(csv.DictReader(io.StringIO(await usage("--csv", "-f"))))
    assert len(rows) == len(document["readings"])
    assert [float(row["cpu_seconds"]) for row in rows] == [one["cpu_seconds"] for one in document["readings"]]
    assert "memory" in await usage("-f")


@pytest.mark.parametrize("tier", ["tiny", "boxed"])
async def test_what_a_command_writes_into_dominostats_is_its_metrics(system: System, tier: str):
    handle = await system.start("""echo '{"R^2": 0.99, "model": "ridge"}' > dominostats.json""", tier=tier)
    result = await handle.result()
    assert result.metrics == {"R^2": 0.99, "model": "ridge"}
    again = await system.start("true", project=result.spec["project"])
    assert (await again.result()).metrics is None, "the metrics are another Run's"


@pytest.mark.parametrize(
    ("command", "note"),
    [
        ("echo no JSON > dominostats.json", "dominostats.json is ignored: it is not JSON"),
        ("ln -s /proc/self/environ dominostats.json", None),
        ("mkfifo dominostats.json", None),
        ("mkdir dominostats.json", None),
        ("true", None),
    ],
)
async def test_what_is_no_metrics_does_not_end_a_run(system: System, command: str, note: str | None):
    project = system.project({"dominostats.json": '{"a": 1}'})
    result = await (
        await system.start(command if "rm" in command else f"rm dominostats.json; {command}", project=project)
    ).result()
    assert (result.state, result.metrics) == (State.SUCCEEDED, None)
    assert (result.metrics_note or "").startswith(note or "")
    assert bool(result.metrics_note) == bool(note)


async def _has_been_read(handle: RunHandle, times: int) -> bool:
    series = await handle.usage()
    return series is not None and len(series.readings) >= times
