"""A command that is adopted again and again, as after each blip of its server, takes no thread with each."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from temporal_runs.activities.command import Command
from temporal_runs.activities.leases import Holding, Leases
from temporal_runs.engine import Engine, Interrupt
from tests.integration.conftest import Started

THREADS = 2


class WatchedEngine(Engine):
    """Says when somebody waits on it: the engine itself has no sign for that."""

    waits: threading.Semaphore

    def wait(self, name: str, interrupt: Interrupt | None = None) -> None:
        self.waits.release()
        super().wait(name, interrupt)


@pytest.fixture
def engine() -> WatchedEngine:
    engine = WatchedEngine.connect()
    engine.waits = threading.Semaphore(0)
    return engine


@pytest.fixture
def holding(started: Started) -> Holding:
    """Of a command that goes on for longer than the test."""
    return started("exec sleep 600", TOKEN="a=b\nc")


def test_a_command_that_is_let_go_again_and_again_keeps_no_thread(engine: WatchedEngine, holding: Holding):
    # In a loop of its own, whose few threads would be gone after as many rounds.
    async def let_go_often() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        for _ in range(5 * THREADS):
            nothing_is_noted = cast(Leases, None)
            async with Command(engine, nothing_is_noted, holding):
                await asyncio.to_thread(engine.waits.acquire)
        state = await asyncio.to_thread(engine.state, holding.container)
        assert state and state.status == "running"

    asyncio.run(asyncio.wait_for(let_go_often(), 60))


def test_a_container_tells_the_variables_that_it_was_given(engine: Engine, holding: Holding):
    assert engine.environment(holding.container)["TOKEN"] == "a=b\nc"
