"""A command in its container: waiting until it has ended, and ending it. Survives a Docker engine that restarts."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from temporal_runs.engine import ContainerMissing, ContainerState, Engine, EngineUnavailable

ENGINE_PATIENCE = 60
"""Seconds a Docker engine may be away before that is an Error (design, section 4)."""

SIGKILLED, SIGTERMED = 128 + 9, 128 + 15


async def engine_answers(engine: Engine) -> None:
    """Waits for an engine that is away; raises EngineUnavailable when it stays away."""
    deadline = time.monotonic() + ENGINE_PATIENCE
    while True:
        try:
            return await asyncio.to_thread(engine.ping)
        except EngineUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(1)


class Command:
    """The command of one attempt, from when its container has been started."""

    def __init__(self, engine: Engine, container: str) -> None:
        self._engine = engine
        self.container = container
        self._engine_lost_at: datetime | None = None
        self._ended = asyncio.create_task(self._wait())

    async def ended(self) -> ContainerState | None:
        """Waits until the command has ended; gives its container's last state, None where it is no more."""
        return await asyncio.shield(self._ended)

    async def end(self, grace: float) -> bool:
        """SIGTERM, `grace` seconds later SIGKILL; False where the command had ended before it was told to."""
        if not await asyncio.to_thread(self._engine.signal, self.container, "TERM"):
            await self.ended()
            return False
        try:
            async with asyncio.timeout(grace):
                await self.ended()
        except TimeoutError:
            await asyncio.to_thread(self._engine.signal, self.container, "KILL")
            await self.ended()
        return True

    def abandon(self) -> None:
        """Waits no more; the command goes on."""
        self._ended.cancel()

    def evidence(self, state: ContainerState) -> dict[str, Any]:
        """Who ended a command that was not told to end by us, as fields of `Exit`."""
        if self._lost_its_engine(state):
            return {"engine_lost": True}
        if state.exit_code not in (SIGKILLED, SIGTERMED):
            return {"out_of_memory": state.out_of_memory and state.exit_code != 0}
        kills = self._engine.kills(self.container, *_lifetime(state))
        return {
            # The flag alone is not always set (moby #38352).
            "out_of_memory": state.out_of_memory or self._engine.ran_out_of_memory(self.container, *_lifetime(state)),
            "killed_by_engine": kills[-1].signal if kills else None,
        }

    def _lost_its_engine(self, state: ContainerState) -> bool:
        """The engine went away while the command ran: the exit status then says nothing (for-linux #761)."""
        if self._engine_lost_at is None or state.finished_at is None:
            return False
        return state.finished_at >= self._engine_lost_at - timedelta(seconds=1)

    async def _wait(self) -> ContainerState | None:
        while True:
            try:
                await asyncio.to_thread(self._engine.wait, self.container)
                state = await asyncio.to_thread(self._engine.state, self.container)
            except ContainerMissing:
                return None
            except EngineUnavailable:
                # The end of the connection is no exit (moby #27987): look again.
                self._engine_lost_at = self._engine_lost_at or datetime.now(UTC)
                await engine_answers(self._engine)
                continue
            if state is None or state.has_ended:
                return state


def _lifetime(state: ContainerState) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    return (state.started_at or now) - timedelta(seconds=1), now + timedelta(seconds=1)
