"""Who wants to hear of a Run's end is told of it: by a real HTTP and a real SMTP server, also when these are down."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from temporal_runs.client import RunError, RunFailed
from temporal_runs.project import ProjectSettings
from temporal_runs.settings import Settings
from temporal_runs.status import RunResult, State
from tests.conftest import System, eventually, running
from tests.listeners import Hooks, Mailbox
from tests.registries import free_port


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox(free_port())
    yield mailbox
    mailbox.close()


@pytest_asyncio.fixture(scope="module")
async def telling(
    server: WorkflowEnvironment, image: str, make_settings: Callable[..., Settings], mailbox: Mailbox
) -> AsyncIterator[System]:
    """A system of which the dispatcher can send e-mail; on a queue of its own, since others' cannot."""
    settings = make_settings(lease=20, task_queue="telling")
    file = settings.home / "notifications.toml"
    (settings.home / "secret").write_text("s3cret")
    file.write_text(
        f'web_ui = "https://ui.example.org"\n[webhooks]\nsecret_file = "{settings.home}/secret"\n'
        f'[smtp]\nhost = "127.0.0.1:{mailbox.port}"\nsender = "runs@example.org"\ntls = "none"\n'
    )
    settings = settings.model_copy(update={"notifications": file})
    async with running(server.client, settings, image, {"alone": 2}) as system:
        system.tier = "alone"
        yield system


def notify_of(client: Client, result: RunResult) -> WorkflowHandle:
    return client.get_workflow_handle(f"notify:{result.run_id}:{result.execution_id}")


async def test_a_failed_run_is_told_to_those_of_its_spec_and_its_project(telling: System, mailbox: Mailbox):
    hooks = Hooks()
    project = telling.project({"data.txt": "hush"})
    ProjectSettings.model_validate({"notify": [{"email": "ada@example.org", "on": ["Failed"]}]}).save(
        telling.store, project
    )
    handle = await telling.start("cat data.txt; exit 3", project=project, notify=[{"url": hooks.url}], title="a Run")
    with pytest.raises(RunFailed) as failed:
        await handle.result()
    result = failed.value.result
    post = await asyncio.to_thread(hooks.next)
    message = await asyncio.to_thread(mailbox.next)
    await notify_of(telling.client, result).result()
    hooks.close()
    said = json.loads(post.body)
    assert (said["run_id"], said["state"], said["cause"]["code"], said["title"]) == (
        handle.id,
        "Failed",
        "exit_code",
        "a Run",
    )
    assert set(said["seconds"]) >= {"Queued", "Running", "Finishing"}
    assert said["links"]["web_ui"].endswith(f"/workflows/{handle.id}/{result.execution_id}")
    assert post.headers["Temporal-Runs-Signature"].startswith("sha256=")
    assert (message["To"], message["Subject"]) == ("ada@example.org", "Failed: a Run")
    assert "hush" not in post.body.decode() + message.get_content()


async def test_nobody_is_told_of_an_outcome_that_nobody_asked_for(telling: System):
    handle = await telling.start("true", notify=[{"url": "http://127.0.0.1:1/x", "on": ["Error"]}])
    result = await handle.result()
    found = telling.client.list_workflows(f"WorkflowId = 'notify:{result.run_id}:{result.execution_id}'")
    assert [one.id async for one in found] == []


async def test_a_receiver_that_is_down_delays_no_run_and_hears_of_it_later(telling: System):
    port = free_port()
    handle = await telling.start("true", notify=[{"url": f"http://127.0.0.1:{port}/runs"}])
    result = await handle.result()
    assert result.state is State.SUCCEEDED
    notify = notify_of(telling.client, result)

    async def has_failed_before() -> bool:
        return any(one.attempt > 1 for one in (await notify.describe()).raw_description.pending_activities)

    await eventually(has_failed_before)
    hooks = Hooks(port, answers=[503])
    posts = [await asyncio.to_thread(hooks.next) for _ in range(2)]
    await notify.result()
    hooks.close()
    assert {post.headers["Idempotency-Key"] for post in posts} == {result.execution_id}
    assert posts[0].body == posts[1].body


async def test_a_store_that_is_away_as_a_run_ends_loses_no_notification(telling: System):
    hooks = Hooks()
    handle = await telling.start("true", tier="huge", queue_limit=5, notify=[{"url": hooks.url}])

    async def waits_for_a_machine() -> bool:
        return "huge" in ((await handle.status()).reason or "")

    await eventually(waits_for_a_machine)
    with telling.store_away(), pytest.raises(RunError, match="queue_limit"):
        await handle.result()
    said = json.loads((await asyncio.to_thread(hooks.next)).body)
    hooks.close()
    assert (said["run_id"], said["cause"]["code"]) == (handle.id, "queue_limit")


async def test_a_bad_spec_is_told_too(telling: System):
    hooks = Hooks()
    spec = telling.spec("true", notify=[{"url": hooks.url}])
    handle = await telling.client.start_workflow(
        "Run", {**spec, "colour": "blue"}, id=f"bad-{hooks.port}", task_queue="telling"
    )
    said = json.loads((await asyncio.to_thread(hooks.next)).body)
    hooks.close()
    assert (said["run_id"], said["cause"]["code"]) == (handle.id, "invalid_spec")
