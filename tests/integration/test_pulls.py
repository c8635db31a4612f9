"""Images that have to be fetched: meanwhile, once, and seen."""

import asyncio
import io
import os
import tarfile
import uuid
from collections.abc import Callable

import docker

from temporal_runs.client import RunHandle
from temporal_runs.status import RunStatus, State
from tests.conftest import System, eventually
from tests.registries import Sick


def pushed(system: System, door: Sick) -> str:
    """The reference of an image like the system's, which only the registry has, with a layer that is new."""
    images = docker.from_env().api
    repository = f"{door.address}/{uuid.uuid4().hex[:8]}"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        files = {"Dockerfile": f"FROM {system.image}\nCOPY new /\n".encode(), "new": os.urandom(2**20)}
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    context.seek(0)
    for message in images.build(fileobj=context, custom_context=True, tag=f"{repository}:1", rm=True, decode=True):
        assert "error" not in message, message
    for message in images.push(repository, "1", stream=True, decode=True):
        assert "error" not in message, message
    images.remove_image(f"{repository}:1")
    door.requests.clear()
    return f"{repository}:1"


async def status_where(handle: RunHandle, holds: Callable[[RunStatus], bool]) -> RunStatus:
    """The first status of which that is true."""

    async def look() -> RunStatus | None:
        status = await handle.status()
        return status if holds(status) else None

    return await eventually(look)


async def test_a_pull_shows_its_layers_with_their_bytes(system: System, sick: Sick):
    reference = pushed(system, sick)
    sick.hang_in_layers()
    handle = await system.start("true", environment={"image": reference})
    status = await status_where(handle, lambda status: bool((status.progress or {}).get("total")))
    assert status.state is State.PULLING
    assert "layers" in status.progress["text"]
    (layer,) = [one for one in status.progress["layers"] if one["state"] == "downloading"]
    assert 0 < layer["current"] < layer["total"]
    sick.heal()
    result = await handle.result()
    assert result.image.startswith(f"{reference.removesuffix(':1')}@sha256:")


async def test_runs_that_need_the_same_image_wait_for_one_pull(system: System, sick: Sick):
    reference = pushed(system, sick)
    sick.hang_in_layers()
    handles = [await system.start("true", environment={"image": reference}) for _ in range(3)]
    for handle in handles:
        await status_where(handle, lambda status: status.state is State.PULLING)
    await asyncio.to_thread(sick.hangs.wait)
    # The first is stopped, the pull goes on for the others.
    await handles[0].stop()
    await status_where(handles[0], lambda status: status.state is State.STOPPED)
    sick.heal()
    for handle in handles[1:]:
        assert (await handle.result()).state is State.SUCCEEDED
    # Once to learn the tag's digest, once by the one pull.
    assert sick.count("GET", "/manifests/") == 2


async def test_a_pull_that_nobody_waits_for_any_more_ends(system: System, sick: Sick):
    reference = pushed(system, sick)
    sick.hang_in_layers()
    handle = await system.start("true", environment={"image": reference})
    await asyncio.to_thread(sick.hangs.wait)
    await status_where(handle, lambda status: status.state is State.PULLING)
    await handle.stop()
    await status_where(handle, lambda status: status.state is State.STOPPED)
    assert docker.from_env().images.list(reference) == []
