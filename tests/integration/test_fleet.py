"""Several executors on a server as `up` starts it: who is taken when, by whom, and what is said of it meanwhile."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest_asyncio
from temporalio.api.enums.v1 import DescribeTaskQueueMode, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

from temporal_runs.client import RunHandle, Runs
from temporal_runs.connection import connect
from temporal_runs.fleet import ExecutorStatus, Resources
from temporal_runs.settings import GIB, Settings
from temporal_runs.status import Queue, State
from temporal_runs.steps import Tier
from temporal_runs.store import Store
from temporal_runs.worker.dispatcher import run_dispatcher
from temporal_runs.worker.embedded import EmbeddedServer
from temporal_runs.worker.executor import run_executor
from temporal_runs.worker.ledger import recorded
from temporal_runs.worker.room import Offer, Room
from tests.conftest import System, eventually
from tests.fleets import COMMAND

TIERS = """
tiny = {cores = 0.25, memory = "32MiB"}
half = {cores = 0.5, memory = "32MiB"}
whole = {cores = 1, memory = "32MiB"}
alone = {cores = 0.25, memory = "32MiB"}
"""
WAITS = "while [ ! -e go ]; do sleep 0.2; done"


class Fleet(System):
    """A dispatcher, and as many executors as a test starts."""

    offers: dict[str, Offer]

    def executes(self, id: str, offer: Offer) -> asyncio.Task[None]:
        """An executor of that name begins to work."""
        self.offers[id] = offer
        task = asyncio.create_task(self._execute(id, offer))
        self.tasks.append(task)
        return task

    async def _execute(self, id: str, offer: Offer) -> None:
        # Two workers of one client cannot poll the same queue.
        await run_executor(await connect(self.settings), self.settings, id, offer)

    async def told(self, id: str) -> ExecutorStatus | None:
        return next((one for one in await self.runs.executors() if one.id == id), None)

    def held(self, id: str) -> dict[str, Tier]:
        """The Runs that an executor holds by its own ledger, and their tiers."""
        holdings = recorded(self.settings.home / "executors" / id)
        return {one.request.attempt.run_id: one.request.tier for one in holdings if one.finished is None}

    def room(self, id: str) -> Room:
        offer, tiers = self.offers[id], self.settings.tier_table
        served = tiers if offer.serve is None else {name: tiers[name] for name in offer.serve}
        slots = None if offer.serve is None else dict(offer.serve)
        return Room(served, slots, Resources(cores=offer.cores or 1000, memory=offer.memory or 1000 * GIB))

    def containers(self, id: str) -> list[Any]:
        """Those of an executor that run."""
        label = f"temporal-runs.executor={self.settings.home / 'executors' / id}"
        return docker.from_env().containers.list(filters={"label": label}, ignore_removed=True)

    def go(self, runs: Sequence[str]) -> None:
        """Lets commands end."""
        for run_id in runs:
            self.let_go(self.runs.get(run_id))

    async def types(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command of a person, to its end."""
        environment = {
            "PATH": "/usr/bin:/bin",
            "TEMPORAL_ADDRESS": self.client.service_client.config.target_host,
            "TEMPORAL_RUNS_HOME": str(self.settings.home),
            "TEMPORAL_RUNS_TIERS": str(self.settings.tiers),
        }
        command = [COMMAND, *arguments]
        return await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True)


@pytest_asyncio.fixture(scope="module")
async def fleet(image: str, tmp_path_factory) -> AsyncIterator[Fleet]:
    home: Path = tmp_path_factory.mktemp("fleet")
    (home / "tiers.toml").write_text(TIERS)
    settings = Settings(home=home, tiers=home / "tiers.toml", lease=6)
    async with EmbeddedServer(settings):
        client = await connect(settings)
        fleet = Fleet(client, settings, Runs(client, settings), Store.open(settings.store_url), image, "")
        fleet.offers = {}
        fleet.tasks = [asyncio.create_task(run_dispatcher(client, settings))]
        try:
            yield fleet
        finally:
            for task in fleet.tasks:
                task.cancel()
            await asyncio.gather(*fleet.tasks, return_exceptions=True)
            # After a failure: threads of ours wait for what still executes, and keep this process from its end.
            for container in [one for id in fleet.offers for one in fleet.containers(id)]:
                container.remove(v=True, force=True)


async def test_room_is_never_oversubscribed_and_never_idles_while_a_run_that_fits_waits(fleet: Fleet):
    first = fleet.executes("first", Offer(cores=1, memory=GIB))
    second = fleet.executes("second", Offer(serve={"tiny": 2, "half": 1}))
    project = fleet.project()
    mixed = ["tiny"] * 9 + ["half"] * 5 + ["whole"] * 2 + ["tiny"] * 4 + ["half"] * 2
    handles = [await fleet.start(WAITS, tier=tier, project=project) for tier in mixed]
    waiting = {handle.id: tier for handle, tier in zip(handles, mixed, strict=True)}
    ids = ("first", "second")

    def is_full() -> bool:
        """No Run that waits would fit anywhere. Asserts that nowhere is more than there is room for."""
        for id in ids:
            held = fleet.held(id)
            for run_id in held:
                waiting.pop(run_id, None)
            room = fleet.room(id)
            assert room.used(held.values()).cores <= room.whole.cores
            if room.slots:
                names = [tier.name for tier in held.values()]
                assert all(names.count(name) <= slots for name, slots in room.slots.items())
        rooms = [(fleet.room(id), fleet.held(id).values()) for id in ids]
        return not [
            name
            for name in waiting.values()
            for room, held in rooms
            if name in room.tiers and room.left(room.tiers[name], held)
        ]

    assert await eventually(is_full)
    assert len(waiting) == len(mixed) - len(fleet.held("first")) - len(fleet.held("second"))
    over: set[str] = set()
    while len(over) < len(handles):
        # All that execute wait for us: nothing changes but what we bring about.
        assert await eventually(is_full)
        held = [*fleet.held("first"), *fleet.held("second")]
        await eventually(lambda held=held: len(held) == sum(len(fleet.containers(id)) for id in ids))
        assert sum(one.attrs["HostConfig"]["NanoCpus"] for one in fleet.containers("first")) <= 1e9
        ending = held[: max(1, len(held) // 2)]
        await asyncio.to_thread(fleet.go, ending)
        for run_id in ending:
            assert (await fleet.runs.get(run_id).result()).state is State.SUCCEEDED
        over.update(ending)
    for executor in (first, second):
        executor.cancel()


async def test_the_urgent_go_first_and_owners_take_turns(fleet: Fleet):
    executor = fleet.executes("turns", Offer(serve={"alone": 1}))
    project = fleet.project()

    async def start(owner: str, priority: int = 3, command: str = "true") -> RunHandle:
        return await fleet.start(command, tier="alone", project=project, owner=owner, priority=priority)

    blocking = await start("ada", command=WAITS)
    await eventually(lambda: fleet.containers("turns"))
    many = [await start("ada") for _ in range(20)]
    other = await start("bob")
    urgent = await start("ada", priority=1)

    async def all_wait() -> bool:
        (queue,) = [one for one in await fleet.runs.backlog() if one.tier == "alone"]
        return (queue.waiting, queue.executors, queue.left) == (22, 1, 0)

    await eventually(all_wait)
    assert await _as_keda_asks(fleet, "alone") == 22
    place = Queue(position=22, executors=1, held=1, left=0)
    await eventually(lambda: _queue_is(other, place))
    said = (await fleet.types("status", other.id)).stdout
    assert "waits for an executor of tier alone: place 22; 1 executor serves it, 1 of 1 places taken" in said
    history = await fleet.client.get_workflow_handle(other.id).fetch_history()
    assert f"temporal-runs status {other.id}".encode() in history.events[-1].user_metadata.summary.data
    shown = json.loads((await fleet.types("backlog", "--json")).stdout)
    assert [one["waiting"] for one in shown if one["tier"] == "alone"] == [22]

    fleet.go([blocking.id])
    await urgent.result()
    done = await other.result()
    before = [handle for handle in many if (await handle.status()).state is not State.QUEUED]
    assert len(before) < 5, "bob is not stuck behind all of ada's"
    assert _scheduled(await urgent.result()) < _scheduled(done)
    for handle in many:
        await handle.stop()
    await asyncio.gather(*(handle.result() for handle in many), return_exceptions=True)
    await eventually(lambda: not fleet.held("turns"))
    executor.cancel()


async def _as_keda_asks(fleet: Fleet, tier: str) -> int:
    """The backlog as KEDA's scaler reads it, by the older way to ask."""
    activities = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    request = DescribeTaskQueueRequest(
        namespace=fleet.client.namespace,
        task_queue=TaskQueue(name=f"tier.{tier}"),
        api_mode=DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED,
        task_queue_types=[activities],
        report_stats=True,
    )
    answer = await fleet.client.workflow_service.describe_task_queue(request)
    return sum(one.types_info[activities].stats.approximate_backlog_count for one in answer.versions_info.values())


def _scheduled(result) -> object:
    return next(change.at for change in result.history if change.state is State.SCHEDULED)


async def _queue_is(handle: RunHandle, expected: Queue) -> bool:
    """Executors of earlier tests may be idle as well."""
    queue = (await handle.status()).queue
    return queue is not None and expected == queue.model_copy(
        update={"idle": {id: standing for id, standing in queue.idle.items() if id in expected.idle}}
    )


async def test_an_executor_that_drains_ends_with_its_runs_and_works_when_it_is_started_again(fleet: Fleet):
    executor = fleet.executes("leaving", Offer(serve={"tiny": 2}))
    last = await fleet.start(WAITS)
    await eventually(lambda: fleet.containers("leaving"))
    await eventually(lambda: _holds(fleet, "leaving", 1))
    listed = json.loads((await fleet.types("executors", "--json")).stdout)
    (told,) = [one for one in listed if one["id"] == "leaving"]
    assert (told["state"], told["silent"], told["tiers"]) == ("works", False, {"tiny": {"held": 1, "left": 1}})
    assert [run["run_id"] for run in told["runs"]] == [last.id]

    asked = await fleet.types("executor", "drain", "leaving")
    assert asked.stdout == "leaving: takes nothing new within seconds, then it ends with its 1 Run\n", asked.stderr
    await eventually(lambda: _is_draining(fleet, "leaving"))
    waits = await fleet.start("true")
    await eventually(lambda: _queue_is(waits, Queue(position=1, executors=0, idle={"leaving": "draining"})))
    said = (await fleet.types("status", waits.id)).stdout
    assert "no executor serves tier tiny (" in said
    assert "leaving is draining" in said
    fleet.go([last.id])
    assert (await last.result()).state is State.SUCCEEDED
    await asyncio.wait_for(executor, 60)
    assert "leaving" not in (await fleet.types("executors")).stdout
    assert (await waits.status()).state is State.QUEUED

    executor = fleet.executes("leaving", Offer(serve={"tiny": 2}))
    assert (await waits.result()).executor == "leaving"
    executor.cancel()


async def _holds(fleet: Fleet, id: str, runs: int) -> bool:
    told = await fleet.told(id)
    return told is not None and len(told.runs) == runs


async def _is_draining(fleet: Fleet, id: str) -> bool:
    told = await fleet.told(id)
    return told is not None and told.state == "draining" and told.tiers["tiny"].left == 0
