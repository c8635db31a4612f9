"""Chaos: dozens of Runs of every ending, while a process of ours is killed every few seconds; none loses anything.

One minute with a fixed seed, or as `make chaos MINUTES=10 SEED=7` says. One seed is one schedule of Runs and killings.
"""

import asyncio
import os
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any, TypeVar

import docker
import pytest
import pytest_asyncio
from docker.models.containers import Container
from temporalio.service import RPCError, RPCStatusCode

from temporal_runs.client import RunDidNotSucceed, RunHandle, ServerUnavailable
from temporal_runs.settings import Settings
from temporal_runs.status import RunResult
from tests.chaos import killings, runs
from tests.chaos.judgement import Case, judge
from tests.chaos.killings import SHORT_LEASE, SHORT_LEASED, STEADY, Killing, Victims
from tests.chaos.runs import PROJECTS, Planned
from tests.chaos.stand import Stand
from tests.fleets import Fleet, fleet_of, require_nothing_left
from tests.witness import SWITCHES

SECONDS = 60 * float(os.environ.get("CHAOS_MINUTES", "1"))
SEED = int(os.environ.get("CHAOS_SEED", "7"))

BOUND = 180
"""Seconds within which all Runs have ended, when nobody is killed any more."""

pytestmark = pytest.mark.timeout(SECONDS + 600)
Value = TypeVar("Value")


@pytest_asyncio.fixture
async def fleet(image: str, make_settings: Callable[..., Settings]) -> AsyncIterator[Fleet]:
    async with fleet_of(make_settings(), image, serve="one=3") as fleet:
        yield fleet


async def test_nothing_is_lost_whoever_dies(fleet: Fleet, registry: str):
    random = Random(SEED)
    planned, killed = runs.plan(random, SECONDS), killings.plan(random, SECONDS)
    executors = {STEADY[0]: fleet.executor, STEADY[1]: fleet.machine(STEADY[1], "one=3")}
    for name in SHORT_LEASED:
        executors[name] = fleet.machine(name, "two=2", TEMPORAL_RUNS_LEASE=f"{SHORT_LEASE}")
    for executor in (executors[name] for name in (STEADY[1], *SHORT_LEASED)):
        executor.start()
    projects = [fleet.project() for _ in range(PROJECTS)]
    victims, mark = Victims(fleet, executors), uuid.uuid4().hex[:8]
    with Stand(fleet.settings.home / SWITCHES) as stand:
        supervising = asyncio.create_task(victims.supervise())
        async with asyncio.TaskGroup() as group:
            for killing in killed:
                group.create_task(_kill(victims, killing))
            specs = [one.spec(projects[one.project], fleet.image, registry, mark) for one in planned]
            started = [
                group.create_task(_start(fleet, stand, one, spec)) for one, spec in zip(planned, specs, strict=True)
            ]
        handles = [task.result() for task in started]
        results = await asyncio.gather(*map(_end, handles))
        supervising.cancel()
        with suppress(asyncio.CancelledError):
            await supervising
        for executor in executors.values():
            executor.tell(signal.SIGTERM)
        leftovers = await _leftovers(fleet)
        cases = [
            Case(one, handle, projects[one.project], result)
            for one, handle, result in zip(planned, handles, results, strict=True)
            if result
        ]
        wrong = await asyncio.gather(*(judge(fleet, stand, case) for case in cases), return_exceptions=True)
    losses = [f"{handle.id} has not ended" for handle, result in zip(handles, results, strict=True) if not result]
    losses += [
        f"{case.planned.id} ({case.planned.ending.name}, {case.project}): {error!r}"
        for case, error in zip(cases, wrong, strict=True)
        if error
    ]
    losses += leftovers
    _forget_images(cases)
    print(_report(planned, killed, results, losses))
    assert not losses, "\n".join(losses)


async def _start(fleet: Fleet, stand: Stand, planned: Planned, spec: dict[str, Any]) -> RunHandle:
    """Starts a Run when it is due, and does to it what it is to suffer."""
    await asyncio.sleep(planned.at)
    handle = await _accepted(lambda: fleet.runs.start(spec, id=planned.id))
    workflow = fleet.client.get_workflow_handle(planned.id)
    match planned.ending.suffers:
        case "cancel":
            await asyncio.sleep(planned.after)
            await _accepted(workflow.cancel)
        case "terminate":
            await asyncio.sleep(planned.after)
            await _accepted(workflow.terminate)
        case "remove":
            await stand.heard(planned.id)
            await asyncio.sleep(planned.after)
            await asyncio.to_thread(_remove, fleet.containers(handle))
        case None if planned.ending.stop is not None:
            await asyncio.sleep(planned.after)
            keeps = planned.ending.stop
            await _accepted(lambda: handle.stop(commit_results=keeps))
        case None:
            pass
    return handle


def _remove(containers: list[Container]) -> None:
    for container in containers:
        container.remove(force=True)


async def _accepted(ask: Callable[[], Awaitable[Value]]) -> Value | None:
    """Asks until the server answers: all that is asked for may be asked twice; None where it was heard before."""
    while True:
        try:
            return await ask()
        except ServerUnavailable:
            pass
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return None  # it had been heard, and the workflow has closed
        await asyncio.sleep(0.5)


async def _kill(victims: Victims, killing: Killing) -> None:
    await asyncio.sleep(killing.at)
    await victims.suffer(killing)


async def _end(handle: RunHandle) -> RunResult | None:
    """The result of a Run, whatever it is; None where it has none in time."""
    try:
        async with asyncio.timeout(BOUND):
            return await handle.result()
    except RunDidNotSucceed as end:
        return end.result
    except TimeoutError:
        return None


async def _leftovers(fleet: Fleet) -> list[str]:
    try:
        await require_nothing_left(fleet)
    except AssertionError as left:
        return [str(left)]
    return []


def _forget_images(cases: list[Case]) -> None:
    """Removes what was built."""
    engine = docker.from_env()
    for image in {case.result.image for case in cases if case.planned.ending.name == "is built" and case.result.image}:
        with suppress(docker.errors.ImageNotFound):
            engine.images.remove(image, force=True)


def _report(planned: list[Planned], killed: list[Killing], results: list[RunResult | None], losses: list[str]) -> str:
    def counted(names: Counter[str]) -> str:
        return ", ".join(f"{name} {number}" for name, number in sorted(names.items()))

    endings, victims = Counter(one.ending.name for one in planned), Counter(one.victim for one in killed)
    again = sum(result.attempt - 1 for result in results if result)
    return "\n".join(
        [
            "",
            f"chaos of {SECONDS:g} s, seed {SEED}: {len(planned)} Runs, {len(killed)} kills, {len(losses)} losses",
            f"  Runs: {counted(endings)}; queued again or restarted {again} times",
            f"  kills: {counted(victims)}",
            *(f"  LOST {loss}" for loss in losses),
        ]
    )
