"""A fleet whose every process can be killed: the server, a dispatcher and executors, each on its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

from temporal_runs.client import RunDidNotSucceed, RunHandle, Runs
from temporal_runs.connection import Embedded, connect
from temporal_runs.settings import Settings
from temporal_runs.status import RunResult
from temporal_runs.store import Store
from temporal_runs.worker.embedded import EmbeddedServer
from tests.conftest import System, eventually
from tests.registries import free_port

COMMAND = Path(sys.executable).parent / "temporal-runs"
SECOND = "second"


class Process:
    """One process of ours, a `temporal-runs` unless another program is named; it can be killed and started again."""

    def __init__(
        self, *arguments: str, environment: dict[str, str], log: Path, program: Sequence[str | Path] = (COMMAND,)
    ) -> None:
        self._arguments = arguments
        self.environment = environment
        self.log = log
        self.program = program
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [*self.program, *self._arguments]
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(command, env={**os.environ, **self.environment}, stdout=log, stderr=log)

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
        if self.runs:
            self.tell(sign)
            self.tell(signal.SIGCONT)
            self.ended()

    @property
    def runs(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def ended(self) -> int:
        """Waits for its end; gives its status."""
        assert self._running
        return self._running.wait(60)


class Server:
    """The Temporal server, which can be killed, and stays so until it is started again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._life = AsyncExitStack()
        self.address = ""

    async def start(self) -> None:
        """Returns when it answers, at the address it had before."""
        if Embedded.read(self._settings) is None:
            # As if it had been there before: the usual ports are what everybody's tests on this machine begin with.
            here = {"address": f"127.0.0.1:{free_port()}", "ui": f"http://127.0.0.1:{free_port()}", "cluster": ""}
            Embedded.path(self._settings).write_text(json.dumps(here))
        self.address = (await self._life.enter_async_context(EmbeddedServer(self._settings))).address

    async def kill(self) -> None:
        os.kill(int((self._settings.home / "temporal" / "server.pid").read_text()), signal.SIGKILL)
        await self.end()

    async def end(self) -> None:
        await self._life.aclose()


@dataclass
class Fleet(System):
    """What `System` gives, with processes to kill."""

    processes: list[Process] = field(default_factory=list[Process])
    engines: list[docker.DockerClient] = field(default_factory=lambda: [docker.from_env()])
    """that its executors work on"""
    homes: list[Path] = field(default_factory=list[Path])
    """of executors that do not share the fleet's"""
    at_the_end: ExitStack = field(default_factory=ExitStack)
    """what is done when all processes have ended"""
    server: Server = field(init=False)
    dispatcher: Process = field(init=False)
    executor: Process = field(init=False)
    second_executor: Process = field(init=False)
    """not started, with the id `SECOND`"""

    @property
    def folders(self) -> list[Path]:
        """Of all executors that there have been."""
        homes = (self.settings.home, *self.homes)
        return [path for home in homes for path in (home / "executors").glob("*") if path.is_dir()]

    def folder(self, executor_id: str) -> Path:
        return self.settings.home / "executors" / executor_id

    def process(self, *arguments: str, **environment: str) -> Process:
        """One more process of this fleet, not started."""
        given = {**self.dispatcher.environment, **environment}
        process = Process(*arguments, environment=given, log=self.dispatcher.log)
        self.processes.append(process)
        return process

    def machine(self, executor_id: str, serve: str, **environment: str) -> Process:
        """An executor with a HOME of its own, not started."""
        home = self.settings.home / "machines" / executor_id
        home.mkdir(parents=True)
        self.homes.append(home)
        own = {"TEMPORAL_RUNS_HOME": str(home), "TEMPORAL_RUNS_STORE": self.settings.store_url}
        return self.process("executor", "--id", executor_id, "--serve", serve, **own, **environment)

    async def works(self) -> None:
        """Returns when the first dispatcher and executor have begun to work."""

        def told() -> bool:
            log = self.dispatcher.log.read_text()
            return "dispatcher works" in log and "executor works" in log

        await eventually(told, 120)

    def containers(self, handle: RunHandle) -> list[Any]:
        """Those of a Run that run."""
        return docker.from_env().containers.list(filters={"name": f"run-{handle.id}"}, ignore_removed=True)

    def renewed_at(self) -> float:
        """When the one lease that is fenced was renewed last."""
        (file,) = (self.folder(self.executor_id) / "leases").glob("*.renewed")
        return file.stat().st_mtime

    def left_nothing(self) -> bool:
        """True when no executor holds anything, and nothing of theirs is on the machine."""
        return not self.left()

    def left(self) -> list[str]:
        """What the executors have on the machine, and drafts of killed processes in the store."""
        mounts = Path("/proc/mounts").read_text().splitlines()
        left: list[str] = []
        for folder in self.folders:
            mine = {"label": f"temporal-runs.executor={folder}"}
            for engine in self.engines:
                left += [one.name for one in engine.containers.list(all=True, filters=mine, ignore_removed=True)]
                left += [one.name for one in engine.volumes.list(filters=mine)]
            left += [line for line in mounts if f"{folder}/workspaces" in line or f"{folder}/probe" in line]
            left += map(str, (*folder.glob("leases/*"), *folder.glob("workspaces/[!.]*"), *folder.glob("probe-*")))
            left += map(str, (*folder.glob("workspaces/.trash/*"), *folder.glob("cache/trash/*")))
        return left

    async def started(self, command: str, **more: Any) -> RunHandle:
        """A Run whose command has begun and waits for a file `go`; it counts its own starts."""
        handle = await self.start(
            f"echo started >> starts; echo begun; while [ ! -e go ]; do sleep 0.05; done; {command}", **more
        )
        async for _ in handle.logs(follow=True):
            return handle
        raise AssertionError("the console ended before the command had begun")


@asynccontextmanager
async def fleet_of(settings: Settings, image: str, serve: str = "tiny=2") -> AsyncIterator[Fleet]:
    """Starts a server, a dispatcher and the first executor; ends all that runs."""
    server = Server(settings)
    await server.start()
    client = await connect(settings)
    fleet = Fleet(client, settings, Runs(client, settings), Store.open(settings.store_url), image, settings.home.name)
    fleet.server = server
    given = ("home", "tiers", "lease", "registry", "registries")
    environment = {
        "TEMPORAL_ADDRESS": server.address,
        **{f"TEMPORAL_RUNS_{name.upper()}": str(value) for name in given if (value := getattr(settings, name))},
    }
    fleet.dispatcher = Process("dispatcher", environment=environment, log=settings.home / "processes.log")
    fleet.executor, fleet.second_executor = (
        fleet.process("executor", "--id", name, "--serve", serve) for name in (fleet.executor_id, SECOND)
    )
    try:
        fleet.dispatcher.start()
        fleet.executor.start()
        await fleet.works()
        yield fleet
    finally:
        try:
            with fleet.at_the_end:
                for process in (*fleet.processes, fleet.dispatcher):
                    process.end()
        finally:
            await fleet.server.end()


async def ended(handle: RunHandle) -> RunResult:
    """The result of a Run, whatever it is."""
    try:
        return await handle.result()
    except RunDidNotSucceed as end:
        return end.result


async def require_nothing_left(fleet: Fleet) -> None:
    """Raises AssertionError with what is left of a fleet whose Runs are over."""
    try:
        await eventually(fleet.left_nothing)
    except TimeoutError:
        raise AssertionError(f"left behind: {fleet.left()}") from None
