"""Following a Run: its states with their times as talk, its console's bytes as they are, until it is over."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO, Self

from rich.console import Console

from temporal_runs.cli import live, output
from temporal_runs.client import RunHandle, RunsError
from temporal_runs.console import EVERYTHING, Gap, Printed, Selection
from temporal_runs.status import RunStatus, State
from temporal_runs.store import StoreError

CONSOLE_WITHIN = 3.0
"""Seconds to wait for the last bytes of a console before the states that follow it are shown."""

LASTS_A_WHILE = 3.0
"""Seconds in one state after which more is said than its name."""

LOOKS_EVERY = 1.0

DRAWS = 4
"""How often the view is drawn between two looks."""


class ThisMoment:
    """`async with`: what a Run waits for, or why it cannot be seen, in a line beneath its states when that changes."""

    def __init__(self, handle: RunHandle, page: Console) -> None:
        self._handle = handle
        self._page = page
        self._showing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._showing is not None:
            self._showing.cancel()
            await asyncio.gather(self._showing, return_exceptions=True)

    def show_in(self, state: State) -> None:
        """Told of each state the Run enters: more is said of it once that has lasted a while."""
        if self._showing is not None:
            self._showing.cancel()
            self._showing = None
        if not state.is_final:
            self._showing = asyncio.create_task(self._show())

    async def _show(self) -> None:
        await asyncio.sleep(LASTS_A_WHILE)
        said = ""
        while True:
            try:
                status = await self._handle.status()
                text = output.now(status) if status.state is State.QUEUED else said
            except RunsError as trouble:
                text = str(trouble)
            if text != said:
                self._page.print(f"{'':20}{text}")
                said = text
            await asyncio.sleep(LOOKS_EVERY)


class ConsoleCopy:
    """Copies a console to a stream, and keeps what is said between its lines off them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._in_line = False

    def write(self, piece: bytes) -> None:
        """Writes the bytes as they are."""
        self._stream.write(piece)
        self._stream.flush()
        self._in_line = not piece.endswith(b"\n")

    def end_line(self, talk: Console) -> None:
        """Begins a new line on a terminal that shows both, when the console is in the middle of one."""
        if self._in_line and talk.is_terminal and self._stream.isatty():
            talk.print()
            self._in_line = False


async def follow(
    handle: RunHandle, page: Console, console_to: BinaryIO, selection: Selection = EVERYTHING
) -> RunStatus:
    """Shows states on a page and the console's bytes on `console_to`; gives the final status."""
    if live.suits(page):
        with live.LiveView(page, console_to) as view:
            drawing = asyncio.create_task(_keep_drawing(handle, view))
            try:
                return await _told(handle, page, selection, view.write, view.say, view.show)
            finally:
                drawing.cancel()
                await asyncio.gather(drawing, return_exceptions=True)
    console = ConsoleCopy(console_to)
    async with ThisMoment(handle, page) as moment:

        def show(status: RunStatus) -> None:
            moment.show_in(status.state)
            console.end_line(page)
            page.print(output.state_line(status))

        def say(text: str) -> None:
            console.end_line(page)
            page.print(text)

        return await _told(handle, page, selection, console.write, say, show)


async def follow_states(handle: RunHandle, talk: Console, show: Callable[[RunStatus], None]) -> RunStatus:
    """Shows the states alone as they happen; gives the final status."""
    status: RunStatus | None = None
    async with ThisMoment(handle, talk) as moment:
        async for status in handle.watch():
            moment.show_in(status.state)
            show(status)
    assert status is not None
    return status


async def _told(
    handle: RunHandle,
    page: Console,
    selection: Selection,
    write: Callable[[bytes], None],
    say: Callable[[str], None],
    show: Callable[[RunStatus], None],
) -> RunStatus:
    """Gives each state and each piece of the console to whom shows them, in the order in which they belong."""
    copying: asyncio.Task[None] | None = None
    status: RunStatus | None = None
    try:
        async for status in handle.watch():
            if copying is None:
                pieces = handle.console(follow=True, selection=selection)
                copying = asyncio.create_task(_copy(pieces, write, say))
            if status.state in (State.FINISHING, State.STOPPING) or status.state.is_final:
                await asyncio.wait({copying}, timeout=CONSOLE_WITHIN)
            show(status)
        assert status is not None and copying is not None
        try:
            await copying
        except (RunsError, StoreError) as trouble:
            # How the Run ended is known all the same.
            say(f"Its console cannot be read: {trouble}")
        return status
    finally:
        if copying is not None:
            copying.cancel()
            await asyncio.gather(copying, return_exceptions=True)


async def _copy(
    pieces: AsyncIterator[Printed | Gap], write: Callable[[bytes], None], say: Callable[[str], None]
) -> None:
    async for piece in pieces:
        if isinstance(piece, Gap):
            say(output.missing(piece.bytes))
        else:
            write(piece.data)


async def _keep_drawing(handle: RunHandle, view: live.LiveView) -> None:
    """Has the view show the time as it goes by, and each second the progress."""
    while True:
        try:
            status = await handle.status()
            if status.state.is_final:
                return  # the end is shown after the last bytes of the console
            view.show(status)
        except RunsError as trouble:
            view.complain(str(trouble))
        for _ in range(DRAWS):
            await asyncio.sleep(LOOKS_EVERY / DRAWS)
            view.draw()


def stdout_bytes() -> BinaryIO:
    """Stdout, for bytes that are not ours to interpret."""
    sys.stdout.flush()
    return sys.stdout.buffer


def say_that_it_goes_on(run_id: str) -> None:
    """Following has ended, by ctrl-C or for want of who answers; the Run has not."""
    output.on_stderr().print(
        f"\nRun {run_id} goes on. Watch it again: temporal-runs watch {run_id} · end it: temporal-runs stop {run_id}"
    )
