"""A command in its container: waiting until it has ended, and ending it. Survives a Docker engine that restarts.

What we did to it, and what its engine did, is in the ledger before anything comes of it: whoever takes the command up
after us judges its end by that.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

import structlog

from temporal_runs.activities.leases import Holding, Leases
from temporal_runs.engine import ContainerMissing, ContainerState, Engine, EngineHangs, EngineUnavailable, Interrupt
from temporal_runs.steps import EndedBy

ENGINE_PATIENCE = 60
"""Seconds a Docker engine may be away before that is an Error (design, section 4)."""

SIGKILLED, SIGTERMED = 128 + 9, 128 + 15
UNKNOWN = 255
"""The status of a container that an engine had lost sight of."""

log = structlog.get_logger()


class EngineStaysAway(EngineUnavailable):
    """An engine has been waited for as long as one is."""


async def engine_answers(engine: Engine) -> None:
    """Waits for an engine that is away; raises EngineStaysAway."""
    deadline = time.monotonic() + ENGINE_PATIENCE
    while True:
        try:
            return await asyncio.to_thread(engine.ping)
        except EngineUnavailable as error:
            if time.monotonic() > deadline:
                raise EngineStaysAway(str(error)) from error
            await asyncio.sleep(1)


class Command:
    """The command of one attempt, from when its container has been started; waited for until the block ends."""

    def __init__(self, engine: Engine, leases: Leases, holding: Holding) -> None:
        self._engine = engine
        self._leases = leases
        self._holding = holding
        self.container = holding.container
        self._let_go = Interrupt()
        self._ended = asyncio.create_task(self._wait())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Waits no more; a command that has not ended goes on. Its thread must not: it would wait as long as that."""
        self._let_go.set()
        self._ended.cancel()

    @property
    def ended_by(self) -> EndedBy:
        """Whose doing its end is, as far as it is ours."""
        return self._holding.told_to_end or "itself"

    async def ended(self) -> ContainerState | None:
        """Waits until the command has ended; gives its container's last state, None where it is no more."""
        return await asyncio.shield(self._ended)

    async def end(self, why: Literal["stop", "time_limit"], grace: float) -> None:
        """SIGTERM, `grace` seconds later SIGKILL; one that has ended by itself is left as it is."""
        before = self._holding.told_to_end
        await self._note(told_to_end=before or why)
        if not await asyncio.to_thread(self._engine.signal, self.container, "TERM"):
            await self.ended()
            await self._note(told_to_end=before)
            return
        try:
            async with asyncio.timeout(grace):
                await self.ended()
        except TimeoutError:
            await asyncio.to_thread(self._engine.signal, self.container, "KILL")
            await self.ended()

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
        if state.finished_at is None:
            return False
        if lost_at := self._holding.engine_lost_at:
            return state.finished_at >= lost_at - timedelta(seconds=1)
        if state.out_of_memory or state.exit_code not in (SIGKILLED, SIGTERMED, UNKNOWN):
            return False
        # We were away with it, as when the whole machine was.
        engine_began = self._engine.began_at()
        return engine_began is not None and state.started_at is not None and state.started_at < engine_began

    async def _note(self, **changes: object) -> None:
        self._holding = await asyncio.to_thread(self._leases.update, self._holding.token, **changes)

    async def _wait(self) -> ContainerState | None:
        if self._holding.engine_lost_at:
            # Missed by a process that has been killed since: the engine may have kept the command.
            await self._engine_is_back()
        while True:
            try:
                await asyncio.to_thread(self._engine.wait, self.container, self._let_go)
                state = await asyncio.to_thread(self._engine.state, self.container)
            except ContainerMissing:
                return None
            except EngineHangs as error:
                log.warning("engine hangs", container=self.container, error=str(error))
                await self._engine_answers_again()
                continue
            except EngineUnavailable:
                # The end of the connection is no exit (moby #27987): look again.
                await self._engine_is_back()
                continue
            if state is None or state.has_ended:
                return state

    async def _engine_answers_again(self) -> None:
        """One that went on has ended nothing, as one does that somebody has started anew because it hung."""
        hung_at = datetime.now(UTC)
        await engine_answers(self._engine)
        began_at = await asyncio.to_thread(self._engine.began_at)
        if began_at and began_at > hung_at:
            await self._note(engine_lost_at=hung_at)

    async def _engine_is_back(self) -> None:
        if self._holding.engine_lost_at is None:
            await self._note(engine_lost_at=datetime.now(UTC))
        await engine_answers(self._engine)
        state = await asyncio.to_thread(self._engine.state, self.container)
        if state and state.status == "running":
            # An engine that comes back has ended what it does not keep, before it answers.
            await self._note(engine_lost_at=None)


def _lifetime(state: ContainerState) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    return (state.started_at or now) - timedelta(seconds=1), now + timedelta(seconds=1)
