"""Failed or Error: each cause brought about by the real fault."""

import pytest

from temporal_runs.client import RunError, RunFailed
from temporal_runs.status import RunResult, State
from tests.conftest import System


async def failed(handle) -> RunResult:
    with pytest.raises(RunFailed) as failure:
        await handle.result()
    assert failure.value.result.state is State.FAILED
    assert failure.value.result.cause.blame == "user"
    return failure.value.result


async def test_a_non_zero_status(system: System):
    result = await failed(await system.start("echo oh no; exit 3"))
    assert result.cause.code == "exit_code"
    assert result.exit_code == 3
    assert result.cause.evidence["last_lines"] == "oh no"


@pytest.mark.parametrize("command", ["kill -SEGV $$", ["sh", "-c", "kill -ABRT $$"]])
async def test_a_fault_signal(system: System, command):
    assert (await failed(await system.start(command))).cause.code == "signal"


async def test_memory_past_the_tiers_limit(system: System):
    assert (await failed(await system.start("tail /dev/zero"))).cause.code == "out_of_memory"


@pytest.mark.parametrize("command", [["no-such-program"], "no-such-program", ["./data.txt"]])
async def test_a_program_that_is_missing_or_not_executable(system: System, command):
    assert (await failed(await system.start(command))).cause.code == "command_not_found"


async def test_a_status_127_of_the_commands_own_is_no_missing_program(system: System):
    assert (await failed(await system.start("exit 127"))).cause.code == "exit_code"


async def test_a_time_limit(system: System):
    handle = await system.start("echo begun; while true; do sleep 0.05; done", time_limit=0.5, stop_grace=0)
    result = await failed(handle)
    assert result.cause.code == "time_limit"
    assert await system.console(handle) == b"begun\n"


async def test_a_tiers_own_time_limit(system: System):
    handle = await system.start("while true; do sleep 0.05; done", tier="brief", stop_grace=0)
    result = await failed(handle)
    assert result.cause.code == "time_limit"
    assert "0.5 seconds" in result.cause.message
    assert (await (await system.start("sleep 0.6", tier="brief", time_limit=60)).result()).state is State.SUCCEEDED


async def test_a_failing_build_instruction(system: System):
    environment = {"base": system.image, "instructions": ["RUN echo fine", "RUN echo broken; exit 7"]}
    result = await failed(await system.start("true", environment=environment))
    assert result.cause.code == "build_failed"
    assert result.cause.stage is State.BUILDING
    assert "exit 7" in result.cause.evidence["instruction"]


async def test_a_command_that_somebody_kills_through_the_engine(system: System):
    import docker

    handle = await system.start("echo ready; while true; do sleep 0.05; done")
    async for _ in handle.logs(follow=True):
        break
    containers = docker.from_env().containers.list(filters={"name": f"run-{handle.id}"})
    containers[0].kill()
    with pytest.raises(RunError) as error:
        await handle.result()
    assert error.value.result.cause.code == "container_killed"


async def test_a_command_whose_container_is_removed(system: System):
    import docker

    handle = await system.start("echo ready; echo x > out.txt; while true; do sleep 0.05; done")
    async for _ in handle.logs(follow=True):
        break
    docker.from_env().containers.list(filters={"name": f"run-{handle.id}"})[0].remove(force=True)
    with pytest.raises(RunError) as error:
        await handle.result()
    assert error.value.result.cause.code == "container_killed"


async def test_no_machine_within_the_queue_limit(system: System):
    with pytest.raises(RunError) as error:
        await (await system.start("true", tier="huge", queue_limit=0.5)).result()
    assert error.value.result.cause.code == "queue_limit"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"tier": "no-such-tier"}, "no-such-tier"),
        ({"project": "no-such-project"}, "no-such-project"),
        ({"revision": "0123456789abcdef"}, "0123456789abcdef"),
        ({"tier": "brief", "time_limit": 61}, "time_limit: tier brief allows 60 seconds at most, not 61"),
        ({"secrets": {"A": "no-such-secret"}}, "no-such-secret"),
    ],
)
async def test_a_spec_that_names_what_there_is_not(system: System, wrong, named):
    result = await failed(await system.runs.start({**system.spec("true"), **wrong}))
    assert result.cause.code == "invalid_spec"
    assert named in result.cause.message


async def test_a_secret_that_is_not_text(system: System):
    folder = system.settings.secrets_folder
    folder.mkdir(exist_ok=True)
    (folder / "binary").write_bytes(b"\xff\xfe")
    result = await failed(await system.start("true", secrets={"A": "binary"}))
    assert result.cause.code == "invalid_spec"
    assert "secrets.A" in result.cause.message
    assert "UTF-8" in result.cause.message


@pytest.mark.parametrize(
    "given",
    [
        (),
        ({"project": "p", "command": "true"}, "one too many"),
        None,
        [],
        "text",
        7,
        {"project": "p"},
        {"project": "p", "command": []},
        {"project": "../p", "command": "true"},
        {"project": "p", "command": "true", "colour": "red"},
        {"project": "p", "command": "true", "priority": "high"},
        {"project": "p", "command": "true", "environment": {"image": "Bad Image"}},
    ],
)
async def test_a_bad_spec_ends_the_run_and_status_answers(system: System, given):
    import uuid

    inputs = given if isinstance(given, tuple) else (given,)
    workflow = await system.client.start_workflow(
        "Run", args=inputs, id=f"bad-{uuid.uuid4().hex[:8]}", task_queue=system.settings.task_queue
    )
    handle = system.runs.get(workflow.id)
    result = await failed(handle)
    assert result.cause.code == "invalid_spec"
    assert (await handle.status()).state is State.FAILED
