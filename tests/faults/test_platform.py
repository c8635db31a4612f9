"""The Docker engine, the disk, a registry or the store go away: for a while, or for good."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import docker
import pytest
import pytest_asyncio

from temporal_runs.client import RunError, RunFailed, RunHandle
from temporal_runs.status import RunResult, State
from temporal_runs.worker.ledger import recorded
from tests.conftest import eventually
from tests.engines import EngineOfItsOwn
from tests.fleets import SECOND, Fleet, Process, require_nothing_left

pytestmark = pytest.mark.timeout(400)


@asynccontextmanager
async def works_on(engine: EngineOfItsOwn, fleet: Fleet) -> AsyncIterator[EngineOfItsOwn]:
    """The fleet's second executor works on this engine; its first one is ended."""
    client = await engine.start()
    try:
        client.images.load(b"".join(docker.from_env().images.get(fleet.image).save(named=fleet.image)))
        fleet.executor.end()
        fleet.second_executor.environment = {**fleet.second_executor.environment, "DOCKER_HOST": engine.address}
        fleet.engines.append(client)
        fleet.second_executor.start()
        await (await fleet.start("true")).result()  # it works
        yield engine
        await require_nothing_left(fleet)
        fleet.engines.remove(client)
    finally:
        engine.remove()


@pytest_asyncio.fixture
async def engine(fleet: Fleet, short_path: Path) -> AsyncIterator[EngineOfItsOwn]:
    async with works_on(EngineOfItsOwn(short_path), fleet) as engine:
        yield engine


@pytest_asyncio.fixture
async def keeping_engine(fleet: Fleet, short_path: Path) -> AsyncIterator[EngineOfItsOwn]:
    """One that is set to keep its containers running while it is away."""
    async with works_on(EngineOfItsOwn(short_path, "--live-restore"), fleet) as engine:
        yield engine


async def error_of(handle: RunHandle) -> RunResult:
    with pytest.raises(RunError) as error:
        await handle.result()
    assert error.value.result.cause.blame == "platform"
    return error.value.result


@pytest.mark.parametrize(
    ("sign", "codes"),
    # An engine that is told to end kills its containers first, as anybody may through it; we may hear of that or not.
    [(signal.SIGKILL, {"docker_unavailable"}), (signal.SIGTERM, {"container_killed", "docker_unavailable"})],
)
async def test_an_engine_that_restarts_under_a_command_is_an_error_that_keeps_its_results(
    fleet: Fleet, engine: EngineOfItsOwn, sign: signal.Signals, codes: set[str]
):
    project = fleet.project()
    handle = await fleet.started("true", project=project)
    engine.end(sign)
    await engine.start()
    result = await error_of(handle)
    assert result.cause.code in codes
    assert fleet.files(project, result.output_commit)["starts"] == b"started\n"


@pytest.mark.parametrize("executor_dies", [False, True], ids=["", "and its executor too"])
async def test_an_engine_that_keeps_its_containers_harms_none_as_it_restarts(
    fleet: Fleet, keeping_engine: EngineOfItsOwn, executor_dies: bool
):
    project = fleet.project()
    handle = await fleet.started("seq 1 1000", project=project)

    def is_missed() -> bool:
        (holding,) = [one for one in recorded(fleet.folder(SECOND)) if one.begun and not one.finished]
        return holding.engine_lost_at is not None

    keeping_engine.end(signal.SIGKILL)
    await eventually(is_missed)
    if executor_dies:
        fleet.second_executor.kill()
    client = await keeping_engine.start()
    if executor_dies:
        fleet.second_executor.start()
    await eventually(lambda: not is_missed())
    (container,) = client.containers.list(filters={"name": f"run-{handle.id}"})
    container.exec_run(["touch", "/mnt/go"])
    assert (await handle.result()).state is State.SUCCEEDED
    assert fleet.files(project)["starts"] == b"started\n"
    assert await fleet.console(handle) == b"begun\n" + b"".join(b"%d\n" % n for n in range(1, 1001))
    # Docker 20.10 counts a mount too many of a volume that it found in use, until it starts anew.
    keeping_engine.end(signal.SIGTERM)
    await keeping_engine.start()


async def test_an_engine_that_comes_back_before_the_command_has_begun_fails_nothing(
    fleet: Fleet, engine: EngineOfItsOwn
):
    engine.end(signal.SIGKILL)
    project = fleet.project()
    handle = await fleet.start("echo started >> starts", project=project)
    await eventually(lambda: _prepares(handle))
    await engine.start()
    assert (await handle.result()).state is State.SUCCEEDED
    assert fleet.files(project)["starts"] == b"started\n"


async def test_an_engine_that_hangs_for_a_while_harms_nothing(fleet: Fleet, engine: EngineOfItsOwn):
    project = fleet.project()
    handle = await fleet.started("seq 1 1000", project=project)
    (container,) = docker.DockerClient(engine.address).containers.list(filters={"name": f"run-{handle.id}"})
    container.exec_run(["sh", "-c", "sleep 1; touch /mnt/go"], detach=True)
    command = Path("/proc") / f"{container.attrs['State']['Pid']}"
    with engine.hung():
        next_one = await fleet.start("true")
        await eventually(lambda: _prepares(next_one))
        await eventually(lambda: not command.exists())
    assert (await handle.result()).state is State.SUCCEEDED
    assert (await next_one.result()).state is State.SUCCEEDED
    assert fleet.files(project)["starts"] == b"started\n"
    assert await fleet.console(handle) == b"begun\n" + b"".join(b"%d\n" % n for n in range(1, 1001))


@pytest.mark.long
async def test_an_engine_that_hangs_for_good_is_named(fleet: Fleet, engine: EngineOfItsOwn):
    with engine.hung():
        result = await error_of(await fleet.start("true"))
    assert result.cause.code == "docker_unavailable"
    assert engine.address in result.cause.message


@pytest.mark.long
async def test_an_engine_that_stays_away_is_named(fleet: Fleet, engine: EngineOfItsOwn):
    engine.end(signal.SIGKILL)
    result = await error_of(await fleet.start("true"))
    assert result.cause.code == "docker_unavailable"
    assert engine.address in result.cause.message
    await engine.start()


@asynccontextmanager
async def away(engine: EngineOfItsOwn, how: str) -> AsyncIterator[None]:
    """Until the block has ended."""
    if how == "hung":
        with engine.hung():
            yield
    else:
        engine.end(signal.SIGKILL)
        yield
        await engine.start()


@pytest.mark.long
@pytest.mark.parametrize("stopped", [False, True], ids=["", "stopped"])
@pytest.mark.parametrize("how", ["gone", "hung"])
async def test_an_engine_that_is_away_for_good_under_a_command_is_named_and_results_are_saved_when_it_is_back(
    fleet: Fleet, engine: EngineOfItsOwn, how: str, stopped: bool
):
    project = fleet.project()
    handle = await fleet.started("true", project=project)
    async with away(engine, how):
        if stopped:
            await handle.stop()
        result = await error_of(handle)
    assert result.cause.code == "docker_unavailable"
    assert result.cause.stage is (State.STOP_REQUESTED if stopped else State.RUNNING)
    assert result.cause.evidence["host"] == os.uname().nodename
    saved = await eventually(lambda: fleet.store.head(project, f"recovered/{handle.id}/1"))
    assert fleet.files(project, saved)["starts"] == b"started\n"


@pytest.mark.long
async def test_a_command_that_ends_while_its_engine_hangs_for_more_than_a_minute_has_ended_by_itself(
    fleet: Fleet, engine: EngineOfItsOwn
):
    project = fleet.project()
    handle = await fleet.started("seq 1 1000", project=project)
    (container,) = docker.DockerClient(engine.address).containers.list(filters={"name": f"run-{handle.id}"})
    container.exec_run(["sh", "-c", "sleep 1; touch /mnt/go"], detach=True)
    with engine.hung():
        await eventually(lambda: "engine hangs" in fleet.second_executor.log.read_text(), 120)
    assert (await handle.result()).state is State.SUCCEEDED
    assert fleet.files(project)["starts"] == b"started\n"
    assert await fleet.console(handle) == b"begun\n" + b"".join(b"%d\n" % n for n in range(1, 1001))


@pytest.mark.long
async def test_an_engine_that_is_killed_because_it_hangs_and_started_anew_is_an_error_that_keeps_results(
    fleet: Fleet, engine: EngineOfItsOwn
):
    project = fleet.project()
    handle = await fleet.started("true", project=project)
    with engine.hung():
        await eventually(lambda: "engine hangs" in fleet.second_executor.log.read_text(), 120)
        engine.end(signal.SIGKILL)
    await engine.start()
    result = await error_of(handle)
    assert result.cause.code == "docker_unavailable"
    assert fleet.files(project, result.output_commit)["starts"] == b"started\n"


@pytest.mark.long
async def test_an_engine_that_hangs_under_a_build_is_named(fleet: Fleet, engine: EngineOfItsOwn):
    sleep = "RUN sleep 1234"
    handle = await fleet.start("true", environment={"base": fleet.image, "instructions": [sleep]})
    await eventually(lambda: _carries_out(handle, sleep))
    with engine.hung():
        result = await error_of(handle)
    assert (result.cause.code, result.cause.stage) == ("docker_unavailable", State.BUILDING)


@pytest.mark.long
async def test_a_registry_that_stays_away(fleet: Fleet):
    result = await error_of(await fleet.start("true", environment={"image": "127.0.0.1:1/none:1"}))
    assert result.cause.code == "registry_unavailable"
    assert result.cause.stage is State.PULLING


@pytest.mark.long
async def test_a_store_that_stays_away(fleet: Fleet):
    spec = fleet.spec("true")
    await (await fleet.runs.start(spec)).result()  # everybody has opened the store
    with fleet.store_away():
        result = await error_of(await fleet.runs.start(spec))
    assert result.cause.code == "store_unavailable"


@pytest.mark.long
async def test_a_store_that_stays_away_as_results_come_back_rewrites_no_outcome(fleet: Fleet):
    project = fleet.project()
    handle = await fleet.started("exit 3", project=project)
    with fleet.store_away():
        fleet.let_go(handle)
        with pytest.raises(RunFailed) as failure:
            await handle.result()
    assert failure.value.result.exit_code == 3
    saved = await eventually(lambda: fleet.store.head(project, f"recovered/{handle.id}/1"))
    assert fleet.files(project, saved)["starts"] == b"started\n"


@asynccontextmanager
async def small_disk(fleet: Fleet, name: str) -> AsyncIterator[Path]:
    """One of 1 MiB, on which the second executor has a folder of its own; the first executor is ended."""
    folder = fleet.folder(SECOND) / name
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    await asyncio.to_thread(subprocess.run, mount, check=True)
    fleet.executor.end()
    fleet.second_executor.start()
    yield folder
    await _drained(fleet.second_executor)
    await asyncio.to_thread(subprocess.run, ["umount", folder], check=True)


@pytest.mark.long
async def test_a_machine_whose_disk_is_full(fleet: Fleet):
    async with small_disk(fleet, "cache"):
        project = fleet.project({"large.bin": "x" * 4 * 2**20})
        result = await error_of(await fleet.start("true", project=project))
        assert result.cause.code == "host_disk_full"
        assert result.cause.stage is State.PREPARING
        assert result.cause.evidence["host"] == os.uname().nodename


async def test_a_machine_whose_disk_a_command_fills(fleet: Fleet):
    async with small_disk(fleet, "workspaces"):
        project = fleet.project()
        handle = await fleet.start("echo before > first; dd if=/dev/zero of=second bs=1M count=4", project=project)
        result = await error_of(handle)
        assert (result.cause.code, result.exit_code) == ("host_disk_full", 1)
        assert fleet.files(project, result.output_commit)["first"] == b"before\n"


async def test_an_executor_whose_ledger_cannot_be_written_takes_no_runs_until_it_can(fleet: Fleet):
    async with small_disk(fleet, "leases") as folder:
        await (await fleet.start("true")).result()  # it works
        full = folder / "full"
        with suppress(OSError):
            full.write_bytes(bytes(2 * 2**20))
        handle = await fleet.start("true")
        await eventually(lambda: _waits_for(handle, {SECOND: "unwritable"}))
        fleet.executor.start()
        assert (await handle.result()).executor == fleet.executor_id
        await _drained(fleet.executor)
        full.unlink()
        assert (await (await fleet.start("true")).result()).executor == SECOND
    assert fleet.second_executor.log.read_text().count("takes no Runs") == 1


async def _drained(executor: Process) -> None:
    executor.tell(signal.SIGTERM)
    assert await asyncio.to_thread(executor.ended) == 0


async def _waits_for(handle: RunHandle, idle: dict[str, str]) -> bool:
    queue = (await handle.status()).queue
    return queue is not None and queue.executors == 0 and queue.idle == idle


@pytest.mark.long
async def test_a_machine_whose_disk_is_full_as_a_command_is_stopped(fleet: Fleet):
    project = fleet.project()
    async with small_disk(fleet, "leases") as ledger:
        handle = await fleet.started("true", project=project)
        filler = ledger / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(2 * 2**20))
        await handle.stop()
        result = await error_of(handle)
        assert result.cause.code == "host_disk_full"
        assert result.cause.stage is State.STOP_REQUESTED
        filler.unlink()
        saved = await eventually(lambda: fleet.store.head(project, f"recovered/{handle.id}/1"))
        assert fleet.files(project, saved)["starts"] == b"started\n"


async def _prepares(handle: RunHandle) -> bool:
    return (await handle.status()).state is State.PREPARING


async def _carries_out(handle: RunHandle, instruction: str) -> bool:
    return instruction in ((await handle.status()).progress or {}).get("instruction", "")
