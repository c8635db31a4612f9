"""An executor is killed at every point of a Run's life, and comes back, or is gone for good.

Each point has an executor of its own, with one place, which kills itself there: all of them die within one test.
"""

import asyncio
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from temporal_runs.client import RunHandle
from temporal_runs.settings import Settings
from temporal_runs.status import State
from temporal_runs.worker.ledger import recorded
from tests.conftest import eventually
from tests.fleets import COMMAND, Fleet, Process, ended, fleet_of, require_nothing_left
from tests.witness import SWITCHES, check, witness

pytestmark = pytest.mark.timeout(400)

LEDGER = "temporal_runs.worker.ledger:Ledger"
ENGINE = "temporal_runs.engine:Engine"
PREPARING = "temporal_runs.activities.preparing:Preparing"
WORKSPACES = "temporal_runs.workspaces:Workspaces"
LAYERS = "temporal_runs.workspaces.layers:Layers"
IMAGES = "temporal_runs.images:MachineImages"
HISTORY = "temporal_runs.store.history:History"
UPLOAD = "temporal_runs.store.upload:Upload"


@dataclass(frozen=True)
class Point:
    """Where an executor dies, see `tests.mortal`, and what becomes of its Run if it never comes back."""

    name: str
    where: str
    gone: str
    """the Run is taken by another in the same "attempt", or is "queued again", or is "lost" """


BEFORE_ITS_END = (
    Point("acknowledging", f"before {LEDGER}.grant", "attempt"),
    Point("acknowledged", f"after {LEDGER}.grant", "attempt"),
    Point("preparing", f"before {LAYERS}.add", "queued again"),
    Point("prepared", f"after {WORKSPACES}.make", "queued again"),
    Point("mounted", f"after {PREPARING}._workspace", "queued again"),
    # From here on only the executor could say whether the command has begun.
    Point("container made", f"after {ENGINE}.create", "lost"),
    Point("about to start", f"before {ENGINE}.start", "lost"),
    Point("started", f"after {ENGINE}.start", "lost"),
)
AFTER_ITS_END = (
    Point("uploading", f"before {UPLOAD}.__exit__", "lost"),
    Point("uploaded", f"before {HISTORY}.make", "lost"),
    Point("about to land", f"before {HISTORY}.move", "lost"),
    Point("landed", f"after {HISTORY}.move", "lost"),
    Point("removed", f"after {ENGINE}.remove", "lost"),
    Point("cleaned up", f"before {IMAGES}.leave", "lost"),
    Point("finished", f"after {LEDGER}.update finished", "lost"),
)
IN_A_STOP = (
    Point("about to tell it", f"before {ENGINE}.signal", "lost"),
    Point("told", f"after {ENGINE}.signal", "lost"),
    Point("uploading what a stop left", f"before {HISTORY}.make", "lost"),
    Point("stopped", f"after {LEDGER}.update finished", "lost"),
)


@dataclass(frozen=True)
class Mortal:
    """An executor that dies at a point."""

    point: Point
    process: Process
    id: str

    def comes_back(self) -> None:
        self.process.program = (COMMAND,)
        self.process.start()


async def mortals(fleet: Fleet, points: tuple[Point, ...]) -> list[Mortal]:
    """An executor for each point, all at work."""
    found: list[Mortal] = []
    for number, point in enumerate(points):
        process = fleet.process("executor", "--id", f"mortal-{number}", "--serve", "one=1")
        process.program = (sys.executable, "-m", "tests.mortal", point.where)
        process.start()
        found.append(Mortal(point, process, f"mortal-{number}"))
    log = fleet.dispatcher.log
    await eventually(lambda: log.read_text().count("executor works") >= 1 + len(found), 120)
    return found


async def begun(fleet: Fleet, number: int) -> dict[RunHandle, str]:
    """So many Runs whose commands end when they have begun, each on a project of its own."""
    projects = [fleet.project() for _ in range(number)]
    handles: dict[RunHandle, str] = {}
    for project in projects:
        handle = await fleet.start(witness("exit 0"), project=project, tier="one", mounts=[SWITCHES])
        fleet.turn_switch(handle)
        handles[handle] = project
    return handles


async def stopped(fleet: Fleet, number: int) -> dict[RunHandle, str]:
    """So many Runs that have been stopped while they execute."""
    projects = [fleet.project() for _ in range(number)]
    handles = await asyncio.gather(*(fleet.witness("exit 0", project=project) for project in projects))
    for handle in handles:
        await handle.stop()
    return dict(zip(handles, projects, strict=True))


async def all_die(mortals: list[Mortal]) -> None:
    for mortal in mortals:
        assert await asyncio.to_thread(mortal.process.ended) == -signal.SIGKILL, mortal.point


def require_nothing_half(fleet: Fleet, projects: list[str]) -> None:
    """Raises AssertionError where somebody could see a part of a Run's results."""
    for project in projects:
        files = fleet.files(project)
        assert set(files) == {"data.txt"} or {"starts", "said", "data.txt"} <= set(files)


@pytest.mark.parametrize("points", [BEFORE_ITS_END, AFTER_ITS_END, IN_A_STOP], ids=["before", "after", "stop"])
async def test_an_executor_dies_anywhere_and_comes_back(
    image: str, make_settings: Callable[..., Settings], points: tuple[Point, ...]
):
    async with fleet_of(make_settings(), image) as fleet:
        executors = await mortals(fleet, points)
        stops = points is IN_A_STOP
        handles = await (stopped if stops else begun)(fleet, len(points))
        await all_die(executors)
        require_nothing_half(fleet, list(handles.values()))
        for executor in executors:
            executor.comes_back()
        for handle, project in handles.items():
            result = await ended(handle)
            assert result.state is (State.STOPPED if stops else State.SUCCEEDED), result
            assert result.attempt == 1
            check(
                handle.id,
                fleet.files(project, result.output_commit),
                await fleet.console(handle),
                to_the_end=not stops,
            )
            assert len([one for one in fleet.store.log(project) if one.origin]) == 1, "one commit of results"
        for executor in executors:
            executor.process.tell(signal.SIGTERM)
        for executor in executors:
            assert await asyncio.to_thread(executor.process.ended) == 0
        await require_nothing_left(fleet)


@pytest.mark.long
@pytest.mark.parametrize("points", [BEFORE_ITS_END, AFTER_ITS_END, IN_A_STOP], ids=["before", "after", "stop"])
async def test_an_executor_dies_anywhere_and_is_gone_for_good(
    image: str, make_settings: Callable[..., Settings], points: tuple[Point, ...]
):
    async with fleet_of(make_settings(lease=6), image) as fleet:
        executors = await mortals(fleet, points)
        handles = await (stopped if points is IN_A_STOP else begun)(fleet, len(points))
        await all_die(executors)
        point_of = {
            holding.request.attempt.run_id: executor.point
            for executor in executors
            for holding in recorded(fleet.folder(executor.id))
        }
        survivor = fleet.process("executor", "--id", "survivor", "--serve", f"one={len(points)}")
        survivor.start()
        for handle, project in handles.items():
            point = point_of.get(handle.id)
            result = await ended(handle)
            if point is None or point.gone != "lost":
                assert result.state is State.SUCCEEDED, (point, result)
                assert result.attempt == (2 if point and point.gone == "queued again" else 1)
                check(handle.id, fleet.files(project), await fleet.console(handle), to_the_end=True)
            else:
                assert (result.state, result.cause.code) == (State.ERROR, "executor_lost"), (point, result)
                assert result.attempt == 1
        require_nothing_half(fleet, list(handles.values()))
        for executor in executors:
            executor.comes_back()
        await require_nothing_left(fleet)
        for handle, project in handles.items():
            point = point_of.get(handle.id)
            if point is None or point.gone != "lost":
                continue
            saved = fleet.store.head(project, f"recovered/{handle.id}/1")
            if point.name in ("container made", "about to start"):
                assert saved is None or "starts" not in fleet.files(project, saved)
            elif "starts" not in fleet.files(project):
                assert saved, point
                check(handle.id, fleet.files(project, saved), await fleet.console(handle), to_the_end=False)
