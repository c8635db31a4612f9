"""Images that have to be fetched: meanwhile, once, and seen."""

import asyncio
from collections.abc import Callable

import docker

from temporal_runs.client import RunHandle
from temporal_runs.status import RunStatus, State
from tests.conftest import System, eventually
from tests.registries import Sick, push_new_image


def pushed(system: System, door: Sick) -> str:
    """The reference of an image like the system's, which only the registry has, with a layer that is new."""
    reference = push_new_image(door.address, base=system.image)
    door.requests.clear()
    return reference


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
