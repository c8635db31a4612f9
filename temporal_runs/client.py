"""Runs from Python: start one, watch it, read its console, stop it, take its result.

    runs = Runs(await connect(Settings.load()))
    handle = await runs.start(RunSpec(project="penguins", command=["python3", "main.py"]))
    result = await handle.result()

What Temporal knows is the truth; the store answers for what Temporal's retention has dropped.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from temporal_runs.asking import ANSWER_WITHIN, NoDispatcher, RunPaused, ServerUnavailable, UnknownRun, asking
from temporal_runs.fleet import Backlog, ExecutorStatus, Fleet, backlog
from temporal_runs.handle import RunHandle
from temporal_runs.listing import Page, RunSummary, Wanted, listed, page, recorded_metrics
from temporal_runs.outcome import RunDidNotSucceed, RunError, RunFailed, RunsError, RunStopped
from temporal_runs.settings import Settings
from temporal_runs.spec import RunSpec, check_id
from temporal_runs.status import Metric
from temporal_runs.store import Store

__all__ = [
    "Backlog",
    "ExecutorStatus",
    "NoDispatcher",
    "Page",
    "RunDidNotSucceed",
    "RunError",
    "RunFailed",
    "RunHandle",
    "RunPaused",
    "RunStopped",
    "RunSummary",
    "Runs",
    "RunsError",
    "ServerUnavailable",
    "UnknownRun",
    "Wanted",
]

_CLOCK_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: in the order of its characters, without those that look alike."""


class Runs:
    """The Runs of one Temporal namespace."""

    def __init__(self, client: Client, settings: Settings | None = None, store: Store | None = None) -> None:
        self.client = client
        self._settings = settings
        self._opened = store
        self._opening = asyncio.Lock()
        self._fleet: Fleet | None = None

    @cached_property
    def settings(self) -> Settings:
        """Those given, else this process's."""
        return self._settings or Settings.load()

    async def store(self) -> Store:
        """The file store, opened when it is first needed."""
        async with self._opening:
            if self._opened is None:
                self._opened = await asyncio.to_thread(Store.open, self.settings.store_url)
            return self._opened

    async def executors(self) -> list[ExecutorStatus]:
        """What each executor last told of itself, some seconds ago at most; raises StoreError."""
        fleet = await self._executors()
        return await asyncio.to_thread(fleet.recent)

    async def drain(self, id: str) -> ExecutorStatus:
        """Asks an executor to take nothing new, and to end when its Runs have ended; gives what it told last.

        It hears of that within seconds. Raises UnknownExecutor, StoreError.
        """
        fleet = await self._executors()
        return await asyncio.to_thread(fleet.drain, id)

    async def backlog(self) -> list[Backlog]:
        """What waits for each tier; raises StoreError."""
        executors = await self.executors()
        served = (tier for executor in executors for tier in executor.tiers)
        with asking():
            return await backlog(self.client, dict.fromkeys((*self.settings.tier_table, *served)), executors)

    async def _executors(self) -> Fleet:
        if self._fleet is None:
            self._fleet = Fleet(await self.store())
        return self._fleet

    async def start(self, spec: RunSpec | Mapping[str, Any], *, id: str | None = None) -> RunHandle:
        """Starts a Run; an id that exists gives that Run. Raises InvalidSpec before anything is started."""
        spec = RunSpec.parse(spec if isinstance(spec, RunSpec) else dict(spec))
        if id is not None:
            check_id(id)
        run_id = id or new_run_id()
        with asking():
            try:
                await self.client.start_workflow(
                    "Run",
                    spec.model_dump(mode="json", exclude_unset=True),
                    id=run_id,
                    task_queue=self.settings.task_queue,
                    # A new id that exists by chance must not attach to somebody else's Run.
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING if id else WorkflowIDConflictPolicy.FAIL,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    static_summary=spec.summary,
                    rpc_timeout=ANSWER_WITHIN,
                )
            except WorkflowAlreadyStartedError:
                if id is None:
                    return await self.start(spec)
        return RunHandle(self, run_id)

    def get(self, id: str) -> RunHandle:
        """The Run of this id. Nothing is asked yet: an unknown one shows with the first question."""
        return RunHandle(self, id)

    async def rerun(self, id: str, *, same_inputs: bool = False) -> RunHandle:
        """Starts a Run like another one, on what its project holds now, or on the very same files and image.

        Raises UnknownRun; InvalidSpec where that one had no valid spec.
        """
        past = await self.get(id).status()
        spec = RunSpec.parse({**(past.spec or {}), "revision": "latest"})
        if not same_inputs:
            return await self.start(spec)
        if past.input_commit is None:
            raise RunsError(f"{id} ended before its inputs were known: start it again without --same-inputs")
        again: dict[str, Any] = {**spec.model_dump(mode="json", exclude_unset=True), "revision": past.input_commit}
        if past.inputs:
            again["inputs"] = [
                {"project": one.project, "revision": one.commit, "path": one.path} for one in past.inputs
            ]
        if past.environment:
            name, _, number = past.environment.partition("#")
            again["environment"] = {"name": name, "revision": int(number)}
        elif past.image and not (spec.environment and spec.environment.is_built):
            scripts = spec.environment.model_dump(mode="json") if spec.environment else {}
            again["environment"] = {**scripts, "image": past.image}
        return await self.start(again)

    async def list(self, wanted: Wanted | None = None, *, limit: int | None = None) -> list[RunSummary]:
        """Runs: those that are open first, then those that ended last."""
        return [run async for run in listed(self.client, wanted or Wanted(), limit)]

    async def page(self, wanted: Wanted, size: int, after: str | None = None) -> Page:
        """The same page by page: `after` is the `next` of the page before. Raises RunsError."""
        return await page(self.client, wanted, size, after)

    async def metrics(self, runs: Iterable[RunSummary]) -> dict[str, dict[str, Metric]]:
        """By run id, the metrics of those that have ended and told some; raises StoreError."""
        store = await self.store()
        return await asyncio.to_thread(recorded_metrics, store, [run for run in runs if run.ended_at])


def new_run_id() -> str:
    """An id for a Run: 15 characters that sort by time."""
    clock = time.time_ns() // 1_000_000
    digits = "".join(_CLOCK_ALPHABET[clock >> shift & 31] for shift in range(40, -1, -5))
    return "r" + digits + "".join(secrets.choice(_CLOCK_ALPHABET) for _ in range(5))
