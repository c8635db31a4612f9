"""Runs from Python: start one, watch it, read its console, stop it, take its result.

    runs = Runs(await connect(Settings.load()))
    handle = await runs.start(RunSpec(project="penguins", command=["python3", "main.py"]))
    result = await handle.result()

What Temporal knows is the truth; the store answers for what Temporal's retention has dropped.
"""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.converter import decode_typed_search_attributes
from temporalio.exceptions import WorkflowAlreadyStartedError

from temporal_runs.asking import ANSWER_WITHIN, NoDispatcher, ServerUnavailable, UnknownRun, asking
from temporal_runs.fleet import Backlog, ExecutorStatus, Fleet, backlog
from temporal_runs.handle import RunHandle
from temporal_runs.outcome import RunDidNotSucceed, RunError, RunFailed, RunsError, RunStopped
from temporal_runs.search_attributes import RUN_CAUSE, RUN_OWNER, RUN_PROJECT, RUN_STATE, RUN_TIER
from temporal_runs.settings import Settings
from temporal_runs.spec import ID_PATTERN, RunSpec, check_id
from temporal_runs.status import Model, State
from temporal_runs.store import Store

__all__ = [
    "Backlog",
    "ExecutorStatus",
    "NoDispatcher",
    "RunDidNotSucceed",
    "RunError",
    "RunFailed",
    "RunHandle",
    "RunStopped",
    "RunSummary",
    "Runs",
    "RunsError",
    "ServerUnavailable",
    "UnknownRun",
]

_CLOCK_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: in the order of its characters, without those that look alike."""


class RunSummary(Model):
    """One line of a list of Runs: what Temporal's visibility knows."""

    run_id: str
    execution_id: str
    state: State
    project: str | None
    tier: str | None
    owner: str | None
    cause: str | None
    started_at: datetime
    ended_at: datetime | None


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

    async def list(
        self, *, state: State | str | None = None, project: str | None = None, limit: int | None = None
    ) -> list[RunSummary]:
        """Runs, the newest first."""
        return [run async for run in self._listed(_query(state, project), limit)]

    async def _listed(self, query: str, limit: int | None) -> AsyncIterator[RunSummary]:
        # The raw call: the SDK's own cannot decode a paused workflow (ValueError in 1.35).
        token, left = b"", limit
        while left is None or left > 0:
            request = ListWorkflowExecutionsRequest(
                namespace=self.client.namespace,
                query=query,
                page_size=min(left or 500, 500),
                next_page_token=token,
            )
            with asking():
                page = await self.client.workflow_service.list_workflow_executions(
                    request, retry=True, timeout=ANSWER_WITHIN
                )
            for info in page.executions:
                yield _summary(info)
            token = page.next_page_token
            left = None if left is None else left - len(page.executions)
            if not token:
                return


def new_run_id() -> str:
    """An id for a Run: 15 characters that sort by time."""
    clock = time.time_ns() // 1_000_000
    digits = "".join(_CLOCK_ALPHABET[clock >> shift & 31] for shift in range(40, -1, -5))
    return "r" + digits + "".join(secrets.choice(_CLOCK_ALPHABET) for _ in range(5))


def _query(state: State | str | None, project: str | None) -> str:
    """The filter in Temporal's list language; raises RunsError for what cannot be a state or a project."""
    terms = ["WorkflowType = 'Run'"]
    if state is not None:
        if state not in set(State):
            raise RunsError(f"{state!r} is not a state: it is one of {', '.join(State)}")
        # A terminated workflow could not say its last state.
        lost = "ExecutionStatus = 'Terminated'"
        terms.append(
            f"(RunState = 'Error' OR {lost})" if state == State.ERROR else f"RunState = '{State(state)}' AND NOT {lost}"
        )
    if project is not None:
        if not re.fullmatch(ID_PATTERN, project):
            raise RunsError(f"{project!r} is not a project's name: it has to match {ID_PATTERN}")
        terms.append(f"RunProject = '{project}'")
    return " AND ".join(terms)


def _summary(info: WorkflowExecutionInfo) -> RunSummary:
    said = decode_typed_search_attributes(info.search_attributes)
    lost = info.status in (
        Status.WORKFLOW_EXECUTION_STATUS_TERMINATED,
        Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT,
    )
    return RunSummary(
        run_id=info.execution.workflow_id,
        execution_id=info.execution.run_id,
        state=State.ERROR if lost else State(said.get(RUN_STATE) or State.QUEUED),
        project=said.get(RUN_PROJECT),
        tier=said.get(RUN_TIER),
        owner=said.get(RUN_OWNER),
        cause="terminated" if lost else said.get(RUN_CAUSE),
        started_at=info.start_time.ToDatetime().replace(tzinfo=UTC),
        ended_at=info.close_time.ToDatetime().replace(tzinfo=UTC) if info.HasField("close_time") else None,
    )
