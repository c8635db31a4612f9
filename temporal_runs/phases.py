"""What an image's build and pull printed, as a Run knows it: in the order of its states, also while it is in them.

A build is shared: all Runs that waited for it show the same console.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from temporal_runs.console import ConsoleReader, Gap, Printed
from temporal_runs.status import RunStatus, State
from temporal_runs.store import Store

Phase = Literal["build", "pull"]

POLL = 0.3
"""Seconds between two looks for a phase that may begin."""

ASK_SECONDS = 1
"""Seconds between two looks for whether the Run is in a phase still."""

BEFORE_THE_COMMAND = (State.QUEUED, State.SCHEDULED, State.PREPARING, State.BUILDING, State.PULLING)


@dataclass(frozen=True)
class _Place:
    """Where a phase's console is in the store."""

    phase: Phase
    workflow_id: str
    execution_id: str
    name: int | str


async def phase_console(
    store: Store, ask: Callable[[], Awaitable[RunStatus]], phase: Phase | None, *, follow: bool
) -> AsyncIterator[tuple[Phase, Printed | Gap]]:
    """The lines of one phase or both; with `follow` until the command begins. Raises StoreError and what `ask` does."""
    status, asked = await ask(), time.monotonic()
    told: dict[_Place, int] = {}

    async def left(states: int) -> bool:
        """Whether the Run has entered more states than so many."""
        nonlocal status, asked
        if follow and len(status.history) <= states and time.monotonic() - asked >= ASK_SECONDS:
            status, asked = await ask(), time.monotonic()
        return not follow or len(status.history) > states or status.state.is_final

    while True:
        is_last = not follow or status.state not in BEFORE_THE_COMMAND
        for place, states in list(_places(status)):
            if phase not in (None, place.phase):
                continue
            offset = told.get(place, 0)
            reader = ConsoleReader(store, place.workflow_id, place.execution_id, place.name)
            async for segment in reader.follow(offset, is_over=lambda states=states: left(states)):
                if segment.start > offset:
                    yield place.phase, Gap(segment.start - offset)
                for piece in segment.printed():
                    yield place.phase, piece
                told[place] = offset = segment.end
        if is_last:
            return
        await asyncio.sleep(POLL)
        status, asked = await ask(), time.monotonic()


def _places(status: RunStatus) -> Iterator[tuple[_Place, int]]:
    """The consoles of the phases that it was in, with the number of its states up to each."""
    attempt = 0
    last_build = max((n for n, change in enumerate(status.history) if change.state is State.BUILDING), default=None)
    for number, change in enumerate(status.history):
        attempt += change.state is State.QUEUED
        if number == last_build and status.build_console:
            workflow_id, execution_id = status.build_console.rsplit("/", 1)
            yield _Place("build", workflow_id, execution_id, 1), number + 1
        elif change.state is State.PULLING:
            yield _Place("pull", status.run_id, status.execution_id, f"{attempt}.pull"), number + 1
