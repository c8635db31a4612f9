"""The fleet: what each executor tells of itself in the store, and what waits for it in Temporal's queues.

Executors write and clients read one small document each, so that looking costs no Run an event. Whoever has not
written for a while is silent: nobody counts on it, and nobody takes it for dead.
"""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, TypeAdapter
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from temporal_runs.status import Model
from temporal_runs.steps import tier_queue
from temporal_runs.store import Store

EXECUTORS = "executors"
IMAGES = "images"

SILENT_AFTER = 3
"""Periods without a word from an executor."""

FORGOTTEN_AFTER = timedelta(days=7)
"""A silent executor that holds nothing is no longer listed then."""

FRESH_SECONDS = 2.0
"""How old an answer may be for somebody who asks again and again."""


class UnknownExecutor(Exception):
    """No executor of that name is at work."""


class Resources(Model):
    """What machines have and Runs take. Memory in bytes."""

    cores: float
    memory: int
    gpus: int = 0


class TierRoom(Model):
    """The Runs of one tier on one executor."""

    held: int
    """that have a place"""
    left: int
    """that could have one beside all that are held now; tiers that share their room share this too"""


class HeldRun(Model):
    """A Run that has its place on an executor."""

    run_id: str
    attempt: int
    tier: str
    since: datetime


class ExecutorStatus(Model):
    """What an executor last told of itself."""

    id: str
    process: str
    """which of its processes, one after the other, this is"""
    place: str = ""
    """where it keeps what it holds: there is one executor of an id, in one place"""
    host: str
    version: str
    state: Literal["works", "draining", "unwritable", "ended"]
    """draining takes nothing new; unwritable neither, since its disk takes no records; ended left commands at work
    behind it"""
    started_at: datetime
    seen_at: datetime
    period: float
    """seconds within which it tells again"""
    tiers: dict[str, TierRoom]
    whole: Resources
    used: Resources
    runs: list[HeldRun]

    @property
    def is_silent(self) -> bool:
        """True where it should have been heard of by now."""
        return datetime.now(UTC) - self.seen_at > SILENT_AFTER * timedelta(seconds=self.period)

    @property
    def standing(self) -> Literal["works", "draining", "unwritable", "ended", "silent"]:
        """Its state, unless it should have been heard of."""
        return "silent" if self.is_silent and self.state != "ended" else self.state

    def serves(self, tier: str) -> bool:
        """True where a Run of that tier can count on it."""
        return tier in self.tiers and self.standing == "works"


class ImageStatus(Model):
    """An image on an executor's machine."""

    id: str
    names: tuple[str, ...]
    size: int
    """bytes, with layers that other images may share"""
    in_use: bool
    """by a container"""
    source: str | None
    """name of the registry's login that it came with, "" where it is for everybody; None: it is the machine's own"""
    last_used: datetime | None
    """by a Run; None: it is the machine's own"""


IMAGE_LIST = TypeAdapter(list[ImageStatus])


class Drain(Model):
    """Somebody's wish that one process of an executor takes nothing new."""

    process: str


class Backlog(Model):
    """What waits in the queue of one tier, and who is there for it. As Temporal counts: Runs that were stopped while
    they waited are in it until somebody asks the queue for work."""

    tier: str
    waiting: int
    oldest_seconds: float
    executors: int
    left: int
    """how many Runs of it there is room for now"""


class Fleet:
    """The executors that share a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: tuple[float, list[ExecutorStatus]] = (0.0, [])

    def executors(self) -> list[ExecutorStatus]:
        """All that have told of themselves, by id; raises StoreError."""
        keys = [key for key in self._store.list(f"{EXECUTORS}/") if key.endswith("/status")]
        documents = filter(None, map(self._store.get, keys))
        found = [ExecutorStatus.model_validate_json(document) for document in documents]
        now = datetime.now(UTC)
        return [one for one in found if one.runs or now - one.seen_at < FORGOTTEN_AFTER]

    def recent(self) -> list[ExecutorStatus]:
        """The same, as it was a moment ago at most."""
        if time.monotonic() - self._known[0] > FRESH_SECONDS:
            self._known = (time.monotonic(), self.executors())
        return self._known[1]

    def executor(self, id: str) -> ExecutorStatus | None:
        """What one told last; raises StoreError."""
        document = self._store.get(_status_key(id))
        return None if document is None else ExecutorStatus.model_validate_json(document)

    def tell(self, status: ExecutorStatus) -> None:
        """An executor's own word; raises StoreError."""
        self._put(_status_key(status.id), status)

    def tell_images(self, id: str, images: list[ImageStatus]) -> None:
        """What an executor's machine holds; raises StoreError."""
        self._store.put(f"{EXECUTORS}/{id}/{IMAGES}", IMAGE_LIST.dump_json(images))

    def images(self) -> dict[str, list[ImageStatus]]:
        """The images on each executor's machine, as it told last; raises StoreError."""
        keys = [key for key in self._store.list(f"{EXECUTORS}/") if key.endswith(f"/{IMAGES}")]
        documents = {key.split("/")[1]: self._store.get(key) for key in keys}
        return {id: IMAGE_LIST.validate_json(document) for id, document in documents.items() if document}

    def forget(self, id: str) -> None:
        """For an executor that leaves nothing behind; raises StoreError."""
        self._store.delete(f"{EXECUTORS}/{id}")

    def drain(self, id: str) -> ExecutorStatus:
        """Asks an executor to take nothing new, and to end when its Runs have ended; gives what it told last.

        Its next process works as usual. Raises UnknownExecutor, StoreError.
        """
        status = self.executor(id)
        if status is None or status.state == "ended" or status.is_silent:
            raise UnknownExecutor(f"no executor {id!r} is at work: `temporal-runs executors` lists them")
        self._put(_drain_key(id), Drain(process=status.process))
        return status

    def is_to_drain(self, id: str, process: str) -> bool:
        """Whether somebody asked this process of an executor to drain; raises StoreError."""
        document = self._store.get(_drain_key(id))
        return document is not None and Drain.model_validate_json(document).process == process

    def _put(self, key: str, document: BaseModel) -> None:
        self._store.put(key, document.model_dump_json().encode())


def _status_key(id: str) -> str:
    return f"{EXECUTORS}/{id}/status"


def _drain_key(id: str) -> str:
    return f"{EXECUTORS}/{id}/drain"


async def backlog(client: Client, tiers: Iterable[str], executors: list[ExecutorStatus]) -> list[Backlog]:
    """What waits for each of the tiers; raises RPCError."""
    return list(await asyncio.gather(*(_backlog(client, tier, executors) for tier in tiers)))


async def _backlog(client: Client, tier: str, executors: list[ExecutorStatus]) -> Backlog:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=tier_queue(tier)),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        report_stats=True,
    )
    stats = (await client.workflow_service.describe_task_queue(request, retry=True)).stats
    serving = [one for one in executors if one.serves(tier)]
    return Backlog(
        tier=tier,
        waiting=stats.approximate_backlog_count,
        oldest_seconds=round(stats.approximate_backlog_age.ToNanoseconds() / 1e9, 1),
        executors=len(serving),
        left=sum(one.tiers[tier].left for one in serving),
    )
