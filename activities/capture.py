"""The console of a container, brought into the store byte for byte while the command runs.

The position is counted in bytes of the container's own log, so that a capture which is taken up again, by a restarted
executor or after a frozen stream, neither loses nor doubles anything.
"""

import asyncio
import contextlib

import structlog

from temporal_runs.activities.leases import Holding
from temporal_runs.console import ConsoleReader, ConsoleWriter
from temporal_runs.engine import ContainerMissing, Engine
from temporal_runs.store import Store, StoreError

log = structlog.get_logger()

LAST_BYTES = 4000
LAST_LINES = 20
FROZEN_SECONDS = 5
"""How long a stream may go on after its container has ended: the engine's `follow` is known to freeze (moby #45728)."""


class Capture:
    """Follows one container's console. `last_lines` is what a person is shown of it."""

    def __init__(self, engine: Engine, store: Store, holding: Holding, secrets: list[str]) -> None:
        attempt = holding.request.attempt
        self._engine = engine
        self._container = holding.container
        self._writer = ConsoleWriter(store, attempt.run_id, attempt.execution_id, attempt.number)
        self._reader = ConsoleReader(store, attempt.run_id, attempt.execution_id, attempt.number)
        self._secrets = [secret for secret in secrets if secret]
        self._tail = b""
        self._streaming: asyncio.Task[None] | None = None

    @property
    def last_lines(self) -> str:
        """The end of the console as text, without the values of secrets: it goes into the Run's history."""
        text = self._tail.decode(errors="replace")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return "\n".join(text.splitlines()[-LAST_LINES:])

    async def start(self) -> None:
        """Takes up the console where an earlier capture left it, and follows it."""
        await asyncio.to_thread(self._writer.resume)
        self._streaming = asyncio.create_task(asyncio.to_thread(self._copy, follow=True))

    async def flush(self) -> None:
        """Stores what has come since; a store that is away is tried again with the next flush."""
        with contextlib.suppress(StoreError):
            await asyncio.to_thread(self._writer.flush)

    async def finish(self) -> int:
        """Brings in the rest of an ended container's console and marks its end; gives the number of bytes.

        Raises StoreError and EngineError; the container still holds what could not be stored.
        """
        if self._streaming:
            await asyncio.wait({self._streaming}, timeout=FROZEN_SECONDS)
        if self._streaming and self._streaming.done() and not self._streaming.exception():
            return await asyncio.to_thread(self._writer.close)
        return await asyncio.to_thread(self.complete)

    def complete(self) -> int:
        """The same for a container that nobody followed to its end; one that is gone has its console as it is."""
        if (bytes_in_all := self._reader.end()) is not None:
            return bytes_in_all
        self._writer.resume()
        with contextlib.suppress(ContainerMissing):
            self._copy(follow=False)
        return self._writer.close()

    def _copy(self, *, follow: bool) -> None:
        start = self._writer.position
        seen = 0
        stream = self._engine.console(self._container, follow=follow)
        with contextlib.closing(stream):  # type: ignore[type-var]
            for chunk in stream:
                self._tail = (self._tail + chunk)[-LAST_BYTES:]
                if seen + len(chunk) > start:
                    self._take(chunk, seen)
                seen += len(chunk)

    def _take(self, chunk: bytes, offset: int) -> None:
        try:
            self._writer.write(chunk, offset=offset)
        except StoreError as error:
            # The bytes are kept for the next flush; reading on keeps the command from blocking.
            log.warning("console waits for the store", container=self._container, error=str(error))
