"""The executor: one a machine. Takes Runs from the queues of its tiers while it has room, and sees them through."""

import asyncio
import platform
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.common import MetricMeter
from temporalio.runtime import Runtime
from temporalio.worker import FixedSizeSlotSupplier, Worker, WorkerTuner

from temporal_runs.activities.attending import Attendants
from temporal_runs.activities.building import Building
from temporal_runs.activities.finishing import Finishing
from temporal_runs.activities.images import Provision
from temporal_runs.activities.preparing import Preparing
from temporal_runs.activities.pulling import Pulling
from temporal_runs.activities.running import Running
from temporal_runs.activities.scheduling import Scheduling
from temporal_runs.engine import Engine
from temporal_runs.fleet import Fleet
from temporal_runs.images import MachineImages
from temporal_runs.settings import Settings
from temporal_runs.steps import Tier, tier_queue
from temporal_runs.store import Store
from temporal_runs.worker import traces
from temporal_runs.worker.allegiance import Allegiance
from temporal_runs.worker.fence import Fence
from temporal_runs.worker.gate import Gate, RoomChanged
from temporal_runs.worker.isolation import isolation, limits_disks
from temporal_runs.worker.janitor import Janitor
from temporal_runs.worker.ledger import Ledger, guarded
from temporal_runs.worker.logs import Named
from temporal_runs.worker.presence import Presence
from temporal_runs.worker.room import Machine, Offer, Room
from temporal_runs.worker.stock import Stock
from temporal_runs.workspaces import Cache, Workspaces

log = structlog.get_logger()

HEARTBEAT_THROTTLE = timedelta(seconds=0.5)
THREADS_A_RUN = 4
"""its wait, its console, a heartbeat's sample, a call"""
FORGET_SECONDS = 1


async def run_executor(
    client: Client,
    settings: Settings,
    executor_id: str,
    offer: Offer,
    drain: asyncio.Event | None = None,
) -> None:
    """Works until cancelled, and containers go on; or until `drain` is set, and all that it holds has ended.

    Raises EngineUnavailable, StoreError, TooBig, ExecutorExists where there is another executor of that name, and
    ConnectionProblem where another's server answers.
    """
    structlog.contextvars.bind_contextvars(executor=executor_id)
    engine = Engine.connect()
    cores, memory = await asyncio.to_thread(engine.capacity)
    store = await asyncio.to_thread(Store.open, settings.store_url)
    folder = settings.home / "executors" / executor_id
    guard = await asyncio.to_thread(guarded, folder, executor_id)
    tiers = settings.tier_table
    asked_for = [tier for name, tier in tiers.items() if offer.serve is None or name in offer.serve]
    limits = any(tier.disk for tier in asked_for) and await asyncio.to_thread(limits_disks, engine, folder)
    room = Room.offered(offer, tiers, Machine(cores, memory, limits))
    asyncio.get_running_loop().set_default_executor(_Threads(THREADS_A_RUN * room.most() + 32))
    changed = RoomChanged()
    host = platform.node()
    ledger = Ledger(folder, executor_id, host, settings.lease, room, changed.notify)
    labels = {"temporal-runs.executor": str(folder)}

    fence = Fence(client, ledger, settings.lease)
    look = asyncio.Event()
    attendants = Attendants(ledger, host, look.set)
    cache = await asyncio.to_thread(Cache, folder / "cache", store, settings.cache)
    kind = await asyncio.to_thread(isolation, engine, folder)
    workspaces = Workspaces(folder / "workspaces", cache, store, kind)
    images = await asyncio.to_thread(
        MachineImages, engine, folder / "images", settings.image_cache, ledger.oldest_without_container
    )
    provision = Provision(
        engine, images, store, settings.registry_table, settings.registry, settings.secrets_folder, executor_id
    )
    preparing = Preparing(workspaces, engine, attendants, labels, provision)
    building = Building(store, provision, attendants)
    pulling = Pulling(store, provision, attendants)
    running = Running(
        store, engine, ledger, fence, workspaces, attendants, settings.secrets_folder, labels, settings.console
    )
    finishing = Finishing(store, workspaces, images, engine, ledger, attendants, settings.console)
    period = min(60, settings.lease / 3)
    janitor = Janitor(client, ledger, engine, workspaces, images, store, finishing, labels, period, look)
    fleet = Fleet(store)
    ahead = list(dict.fromkeys(reference for tier in room.tiers.values() for reference in tier.images))
    stock = Stock(provision, images, fleet, executor_id, ahead, period)
    presence = Presence(fleet, ledger, room, changed, host, period, _meter(client))
    drain = drain or asyncio.Event()
    allegiance = Allegiance(client, settings)
    await presence.claim()

    identity = f"{executor_id}@{host}"
    own_queue = Worker(
        client,
        task_queue=ledger.task_queue,
        activities=[
            preparing.prepare,
            building.build,
            building.push,
            pulling.pull,
            running.run,
            running.end,
            finishing.finish,
            finishing.release,
        ],
        # A Run that has its place never waits for a slot.
        max_concurrent_activities=2 * room.most() + 10,
        max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        interceptors=[allegiance, Named()],
        plugins=traces.plugins(settings),
        identity=identity,
    )
    tier_queues = [_tier_queue(client, tier, ledger, changed, allegiance, identity) for tier in room.tiers.values()]
    log.info("executor works", host=host, tiers=list(room.tiers), holds=len(ledger.holdings()))
    try:
        async with asyncio.TaskGroup() as group:
            workers = [worker.run() for worker in (own_queue, *tier_queues)]
            beside = [janitor.work(), fence.work(), presence.tell(), presence.listen(drain), stock.work()]
            beside.append(allegiance.keep())
            at_work = [group.create_task(work) for work in (*workers, *beside)]
            await drain.wait()
            await _drained(ledger, changed, janitor)
            for task in at_work:
                task.cancel()
    finally:
        await presence.leave()
        guard.close()


async def _drained(ledger: Ledger, changed: RoomChanged, janitor: Janitor) -> None:
    """Takes nothing new; returns when nothing is held any more."""
    ledger.drain()
    log.info("drains", holds=len(ledger.holdings()))
    while any(holding.finished is None for holding in ledger.holdings()):
        await changed.wait()
    # What is finished is held until its workflow has heard so: that is the janitor's to find out.
    while ledger.holdings():
        await janitor.sweep()
        await asyncio.sleep(FORGET_SECONDS)
    log.info("has drained")


class _Threads(ThreadPoolExecutor):
    """Threads that the loop does not wait for as it closes: one may wait for a command that goes on for days."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=cancel_futures)


def _meter(client: Client) -> MetricMeter:
    return (client.service_client.config.runtime or Runtime.default()).metric_meter


def _tier_queue(
    client: Client, tier: Tier, ledger: Ledger, changed: RoomChanged, allegiance: Allegiance, identity: str
) -> Worker:
    fixed = FixedSizeSlotSupplier(1)
    return Worker(
        client,
        task_queue=tier_queue(tier.name),
        activities=[Scheduling(ledger).acknowledge],
        tuner=WorkerTuner.create_composite(
            workflow_supplier=fixed,
            activity_supplier=Gate(ledger, tier, changed),
            local_activity_supplier=fixed,
            nexus_supplier=fixed,
        ),
        max_concurrent_activity_task_polls=1,
        interceptors=[allegiance, Named()],
        identity=identity,
    )
