"""One build for all Runs that need it: shared, failed together, ended by the last who stops, and never run twice."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import docker
import pytest
import pytest_asyncio
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowExecutionStatus, WorkflowHistory
from temporalio.testing import WorkflowEnvironment

from temporal_runs.client import RunFailed, RunHandle
from temporal_runs.settings import Settings
from temporal_runs.status import RunResult, State
from tests.conftest import System, eventually, running
from tests.registries import Registry, Sick

NAP = f"RUN sleep 1234 # {uuid.uuid4().hex}"
"""An instruction that is told from those of other tests on this machine."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    registry.start()
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def door(registry: Registry) -> Iterator[Sick]:
    """The way to the registry that images are built for; it can be made sick."""
    door = Sick(registry)
    yield door
    door.close()


@pytest.fixture(autouse=True)
def healthy(door: Sick) -> Iterator[None]:
    yield
    door.heal()


@pytest_asyncio.fixture(scope="module")
async def sharing(
    server: WorkflowEnvironment, image: str, make_settings: Callable[..., Settings], door: Sick
) -> AsyncIterator[System]:
    """A system whose built environments go to a registry."""
    settings = make_settings(lease=20, task_queue="sharing", registry=door.address)
    async with running(server.client, settings, image, {"alone": 8}) as system:
        yield system


def unbuilt(system: System, *instructions: str) -> dict[str, object]:
    """A spec's part that needs an image which nobody has built yet."""
    new = f"ENV NEW={uuid.uuid4().hex}"
    return {"tier": "alone", "environment": {"base": system.image, "instructions": [new, *instructions]}}


def states(result: RunResult) -> list[State]:
    return [change.state for change in result.history]


async def in_state(handle: RunHandle, state: State) -> None:
    """Returns when the Run is in that state."""
    await eventually(lambda: _is_in(handle, state))


async def _is_in(handle: RunHandle, state: State) -> bool:
    return (await handle.status()).state is state


async def build_of(handle: RunHandle) -> str:
    """The workflow that builds for a Run."""
    return await eventually(lambda: _build_of(handle))


async def _build_of(handle: RunHandle) -> str | None:
    return (await handle.status()).build


async def begun(system: System, handle: RunHandle) -> None:
    """Returns when the build of a Run does what its last instruction says."""

    async def works() -> bool:
        progress = (await handle.status()).progress or {}
        return "RUN sleep" in progress.get("instruction", "")

    await eventually(works)


def sleeping_builds() -> list[object]:
    """Containers in which NAP is carried out."""
    return [
        one
        for one in docker.from_env().containers.list(ignore_removed=True)
        if NAP.removeprefix("RUN ") in (one.attrs["Config"]["Cmd"] or ())
    ]


async def test_runs_that_need_the_same_environment_wait_for_one_build(sharing: System):
    spec = {**sharing.spec("true"), **unbuilt(sharing, "RUN sleep 1")}
    first = await sharing.runs.start(spec)
    build = await build_of(first)
    handles = [first, *await asyncio.gather(*(sharing.runs.start(spec) for _ in range(5)))]
    results = [await handle.result() for handle in handles]
    assert len({result.image for result in results}) == 1
    assert all(State.BUILDING in states(result) for result in results)
    await eventually(lambda: _closed(sharing, build))
    history = await sharing.client.get_workflow_handle(build).fetch_history()
    assert [event.activity_task_scheduled_event_attributes.activity_type.name for event in scheduled(history)] == [
        "build",
        "push",
    ]
    later = await (await sharing.runs.start(spec)).result()
    assert not {State.BUILDING, State.PULLING} & set(states(later))


def scheduled(history: WorkflowHistory) -> list[HistoryEvent]:
    return [event for event in history.events if event.HasField("activity_task_scheduled_event_attributes")]


async def test_a_built_image_is_pulled_where_only_the_registry_has_it(sharing: System):
    spec = {**sharing.spec("true"), **unbuilt(sharing)}
    handle = await sharing.runs.start(spec)
    build = await build_of(handle)
    first = await handle.result()
    await eventually(lambda: _closed(sharing, build))
    remove(first.image.partition("@")[2])
    again = await (await sharing.runs.start(spec)).result()
    assert states(again).count(State.PULLING) == 1
    assert State.BUILDING not in states(again)


def remove(image: str) -> None:
    """An image, with all its names."""
    engine = docker.from_env()
    found = engine.images.get(image)
    for name in found.tags:
        engine.images.remove(name)


async def test_a_build_that_fails_fails_all_who_wait_with_the_line_and_the_last_lines(sharing: System):
    spec = {**sharing.spec("true"), **unbuilt(sharing, "RUN echo before; sleep 1; exit 7", "RUN never")}
    handles = await asyncio.gather(*(sharing.runs.start(spec) for _ in range(3)))
    for handle in handles:
        with pytest.raises(RunFailed) as failure:
            await handle.result()
        cause = failure.value.result.cause
        assert (cause.code, cause.stage) == ("build_failed", State.BUILDING)
        assert cause.evidence["instruction"] == "RUN echo before; sleep 1; exit 7"
        assert cause.evidence["line"] == 3
        assert "before" in cause.evidence["last_lines"]


async def test_stopping_one_run_leaves_the_build_to_the_others_and_stopping_the_last_ends_it(sharing: System):
    spec = {**sharing.spec("true"), **unbuilt(sharing, NAP)}
    first = await sharing.runs.start(spec)
    await begun(sharing, first)
    second = await sharing.runs.start(spec)
    await in_state(second, State.BUILDING)
    build = await build_of(second)
    await eventually(lambda: _joined(sharing, build, 2))
    await first.stop()
    await in_state(first, State.STOPPED)
    assert len(sleeping_builds()) == 1
    await second.stop()
    await in_state(second, State.STOPPED)
    await eventually(lambda: not sleeping_builds())
    await eventually(lambda: _closed(sharing, build))


async def _joined(system: System, build: str, number: int) -> bool:
    return len(await system.client.get_workflow_handle(build).query("who_waits")) == number


async def _closed(system: System, build: str) -> bool:
    description = await system.client.get_workflow_handle(build).describe()
    return description.status is not WorkflowExecutionStatus.RUNNING


async def test_a_build_past_its_limit_is_ended_and_named(sharing: System):
    environment = {**unbuilt(sharing, NAP)["environment"], "build_limit": 3}
    handle = await sharing.start("true", tier="alone", environment=environment)
    with pytest.raises(RunFailed) as failure:
        await handle.result()
    cause = failure.value.result.cause
    assert cause.code == "build_failed"
    assert "build_limit" in cause.message
    assert NAP in cause.evidence["instruction"]
    await eventually(lambda: not sleeping_builds())


async def test_a_build_whose_workflow_is_terminated_is_begun_anew(sharing: System, monkeypatch: pytest.MonkeyPatch):
    from datetime import timedelta

    from temporal_runs.workflows import phases

    # Two minutes in truth.
    monkeypatch.setattr(phases, "JOIN_AGAIN", timedelta(seconds=2))
    handle = await sharing.start("true", **unbuilt(sharing, "RUN sleep 5"))
    build = await build_of(handle)
    await sharing.client.get_workflow_handle(build).terminate("to see what happens")
    assert (await handle.result()).state is State.SUCCEEDED


async def test_a_dockerfile_of_the_project_takes_its_files(sharing: System):
    project = sharing.project(
        {
            "docker/Dockerfile": f"FROM {sharing.image}\nARG WORD=none\nCOPY src /src\nRUN echo $WORD > /word\n",
            "src/hello.txt": "hello\n",
            "src/secret.txt": "no\n",
            ".dockerignore": "src/secret.txt\n",
        }
    )
    environment = {"dockerfile": "docker/Dockerfile", "args": {"WORD": "spoken"}}
    run = {"project": project, "tier": "alone", "environment": environment}
    first = await sharing.start("cat /src/hello.txt /word; ls /src; echo 1 > result.txt", **run)
    result = await first.result()
    assert State.BUILDING in states(result)
    assert await sharing.console(first) == b"hello\nspoken\nhello.txt\n"
    # The first one's result is no file that the image is made of.
    again = await (await sharing.start("cat result.txt", **run)).result()
    assert again.input_commit != result.input_commit
    assert not {State.BUILDING, State.PULLING} & set(states(again))


async def test_requirements_and_setup_scripts_are_built_once_in_dominos_order(sharing: System):
    # Stands in for the one of an image with pip: no build on a test's machine reaches a package index.
    python = "RUN printf '#!/bin/sh\\ncat \"$6\" >> /order\\n' > /bin/python3 && busybox chmod +x /bin/python3"
    environment = {
        **unbuilt(sharing, python)["environment"],
        "pre_setup": "echo before >> /order",
        "requirements": True,
        "post_setup": "echo after >> /order",
    }
    project = sharing.project({"requirements.txt": "boosting==1\n"})
    run = {"project": project, "tier": "alone", "environment": environment}
    handle = await sharing.start("cat /order; echo 1 > result.txt", **run)
    assert State.BUILDING in states(await handle.result())
    assert await sharing.console(handle) == b"before\nboosting==1\nafter\n"
    again = await (await sharing.start("cat result.txt", **run)).result()
    assert State.BUILDING not in states(again)


async def test_a_dockerfile_that_there_is_not(sharing: System):
    handle = await sharing.start("true", tier="alone", environment={"dockerfile": "Dockerfile"})
    with pytest.raises(RunFailed) as failure:
        await handle.result()
    assert failure.value.result.cause.code == "invalid_spec"
    assert "Dockerfile" in failure.value.result.cause.message


async def test_a_registry_that_refuses_a_built_image_costs_the_run_nothing(sharing: System, door: Sick):
    door.answer(500, only="/blobs/uploads")
    result = await (await sharing.start("true", **unbuilt(sharing))).result()
    assert result.state is State.SUCCEEDED
    assert State.BUILDING in states(result)


async def test_an_instruction_that_prints_a_hundred_megabytes(sharing: System):
    flood = "RUN yes 0123456789012345678901234567890123456789012345678901234567890 | head -c 104857600; exit 3"
    handle = await sharing.start("true", **unbuilt(sharing, flood))
    with pytest.raises(RunFailed) as failure:
        await handle.result()
    cause = failure.value.result.cause
    assert cause.code == "build_failed"
    assert len(cause.evidence["last_lines"]) < 100_000


async def test_build_secrets_are_refused_where_there_is_no_buildkit(sharing: System, tmp_path: Path):
    environment = {**unbuilt(sharing)["environment"], "secrets": {"token": "token"}}
    handle = await sharing.start("true", tier="alone", environment=environment)
    with pytest.raises(RunFailed) as failure:
        await handle.result()
    assert failure.value.result.cause.code == "invalid_spec"
    assert "buildx" in failure.value.result.cause.message
