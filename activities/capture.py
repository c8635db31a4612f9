"""The console of a container, brought into the store while the command runs, byte for byte.

What is stored says where the engine's log goes on, so that a capture which is taken up again, by a restarted executor
or after a stream that broke off, neither loses nor doubles anything. Its memory does not grow with what is printed.
"""

import asyncio
import contextlib
from typing import Self

import structlog

from temporal_runs.activities.leases import Holding
from temporal_runs.console import ConsoleReader, ConsoleWriter
from temporal_runs.engine import Console, ContainerMissing, Engine
from temporal_runs.store import Store, StoreError

log = structlog.get_logger()

LAST_BYTES = 4000
LAST_LINES = 20
STORE_SECONDS = 0.5
"""Between two looks for something to be stored; a reader looks as often, and a line is to be seen within a second."""

FROZEN_SECONDS = 5
"""How long a stream may go on after its container has ended: the engine's `follow` is known to freeze (moby #45728)."""


class Capture:
    """Follows one container's console. `last_lines` is what a person is shown of it."""

    def __init__(self, engine: Engine, store: Store, holding: Holding, secrets: list[str] | None, cap: int) -> None:
        """`secrets`: values that `last_lines` must not show; None where nobody knows them any more."""
        attempt = holding.request.attempt
        place = store, attempt.run_id, attempt.execution_id, attempt.number
        self._engine = engine
        self._container = holding.container
        self._writer = ConsoleWriter(*place, cap=cap)
        self._reader = ConsoleReader(*place)
        self._shows = secrets is not None
        self._secrets = [secret for secret in secrets or [] if secret]
        self._tail = b""
        self._tail_size = LAST_BYTES + max((len(secret.encode()) for secret in self._secrets), default=0)
        self._stream: Console | None = None
        self._streaming: asyncio.Task[None] | None = None
        self._storing: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def last_lines(self) -> str:
        """The end of the console as text, without the values of secrets: it goes into the Run's history."""
        if not self._shows:
            return ""
        text = self._tail.decode(errors="replace")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        if len(self._tail) == self._tail_size:
            # It may begin within a secret.
            text = text[self._tail_size - LAST_BYTES :]
        return "\n".join(text.splitlines()[-LAST_LINES:])

    async def __aenter__(self) -> Self:
        """Takes up the console where an earlier capture left it, and follows it."""
        self._follow()
        self._storing = asyncio.create_task(self._store())
        return self

    async def __aexit__(self, problem: type[BaseException] | None, *_: object) -> None:
        """After an exception the container may run on: lets go of it, for another capture to take up."""
        if self._storing:
            self._storing.cancel()
        if problem:
            await asyncio.to_thread(self._writer.leave)
            await self._stop_streaming()

    async def finish(self) -> int:
        """Brings in the rest of an ended container's console and marks its end; gives the number of bytes.

        Raises StoreError and EngineError; the container still holds what could not be stored.
        """
        if self._streaming:
            await asyncio.wait({self._streaming}, timeout=FROZEN_SECONDS)
        if self._streaming and self._streaming.done() and not self._streaming.exception():
            return await asyncio.to_thread(self._writer.close)
        await self._stop_streaming()
        return await asyncio.to_thread(self.complete)

    def complete(self) -> int:
        """The same for a container that nobody followed to its end; one that is gone has its console as it is."""
        if end := self._reader.end():
            self._tail = self._stored_tail()
            return end.bytes
        with contextlib.suppress(ContainerMissing):
            self._copy(follow=False)
        return self._writer.close()

    def _follow(self) -> None:
        self._streaming = asyncio.create_task(asyncio.to_thread(self._copy, follow=True))

    async def _store(self) -> None:
        """Stores what has come, again and again. Without store or engine that is tried again the next time."""
        trouble = ""
        while True:
            await asyncio.sleep(STORE_SECONDS)
            with contextlib.suppress(StoreError):
                await asyncio.to_thread(self._writer.flush)
            if self._stopped or not self._streaming or not self._streaming.done():
                continue
            if failure := self._streaming.exception():
                if str(failure) != trouble:
                    trouble = str(failure)
                    log.warning("console is taken up again", container=self._container, error=trouble)
                self._follow()

    async def _stop_streaming(self) -> None:
        self._stopped = True
        if self._stream:
            self._stream.close()
        if self._streaming:
            await asyncio.gather(self._streaming, return_exceptions=True)

    def _copy(self, *, follow: bool) -> None:
        after = self._writer.resume()
        self._tail = self._stored_tail()
        self._stream = self._engine.console(self._container, follow=follow, after=after)
        with contextlib.closing(self._stream) as stream:
            if follow and self._stopped:
                return
            for piece in stream:
                self._tail = (self._tail + piece.data)[-self._tail_size :]
                self._writer.write(piece.stream, piece.at, piece.data, piece.mark, after_loss=piece.after_loss)

    def _stored_tail(self) -> bytes:
        tail = b""
        for segment in self._reader.backwards():
            tail = segment.data[-self._tail_size :] + tail
            if len(tail) >= self._tail_size:
                break
        return tail[-self._tail_size :]
