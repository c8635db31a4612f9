"""Following a Run: its states with their times as talk, its console's bytes as they are, until it is over."""

import asyncio
import sys
from collections.abc import AsyncIterator, Collection
from typing import BinaryIO, Self

from rich.console import Console
from rich.text import Text

from temporal_runs.cli import output
from temporal_runs.client import RunHandle, RunsError
from temporal_runs.status import RunStatus, State
from temporal_runs.store import StoreError

CONSOLE_WITHIN = 3.0
"""Seconds to wait for the last bytes of a console before the states that follow it are shown."""

LASTS_A_WHILE = 3.0
"""Seconds in one state after which more is said than its name."""

LOOKS_EVERY = 1.0

BEFORE_THE_COMMAND = {State.QUEUED, State.SCHEDULED, State.PREPARING, State.BUILDING, State.PULLING}
BEFORE_THE_END = {state for state in State if not state.is_final}


class ThisMoment:
    """`async with`: what a Run does or waits for, beside its states, once one of these has lasted a while.

    On a terminal in one line that changes; elsewhere its places in the queue.
    """

    def __init__(self, handle: RunHandle, page: Console, states: Collection[State]) -> None:
        self._handle = handle
        self._page = page
        self._states = states
        self._line = page.status("") if page.is_terminal else None
        self._showing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hide()
        if self._showing is not None:
            await asyncio.gather(self._showing, return_exceptions=True)

    def show_in(self, state: State) -> None:
        """Told of each state the Run enters: shows it from then on, if it is one of those to show."""
        if state not in self._states:
            self.hide()
        elif self._showing is None or self._showing.done():
            self._showing = asyncio.create_task(self._show())

    def hide(self) -> None:
        """Returns with the line gone."""
        if self._showing is not None:
            self._showing.cancel()
        if self._line is not None:
            self._line.stop()

    async def _show(self) -> None:
        await asyncio.sleep(LASTS_A_WHILE)
        said = ""
        while True:
            try:
                status = await self._handle.status()
                text, waits = output.now(status), status.state is State.QUEUED
            except RunsError as trouble:
                text, waits = str(trouble), True
            if self._line is not None:
                self._line.update(Text(text))
                self._line.start()
            elif waits and text != said:
                self._page.print(f"{'':20}{text}")
                said = text
            await asyncio.sleep(LOOKS_EVERY)


class ConsoleCopy:
    """Copies a console to a stream, and keeps what is said between its lines off them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._in_line = False

    async def copy(self, pieces: AsyncIterator[bytes], moment: ThisMoment | None = None) -> None:
        """Writes the bytes as they come; the moment's line makes way for them."""
        async for piece in pieces:
            if moment is not None:
                moment.hide()
            self._stream.write(piece)
            self._stream.flush()
            self._in_line = not piece.endswith(b"\n")

    def end_line(self, talk: Console) -> None:
        """Begins a new line on a terminal that shows both, when the console is in the middle of one."""
        if self._in_line and talk.is_terminal and self._stream.isatty():
            talk.print()
            self._in_line = False


async def follow(handle: RunHandle, console_to: BinaryIO) -> RunStatus:
    """Shows states on stderr and the console's bytes on `console_to`; gives the final status."""
    talk = output.on_stderr()
    console = ConsoleCopy(console_to)
    copying: asyncio.Task[None] | None = None
    status: RunStatus | None = None
    try:
        async with ThisMoment(handle, talk, BEFORE_THE_COMMAND) as moment:
            async for status in handle.watch():
                if copying is None:
                    copying = asyncio.create_task(console.copy(handle.logs(follow=True), moment))
                moment.show_in(status.state)
                if status.state in (State.FINISHING, State.STOPPING) or status.state.is_final:
                    await asyncio.wait({copying}, timeout=CONSOLE_WITHIN)
                console.end_line(talk)
                talk.print(output.state_line(status))
        assert status is not None and copying is not None
        try:
            await copying
        except (RunsError, StoreError) as trouble:
            # How the Run ended is known all the same.
            talk.print(f"Its console cannot be read: {trouble}")
        return status
    finally:
        if copying is not None:
            copying.cancel()
            await asyncio.gather(copying, return_exceptions=True)


def stdout_bytes() -> BinaryIO:
    """Stdout, for bytes that are not ours to interpret."""
    sys.stdout.flush()
    return sys.stdout.buffer


def say_that_it_goes_on(run_id: str) -> None:
    """Following has ended, by ctrl-C or for want of who answers; the Run has not."""
    output.on_stderr().print(
        f"\nRun {run_id} goes on. Watch it again: temporal-runs watch {run_id} · end it: temporal-runs stop {run_id}"
    )
