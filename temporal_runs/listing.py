"""Runs in a list: what is asked for, in Temporal's list language, and a line for each that is found."""

import base64
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import Field
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest
from temporalio.client import Client
from temporalio.converter import decode_typed_search_attributes

from temporal_runs.asking import ANSWER_WITHIN, asking
from temporal_runs.outcome import RunsError
from temporal_runs.search_attributes import RUN_CAUSE, RUN_OWNER, RUN_PROJECT, RUN_STATE, RUN_TAGS, RUN_TIER
from temporal_runs.status import Metric, Model, RunResult, State
from temporal_runs.store import Store

PAGE = 500

AT_ONCE = 16
"""Records that are read at a time."""


class RunSummary(Model):
    """One line of a list of Runs: what Temporal's visibility knows."""

    run_id: str
    execution_id: str
    state: State
    project: str | None
    tier: str | None
    owner: str | None
    tags: list[str] = Field(default_factory=list[str])
    cause: str | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class Wanted:
    """Which Runs; what is None or empty is not asked for. Begun `since` a time, and before `until` another."""

    state: State | str | None = None
    project: str | None = None
    tier: str | None = None
    owner: str | None = None
    cause: str | None = None
    tags: tuple[str, ...] = field(default=())
    since: datetime | None = None
    until: datetime | None = None

    def query(self) -> str:
        """In Temporal's list language; raises RunsError for what cannot be a state."""
        terms = ["WorkflowType = 'Run'", *self._of_state()]
        named = ((RUN_PROJECT, self.project), (RUN_TIER, self.tier), (RUN_OWNER, self.owner))
        terms += [f"{key.name} = {_quoted(value)}" for key, value in named if value is not None]
        terms += [f"{RUN_TAGS.name} = {_quoted(tag)}" for tag in self.tags]
        if self.cause is not None:
            said = f"{RUN_CAUSE.name} = {_quoted(self.cause)}"
            terms.append(f"({said} OR {_LOST})" if self.cause == "terminated" else said)
        if self.since:
            terms.append(f"StartTime >= {_quoted(_text(self.since))}")
        if self.until:
            terms.append(f"StartTime < {_quoted(_text(self.until))}")
        return " AND ".join(terms)

    def _of_state(self) -> list[str]:
        if self.state is None:
            return []
        if self.state not in set(State):
            raise RunsError(f"{self.state!r} is not a state: it is one of {', '.join(State)}")
        if self.state == State.ERROR:
            return [f"({RUN_STATE.name} = 'Error' OR {_LOST})"]
        return [f"{RUN_STATE.name} = '{State(self.state)}' AND NOT {_LOST}"]


_LOST = "ExecutionStatus = 'Terminated'"
"""A terminated workflow could not say its last state."""


class Page(Model):
    """Some of the Runs that are wanted."""

    runs: list[RunSummary]
    next: str | None
    """what `page` takes to go on; None where there are no more"""


async def page(client: Client, wanted: Wanted, size: int, after: str | None = None) -> Page:
    """So many Runs: those that are open first, then those that ended last. Raises RunsError for what is no `next`."""
    try:
        token = base64.b64decode(after or "", altchars=b"-_", validate=True)
    except ValueError:
        raise RunsError(f"{after!r} is not what an earlier page ended with") from None
    # The raw call: the SDK's own cannot decode a paused workflow (ValueError in 1.35).
    request = ListWorkflowExecutionsRequest(
        namespace=client.namespace, query=wanted.query(), page_size=size, next_page_token=token
    )
    with asking():
        found = await client.workflow_service.list_workflow_executions(request, retry=True, timeout=ANSWER_WITHIN)
    following = base64.urlsafe_b64encode(found.next_page_token).decode()
    return Page(runs=[_summary(info) for info in found.executions], next=following or None)


async def listed(client: Client, wanted: Wanted, limit: int | None) -> AsyncIterator[RunSummary]:
    """The same one by one, to the end or the limit."""
    after, left = None, limit
    while left is None or left > 0:
        found = await page(client, wanted, min(left or PAGE, PAGE), after)
        for run in found.runs:
            yield run
        after, left = found.next, None if left is None else left - len(found.runs)
        if after is None:
            return


def recorded_metrics(store: Store, runs: Sequence[RunSummary]) -> dict[str, dict[str, Metric]]:
    """By run id, the metrics in the records of Runs that have ended; raises StoreError."""
    keys = [f"runs/{run.run_id}/{run.execution_id}.json" for run in runs]
    with ThreadPoolExecutor(AT_ONCE) as pool:  # a store may be far away, and a page has hundreds
        records = pool.map(store.get, keys)
        found = {run.run_id: record for run, record in zip(runs, records, strict=True) if record}
    results = {run_id: RunResult.model_validate_json(record) for run_id, record in found.items()}
    return {run_id: result.metrics for run_id, result in results.items() if result.metrics}


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
        tags=list(said.get(RUN_TAGS) or ()),
        cause="terminated" if lost else said.get(RUN_CAUSE),
        started_at=info.start_time.ToDatetime().replace(tzinfo=UTC),
        ended_at=info.close_time.ToDatetime().replace(tzinfo=UTC) if info.HasField("close_time") else None,
    )


def _quoted(value: str) -> str:
    """Somebody's words as a string of the list language."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
