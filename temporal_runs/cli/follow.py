"""Following a Run: its states with their times as talk, its console's bytes as they are, until it is over."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import BinaryIO

from rich.console import Console
from rich.text import Text

from temporal_runs.cli import output
from temporal_runs.client import RunHandle
from temporal_runs.status import RunStatus, State

CONSOLE_WITHIN = 3.0
"""Seconds to wait for the last bytes of a console before the states that follow it are shown."""

WAITS_FOR_LONG = 3.0
"""Seconds after which it is said what a Run waits for."""

LOOKS_EVERY = 1.0

BEFORE_THE_COMMAND = {State.QUEUED, State.SCHEDULED, State.PREPARING, State.BUILDING, State.PULLING}


@asynccontextmanager
async def explaining_waits(handle: RunHandle, page: Console) -> AsyncGenerator[asyncio.Task[None]]:
    """Shows what keeps a Run from executing: on a terminal in one changing line, elsewhere its place in the queue.

    Gives the task that does, to be cancelled when the command executes.
    """

    async def explain() -> None:
        await asyncio.sleep(WAITS_FOR_LONG)
        said = ""
        with page.status("") if page.is_terminal else nullcontext() as line:
            while (status := await handle.status()).state in BEFORE_THE_COMMAND:
                now = output.now(status)
                if line:
                    line.update(Text(now))
                elif now != said and status.state is State.QUEUED:
                    page.print(f"{'':20}{now}", markup=False)
                said = now
                await asyncio.sleep(LOOKS_EVERY)

    explaining = asyncio.create_task(explain())
    try:
        yield explaining
    finally:
        explaining.cancel()
        await asyncio.gather(explaining, return_exceptions=True)


class ConsoleCopy:
    """Copies a console to a stream, and keeps what is said between its lines off them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._in_line = False

    async def copy(self, pieces: AsyncIterator[bytes]) -> None:
        """Writes the bytes as they come."""
        async for piece in pieces:
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
        async with explaining_waits(handle, talk) as explaining:
            async for status in handle.watch():
                if status.state not in BEFORE_THE_COMMAND:
                    explaining.cancel()
                if copying is None:
                    copying = asyncio.create_task(console.copy(handle.logs(follow=True)))
                if status.state in (State.FINISHING, State.STOPPING) or status.state.is_final:
                    await asyncio.wait({copying}, timeout=CONSOLE_WITHIN)
                console.end_line(talk)
                talk.print(output.state_line(status))
        if copying is not None:
            await copying
    finally:
        if copying is not None:
            copying.cancel()
            await asyncio.gather(copying, return_exceptions=True)
    assert status is not None
    return status


def stdout_bytes() -> BinaryIO:
    """Stdout, for bytes that are not ours to interpret."""
    sys.stdout.flush()
    return sys.stdout.buffer


def say_that_it_goes_on(run_id: str) -> None:
    """After a ctrl-C: following has ended, the Run has not."""
    output.on_stderr().print(
        f"\nThe Run goes on. Watch it again: temporal-runs watch {run_id} · end it: temporal-runs stop {run_id}"
    )
