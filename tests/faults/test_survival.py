"""Any process is killed during a Run: its command executes once, its console is whole, its results come back."""

import asyncio
import signal
import sys
from pathlib import Path

import docker
import pytest

from temporal_runs.client import RunError, RunFailed, RunStopped
from temporal_runs.status import State
from tests.conftest import eventually
from tests.fleets import COMMAND, SECOND, Fleet, Process


async def test_an_executor_is_killed_and_comes_back(fleet: Fleet):
    project = fleet.project()
    handle = await fleet.started("seq 1 1000", project=project)
    fleet.executor.kill()
    fleet.executor.start()
    fleet.let_go(handle)
    result = await handle.result()
    assert fleet.files(project)["starts"] == b"started\n"
    assert await fleet.console(handle) == b"begun\n" + b"".join(b"%d\n" % n for n in range(1, 1001))
    assert result.attempt == 1


async def test_a_command_that_fails_while_its_executor_is_away(fleet: Fleet):
    project = fleet.project()
    handle = await fleet.started("echo gone on; exit 3", project=project)
    fleet.executor.kill()
    fleet.let_go(handle)
    fleet.executor.start()
    with pytest.raises(RunFailed) as failure:
        await handle.result()
    assert failure.value.result.exit_code == 3
    assert fleet.files(project)["starts"] == b"started\n"
    assert await fleet.console(handle) == b"begun\ngone on\n"


async def test_a_stop_while_its_executor_is_away(fleet: Fleet):
    project = fleet.project()
    handle = await fleet.started("true", project=project, stop_grace=1)
    fleet.executor.kill()
    await handle.stop()
    fleet.executor.start()
    with pytest.raises(RunStopped):
        await handle.result()
    assert fleet.files(project)["starts"] == b"started\n"


async def test_an_executor_that_stays_away_is_lost_and_its_results_are_recovered(fleet: Fleet):
    project = fleet.project()
    handle = await fleet.started("true", project=project)

    async def last_lines() -> str | None:
        return ((await handle.status()).progress or {}).get("last_lines")

    printed = await eventually(last_lines)
    fleet.executor.kill()
    with pytest.raises(RunError) as error:
        await handle.result()
    assert error.value.result.cause.code == "executor_lost"
    assert error.value.result.cause.evidence["last_lines"] == printed
    fleet.executor.start()
    saved = await eventually(lambda: fleet.store.head(project, f"recovered/{handle.id}/1"))
    assert fleet.files(project, saved)["starts"] == b"started\n"
    assert "starts" not in fleet.files(project)


async def test_a_restartable_command_ends_with_its_executor_and_is_executed_anew_by_another(fleet: Fleet):
    project = fleet.project()
    handle = await fleet.started("true", project=project, on_executor_lost="restart")
    (first,) = fleet.containers(handle)
    fleet.executor.kill()
    fleet.second_executor.start()
    running = await eventually(lambda: [one for one in fleet.containers(handle) if one.name != first.name])
    assert len(running) == len(fleet.containers(handle)) == 1
    fleet.let_go(handle)
    result = await handle.result()
    assert result.attempt == 2
    assert result.executor == SECOND
    assert fleet.files(project)["starts"] == b"started\n"

    fleet.executor.start()
    saved = await eventually(lambda: fleet.store.head(project, f"recovered/{handle.id}/1"))
    assert fleet.files(project, saved)["starts"] == b"started\n"


async def test_a_restartable_command_whose_executor_is_frozen_goes_no_further(fleet: Fleet):
    handle = await fleet.started("true", on_executor_lost="restart", max_restarts=0)
    fleet.executor.freeze()
    await eventually(lambda: fleet.containers(handle) == [])
    fleet.executor.thaw()
    with pytest.raises(RunError) as error:
        await handle.result()
    assert error.value.result.cause.code == "executor_lost"


async def test_a_restartable_command_is_left_alone_while_its_executor_is_there(fleet: Fleet):
    handle = await fleet.started("true", on_executor_lost="restart")
    renewed = fleet.renewed_at()
    await eventually(lambda: fleet.renewed_at() > renewed + 2 * fleet.settings.lease)
    fleet.let_go(handle)
    assert (await handle.result()).attempt == 1


async def test_the_server_is_killed_and_comes_back(fleet: Fleet):
    import json
    import os

    project = fleet.project()
    handle = await fleet.started("echo done", project=project)
    pid = int((fleet.settings.home / "temporal" / "server.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    fleet.let_go(handle)
    result = await handle.result()
    assert result.state is State.SUCCEEDED
    assert fleet.files(project)["starts"] == b"started\n"
    assert json.loads(fleet.store.get(f"console/{handle.id}/{result.execution_id}/1/end"))["bytes"] == 11


async def test_who_is_told_to_end_while_the_server_is_away_ends(fleet: Fleet):
    await fleet.server.kill()
    for process in (fleet.dispatcher, fleet.executor):
        process.tell(signal.SIGINT)
    assert [await asyncio.to_thread(process.ended) for process in (fleet.dispatcher, fleet.executor)] == [0, 0]
    await fleet.server.start()


async def test_the_dispatcher_is_killed_and_comes_back(fleet: Fleet):
    handle = await fleet.started("true")
    fleet.dispatcher.kill()
    fleet.let_go(handle)
    fleet.dispatcher.start()
    assert (await handle.result()).state is State.SUCCEEDED


async def test_a_second_executor_of_the_same_name_is_refused(fleet: Fleet):
    handle = await fleet.started("true")
    same = Process(
        "executor", "--id", fleet.executor_id, environment=fleet.executor.environment, log=fleet.executor.log
    )
    same.start()
    assert same.ended() == 2
    fleet.let_go(handle)


async def test_an_executor_of_the_same_name_on_another_machine_is_refused_until_the_first_is_gone(
    fleet: Fleet, tmp_path: Path
):
    handle = await fleet.started("echo done")
    await eventually(lambda: _is(fleet, "works"))
    elsewhere = fleet.process(
        *("executor", "--id", fleet.executor_id, "--serve", "tiny=2"),
        TEMPORAL_RUNS_HOME=str(tmp_path),
        TEMPORAL_RUNS_STORE=fleet.settings.store_url,
    )
    elsewhere.log = tmp_path / "log"
    elsewhere.start()
    assert elsewhere.ended() == 2
    assert "is at work on" in elsewhere.log.read_text()
    # The one that has the id comes back at once, whoever wants it meanwhile.
    fleet.executor.kill()
    elsewhere.start()
    fleet.executor.start()
    assert elsewhere.ended() == 2
    fleet.let_go(handle)
    assert (await handle.result()).attempt == 1
    assert await fleet.console(handle) == b"begun\ndone\n"
    fleet.executor.kill()
    await eventually(lambda: _is_silent(fleet))
    elsewhere.start()
    result = await (await fleet.start("true")).result()
    assert result.executor == fleet.executor_id
    assert not fleet.executor.runs
    elsewhere.tell(signal.SIGTERM)
    assert elsewhere.ended() == 0
    fleet.executor.start()  # nobody has the id any more; it cleans up


async def test_of_two_that_claim_a_name_in_the_same_moment_one_stays(fleet: Fleet, tmp_path: Path):
    twins = [
        fleet.process(
            *("executor", "--id", "twin", "--serve", "one=1"),
            TEMPORAL_RUNS_HOME=str(tmp_path / name),
            TEMPORAL_RUNS_STORE=fleet.settings.store_url,
        )
        for name in ("a", "b")
    ]
    for twin in twins:
        twin.start()
    gone = await eventually(lambda: [twin for twin in twins if not twin.runs])
    assert [twin.ended() for twin in gone] == [2]
    assert await eventually(lambda: _names(fleet)) >= {"twin"}
    assert len([twin for twin in twins if twin.runs]) == 1


async def _names(fleet: Fleet) -> set[str]:
    return {one.id for one in await fleet.runs.executors() if not one.is_silent}


async def _is_silent(fleet: Fleet) -> bool:
    return all(one.is_silent for one in await fleet.runs.executors())


async def test_what_an_executor_that_is_killed_as_it_starts_was_trying_is_removed_by_the_next(fleet: Fleet):
    executor = fleet.process("executor", "--id", "mortal", "--serve", "one=1")
    executor.program = (sys.executable, "-m", "tests.mortal", "after temporal_runs.engine:Engine.create_overlay")
    executor.start()
    assert executor.ended() == -signal.SIGKILL
    folder = fleet.folder("mortal")

    def tried() -> list[object]:
        volumes = docker.from_env().volumes.list()
        return [*folder.glob("probe-*"), *(one for one in volumes if str(folder) in str(one.attrs["Options"]))]

    assert len(tried()) == 2
    executor.program = (COMMAND,)
    executor.start()
    await eventually(lambda: not tried())


async def test_an_executor_that_is_told_to_end_ends_with_its_runs_and_takes_nothing_new(fleet: Fleet):
    handle = await fleet.started("echo done")
    fleet.executor.tell(signal.SIGTERM)
    await eventually(lambda: _is(fleet, "draining"))
    waits = await fleet.start("true")
    fleet.let_go(handle)
    assert fleet.executor.ended() == 0
    assert (await handle.result()).state is State.SUCCEEDED
    assert await fleet.console(handle) == b"begun\ndone\n"
    assert (await waits.status()).state is State.QUEUED
    fleet.executor.start()
    assert (await waits.result()).executor == fleet.executor_id


async def test_an_executor_that_is_told_twice_ends_at_once_and_its_commands_go_on(fleet: Fleet):
    handle = await fleet.started("echo done")
    fleet.executor.tell(signal.SIGTERM)
    await eventually(lambda: _is(fleet, "draining"))
    fleet.executor.tell(signal.SIGTERM)
    assert fleet.executor.ended() == 0
    assert len(fleet.containers(handle)) == 1
    await eventually(lambda: _is(fleet, "ended"))
    fleet.executor.start()
    fleet.let_go(handle)
    assert (await handle.result()).attempt == 1


async def _is(fleet: Fleet, state: str) -> bool:
    """What the one executor, which holds one Run, says of itself."""
    return [(one.state, len(one.runs)) for one in await fleet.runs.executors()] == [(state, 1)]


@pytest.mark.parametrize("now", [None, "new-value"])
async def test_a_secret_that_was_removed_or_changed_meanwhile_stays_one(fleet: Fleet, now: str | None):
    secret = fleet.settings.secrets_folder / "token"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text("hunter2-very-secret\n")
    handle = await fleet.started("echo $TOKEN; exit 1", secrets={"TOKEN": "token"})
    fleet.executor.kill()
    if now:
        secret.write_text(now)
    else:
        secret.unlink()
    fleet.executor.start()
    fleet.let_go(handle)
    with pytest.raises(RunFailed) as failure:
        await handle.result()
    assert failure.value.result.cause.code == "exit_code"
    assert "***" in failure.value.result.cause.evidence["last_lines"]
    history = await fleet.client.get_workflow_handle(handle.id).fetch_history()
    assert "hunter2" not in history.to_json()
