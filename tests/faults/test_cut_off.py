"""An executor that lives, and is cut off from Temporal for longer than its lease; or that has another time than all."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import docker
import pytest

from temporal_runs.client import RunError
from tests.conftest import eventually
from tests.fleets import SECOND, Fleet
from tests.networks import OwnNetwork

pytestmark = pytest.mark.timeout(300)

LOST_WITHIN = 120
"""Seconds: a server gives an activity to each request for work that it takes to be still there, one after the other."""

FAKED = "/usr/$LIB/faketime/libfaketime.so.1"


def clock(seconds: float) -> dict[str, str]:
    """The environment of processes whose clocks are that much ahead of everybody's."""
    return {"LD_PRELOAD": FAKED, "FAKETIME": f"{seconds:+}", "NO_FAKE_STAT": "1"} if seconds else {}


@pytest.fixture
def network(fleet: Fleet) -> Iterator[OwnNetwork]:
    """What the first executor, ended, reaches Temporal through when it is started."""
    fleet.executor.end()
    network = OwnNetwork(fleet)
    network.join(fleet.executor)
    yield network
    network.mend()


def state_of(name: str) -> dict[str, Any]:
    """What the engine says of a container, whether it runs or has ended."""
    return docker.from_env().api.inspect_container(name)["State"]


def at(time: str) -> datetime:
    return datetime.fromisoformat(time[:26].rstrip("Z") + "+00:00")


@pytest.mark.long
async def test_a_command_whose_executor_is_cut_off_goes_on_and_its_results_are_recovered(
    fleet: Fleet, network: OwnNetwork
):
    project = fleet.project()
    fleet.executor.start()
    handle = await fleet.started("true", project=project)
    (container,) = fleet.containers(handle)
    network.cut()
    with pytest.raises(RunError) as error:
        await handle.result()
    assert error.value.result.cause.code == "executor_lost"
    assert state_of(container.name)["Running"]
    network.mend()
    saved = await eventually(lambda: fleet.store.head(project, f"recovered/{handle.id}/1"))
    assert fleet.files(project, saved)["starts"] == b"started\n"
    assert "starts" not in fleet.files(project)
    await fleet.require_freed(handle)


@pytest.mark.long
@pytest.mark.parametrize("ahead", [0, -300], ids=["clocks agree", "its clock is slow"])
async def test_a_restartable_command_whose_executor_is_cut_off_is_ended_before_it_is_executed_anew(
    fleet: Fleet, network: OwnNetwork, ahead: float
):
    project = fleet.project()
    fleet.executor.environment |= clock(ahead)
    fleet.executor.start()
    handle = await fleet.started("true", project=project, on_executor_lost="restart", max_restarts=1)
    (first,) = fleet.containers(handle)
    fleet.second_executor.start()
    network.cut()
    others = await eventually(lambda: [one for one in fleet.containers(handle) if one.name != first.name], LOST_WITHIN)
    (second,) = others
    ended, begun = state_of(first.name)["FinishedAt"], state_of(second.name)["StartedAt"]
    assert at(ended) < at(begun)
    fleet.let_go(handle)
    result = await handle.result()
    assert (result.attempt, result.executor) == (2, SECOND)
    assert fleet.files(project)["starts"] == b"started\n"
    network.mend()
    saved = await eventually(lambda: fleet.store.head(project, f"recovered/{handle.id}/1"))
    assert fleet.files(project, saved)["starts"] == b"started\n"
    await fleet.require_freed(handle)


async def test_a_restartable_command_is_left_alone_though_the_clock_of_its_executor_is_fast(
    fleet: Fleet, network: OwnNetwork
):
    fleet.executor.environment |= clock(300)
    fleet.executor.start()
    handle = await fleet.started("true", on_executor_lost="restart")
    renewed = fleet.renewed_at()
    await eventually(lambda: fleet.renewed_at() > renewed + 2 * fleet.settings.lease)
    fleet.let_go(handle)
    assert (await handle.result()).attempt == 1
