"""A stop that comes while nobody is there to obey it: its executor is dead, for a while or for good."""

import asyncio
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from temporal_runs.client import RunHandle
from temporal_runs.settings import Settings
from temporal_runs.status import State
from temporal_runs.worker.ledger import recorded
from tests.conftest import eventually
from tests.fleets import COMMAND, SECOND, Fleet, Process, ended, fleet_of, require_nothing_left
from tests.witness import SWITCHES, check, witness

pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True)
class Death:
    """Where the executor of a Run dies, see `tests.mortal`, and how the Run ends that is stopped then."""

    where: str
    state: State
    """which the Run is in"""
    gone: State
    """how it ends where the executor never comes back"""


ENGINE = "temporal_runs.engine:Engine"
PREPARING = Death("before temporal_runs.workspaces:Workspaces.make", State.PREPARING, State.STOPPED)
BUILDING = Death(f"before {ENGINE}.build", State.BUILDING, State.STOPPED)
PULLING = Death(f"before {ENGINE}.pull", State.PULLING, State.STOPPED)
# From here on only the executor could say whether the command has begun.
NOT_BEGUN = Death(f"before {ENGINE}.create", State.RUNNING, State.ERROR)
ABOUT_TO_BEGIN = Death(f"before {ENGINE}.start", State.RUNNING, State.ERROR)
BEGUN = Death(f"after {ENGINE}.start", State.RUNNING, State.ERROR)

UPTIME = Path("/proc/uptime")
"""The one clock that a command and this process share."""

DEATHS = (PREPARING, BUILDING, PULLING, NOT_BEGUN, ABOUT_TO_BEGIN, BEGUN)


@dataclass(frozen=True)
class Orphan:
    """A Run whose executor has died."""

    death: Death
    handle: RunHandle
    project: str
    executor: Process


async def orphans(fleet: Fleet, registry: str, new_image: Callable[..., str]) -> list[Orphan]:
    """One of each death. Each is begun when no other executor has a place."""
    found: list[Orphan] = []
    for number, death in enumerate(DEATHS):
        project = fleet.project()
        environment = {
            BUILDING: {"base": fleet.image, "instructions": [f"ENV OF={project}"]},
            PULLING: {"image": new_image(registry, base=fleet.image) if death is PULLING else ""},
        }.get(death, {"image": fleet.image})
        executor = fleet.process("executor", "--id", f"mortal-{number}", "--serve", "one=1")
        executor.program = (sys.executable, "-m", "tests.mortal", death.where)
        executor.start()
        handle = await fleet.start(
            witness("exit 0"), project=project, tier="one", mounts=[SWITCHES], environment=environment
        )
        assert await asyncio.to_thread(executor.ended) == -signal.SIGKILL, death
        assert await eventually(lambda handle=handle, death=death: _is(handle, death.state)), death
        found.append(Orphan(death, handle, project, executor))
    return found


@pytest.mark.parametrize(
    "comes_back",
    [pytest.param(True, id="comes back"), pytest.param(False, id="gone for good", marks=pytest.mark.long)],
)
async def test_a_stop_while_its_executor_is_dead(
    image: str, make_settings: Callable[..., Settings], registry: str, new_image: Callable[..., str], comes_back: bool
):
    async with fleet_of(make_settings(lease=30 if comes_back else 6), image) as fleet:
        all = await orphans(fleet, registry, new_image)
        for one in all:
            await one.handle.stop()
        if comes_back:
            restart(all)
        for one in all:
            result = await ended(one.handle)
            assert result.state is (State.STOPPED if comes_back else one.death.gone), (one.death, result)
            assert result.attempt == 1
            if result.state is State.ERROR:
                assert result.cause.code == "executor_lost"
        if not comes_back:
            restart(all)
        await require_nothing_left(fleet)
        for one in all:
            saved = fleet.store.head(one.project, "main" if comes_back else f"recovered/{one.handle.id}/1")
            if one.death is BEGUN:
                files = fleet.files(one.project, saved)
                check(one.handle.id, files, await fleet.console(one.handle), to_the_end=False)
            else:
                assert await fleet.console(one.handle) == b"", one.death
                assert saved is None or "starts" not in fleet.files(one.project, saved), one.death


async def test_a_stop_while_results_come_back_and_their_executor_is_dead_is_too_late(fleet: Fleet):
    fleet.executor.end()
    fleet.executor.program = (sys.executable, "-m", "tests.mortal", "before temporal_runs.store:Store.land")
    fleet.executor.start()
    project = fleet.project()
    handle = await fleet.start("echo started >> starts; exit 3", project=project)
    assert await asyncio.to_thread(fleet.executor.ended) == -signal.SIGKILL
    await handle.stop()
    fleet.executor.program = (COMMAND,)
    fleet.executor.start()
    result = await ended(handle)
    assert (result.state, result.exit_code, result.stop.too_late) == (State.FAILED, 3, True)
    assert fleet.files(project)["starts"] == b"started\n"


def restart(all: list[Orphan]) -> None:
    for one in all:
        one.executor.program = (COMMAND,)
        one.executor.start()


async def test_a_stop_that_comes_with_its_place_frees_it_again(fleet: Fleet):
    handle = await fleet.start("true", tier="one")
    await eventually(lambda: _waits(handle))
    fleet.dispatcher.kill()
    fleet.process("executor", "--id", SECOND, "--serve", "one=1").start()
    await eventually(lambda: recorded(fleet.folder(SECOND)))
    await fleet.client.get_workflow_handle(handle.id).signal("stop")
    fleet.dispatcher.start()
    result = await ended(handle)
    assert result.state is State.STOPPED
    assert State.PREPARING not in [change.state for change in result.history]


async def test_sigterm_comes_within_a_second_of_the_signal(fleet: Fleet):
    command = "trap 'cat /proc/uptime; exit 0' TERM; echo begun; while true; do sleep 0.01; done"
    handle = await fleet.start(command)
    async for _ in handle.logs(follow=True):
        break
    sent = now()
    await fleet.client.get_workflow_handle(handle.id).signal("stop")
    assert (await ended(handle)).state is State.STOPPED
    received = uptime((await fleet.console(handle)).decode().splitlines()[1])
    assert received - sent < 1


def now() -> float:
    return uptime(UPTIME.read_text())


def uptime(text: str) -> float:
    return float(text.split()[0])


async def _waits(handle: RunHandle) -> bool:
    """For an executor: what has to be asked for has been."""
    return "waits for an executor" in ((await handle.status()).reason or "")


async def _is(handle: RunHandle, state: State) -> bool:
    return (await handle.status()).state is state
