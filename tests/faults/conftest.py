"""A fleet whose every process can be killed: the server, a dispatcher and an executor, each on its own."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
import pytest_asyncio

from temporal_runs.client import RunHandle, Runs
from temporal_runs.connection import connect
from temporal_runs.settings import Settings
from temporal_runs.store import Store
from temporal_runs.worker.embedded import EmbeddedServer
from tests.conftest import System, eventually
from tests.disks import disk
from tests.engines import EngineOfItsOwn

COMMAND = Path(sys.executable).parent / "temporal-runs"
SECOND = "second"

SMALL_DISK = 96 * 2**20
"""Bytes: room for an image of 32 MiB twice, since it comes in one piece and is then unpacked, but not three times."""


class Process:
    """One `temporal-runs` process, which can be killed and started again."""

    def __init__(self, *arguments: str, environment: dict[str, str], log: Path) -> None:
        self._arguments = arguments
        self.environment = environment
        self.log = log

        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, **self.environment}
        with self.log.open("ab") as log:
            self._running = subprocess.Popen([COMMAND, *self._arguments], env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        """As the plug is pulled."""
        self.end(signal.SIGKILL)

    def freeze(self) -> None:
        """As a machine that is cut off from everything."""
        self.tell(signal.SIGSTOP)

    def thaw(self) -> None:
        self.tell(signal.SIGCONT)

    def tell(self, sign: int) -> None:
        assert self._running
        self._running.send_signal(sign)

    def end(self, sign: int = signal.SIGINT) -> None:
        if self._running:
            self.tell(sign)
            self.ended()

    def ended(self) -> int:
        """Waits for its end; gives its status."""
        assert self._running
        return self._running.wait(30)


class Fleet(System):
    """What `System` gives, with processes to kill."""

    dispatcher: Process
    executor: Process
    second_executor: Process
    """not started, with the id `SECOND`"""

    def folder(self, executor_id: str) -> Path:
        return self.settings.home / "executors" / executor_id

    def containers(self, handle: RunHandle) -> list[Any]:
        """Those of a Run that run."""
        return docker.from_env().containers.list(filters={"name": f"run-{handle.id}"})

    def renewed_at(self) -> float:
        """When the one lease that is fenced was renewed last."""
        (file,) = (self.folder(self.executor_id) / "leases").glob("*.renewed")
        return file.stat().st_mtime

    def left_nothing(self) -> bool:
        """True when neither executor holds anything."""
        folders = [self.folder(self.executor_id), self.folder(SECOND)]
        return not [path for folder in folders for path in (*folder.glob("leases/*"), *folder.glob("workspaces/[!.]*"))]

    async def started(self, command: str, **more: Any) -> RunHandle:
        """A Run whose command has begun and waits for a file `go`; it counts its own starts."""
        handle = await self.start(
            f"echo started >> starts; echo begun; while [ ! -e go ]; do sleep 0.05; done; {command}", **more
        )
        async for _ in handle.logs(follow=True):
            return handle
        raise AssertionError("the console ended before the command had begun")


@asynccontextmanager
async def fleet_of(settings: Settings, image: str) -> AsyncIterator[Fleet]:
    """Starts a server, a dispatcher and the first executor; ends all that runs."""
    async with EmbeddedServer(settings) as server:
        client = await connect(settings)
        fleet = Fleet(
            client, settings, Runs(client, settings), Store.open(settings.store_url), image, settings.home.name
        )
        given = ("home", "tiers", "lease", "registry", "registries")
        environment = {
            "TEMPORAL_ADDRESS": server.address,
            **{f"TEMPORAL_RUNS_{name.upper()}": str(value) for name in given if (value := getattr(settings, name))},
        }
        log = settings.home / "processes.log"
        fleet.dispatcher = Process("dispatcher", environment=environment, log=log)
        fleet.executor, fleet.second_executor = (
            Process("executor", "--id", name, "--serve", "tiny=2", environment=environment, log=log)
            for name in (fleet.executor_id, SECOND)
        )
        fleet.dispatcher.start()
        fleet.executor.start()
        try:
            yield fleet
        finally:
            for process in (fleet.executor, fleet.second_executor, fleet.dispatcher):
                process.end()


@pytest_asyncio.fixture
async def fleet(image: str, make_settings: Callable[..., Settings]) -> AsyncIterator[Fleet]:
    """A new one; afterwards asserts that the executors leave nothing behind."""
    async with fleet_of(make_settings(lease=6), image) as fleet:
        yield fleet
        await eventually(fleet.left_nothing)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    # An engine's sockets need a short path.
    with tempfile.TemporaryDirectory() as place, disk(Path(place), SMALL_DISK, "mkfs.ext4", "-q") as folder:
        yield folder


@pytest_asyncio.fixture
async def engine_on_small_disk(small_disk: Path) -> AsyncIterator[EngineOfItsOwn]:
    engine = EngineOfItsOwn(small_disk)
    try:
        await engine.start()
        yield engine
    finally:
        engine.remove()
