"""Error: what the machine, a registry or the store does to a Run, brought about for real; and what heals in time."""

import uuid
from pathlib import Path

import docker
import pytest

from temporal_runs.asking import described
from temporal_runs.client import RunError, RunFailed, RunHandle
from temporal_runs.status import RunResult, State
from tests.conftest import System, eventually
from tests.registries import Registry


def pushed(system: System, registry: Registry) -> str:
    """The reference of an image that only the registry has."""
    images = docker.from_env().api
    name = f"{registry.address}/{uuid.uuid4().hex[:8]}"
    images.tag(system.image, name, "1")
    images.push(name, "1")
    images.remove_image(f"{name}:1")
    return f"{name}:1"


async def tried_again(system: System, handle: RunHandle) -> None:
    """Returns when an activity of the Run has failed once and is tried again."""

    async def attempts() -> bool:
        pending = (await described(system.client, handle.id)).pending_activities
        return any(activity.attempt > 1 for activity in pending)

    await eventually(attempts)


async def error_of(handle: RunHandle) -> RunResult:
    with pytest.raises(RunError) as error:
        await handle.result()
    assert error.value.result.state is State.ERROR
    assert error.value.result.cause.blame == "platform"
    return error.value.result


async def test_an_image_is_pulled_and_pinned(system: System, registry_of_its_own: Registry):
    reference = pushed(system, registry_of_its_own)
    result = await (await system.start("true", environment={"image": reference})).result()
    assert State.PULLING in [change.state for change in result.history]
    assert result.image.startswith(f"{reference.removesuffix(':1')}@sha256:")


async def test_an_image_that_its_registry_does_not_have(system: System, registry_of_its_own: Registry):
    handle = await system.start("true", environment={"image": f"{registry_of_its_own.address}/none:1"})
    with pytest.raises(RunFailed) as failure:
        await handle.result()
    assert failure.value.result.cause.code == "image_not_found"
    assert failure.value.result.cause.stage is State.PULLING


async def test_a_registry_that_comes_back_fails_nothing(system: System, registry_of_its_own: Registry):
    reference = pushed(system, registry_of_its_own)
    registry_of_its_own.stop()
    handle = await system.start("true", environment={"image": reference})
    await tried_again(system, handle)
    registry_of_its_own.start()
    assert (await handle.result()).state is State.SUCCEEDED


async def test_a_store_that_comes_back_fails_nothing(system: System):
    spec = system.spec("echo made > made.txt")
    await (await system.runs.start(spec)).result()  # everybody has opened the store
    with system.store_away():
        handle = await system.runs.start(spec)
        await tried_again(system, handle)
    assert (await handle.result()).state is State.SUCCEEDED


async def test_a_store_that_is_away_as_results_come_back_loses_none(system: System):
    project = system.project()
    command = "echo begun; while [ ! -e go ]; do sleep 0.05; done; echo made > made.txt; echo done"
    handle = await system.start(command, project=project)
    async for _ in handle.logs(follow=True):
        break
    with system.store_away():
        system.let_go(handle)
        await tried_again(system, handle)
    await handle.result()
    assert system.files(project)["made.txt"] == b"made\n"
    assert await system.console(handle) == b"begun\ndone\n"


async def test_a_file_that_is_not_what_its_hash_says(system: System):
    project = system.project({"data.txt": f"{uuid.uuid4().hex}\n"})
    content = system.files(project)["data.txt"]
    (pack,) = [
        path
        for path in (Path(system.settings.store_url) / "p").rglob("*")
        if path.is_file() and content in path.read_bytes()
    ]
    pack.write_bytes(pack.read_bytes().replace(content, b"f" * len(content)))
    result = await error_of(await system.start("true", project=project))
    assert result.cause.code == "store_corrupt"
    assert result.cause.stage is State.PREPARING


async def test_a_workflow_that_is_terminated(system: System):
    project = system.project()
    handle = await system.start("echo kept > kept.txt; echo begun; sleep 1000", project=project)
    async for _ in handle.logs(follow=True):
        break
    await system.client.get_workflow_handle(handle.id).terminate("to see what happens")
    result = await error_of(handle)
    assert result.cause.code == "terminated"
    await eventually(
        lambda: (
            not docker.from_env().containers.list(all=True, filters={"name": f"run-{handle.id}"}, ignore_removed=True)
        )
    )
    saved = await eventually(lambda: system.store.head(project, f"recovered/{handle.id}/1"))
    assert system.files(project, saved)["kept.txt"] == b"kept\n"
    assert "kept.txt" not in system.files(project)
