"""`docker-compose.temporal.yml`: one command brings it up, Runs go through it, a killed server loses nothing."""

import asyncio
import os
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import pytest_asyncio

from temporal_runs.client import RunHandle, Runs
from temporal_runs.connection import connect
from temporal_runs.settings import Settings
from temporal_runs.status import State
from temporal_runs.store import Store
from temporal_runs.worker import embedded
from tests.conftest import System, eventually

ROOT = Path(__file__).parents[2]
PUBLISHED = ("TEMPORAL_PORT", "TEMPORAL_UI_PORT", "REGISTRY_PORT")
WORKING = ("temporal", "registry", "dispatcher", "executor")

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@dataclass
class Composed:
    """One project of docker-compose's, and the engine it is on."""

    name: str
    home: Path
    environment: dict[str, str]
    engine: docker.DockerClient

    def compose(self, *arguments: str) -> None:
        command = ["docker-compose", "-f", str(ROOT / "docker-compose.temporal.yml"), "-p", self.name, *arguments]
        done = subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def container(self, service: str) -> Any:
        labels = [f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}"]
        (found,) = self.engine.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
        return found

    def is_healthy(self, service: str) -> bool:
        return self.container(service).attrs["State"].get("Health", {}).get("Status") == "healthy"

    def commands(self) -> list[Any]:
        """The containers of Runs' commands."""
        label = f"temporal-runs.executor={self.home / 'executors' / 'executor-1'}"
        return self.engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)

    def left(self) -> dict[str, list[str]]:
        """What the project has on the machine."""
        mine = {"label": f"com.docker.compose.project={self.name}"}
        return {
            "containers": [
                one.name for one in self.engine.containers.list(all=True, filters=mine, ignore_removed=True)
            ],
            "networks": [one.name for one in self.engine.networks.list(filters=mine)],
            "volumes": sorted(one.name.removeprefix(f"{self.name}_") for one in self.engine.volumes.list(filters=mine)),
        }


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """The system, up; down with its volumes afterwards, and nothing left."""
    install = ". scripts/lib.sh; command -v docker-compose || install_packages docker-compose"
    subprocess.run(["bash", "-c", install], cwd=ROOT, check=True)
    name = f"runs-test-{uuid.uuid4().hex[:8]}"
    home = tmp_path_factory.mktemp("compose")
    environment = {variable: str(port) for variable, port in zip(PUBLISHED, _free_ports(), strict=True)}
    environment |= {"TEMPORAL_RUNS_HOME": str(home), "TEMPORAL_RUNS_IMAGE": f"{name}:latest"}
    made = subprocess.run([ROOT / "scripts/offline-images"], env={**os.environ, **environment}, capture_output=True)
    assert made.returncode == 0, made.stderr.decode()
    composed = Composed(name, home, environment, docker.from_env())
    try:
        composed.compose("up", "-d")
        yield composed
    finally:
        composed.compose("down", "-v", "--remove-orphans")
        commands = composed.commands()
        for command in commands:
            command.remove(force=True)
        pushed = f"127.0.0.1:{environment['REGISTRY_PORT']}/temporal-runs/environment"
        for image in composed.engine.images.list(name=pushed):
            for tag in image.tags:
                composed.engine.images.remove(tag)
        composed.engine.images.remove(f"{name}:latest")
    assert composed.left() == {"containers": [], "networks": [], "volumes": []}
    assert commands == []


@pytest_asyncio.fixture(scope="module")
async def user(composed: Composed, image: str) -> AsyncIterator[System]:
    """What somebody on the host needs, with everything healthy."""
    await eventually(lambda: all(map(composed.is_healthy, WORKING)), 120)
    settings = Settings(home=composed.home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{composed.environment['TEMPORAL_PORT']}")
        client = await connect(settings)
        yield System(client, settings, Runs(client, settings), Store.open(settings.store_url), image, "executor-1")


async def test_a_run_goes_through_and_its_built_environment_is_in_the_registry(composed: Composed, user: System):
    project = user.project()
    environment = {"base": user.image, "instructions": [f"RUN echo {uuid.uuid4().hex} > /greeting"]}
    command = "cat /greeting > greeting; echo done"
    handle = await user.start(command, project=project, tier="small", environment=environment)
    result = await handle.result()
    assert result.executor == "executor-1"
    assert State.BUILDING in [change.state for change in result.history]
    assert await user.console(handle) == b"done\n"
    assert user.files(project)["greeting"].strip().decode() in environment["instructions"][0]
    registry = f"127.0.0.1:{composed.environment['REGISTRY_PORT']}"
    name, _, id = result.image.partition("@")
    assert name == f"{registry}/temporal-runs/environment"
    # The Run that it was built for does not wait until the registry has it.
    await eventually(lambda: composed.engine.images.get(id).attrs["RepoDigests"])
    for tag in composed.engine.images.get(id).tags:
        composed.engine.images.remove(tag)
    pulled = await user.start(command, project=project, tier="small", environment=environment)
    states = [change.state for change in (await pulled.result()).history]
    assert State.PULLING in states
    assert State.BUILDING not in states


async def test_a_killed_server_loses_nothing(composed: Composed, user: System):
    before = await user.start("echo before", tier="small")
    await before.result()
    project, handle = await _waiting(user)

    # Its process dies: it is started again by nobody but the engine.
    pid = composed.container("temporal").attrs["State"]["Pid"]
    composed.engine.containers.run(user.image, ["kill", "-9", str(pid)], pid_mode="host", remove=True)
    await eventually(lambda: composed.container("temporal").attrs["RestartCount"] == 1)
    await eventually(lambda: composed.is_healthy("temporal"))
    assert (await handle.status()).state == State.RUNNING

    # Killed by hand, it stays away until it is started by hand; meanwhile the command ends.
    composed.container("temporal").kill()
    await _let_end(composed)
    composed.compose("start", "temporal")

    await _is_whole(user, project, handle)
    assert {before.id, handle.id} <= {run.run_id for run in await user.runs.list()}
    assert await user.console(before) == b"before\n"
    # Both are well again, and take the next Run in.
    await (await user.start("true", tier="small")).result()
    await eventually(lambda: all(map(composed.is_healthy, WORKING)), 120)


async def test_nothing_is_reachable_from_elsewhere_and_only_the_executor_has_the_engine(
    composed: Composed, user: System
):
    containers = {service: composed.container(service).attrs for service in (*WORKING, "setup", "retention")}
    published = [
        binding["HostIp"]
        for container in containers.values()
        for bindings in (container["HostConfig"]["PortBindings"] or {}).values()
        for binding in bindings
    ]
    assert published == ["127.0.0.1"] * 3
    network = composed.engine.networks.get(f"{composed.name}_default").attrs
    another_address_of_this_machine = network["IPAM"]["Config"][0]["Gateway"]
    for variable in PUBLISHED:
        port = int(composed.environment[variable])
        socket.create_connection(("127.0.0.1", port), 10).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((another_address_of_this_machine, port), 10)
    with_socket = [
        service
        for service, container in containers.items()
        if any(mount["Destination"].endswith("docker.sock") for mount in container["Mounts"])
    ]
    assert with_socket == ["executor"]
    assert [containers[service]["State"]["ExitCode"] for service in ("setup", "retention")] == [0, 0]


async def test_down_leaves_no_containers_and_up_goes_on_where_it_was(composed: Composed, user: System):
    project, handle = await _waiting(user)
    composed.compose("down")
    assert composed.left() == {"containers": [], "networks": [], "volumes": ["registry", "temporal"]}
    await _let_end(composed)
    composed.compose("up", "-d")
    await _is_whole(user, project, handle)


def test_the_server_is_set_as_the_embedded_one(composed: Composed):
    said = composed.container("temporal").attrs["Args"]
    # Search attributes come later here, so the server has to look for them.
    late = "system.forceSearchAttributesCacheRefreshOnRead"
    dynamic = {f"{name}={value}" for name, value in embedded.DYNAMIC_CONFIG.items() if name != late}
    assert _values(said, "dynamic-config-value") == dynamic
    assert _values(said, "sqlite-pragma") == {f"{name}={value}" for name, value in embedded.SQLITE.items()}


async def _waiting(user: System) -> tuple[str, RunHandle]:
    """A Run whose command has begun and ends with `_let_end`, and its project."""
    project = user.project()
    waits = "echo started >> starts; echo begun; until [ -e /tmp/go ]; do sleep 0.1; done; echo ended"
    handle = await user.start(waits, project=project, tier="small")
    async for status in handle.watch():
        if status.state == State.RUNNING:
            return project, handle
    raise AssertionError(f"{handle} never ran")


async def _let_end(composed: Composed) -> None:
    (command,) = composed.commands()
    assert command.exec_run(["touch", "/tmp/go"]).exit_code == 0
    assert (await asyncio.to_thread(command.wait))["StatusCode"] == 0


async def _is_whole(user: System, project: str, handle: RunHandle) -> None:
    """Its command was executed once, and all of its files and console are there."""
    assert (await handle.result()).attempt == 1
    assert user.files(project)["starts"] == b"started\n"
    assert await user.console(handle) == b"begun\nended\n"


def _values(arguments: list[str], flag: str) -> set[str]:
    return {argument.split("=", 1)[1] for argument in arguments if argument.startswith(f"--{flag}=")}


def _free_ports() -> list[int]:
    probes = [socket.socket() for _ in PUBLISHED]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
