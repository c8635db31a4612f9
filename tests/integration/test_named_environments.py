"""Named environments and scripts around the command, in real Runs."""

import uuid
from collections.abc import Iterator

import pytest

from temporal_runs.client import RunFailed, RunStopped
from temporal_runs.environment import Environment, NamedEnvironment
from temporal_runs.environments import Environments
from temporal_runs.project import ProjectSettings
from temporal_runs.status import RunResult, State
from tests.conftest import System
from tests.registries import forget_environments


@pytest.fixture
def name() -> Iterator[str]:
    """A new name; images that know themselves by it are removed."""
    name = f"e-{uuid.uuid4().hex[:8]}"
    yield name
    forget_environments(f"WORD={name}")


def saying(system: System, word: str) -> Environment:
    """An environment that is built, and known by what `$WORD` is in it."""
    return Environment(base=system.image, instructions=[f"ENV WORD={word}"])


async def failed(handle) -> RunResult:
    with pytest.raises(RunFailed) as failure:
        await handle.result()
    return failure.value.result


async def stopped(handle) -> RunResult:
    with pytest.raises(RunStopped) as stop:
        await handle.result()
    return stop.value.result


async def test_a_run_pins_the_revision_it_uses(system: System, name: str):
    environments = Environments(system.store)
    environments.create(name, saying(system, f"{name}-one"), author="ada")
    handle = await system.begun("echo $WORD", environment={"name": name})
    environments.revise(name, saying(system, f"{name}-two"), author="ada")
    assert (await handle.status()).environment == f"{name}#1"
    system.let_go(handle)
    result = await handle.result()
    assert State.BUILDING in [change.state for change in result.history]
    assert result.environment == f"{name}#1"
    assert await system.console(handle) == f"begun\n{name}-one\n".encode()

    for revision, word in (("latest", "two"), (1, "one")):
        again = await system.start("echo $WORD", environment={"name": name, "revision": revision})
        await again.result()
        assert await system.console(again) == f"{name}-{word}\n".encode()


async def test_a_project_has_a_default(system: System, name: str):
    Environments(system.store).create(name, Environment(image=system.image), author="ada")
    project = system.project()
    ProjectSettings(environment=NamedEnvironment(name=name)).save(system.store, project)
    spec = {"project": project, "command": "echo ran", "tier": "tiny"}
    result = await (await system.runs.start(spec)).result()
    assert result.environment == f"{name}#1"
    own = await (await system.runs.start({**spec, "environment": {"image": system.image}})).result()
    assert own.environment is None, "what a spec says itself comes first"


@pytest.mark.parametrize("wrong", [{"name": "no-such-environment"}, {"name": "known", "revision": 7}])
async def test_an_unknown_name_or_revision_is_an_invalid_spec(system: System, name: str, wrong: dict):
    Environments(system.store).create(name, Environment(image=system.image), author="ada")
    wrong = {**wrong, "name": name} if wrong["name"] == "known" else wrong
    result = await failed(await system.start("true", environment=wrong))
    assert (result.cause.code, result.cause.evidence["field"]) == ("invalid_spec", "environment")
    assert wrong["name"] in result.cause.message


def scripts(system: System, **more: str) -> dict[str, dict[str, str]]:
    return {"environment": {"image": system.image, **more}}


async def test_scripts_run_around_the_command_as_its_user_where_it_runs(system: System):
    project = system.project()
    handle = await system.start(
        "echo command $A",
        project=project,
        env={"A": "a"},
        **scripts(system, pre_run="echo before $A; id -u > who.txt", post_run="echo after $RUN_PROJECT"),
    )
    await handle.result()
    assert await system.console(handle) == f"before a\ncommand a\nafter {project}\n".encode()
    assert system.files(project)["who.txt"] == b"1000\n"


async def test_a_pre_run_that_fails_ends_the_run_without_its_command(system: System):
    handle = await system.start("echo command", **scripts(system, pre_run="exit 4", post_run="echo after"))
    result = await failed(handle)
    assert (result.cause.code, result.exit_code) == ("exit_code", 4)
    assert "pre_run ended with status 4" in result.cause.evidence["last_lines"]
    assert b"command\n" not in (await system.console(handle)).splitlines(keepends=True)


@pytest.mark.parametrize(
    ("command", "post_run", "code", "status"),
    [
        ("exit 3", "echo after", "exit_code", 3),
        ("true", "exit 5", "exit_code", 5),
        ("kill -SEGV $$", "echo after", "signal", 139),
        ("tail /dev/zero", "echo after", "out_of_memory", 137),
        (["no-such-program"], "echo after", "command_not_found", 127),
    ],
)
async def test_a_run_with_scripts_fails_as_its_command_does(system: System, command, post_run, code, status):
    handle = await system.start(command, **scripts(system, pre_run="true", post_run=post_run))
    result = await failed(handle)
    assert (result.cause.code, result.exit_code) == (code, status)
    assert (b"after\n" in await system.console(handle)) == (post_run == "echo after")


async def test_a_fault_signal_after_a_pre_run_alone_is_seen(system: System):
    result = await failed(await system.start("kill -SEGV $$", **scripts(system, pre_run="true")))
    assert (result.cause.code, result.exit_code) == ("signal", 139)


LASTS = "echo begun; while :; do sleep 0.05; done"


async def test_a_stop_reaches_the_command_and_the_post_run_saves_what_there_is(system: System):
    project = system.project()
    handle = await system.start(
        f"trap 'echo told; exit 7' TERM; {LASTS}",
        project=project,
        stop_grace=30,
        **scripts(system, pre_run="true", post_run="echo saved > saved.txt; echo after"),
    )
    async for _ in handle.logs(follow=True):
        break
    await handle.stop()
    assert (await stopped(handle)).exit_code == 7
    assert await system.console(handle) == b"begun\ntold\nafter\n"
    assert system.files(project)["saved.txt"] == b"saved\n"


async def test_a_post_run_that_takes_longer_than_the_grace_is_ended(system: System):
    handle = await system.start(
        LASTS, stop_grace=1, **scripts(system, post_run="echo after; while :; do sleep 1; done")
    )
    async for _ in handle.logs(follow=True):
        break
    await handle.stop()
    assert (await stopped(handle)).exit_code == 137
    assert await system.console(handle) == b"begun\nafter\n"


async def test_a_stop_during_the_pre_run_keeps_the_command_from_running(system: System):
    handle = await system.start("echo command", stop_grace=30, **scripts(system, pre_run=LASTS, post_run="echo after"))
    async for _ in handle.logs(follow=True):
        break
    await handle.stop()
    await stopped(handle)
    assert b"command" not in (await system.console(handle)).replace(b"the command was not run", b"")
