"""Whoever wants to hear of a Run's end does, whatever dies meanwhile; and the Run is told of once."""

import asyncio
import json

from tests.conftest import eventually
from tests.fleets import Fleet
from tests.listeners import Hooks
from tests.registries import free_port


async def test_a_dispatcher_that_is_killed_has_forgotten_nobody(fleet: Fleet):
    port = free_port()
    handle = await fleet.start("true", notify=[{"url": f"http://127.0.0.1:{port}/runs"}])
    result = await handle.result()
    notify = fleet.client.get_workflow_handle(f"notify:{handle.id}:{result.execution_id}")

    async def has_failed_before() -> bool:
        return any(one.attempt > 1 for one in (await notify.describe()).raw_description.pending_activities)

    await eventually(has_failed_before)
    fleet.dispatcher.kill()
    hooks = Hooks(port)
    fleet.dispatcher.start()
    post = await asyncio.to_thread(hooks.next)
    await notify.result()
    hooks.close()
    assert json.loads(post.body)["run_id"] == handle.id
    assert hooks.posts.empty()
