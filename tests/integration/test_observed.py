"""Processes of a fleet, looked at from outside: their logs and what Prometheus reads."""

import asyncio
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from temporalio.testing import WorkflowEnvironment

from temporal_runs.client import RunDidNotSucceed, Runs, RunStopped
from temporal_runs.settings import Settings
from temporal_runs.store import Store
from tests.conftest import System, eventually
from tests.dashboard import metrics_asked_for
from tests.listeners import Hooks, Post
from tests.registries import free_port

COMMAND = Path(sys.executable).parent / "temporal-runs"


@dataclass
class Worker:
    """One process, with its log and its metrics."""

    name: str
    port: int
    log: Path
    process: "subprocess.Popen[bytes]"

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def metrics(self) -> str:
        with urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            return answer.read().decode()


@dataclass
class Fleet:
    system: System
    dispatcher: Worker
    executor: Worker
    collector: Hooks

    async def spans(self) -> AsyncIterator[Span]:
        """As they come."""
        while True:
            request = ExportTraceServiceRequest.FromString(body_of(await asyncio.to_thread(self.collector.next)))
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        yield span


@pytest_asyncio.fixture
async def fleet(
    server: WorkflowEnvironment, image: str, make_settings: Callable[..., Settings]
) -> AsyncIterator[Fleet]:
    settings = make_settings(task_queue="observed")
    name = f"observed-{uuid.uuid4().hex[:6]}"
    assert settings.tiers
    settings.tiers.write_text(f'[{name}]\ncores = 0.25\nmemory = "32MiB"\n')
    collector = Hooks()
    environment = {
        "TEMPORAL_RUNS_TRACES": f"http://127.0.0.1:{collector.port}/v1/traces",
        **os.environ,
        "TEMPORAL_ADDRESS": server.client.service_client.config.target_host,
        "TEMPORAL_RUNS_HOME": str(settings.home),
        "TEMPORAL_RUNS_TIERS": str(settings.tiers),
        "TEMPORAL_RUNS_TASK_QUEUE": settings.task_queue,
    }

    def start(*arguments: str) -> Worker:
        port, log = free_port(), settings.home / f"{arguments[0]}.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [COMMAND, *arguments],
                env={**environment, "TEMPORAL_RUNS_METRICS": f"127.0.0.1:{port}"},
                stdout=stderr,
                stderr=stderr,
            )
        return Worker(arguments[0], port, log, process)

    workers = start("dispatcher"), start("executor", "--id", name, "--serve", f"{name}=1")
    store = Store.open(settings.store_url)
    system = System(server.client, settings, Runs(server.client, settings), store, image, name)
    yield Fleet(system, *workers, collector)
    for worker in workers:
        worker.process.send_signal(signal.SIGINT)
    for worker in workers:
        await asyncio.to_thread(worker.process.wait, 60)
    collector.close()


def body_of(post: Post) -> bytes:
    return gzip.decompress(post.body) if post.headers.get("Content-Encoding") == "gzip" else post.body


def measured(text: str, name: str, **labels: str) -> float | None:
    """The sum of the samples that have these labels; None where there is none."""
    found = [
        float(value)
        for given, value in re.findall(rf"^{name}\{{(.*?)\}} (\S+)$", text, re.MULTILINE)
        if all(f'{at}="{label}"' in given for at, label in labels.items())
    ]
    return sum(found) if found else None


async def test_runs_are_seen_in_logs_and_in_metrics(fleet: Fleet):
    system, tier, hooks = fleet.system, fleet.system.executor_id, Hooks()
    project = system.project()
    for command in ("echo 12345 > new.txt", "exit 3"):
        handle = await system.start(command, tier=tier, project=project, notify=[{"url": hooks.url}])
        try:
            await handle.result()
        except RunDidNotSucceed as end:
            assert end.result.exit_code == 3
        await asyncio.to_thread(hooks.next)
    hooks.close()

    told = await eventually(lambda: (text := fleet.dispatcher.metrics()).count("notifications_total{") and text)
    assert measured(told, "temporal_runs_states_total", state="Queued", tier=tier) == 2
    assert measured(told, "temporal_runs_states_total", state="Succeeded", tier=tier, cause="") == 1
    assert measured(told, "temporal_runs_states_total", state="Failed", tier=tier, cause="exit_code") == 1
    assert measured(told, "temporal_runs_state_seconds_count", state="Running", tier=tier) == 2
    done = fleet.executor.metrics()
    assert measured(done, "temporal_runs_workspaces_total") == 2
    assert measured(done, "temporal_runs_images_total", found="machine") == 2
    assert measured(done, "temporal_runs_returned_bytes_total") == 6
    assert measured(done, "temporal_runs_staged_bytes_total") == 6 + 6
    await eventually(lambda: measured(fleet.executor.metrics(), "temporal_runs_leases", executor=tier, tier=tier) == 0)
    assert measured(fleet.executor.metrics(), "temporal_runs_room", executor=tier, tier=tier) == 1
    series = set(re.findall(r"^# TYPE (\w+)", told + done, re.MULTILINE))
    assert metrics_asked_for() - series == set()

    of_run = [line for line in fleet.dispatcher.lines() if line.get("run_id") == handle.id]
    assert [line["state"] for line in of_run if "state" in line] == [
        "Queued",
        "Scheduled",
        "Preparing",
        "Running",
        "Finishing",
        "Failed",
    ]
    assert of_run[-1]["cause"] == "exit_code"
    assert all(line["executor"] == tier for line in fleet.executor.lines() if line["event"] != "dispatcher works")


async def test_a_fault_is_logged_with_its_run_its_phase_and_its_executor(fleet: Fleet):
    system, tier = fleet.system, fleet.system.executor_id
    spec = {**system.spec("true", tier=tier), "environment": {"image": f"127.0.0.1:{free_port()}/gone:1"}}
    handle = await system.runs.start(spec)
    faults = await eventually(lambda: [one for one in fleet.executor.lines() if one["event"] == "a fault"])
    assert {at: faults[0][at] for at in ("run_id", "phase", "executor")} == {
        "run_id": handle.id,
        "phase": "pull",
        "executor": tier,
    }
    await handle.stop()
    with pytest.raises(RunStopped):
        await handle.result()


async def test_a_run_is_one_trace_over_the_processes_that_had_a_part_in_it(fleet: Fleet):
    handle = await fleet.system.start("true", tier=fleet.system.executor_id)
    await handle.result()
    spans: dict[str, Span] = {}
    async for span in fleet.spans():
        spans[span.name] = span
        if {"RunWorkflow:Run", "RunActivity:queue", "RunActivity:run", "RunActivity:finish"} <= spans.keys():
            break
    whole = spans["RunWorkflow:Run"]
    assert {span.trace_id for span in spans.values()} == {whole.trace_id}
    begun, ended = spans["RunActivity:queue"], spans["RunActivity:finish"]
    assert whole.start_time_unix_nano <= begun.start_time_unix_nano
    assert ended.end_time_unix_nano <= whole.end_time_unix_nano
