"""One Run, seen from outside: its status, its states as they happen, its console, its stop, its result."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import (
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowHistoryEventFilterType,
    WorkflowQueryFailedError,
)
from temporalio.exceptions import ApplicationError, CancelledError

from temporal_runs.asking import (
    ANSWER_WITHIN,
    OPEN,
    NoDispatcher,
    RunPaused,
    ServerUnavailable,
    UnknownRun,
    answer_of,
    asking,
    described,
)
from temporal_runs.console import EVERYTHING, ConsoleReader, Gap, Printed, Segment, Selection
from temporal_runs.outcome import (
    RunsError,
    as_status,
    closed_from_outside,
    of_failure,
    succeeded,
    terminated,
)
from temporal_runs.phases import Phase, phase_console
from temporal_runs.progress import joined
from temporal_runs.spec import ID_PATTERN
from temporal_runs.status import RunResult, RunStatus, State, StateChange
from temporal_runs.usage import Series

if TYPE_CHECKING:
    from temporal_runs.client import Runs

POLL = 0.3
"""Seconds between two looks at a Run that is being watched."""

PATIENCE = 60.0
"""Seconds for which a watched Run may have no server or no dispatcher, before the watcher gives up."""


class RunHandle:
    """One Run, by its id."""

    def __init__(self, runs: "Runs", id: str) -> None:
        self._runs = runs
        self._id = id

    def __repr__(self) -> str:
        return f"RunHandle({self._id!r})"

    @property
    def id(self) -> str:
        """The Run's id."""
        return self._id

    async def status(self) -> RunStatus:
        """All that is known of the Run now."""
        description = await self._description()
        if description is None:
            return as_status(await self._remembered())
        info = description.workflow_execution_info
        if info.status not in OPEN:
            return as_status(await self._outcome(info))
        status = await self._queried(info, ANSWER_WITHIN)
        with asking():
            return await joined(self._runs, status, description)

    async def watch(self) -> AsyncIterator[RunStatus]:
        """The Run's states as they happen: each once, in order, from the first to the final one.

        A server or dispatcher that goes away is waited for, `PATIENCE` seconds at most.
        """
        told: list[StateChange] = []
        patience = _Patience()
        closed: asyncio.Task[None] | None = None
        try:
            while True:
                try:
                    status = await self.status()
                except RunPaused:
                    if not told:
                        raise
                    await asyncio.sleep(1)
                    continue
                except (NoDispatcher, ServerUnavailable) as trouble:
                    if not told:
                        raise
                    await patience.wait(trouble)
                    continue
                patience.restore()
                for news in _news(status, told):
                    yield news
                told = status.history
                if status.state.is_final:
                    return
                if closed is None or closed.done():
                    closed = asyncio.create_task(self._close(status.execution_id))
                # The end is told by Temporal at once; what comes before it is looked for.
                await asyncio.wait({closed}, timeout=POLL)
                if closed.done() and closed.exception() is not None:
                    await asyncio.sleep(POLL)
        finally:
            if closed is not None:
                closed.cancel()
                await asyncio.gather(closed, return_exceptions=True)

    async def logs(self, follow: bool = False) -> AsyncIterator[bytes]:
        """The command's own bytes, from the first one; with `follow` also those still to come.

        A Run that was restarted elsewhere has the console of each attempt, one after the other.
        """
        async for segment, _ in self._segments(follow, EVERYTHING):
            yield segment.data

    async def console(self, follow: bool = False, selection: Selection = EVERYTHING) -> AsyncIterator[Printed | Gap]:
        """What the command printed, with its streams and times, and where bytes are missing.

        A selection with a tail begins in the last attempt. Raises StoreCorrupt where it is not what was printed.
        """
        async for segment, missing in self._segments(follow, selection):
            if missing:
                yield Gap(missing)
            for piece in segment.printed():
                if isinstance(piece, Gap) or selection.shows(piece):
                    yield piece

    async def phase_console(
        self, phase: Phase | None = None, follow: bool = False
    ) -> AsyncIterator[tuple[Phase, Printed | Gap]]:
        """The lines of its image's build and pull, or of one of them; with `follow` until its command begins.

        Those of a build are the same for all Runs that waited for it.
        """
        patience = _Patience()

        async def ask() -> RunStatus:
            while True:
                try:
                    status = await self.status()
                except (NoDispatcher, RunPaused, ServerUnavailable) as trouble:
                    if not follow:
                        raise
                    await patience.wait(trouble)
                else:
                    patience.restore()
                    return status

        async for piece in phase_console(await self._runs.store(), ask, phase, follow=follow):
            yield piece

    async def usage(self) -> Series | None:
        """What its last attempt used, in the course of time; None where nothing has been measured yet."""
        execution_id = await self._execution_id()
        store = await self._runs.store()
        keys = await asyncio.to_thread(store.list, f"usage/{self._id}/{execution_id}/")
        attempts = sorted(int(key.rsplit("/", 1)[1]) for key in keys)
        if not attempts:
            return None
        return await asyncio.to_thread(Series.load, store, self._id, execution_id, attempts[-1])

    async def stop(self, *, commit_results: bool = True, reason: str | None = None) -> bool:
        """Asks the Run to stop; returns when that is accepted. False: it had already ended."""
        try:
            with asking():
                await self._workflow().signal(
                    "stop", {"commit_results": commit_results, "reason": reason}, rpc_timeout=ANSWER_WITHIN
                )
        except UnknownRun:
            # Temporal says "not found" of a closed workflow too.
            if await self._described() is None:
                await self._remembered()
            return False
        return True

    async def result(self) -> RunResult:
        """Waits for the end; raises RunFailed, RunError or RunStopped unless the Run Succeeded."""
        patience = _Patience()
        while True:
            try:
                info = await self._described()
                if info is None:
                    return succeeded(await self._remembered())
                if info.status not in OPEN:
                    return succeeded(await self._outcome(info))
                await self._close(info.execution.run_id)
                patience.restore()
            except (NoDispatcher, ServerUnavailable) as trouble:
                await patience.wait(trouble)

    async def remember(self, execution_id: str) -> None:
        """Notes how an execution ended whose workflow could not, so that it is known after Temporal's retention.

        One that is open, or noted, stays as it is. Raises RunsError, StoreError.
        """
        store = await self._runs.store()
        key = f"runs/{self._id}/{execution_id}.json"
        if await asyncio.to_thread(store.get, key) is not None:
            return
        with asking():
            info = (await described(self._runs.client, self._id, execution_id)).workflow_execution_info
        if info.status not in OPEN:
            outcome = await self._outcome(info)
            await asyncio.to_thread(store.put, key, outcome.model_dump_json().encode())

    def _workflow(self, execution_id: str | None = None) -> WorkflowHandle[Any, Any]:
        # Plain JSON: the caller's client may have another data converter than ours.
        return self._runs.client.get_workflow_handle(self._id, run_id=execution_id, result_type=dict)

    async def _described(self) -> WorkflowExecutionInfo | None:
        """What Temporal says of the workflow; None when it knows none of this id."""
        description = await self._description()
        return description and description.workflow_execution_info

    async def _description(self) -> DescribeWorkflowExecutionResponse | None:
        try:
            with asking():
                answer = await described(self._runs.client, self._id)
        except UnknownRun:
            return None
        info = answer.workflow_execution_info
        if info.type.name != "Run":
            raise UnknownRun(f"{self._id} is a workflow of the type {info.type.name}, not a Run")
        return answer

    async def _queried(self, info: WorkflowExecutionInfo, within: timedelta) -> RunStatus:
        try:
            with asking(f"task queue {info.task_queue}"):
                answer = await answer_of(self._workflow(info.execution.run_id), "status", dict, within)
            return RunStatus.model_validate(answer)
        except (WorkflowQueryFailedError, ValidationError) as error:
            raise RunsError(
                f"the status of {self._id} cannot be read ({error}): is it a Run of this version?"
            ) from error

    async def _outcome(self, info: WorkflowExecutionInfo) -> RunResult:
        """The result of a closed workflow, whichever way it closed."""
        try:
            with asking():
                result = await self._workflow(info.execution.run_id).result(
                    follow_runs=False, rpc_timeout=ANSWER_WITHIN
                )
            return RunResult.model_validate(result)
        except WorkflowFailureError as failure:
            if isinstance(failure.cause, ApplicationError):
                return of_failure(failure.cause, info)
            facts = await self._last_facts(info)
            if isinstance(failure.cause, CancelledError):
                return closed_from_outside(info, facts, State.STOPPED, None)
            return terminated(info, facts, str(failure.cause))
        except ValidationError as error:
            raise RunsError(
                f"the result of {self._id} cannot be read ({error}): is it a Run of this version?"
            ) from error

    async def _last_facts(self, info: WorkflowExecutionInfo) -> RunStatus | RunResult | None:
        """What is known of a workflow that closed without telling: its record, or what it answers still."""
        store = await self._runs.store()
        record = await asyncio.to_thread(store.get, f"runs/{self._id}/{info.execution.run_id}.json")
        if record is not None:
            return RunResult.model_validate_json(record)
        try:
            return await self._queried(info, timedelta(seconds=2))
        except RunsError:
            return None

    async def _remembered(self) -> RunResult:
        """The newest record in the store; raises UnknownRun."""
        store = await self._runs.store()
        # Execution ids begin with a clock, so that the last one is the newest.
        records = [key for key in await self._kept("runs") if key.endswith(".json")]
        record = await asyncio.to_thread(store.get, records[-1]) if records else None
        if record is not None:
            return RunResult.model_validate_json(record)
        if await self._kept("console"):
            raise UnknownRun(
                f"how Run {self._id} ended is not known any more: Temporal has forgotten it, and nobody has noted it. "
                f"Its console is kept: temporal-runs logs {self._id}"
            )
        raise UnknownRun(f"there is no Run {self._id}: `temporal-runs list` shows those there are")

    async def _kept(self, kind: str) -> list[str]:
        """The keys of what the store has of the Run, sorted; raises UnknownRun for what can be no id."""
        if not re.fullmatch(ID_PATTERN, self._id):
            raise UnknownRun(f"there is no Run {self._id!r}: ids match {ID_PATTERN}")
        store = await self._runs.store()
        return await asyncio.to_thread(store.list, f"{kind}/{self._id}/")

    async def _close(self, execution_id: str) -> None:
        """Returns when the workflow closes."""
        with asking():
            async for _ in self._workflow(execution_id).fetch_history_events(
                wait_new_event=True, event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
            ):
                return

    async def _execution_id(self) -> str:
        if info := await self._described():
            return info.execution.run_id
        if consoles := await self._kept("console"):
            return consoles[-1].split("/")[2]
        return (await self._remembered()).execution_id

    def _segments(self, follow: bool, selection: Selection) -> AsyncIterator[tuple[Segment, int]]:
        """The console's segments, with the number of bytes that are missing before each."""
        return self._console_as_it_comes(selection) if follow else self._console_so_far(selection)

    async def _console_so_far(self, selection: Selection) -> AsyncIterator[tuple[Segment, int]]:
        execution_id = await self._execution_id()
        store = await self._runs.store()
        keys = await asyncio.to_thread(store.list, f"console/{self._id}/{execution_id}/")
        # Beside the attempts' are the consoles of their pulls.
        attempts = sorted({int(name) for key in keys if (name := key.split("/")[3]).isdigit()})

        async def all_there_is() -> bool:
            return True

        for attempt in attempts if selection.tail is None else attempts[-1:]:
            reader = ConsoleReader(store, self._id, execution_id, attempt)
            async for found in _selected(reader, selection, all_there_is):
                yield found

    async def _console_as_it_comes(self, selection: Selection) -> AsyncIterator[tuple[Segment, int]]:
        status = await self.status()
        store = await self._runs.store()
        asked = time.monotonic()
        attempt = 1 if selection.tail is None else status.attempt

        async def attempt_is_over() -> bool:
            nonlocal status, asked
            if not status.state.is_final and time.monotonic() - asked > 1:
                asked = time.monotonic()
                try:
                    status = await self.status()
                except (NoDispatcher, RunPaused, ServerUnavailable):
                    return False
            return status.state.is_final or status.attempt > attempt

        while True:
            reader = ConsoleReader(store, self._id, status.execution_id, attempt)
            async for found in _selected(reader, selection, attempt_is_over):
                yield found
            # An end mark alone is not the end: an attempt that was given up may be followed by another.
            while not await attempt_is_over():
                if status.state in (State.FINISHING, State.STOPPING):
                    return
                await asyncio.sleep(POLL)
            if attempt >= status.attempt:
                return
            attempt += 1


async def _selected(
    reader: ConsoleReader, selection: Selection, is_over: Callable[[], Awaitable[bool]]
) -> AsyncIterator[tuple[Segment, int]]:
    offset = await asyncio.to_thread(selection.begin, reader)
    async for segment in reader.follow(offset, is_over=is_over):
        yield segment, segment.start - offset
        offset = segment.end


class _Patience:
    """Waits out troubles, until they have lasted too long."""

    def __init__(self) -> None:
        self._since: float | None = None

    def restore(self) -> None:
        self._since = None

    async def wait(self, trouble: RunsError) -> None:
        """Waits a moment; raises the trouble when it has lasted for `PATIENCE` seconds."""
        self._since = self._since or time.monotonic()
        if time.monotonic() - self._since > PATIENCE:
            raise trouble
        await asyncio.sleep(1)


def _news(status: RunStatus, told: list[StateChange]) -> Iterator[RunStatus]:
    """A status for each state not told yet. A reset workflow shares its first states with what it was."""
    known = 0
    for before, now in zip(told, status.history, strict=False):
        if (before.state, before.at) != (now.state, now.at):
            break
        known += 1
    for number in range(known + 1, len(status.history) + 1):
        if number == len(status.history):
            yield status
            continue
        # A state that has passed meanwhile knows nothing of the end.
        yield status.model_copy(
            update={
                "state": status.history[number - 1].state,
                "history": status.history[:number],
                "reason": None,
                "cause": None,
                "results": None,
                "output_commit": None,
            }
        )
