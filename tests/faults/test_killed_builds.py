"""Executors, dispatchers and registries die while images are built, pushed and pulled: Runs succeed all the same.

All tests share one fleet; what a test kills it starts again.
"""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import pytest_asyncio
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import WorkflowExecutionStatus

from temporal_runs.asking import described
from temporal_runs.client import RunError, RunFailed, RunHandle, RunStopped
from temporal_runs.engine import Engine
from temporal_runs.settings import Settings
from temporal_runs.status import Cause, RunResult, State
from tests.conftest import PASSWORDS, eventually
from tests.engines import EngineOfItsOwn
from tests.fleets import SECOND, Fleet, Process, fleet_of
from tests.registries import Registry, Sick

pytestmark = pytest.mark.timeout(300)
NewImage = Callable[..., str]

AWAY = 10
"""Seconds for which a registry is down."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The one that the fleet shares its images by."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    registry.start()
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def door(registry: Registry) -> Iterator[Sick]:
    """The way to it."""
    door = Sick(registry)
    yield door
    door.close()


@pytest.fixture(scope="module")
def registries(private_registry: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The settings' file: ada and bob may use the private registry, eve has no password for it that is right."""
    folder = tmp_path_factory.mktemp("settings")
    lines: list[str] = []
    for owner, password in {**PASSWORDS, "eve": "guessed"}.items():
        (folder / owner).write_text(f"{password}\n")
        lines += [f"[{owner}s]", f'host = "{private_registry}"', f'username = "{owner}"', f'owners = ["{owner}"]']
        lines += [f'password_file = "{folder / owner}"']
    file = folder / "registries.toml"
    file.write_text("\n".join(lines))
    return file


@pytest_asyncio.fixture(scope="module")
async def shared_fleet(
    image: str, make_settings: Callable[..., Settings], door: Sick, registries: Path
) -> AsyncIterator[Fleet]:
    async with fleet_of(make_settings(lease=6, registry=door.address, registries=registries), image) as fleet:
        yield fleet


@pytest_asyncio.fixture
async def fleet(shared_fleet: Fleet, door: Sick) -> AsyncIterator[Fleet]:
    """Its first executor is at work; afterwards asserts that nothing is left behind."""
    yield shared_fleet
    door.heal()
    await eventually(shared_fleet.left_nothing)
    shared_fleet.second_executor.end()


@pytest_asyncio.fixture
async def elsewhere(fleet: Fleet, short_path: Path) -> AsyncIterator[EngineOfItsOwn]:
    """An engine that the fleet's second executor works on, as on another machine."""
    engine, here = EngineOfItsOwn(short_path), fleet.second_executor.environment
    try:
        client = await engine.start()
        client.images.load(b"".join(docker.from_env().images.get(fleet.image).save(named=fleet.image)))
        fleet.second_executor.environment = {**here, "DOCKER_HOST": engine.address}
        yield engine
        await eventually(fleet.left_nothing)
    finally:
        fleet.second_executor.end()
        fleet.second_executor.environment = here
        engine.remove()


@pytest_asyncio.fixture
async def on_small_disk(fleet: Fleet, engine_on_small_disk: EngineOfItsOwn) -> AsyncIterator[docker.DockerClient]:
    """The engine that the fleet's one executor works on meanwhile; its images have little room."""
    here, client = fleet.second_executor.environment, docker.DockerClient(engine_on_small_disk.address)
    client.images.load(b"".join(docker.from_env().images.get(fleet.image).save(named=fleet.image)))
    fleet.second_executor.environment = {**here, "DOCKER_HOST": engine_on_small_disk.address}
    fleet.executor.end()
    fleet.second_executor.start()
    yield client
    await eventually(fleet.left_nothing)
    fleet.second_executor.end()
    fleet.second_executor.environment = here
    fleet.executor.start()


class Unbuilt:
    """An environment that nobody has built yet, with these instructions."""

    def __init__(self, base: str, *instructions: str) -> None:
        self.mark = f"NEW={uuid.uuid4().hex}"
        self.environment = {"base": base, "instructions": [f"ENV {self.mark}", *instructions]}

    def containers(self, *, all: bool = True) -> list[Any]:
        """Those in which it is built on this machine's engine, or only those that run."""
        there = docker.from_env().containers.list(all=all, ignore_removed=True)
        return [one for one in there if self.mark in one.attrs["Config"]["Env"]]

    async def begun(self) -> None:
        """Returns when one of its instructions is carried out."""
        await eventually(lambda: self.containers(all=False))


def states(result: RunResult) -> list[State]:
    return [change.state for change in result.history]


async def in_state(handle: RunHandle, state: State) -> None:
    """Returns when the Run is in that state."""

    async def look() -> bool:
        return (await handle.status()).state is state

    await eventually(look)


async def pinned(handle: RunHandle) -> None:
    """Returns when the Run waits for an executor."""

    async def look() -> bool:
        return (await handle.status()).input_commit is not None

    await eventually(look)


async def build_of(handle: RunHandle) -> str:
    """The workflow that builds for a Run."""

    async def look() -> str | None:
        return (await handle.status()).build

    return await eventually(look)


async def joined_by(fleet: Fleet, build: str, number: int) -> None:
    """Returns when so many Runs wait for a build."""

    async def look() -> bool:
        return len(await fleet.client.get_workflow_handle(build).query("who_waits")) == number

    await eventually(look)


async def closed(fleet: Fleet, build: str, seconds: float = 60) -> None:
    """Returns when a build is over, with its push."""

    async def look() -> bool:
        description = await fleet.client.get_workflow_handle(build).describe()
        return description.status is not WorkflowExecutionStatus.RUNNING

    await eventually(look, seconds)


async def activities(fleet: Fleet, build: str) -> list[str]:
    """What a build has asked executors for, in order."""
    history = await fleet.client.get_workflow_handle(build).fetch_history()
    return [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]


async def failed_once(fleet: Fleet, handle: RunHandle) -> PendingActivityInfo:
    """The activity of the Run that waits to be tried again."""

    async def look() -> PendingActivityInfo | None:
        pending = (await described(fleet.client, handle.id)).pending_activities
        return next((one for one in pending if one.HasField("current_retry_interval")), None)

    return await eventually(look)


async def platform_error(handle: RunHandle) -> Cause:
    """Waits for the Run's end in Error; what its cause is."""
    with pytest.raises(RunError) as error:
        await handle.result()
    return error.value.result.cause


def in_registry(door: Sick, build: str) -> bool:
    return Engine.connect().in_registry(f"{door.address}/temporal-runs/environment:{build.removeprefix('build.')}")


async def test_an_executor_killed_in_a_build_builds_when_it_is_back(fleet: Fleet):
    unbuilt = Unbuilt(fleet.image, "RUN sleep 2; echo made >> /made")
    handle = await fleet.start("cat /made", environment=unbuilt.environment)
    await unbuilt.begun()
    fleet.executor.kill()
    fleet.executor.start()
    assert (await handle.result()).attempt == 1
    assert await fleet.console(handle) == b"made\n"
    assert unbuilt.containers() == []


async def test_an_executor_killed_in_a_push_pushes_when_it_is_back(fleet: Fleet, door: Sick):
    unbuilt = Unbuilt(fleet.image, "RUN echo made > /made")
    door.hang("/blobs/uploads")
    handle = await fleet.start("cat /made", environment=unbuilt.environment)
    build = await build_of(handle)
    assert (await handle.result()).state is State.SUCCEEDED  # which waits for no push
    await eventually(lambda: door.count("POST", "/blobs/uploads"))
    fleet.executor.kill()
    door.heal()
    fleet.executor.start()
    await closed(fleet, build)
    assert in_registry(door, build)


async def test_an_executor_killed_in_a_pull_pulls_when_it_is_back(fleet: Fleet, door: Sick, new_image: NewImage):
    reference = new_image(door.address, base=fleet.image)
    door.hang_in_layers()
    handle = await fleet.start("[ -s /layer0 ] && echo whole", environment={"image": reference})
    await asyncio.to_thread(door.hangs.wait)
    await in_state(handle, State.PULLING)
    fleet.executor.kill()
    door.heal()
    fleet.executor.start()
    assert (await handle.result()).attempt == 1
    assert await fleet.console(handle) == b"whole\n"


async def test_a_build_whose_executor_is_lost_goes_on_where_another_run_waits_for_it(
    fleet: Fleet, elsewhere: EngineOfItsOwn
):
    unbuilt = Unbuilt(fleet.image, "RUN sleep 5; echo made >> /made")
    spec = fleet.spec("cat /made", environment=unbuilt.environment)
    lost = [await fleet.runs.start(spec) for _ in range(2)]  # all that the first executor has room for
    await unbuilt.begun()
    build = await build_of(lost[0])
    fleet.second_executor.start()
    waiting = await fleet.runs.start(spec)
    await joined_by(fleet, build, 3)
    fleet.executor.kill()
    result = await waiting.result()
    assert (result.executor, result.attempt) == (SECOND, 1)
    for handle in lost:
        result = await handle.result()
        assert (result.executor, result.attempt) == (SECOND, 2)
        assert states(result).count(State.QUEUED) == 2
        assert await fleet.console(handle) == b"made\n"
    assert unbuilt.containers() == []
    fleet.executor.start()


async def test_a_dispatcher_killed_in_a_shared_build_is_replaced_by_another(fleet: Fleet):
    other = Process("dispatcher", environment=fleet.dispatcher.environment, log=fleet.dispatcher.log)
    other.start()
    unbuilt = Unbuilt(fleet.image, "RUN sleep 2; echo made > /made")
    spec = fleet.spec("cat /made", environment=unbuilt.environment)
    handles = [await fleet.runs.start(spec) for _ in range(2)]
    await unbuilt.begun()
    build = await build_of(handles[0])
    fleet.dispatcher.kill()
    for handle in handles:
        await handle.result()
        assert await fleet.console(handle) == b"made\n"
    await closed(fleet, build)
    assert await activities(fleet, build) == ["build", "push"]
    fleet.dispatcher.start()
    other.end()


async def test_a_registry_killed_in_a_pull_is_waited_for(
    fleet: Fleet, registry: Registry, door: Sick, new_image: NewImage
):
    reference = new_image(door.address, base=fleet.image)
    door.drop_in_layers()
    door.requests.clear()
    handle = await fleet.start("[ -s /layer0 ] && echo whole", environment={"image": reference})
    await eventually(lambda: door.count("GET", "/blobs/") > 1)  # the image's config is one
    registry.kill()
    await asyncio.sleep(AWAY)
    door.heal()
    registry.start()
    assert State.PULLING in states(await handle.result())
    assert await fleet.console(handle) == b"whole\n"


async def test_a_registry_killed_in_a_push_is_waited_for(fleet: Fleet, registry: Registry, door: Sick):
    door.hang("/blobs/uploads")
    handle = await fleet.start("true", environment=Unbuilt(fleet.image, "RUN echo made > /made").environment)
    build = await build_of(handle)
    await eventually(lambda: door.count("POST", "/blobs/uploads"))
    registry.kill()
    door.heal()
    await asyncio.sleep(AWAY)
    registry.start()
    assert (await handle.result()).state is State.SUCCEEDED
    await closed(fleet, build)
    assert in_registry(door, build)


@pytest.mark.long
async def test_a_registry_killed_before_a_pull_and_a_push_is_waited_for(
    fleet: Fleet, registry: Registry, door: Sick, new_image: NewImage
):
    reference = new_image(door.address, base=fleet.image)
    registry.kill()
    pulls = await fleet.start("[ -s /layer0 ] && echo whole", environment={"image": reference})
    builds = await fleet.start("true", environment=Unbuilt(fleet.image).environment)
    build = await build_of(builds)
    assert (await builds.result()).state is State.SUCCEEDED
    await failed_once(fleet, pulls)
    await asyncio.sleep(AWAY)
    registry.start()
    await pulls.result()
    assert await fleet.console(pulls) == b"whole\n"
    await closed(fleet, build)
    assert in_registry(door, build)


async def test_a_registry_killed_after_a_pull_and_a_push_is_not_missed(
    fleet: Fleet, registry: Registry, door: Sick, new_image: NewImage
):
    pulled = fleet.spec("true", environment={"image": new_image(door.address, base=fleet.image)})
    built = fleet.spec("true", environment=Unbuilt(fleet.image).environment)
    builds = await fleet.runs.start(built)
    await closed(fleet, await build_of(builds))
    for handle in (builds, await fleet.runs.start(pulled)):
        await handle.result()
    registry.kill()
    for spec in (pulled, built):
        again = await (await fleet.runs.start(spec)).result()
        assert not {State.PULLING, State.BUILDING} & set(states(again))
    registry.start()


async def test_a_busy_registry_is_asked_again_when_it_says(fleet: Fleet, door: Sick, new_image: NewImage):
    reference = new_image(door.address, base=fleet.image)
    door.answer(429, {"Retry-After": "4"})
    handle = await fleet.start("true", environment={"image": reference})
    failed = await failed_once(fleet, handle)
    assert failed.last_failure.application_failure_info.type == "registry_unavailable"
    assert failed.current_retry_interval.ToSeconds() == 4
    door.heal()
    assert (await handle.result()).state is State.SUCCEEDED


@pytest.mark.parametrize(
    "fall_ill", [lambda door: door.answer(500), lambda door: door.corrupt_layers()], ids=["error", "corrupt layers"]
)
async def test_a_registry_that_gets_well_fails_nothing(
    fleet: Fleet, door: Sick, new_image: NewImage, fall_ill: Callable[[Sick], None]
):
    reference = new_image(door.address, base=fleet.image)
    fall_ill(door)
    handle = await fleet.start("true", environment={"image": reference})
    failed = await failed_once(fleet, handle)
    assert failed.last_failure.application_failure_info.type == "registry_unavailable"
    door.heal()
    assert (await handle.result()).state is State.SUCCEEDED


async def test_a_base_that_is_removed_before_it_is_built_on_comes_back(fleet: Fleet, door: Sick, new_image: NewImage):
    base, other = (new_image(door.address, base=fleet.image) for _ in range(2))
    engine = docker.from_env()
    engine.images.pull(base)
    door.hang_in_layers()
    copied = f"COPY --from={other} /layer0 /other"
    handle = await fleet.start("[ -s /layer0 ] && [ -s /other ]", environment=Unbuilt(base, copied).environment)
    await asyncio.to_thread(door.hangs.wait)
    await in_state(handle, State.BUILDING)
    engine.images.remove(base)
    door.heal()
    assert (await handle.result()).state is State.SUCCEEDED


async def test_an_image_is_handed_out_to_those_whose_own_credentials_are_right(
    fleet: Fleet, private_registry: str, new_image: NewImage
):
    login = {"username": "ada", "password": PASSWORDS["ada"]}
    environment = {"image": new_image(private_registry, base=fleet.image, login=login)}
    first = await (await fleet.start("true", owner="ada", environment=environment)).result()
    assert State.PULLING in states(first)
    of_eve = await fleet.start("true", owner="eve", environment=environment)
    refused = (await failed_once(fleet, of_eve)).last_failure
    assert refused.application_failure_info.type == "registry_unavailable"
    assert private_registry in refused.message
    assert "to eve" in refused.message
    await of_eve.stop()
    of_bob = await (await fleet.start("true", owner="bob", environment=environment)).result()
    assert State.PULLING not in states(of_bob)
    with pytest.raises(RunStopped):
        await of_eve.result()


async def test_a_stop_while_files_and_image_are_fetched_leaves_the_image_to_others(
    fleet: Fleet, door: Sick, new_image: NewImage
):
    reference = new_image(door.address, base=fleet.image)
    door.hang_in_layers()
    door.requests.clear()
    spec = fleet.spec("true", environment={"image": reference})
    fleet.executor.freeze()
    stopped, other = [await fleet.runs.start(spec) for _ in range(2)]
    for handle in (stopped, other):
        await pinned(handle)
    with fleet.store_away():
        fleet.executor.thaw()
        await in_state(stopped, State.PREPARING)
        await asyncio.to_thread(door.hangs.wait)
        await failed_once(fleet, other)
        await stopped.stop()
        with pytest.raises(RunStopped):
            await stopped.result()
    door.heal()
    assert (await other.result()).state is State.SUCCEEDED
    # Once to learn the tag's digest, once by the one pull.
    assert door.count("GET", "/manifests/") == 2


async def test_a_base_that_its_registry_does_not_have(fleet: Fleet, door: Sick):
    handle = await fleet.start("true", environment=Unbuilt(f"{door.address}/none:1").environment)
    with pytest.raises(RunFailed) as failure:
        await handle.result()
    assert failure.value.result.cause.code == "image_not_found"
    assert f"{door.address}/none:1" in failure.value.result.cause.message


@pytest.mark.long
async def test_a_build_whose_last_run_is_terminated_ends(fleet: Fleet):
    unbuilt = Unbuilt(fleet.image, "RUN sleep 1234")
    handle = await fleet.start("true", environment=unbuilt.environment)
    await unbuilt.begun()
    build = await build_of(handle)
    await fleet.client.get_workflow_handle(handle.id).terminate("to see what happens")
    await eventually(lambda: not unbuilt.containers(), seconds=120)
    await closed(fleet, build)


@pytest.mark.long
async def test_a_registry_that_dies_in_a_pull_for_good_is_named(
    fleet: Fleet, registry: Registry, door: Sick, new_image: NewImage
):
    reference = new_image(door.address, base=fleet.image)
    door.drop_in_layers()
    door.requests.clear()
    handle = await fleet.start("true", environment={"image": reference})
    await eventually(lambda: door.count("GET", "/blobs/") > 1)
    registry.kill()
    cause = await platform_error(handle)
    assert (cause.code, cause.stage) == ("registry_unavailable", State.PULLING)
    assert door.address in cause.message
    registry.start()


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_registry_that_dies_in_a_push_for_good_leaves_each_executor_to_build_its_own(
    fleet: Fleet, elsewhere: EngineOfItsOwn, registry: Registry, door: Sick
):
    unbuilt = Unbuilt(fleet.image, "RUN sleep 5; echo made > /made")
    spec = fleet.spec("cat /made", environment=unbuilt.environment)
    here = [await fleet.runs.start(spec) for _ in range(2)]  # all that the first executor has room for
    await unbuilt.begun()
    build = await build_of(here[0])
    fleet.second_executor.start()
    there = await fleet.runs.start(spec)
    await joined_by(fleet, build, 3)
    door.hang("/blobs/uploads")
    for handle in here:
        await handle.result()
    await eventually(lambda: door.count("POST", "/blobs/uploads"))
    registry.kill()
    door.heal()
    result = await there.result()
    assert (result.executor, result.attempt) == (SECOND, 1)
    assert await fleet.console(there) == b"made\n"
    await closed(fleet, build, seconds=240)  # it is pushed in vain from there too
    registry.start()


@pytest.mark.long
async def test_a_build_whose_machine_is_in_trouble_goes_on_where_another_run_waits_for_it(
    fleet: Fleet, elsewhere: EngineOfItsOwn
):
    unbuilt = Unbuilt(fleet.image, "RUN sleep 5; echo made > /made")
    spec = fleet.spec("cat /made", environment=unbuilt.environment)
    fleet.executor.end()
    fleet.second_executor.start()
    there = [await fleet.runs.start(spec) for _ in range(2)]  # all that the second executor has room for
    build = await build_of(there[0])
    fleet.executor.start()
    here = await fleet.runs.start(spec)
    await joined_by(fleet, build, 3)
    elsewhere.end(signal.SIGKILL)
    for handle in there:
        assert (await platform_error(handle)).code == "docker_unavailable"
    assert (await here.result()).attempt == 1
    assert await fleet.console(here) == b"made\n"
    await elsewhere.start()


@pytest.mark.long
async def test_credentials_that_stay_wrong_are_named_with_their_registry(
    fleet: Fleet, private_registry: str, new_image: NewImage
):
    login = {"username": "ada", "password": PASSWORDS["ada"]}
    reference = new_image(private_registry, base=fleet.image, login=login)
    for environment in ({"image": reference}, Unbuilt(reference).environment):
        cause = await platform_error(await fleet.start("true", owner="eve", environment=environment))
        assert cause.code == "registry_unavailable"
        assert f"the registry {private_registry} refused {reference} to eve" in cause.message
        assert "guessed" not in str(cause)


@pytest.mark.long
@pytest.mark.usefixtures("on_small_disk")
async def test_an_instruction_that_fills_the_disk_is_not_told_to_be_wrong(fleet: Fleet):
    fill = "RUN dd if=/dev/zero of=/big bs=1M count=1000"
    cause = await platform_error(await fleet.start("true", environment=Unbuilt(fleet.image, fill).environment))
    assert (cause.code, cause.stage) == ("host_disk_full", State.BUILDING)
    assert fill in cause.message


@pytest.mark.long
async def test_images_that_may_go_make_room_for_a_build(
    fleet: Fleet, on_small_disk: docker.DockerClient, door: Sick, new_image: NewImage
):
    reference = new_image(door.address, base=fleet.image, size=32 * 2**20)
    await (await fleet.start("true", environment={"image": reference})).result()
    grow = "RUN dd if=/dev/urandom of=/grown bs=1M count=32"
    handle = await fleet.start("[ -s /grown ] && echo there", environment=Unbuilt(fleet.image, grow).environment)
    await handle.result()
    assert await fleet.console(handle) == b"there\n"
    assert on_small_disk.images.list(reference.rpartition(":")[0]) == []
