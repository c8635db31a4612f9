"""A fleet whose every process can be killed: the server, a dispatcher and an executor, each on its own."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from temporal_runs.client import RunHandle, Runs
from temporal_runs.connection import connect
from temporal_runs.settings import Settings
from temporal_runs.store import Store
from temporal_runs.worker.embedded import EmbeddedServer
from tests.conftest import System, eventually

COMMAND = Path(sys.executable).parent / "temporal-runs"


class Process:
    """One `temporal-runs` process, which can be killed and started again."""

    def __init__(self, *arguments: str, environment: dict[str, str], log: Path) -> None:
        self._arguments = arguments
        self._environment = {**os.environ, **environment}
        self._log = log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._running = subprocess.Popen([COMMAND, *self._arguments], env=self._environment, stdout=log, stderr=log)

    def kill(self) -> None:
        """As the plug is pulled."""
        self.end(signal.SIGKILL)

    def end(self, sign: int = signal.SIGTERM) -> None:
        self._running.send_signal(sign)
        self._running.wait(30)


class Fleet(System):
    """What `System` gives, with processes to kill."""

    dispatcher: Process
    executor: Process

    def workspace(self) -> Path:
        """The files of the one attempt at work."""
        (folder,) = (self.settings.home / "executors" / self.executor_id / "workspaces").glob("*/files")
        return folder

    async def started(self, command: str, **more: Any) -> RunHandle:
        """A Run whose command has begun and waits for a file `go`; it counts its own starts."""
        handle = await self.start(
            f"echo started >> starts; echo begun; while [ ! -e go ]; do sleep 0.05; done; {command}", **more
        )
        async for _ in handle.logs(follow=True):
            return handle
        raise AssertionError("the console ended before the command had begun")


@pytest_asyncio.fixture
async def fleet(image: str, make_settings: Callable[..., Settings]) -> AsyncIterator[Fleet]:
    """Starts the processes; afterwards asserts that the executor leaves nothing behind."""
    settings = make_settings(lease=6)
    async with EmbeddedServer(settings) as server:
        client = await connect(settings)
        fleet = Fleet(
            client, settings, Runs(client, settings), Store.open(settings.store_url), image, settings.home.name
        )
        environment = {
            "TEMPORAL_ADDRESS": server.address,
            "TEMPORAL_RUNS_HOME": str(settings.home),
            "TEMPORAL_RUNS_TIERS": str(settings.tiers),
            "TEMPORAL_RUNS_LEASE": f"{settings.lease:g}",
        }
        log = settings.home / "processes.log"
        fleet.dispatcher = Process("dispatcher", environment=environment, log=log)
        fleet.executor = Process(
            *("executor", "--id", fleet.executor_id, "--serve", "tiny=2"), environment=environment, log=log
        )
        try:
            yield fleet
            leases = settings.home / "executors" / fleet.executor_id
            await eventually(lambda: not list(leases.glob("leases/*.json")) and not list(leases.glob("workspaces/*")))
        finally:
            fleet.executor.end()
            fleet.dispatcher.end()


async def over(handle: RunHandle) -> Any:
    """Waits for the end, whatever it is."""
    async for status in handle.watch():
        last = status
    await asyncio.sleep(0)
    return last
