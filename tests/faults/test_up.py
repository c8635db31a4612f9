"""`temporal-runs up`, ended in every way: what it had is there when it is started again."""

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from temporal_runs.client import RunHandle, Runs
from temporal_runs.connection import ConnectionProblem, Embedded, connect
from temporal_runs.settings import Settings
from temporal_runs.status import State
from temporal_runs.store import Store
from temporal_runs.worker.embedded import EmbeddedServer
from tests.conftest import System, eventually
from tests.fleets import COMMAND, Fleet, Process
from tests.registries import free_port

WORKERS = (("dispatcher",), ("executor", "--id", "theirs", "--serve", "tiny=1"))


class Machine(Fleet):
    """A machine on which `up` is all there is."""

    up: Process

    @property
    def server(self) -> Path:
        """The process of the Temporal server, while it is there."""
        return Path("/proc") / (self.settings.home / "temporal" / "server.pid").read_text()


@pytest_asyncio.fixture
async def machine(image: str, make_settings: Callable[..., Settings]) -> AsyncIterator[Machine]:
    """`up` is started; afterwards it is ended, and has to end well and leave nothing."""
    settings = make_settings(lease=6)
    assert settings.tiers
    with settings.tiers.open("a") as tiers:
        tiers.write(f'[whole]\ncores = {os.cpu_count()}\nmemory = "64MiB"\n')
    environment = {
        "TEMPORAL_RUNS_HOME": str(settings.home),
        "TEMPORAL_RUNS_TIERS": str(settings.tiers),
        "TEMPORAL_RUNS_LEASE": f"{settings.lease:g}",
    }
    up = Process("up", environment=environment, log=settings.home / "up.log")
    up.start()
    try:
        await eventually(lambda: Embedded.read(settings))
        client = await connect(settings, timeout=30)
        machine = Machine(
            client, settings, Runs(client, settings), Store.open(settings.store_url), image, socket.gethostname()
        )
        machine.up = up
        yield machine
        await eventually(machine.left_nothing)
    finally:
        up.end()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_started_again_it_carries_on_with_the_runs_it_had(machine: Machine, sign: signal.Signals):
    project = machine.project()
    handle = await machine.started("echo done", project=project)
    machine.up.end(sign)
    assert len(machine.containers(handle)) == 1, "the command goes on"
    machine.up.start()
    machine.let_go(handle)
    result = await handle.result()
    assert result.state is State.SUCCEEDED
    assert machine.files(project)["starts"] == b"started\n"
    assert await machine.console(handle) == b"begun\ndone\n"


async def test_a_run_that_waits_in_the_queue_is_taken_by_the_next_up(machine: Machine):
    first = await machine.started("true", tier="whole")
    second = await machine.start("true", tier="whole")
    await eventually(lambda: _waits(second))
    machine.up.end(signal.SIGINT)
    machine.up.start()
    machine.let_go(first)
    for handle in (first, second):
        assert (await handle.result()).state is State.SUCCEEDED


async def test_ctrl_c_ends_it_cleanly_and_what_is_over_is_remembered(machine: Machine):
    handle = await machine.start("true")
    before = await handle.result()
    server = machine.server
    machine.up.tell(signal.SIGINT)
    assert machine.up.ended() == 0
    assert not server.exists()
    assert "Traceback" not in machine.up.log.read_text()
    machine.up.start()
    assert await handle.result() == before


async def test_a_server_that_has_its_port_now_is_not_taken_for_its_own(machine: Machine):
    machine.up.end()
    (other := machine.settings.home / "other").mkdir()
    async with EmbeddedServer(Settings(home=other)) as server:
        said = Embedded.path(machine.settings)
        said.write_text(json.dumps({**json.loads(said.read_text()), "address": server.address}))
        with pytest.raises(ConnectionProblem, match="is not the one of"):
            await connect(machine.settings)
    machine.up.start()


async def test_workers_that_wait_for_their_server_take_nothing_of_another_that_has_its_port(
    image: str, make_settings: Callable[..., Settings]
):
    first, second = make_settings(), make_settings()
    waiting = [Process(*worker, environment=_of(first), log=first.home / worker[0]) for worker in WORKERS]
    theirs = [Process(*worker, environment=_of(second), log=second.home / worker[0]) for worker in WORKERS]
    try:
        async with EmbeddedServer(first) as server:
            address = server.address
            for process in waiting:
                process.start()
            await eventually(lambda: all(f"{name} works" in (first.home / name).read_text() for name, *_ in WORKERS))
        Embedded.path(second).write_text(json.dumps({"address": address, "ui": server.ui, "cluster": ""}))
        async with EmbeddedServer(second) as server:
            assert server.address == address
            client = await connect(second)
            system = System(client, second, Runs(client, second), Store.open(second.store_url), image, "theirs")
            handle = await system.start("echo theirs")
            for process in waiting:
                assert await asyncio.to_thread(process.ended) == 2
                assert f"is not the one of {first.home}" in process.log.read_text()
            for process in theirs:
                process.start()
            result = await handle.result()
            assert (result.state, result.executor, result.attempt) == (State.SUCCEEDED, "theirs", 1)
            assert await system.console(handle) == b"theirs\n"
            for process in theirs:
                process.end()
    finally:
        for process in (*waiting, *theirs):
            process.end()


async def test_two_that_start_at_the_same_moment_have_a_server_each(make_settings: Callable[..., Settings]):
    settings = [make_settings() for _ in range(4)]
    port, ui = free_port(), free_port()
    for one in settings:  # all want the same ports
        here = {"address": f"127.0.0.1:{port}", "ui": f"http://127.0.0.1:{ui}", "cluster": ""}
        Embedded.path(one).write_text(json.dumps(here))
    async with AsyncExitStack() as stack:
        servers = [EmbeddedServer(one) for one in settings]
        await asyncio.gather(*(stack.enter_async_context(server) for server in servers))
        assert len({server.address for server in servers}) == len(servers)
        assert len({server.ui for server in servers}) == len(servers)
        for one in settings:
            await connect(one)  # refused by a server that is not its own
        assert len({Embedded.read(one).cluster for one in settings}) == len(servers)


def _of(settings: Settings) -> dict[str, str]:
    return {"TEMPORAL_RUNS_HOME": str(settings.home), "TEMPORAL_RUNS_TIERS": str(settings.tiers)}


async def test_a_second_one_is_refused(machine: Machine):
    environment = {**os.environ, **machine.up.environment}
    done = await asyncio.to_thread(subprocess.run, [COMMAND, "up"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "running already" in done.stderr
    assert (await (await machine.start("true")).result()).state is State.SUCCEEDED, "the first is unharmed"


async def _waits(handle: RunHandle) -> bool:
    queue = (await handle.status()).queue
    return queue is not None and queue.position == 1
