"""The one place that starts servers: Temporal's, a file store, registries, a dispatcher and an executor, all real.

Unit tests use none of it. Fixtures give a running system; nothing here is simulated.
"""

import asyncio
import fcntl
import io
import shutil
import sys
import tarfile
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import docker
import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from temporal_runs import search_attributes
from temporal_runs.client import RunHandle, Runs
from temporal_runs.settings import Settings
from temporal_runs.store import Store
from temporal_runs.worker.ledger import recorded
from tests.registries import Registry, Sick, forget_image, free_port, push_new_image
from tests.witness import SWITCHES, witness

Value = TypeVar("Value")

IMAGE = "temporal-runs-test/busybox:1"
"""`FROM scratch` with Debian's busybox-static: 2 MB, made in half a second."""

PASSWORDS = {"ada": "secret", "bob": "also secret"}
"""Of the users of the private registry."""

APPLETS = "sh true sleep cat echo tail kill ls id env mkdir rm ln mkfifo seq head touch printf test dd mount"

TIERS = """
[tiny]
cores = 0.25
memory = "32MiB"

[small]
cores = 0.25
memory = "128MiB"

[boxed]
cores = 0.25
memory = "64MiB"
disk = "8MiB"
mounts = {{genomes = "{home}/genomes"}}

[brief]
cores = 0.25
memory = "32MiB"
default_time_limit = 0.5
max_time_limit = 60

[alone]
cores = 0.25
memory = "32MiB"

[huge]
cores = 1000
memory = "64GiB"
""" + "".join(
    f"""
[{name}]
cores = 0.25
memory = "32MiB"
mounts = {{{{{SWITCHES} = "{{home}}/{SWITCHES}"}}}}
"""
    for name in ("one", "two", "three")
)

SERVER_FLAGS = (
    "history.transferProcessorMaxPollRPS=2000",
    "frontend.enableCancelWorkerPollsOnShutdown=true",
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    "frontend.WorkflowPauseEnabled=true",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", metavar="FOLDER", help="Keep pictures of Temporal's Web UI there.")


@pytest.fixture(scope="session")
def image() -> str:
    """A small image that is on the machine, the same for all sessions."""
    with (Path(tempfile.gettempdir()) / "temporal-runs-test-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _have_image(docker.from_env())
    return IMAGE


def _have_image(engine: docker.DockerClient) -> None:
    try:
        engine.images.get(IMAGE)
    except docker.errors.ImageNotFound:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            busybox = shutil.which("busybox")
            assert busybox, "tests need Debian's busybox-static: scripts/test-tools installs it"
            tar.add(busybox, "bin/busybox")
            for name in APPLETS.split():
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
            for name in ("tmp", "mnt"):
                folder = tarfile.TarInfo(name)
                folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
                tar.addfile(folder)
        engine.api.import_image_from_data(
            archive.getvalue(), repository=IMAGE.split(":")[0], tag="1", changes=["ENV PATH=/bin"]
        )


@pytest.fixture(scope="session")
def web_ui() -> str:
    """The address of the server's Web UI."""
    return f"http://127.0.0.1:{free_port()}"


@pytest_asyncio.fixture(scope="session")
async def server(web_ui: str) -> AsyncIterator[WorkflowEnvironment]:
    """A real Temporal server, with our search attributes registered."""
    temporal = Path(sys.executable).parent / "temporal"
    flags = [argument for flag in SERVER_FLAGS for argument in ("--dynamic-config-value", flag)]
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(temporal),
        ui=True,
        ui_port=int(web_ui.rpartition(":")[2]),
        dev_server_extra_args=flags,
        data_converter=pydantic_data_converter,
    ) as environment:
        await search_attributes.register(environment.client)
        yield environment


async def eventually(look: Callable[[], Awaitable[Value | None] | Value | None], seconds: float = 60) -> Value:
    """What `look` finds, as soon as it does: for what happens in another process, which tells nobody."""
    async with asyncio.timeout(seconds):
        while True:
            found = look()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.1)


@dataclass
class System:
    """A dispatcher and an executor at work in this process, and what a user needs to reach them."""

    client: Client
    settings: Settings
    runs: Runs
    store: Store
    image: str
    executor_id: str
    tier: str = "tiny"
    """of its specs, unless they name another"""
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def spec(self, command: list[str] | str, **more: Any) -> dict[str, Any]:
        """A spec for a command in the small image, on a new project with one file unless another is named."""
        project = more.pop("project", None) or self.project()
        return {"project": project, "command": command, "environment": {"image": self.image}, "tier": self.tier, **more}

    def project(self, files: dict[str, str] | None = None) -> str:
        """A new project with these files."""
        name = f"p-{uuid.uuid4().hex[:8]}"
        folder = self.settings.home / "folders" / name
        folder.mkdir(parents=True)
        for path, text in (files or {"data.txt": "1\n2\n3\n"}).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        self.store.push(name, folder, base=None, author="tester", message="first")
        return name

    async def start(self, command: list[str] | str, **more: Any) -> RunHandle:
        return await self.runs.start(self.spec(command, **more))

    async def begun(self, command: str, **more: Any) -> RunHandle:
        """A Run whose command executes, and waits to be let go before it does what it was given."""
        handle = await self.start("echo begun; while [ ! -e go ]; do sleep 0.05; done; " + command, **more)
        async for _ in handle.logs(follow=True):
            break
        return handle

    async def witness(self, ending: str, **more: Any) -> RunHandle:
        """A Run whose command tells on itself, see `tests.witness`; it executes, until its switch is turned."""
        handle = await self.start(witness(ending), **{"tier": "one", "mounts": [SWITCHES], **more})
        async for _ in handle.logs(follow=True):
            return handle
        raise AssertionError("the console ended before the command had begun")

    def turn_switch(self, handle: RunHandle) -> None:
        """Lets the command of a witness end, wherever it is."""
        (self.settings.home / SWITCHES / handle.id).touch()

    async def console(self, handle: RunHandle) -> bytes:
        return b"".join([chunk async for chunk in handle.logs()])

    def files(self, project: str, commit: str | None = None) -> dict[str, bytes]:
        """The files of a project's newest commit."""
        commit = commit or self.store.resolve(project, "latest")
        return {
            entry.path.decode(): b"".join(self.store.read(project, commit, entry.path.decode()))
            for entry in self.store.entries(project, commit)
            if entry.kind == "file"
        }

    def let_go(self, handle: RunHandle) -> None:
        """Gives a command that waits for it the file `go`. From within: a mounted overlay is not changed from below."""
        (container,) = docker.from_env().containers.list(filters={"name": f"run-{handle.id}"}, ignore_removed=True)
        # 137: the command was faster, and its container's end killed this one as well.
        assert container.exec_run(["touch", "/mnt/go"]).exit_code in (0, 137)

    def left_of(self, handle: RunHandle) -> list[str]:
        """What executors and their engine have of a Run: leases, workspaces, containers, volumes."""
        engine, named = docker.from_env(), {"name": f"run-{handle.id}."}
        containers = engine.containers.list(all=True, filters=named, ignore_removed=True)
        left = [one.name for one in (*containers, *engine.volumes.list(filters=named))]
        for folder in (self.settings.home / "executors").iterdir():
            held = [one for one in recorded(folder) if one.request.attempt.run_id == handle.id and not one.finished]
            left += [f"lease {one.token}" for one in held]
            left += map(str, folder.glob(f"workspaces/{handle.id}.*"))
        return left

    async def require_freed(self, handle: RunHandle) -> None:
        """Raises AssertionError unless nothing is left of a Run that is over, within a minute."""
        try:
            await eventually(lambda: not self.left_of(handle), 60)
        except TimeoutError:
            raise AssertionError(f"left behind: {self.left_of(handle)}") from None

    @contextmanager
    def store_away(self) -> Iterator[None]:
        """As when the store's disk is unmounted."""
        folder = Path(self.settings.store_url)
        elsewhere = folder.with_name("elsewhere")
        folder.rename(elsewhere)
        try:
            yield
        finally:
            elsewhere.rename(folder)


@asynccontextmanager
async def running(client: Client, settings: Settings, image: str, serve: dict[str, int]) -> AsyncIterator[System]:
    """A whole system; it ends with its block."""
    from temporal_runs.worker.dispatcher import run_dispatcher
    from temporal_runs.worker.executor import run_executor
    from temporal_runs.worker.room import Offer

    store = Store.open(settings.store_url)
    executor_id = f"test-{uuid.uuid4().hex[:6]}"
    system = System(client, settings, Runs(client, settings), store, image, executor_id)
    system.tasks = [
        asyncio.create_task(run_dispatcher(client, settings)),
        asyncio.create_task(run_executor(client, settings, executor_id, Offer(serve))),
    ]
    try:
        yield system
    finally:
        for task in system.tasks:
            task.cancel()
        await asyncio.gather(*system.tasks, return_exceptions=True)


@pytest.fixture(scope="session")
def make_settings(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Settings]:
    """Settings of a new machine: a HOME of its own, small tiers."""

    def make(**more: Any) -> Settings:
        home = tmp_path_factory.mktemp("home")
        tiers = home / "tiers.toml"
        tiers.write_text(TIERS.format(home=home))
        (home / "genomes").mkdir()
        (home / "genomes/human").write_text("ACGT\n")
        (home / SWITCHES).mkdir()
        return Settings(home=home, tiers=tiers, **more)

    return make


@pytest_asyncio.fixture(scope="session")
async def system(
    server: WorkflowEnvironment, image: str, make_settings: Callable[..., Settings]
) -> AsyncIterator[System]:
    """The whole system, on a store in a folder."""
    serve = {"tiny": 4, "small": 2, "boxed": 1, "brief": 1}
    async with running(server.client, make_settings(lease=20), image, serve) as system:
        yield system


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host:port of a registry."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    registry.start()
    yield registry.address
    registry.stop()


@pytest.fixture
def registry_of_its_own(tmp_path: Path) -> Iterator[Registry]:
    """One that may be taken down."""
    registry = Registry(tmp_path / "registry")
    registry.start()
    yield registry
    registry.stop()


@pytest.fixture
def sick(registry_of_its_own: Registry) -> Iterator[Sick]:
    """In front of the registry of its own, healthy until it is told otherwise."""
    sick = Sick(registry_of_its_own)
    yield sick
    sick.close()


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host:port of a registry that lets in those of PASSWORDS."""
    registry = Registry(tmp_path_factory.mktemp("private_registry"), PASSWORDS)
    registry.start()
    yield registry.address
    registry.stop()


@pytest.fixture
def new_image() -> Iterator[Callable[..., str]]:
    """Makes images that only a registry has, see `push_new_image`; removes what became of them on the machine."""
    made: list[str] = []

    def make(address: str, **more: object) -> str:
        made.append(push_new_image(address, **more))
        return made[-1]

    yield make
    for reference in made:
        forget_image(reference)
