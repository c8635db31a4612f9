"""A command that is adopted again and again, as after each blip of its server, takes no thread with each."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest

from temporal_runs.activities.command import Command
from temporal_runs.activities.leases import Holding, Leases
from temporal_runs.engine import ContainerSpec, Engine, Interrupt
from temporal_runs.steps import Attempt, Request, Tier

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
def holding(engine: Engine, image: str, tmp_path: Path) -> Iterator[Holding]:
    """Of a command that goes on for longer than the test."""
    found = engine.find_image(image)
    assert found
    attempt = Attempt(run_id=f"c-{uuid4().hex[:8]}", execution_id="execution")
    request = Request(attempt=attempt, tier=Tier(name="tiny", cores=1, memory=64 * 2**20))
    holding = Holding(token="t", request=request, granted_at=datetime.now(UTC))
    engine.create(
        ContainerSpec(
            name=holding.container,
            image=found.id,
            argv=["sleep", "600"],
            env={"TOKEN": "a=b\nc"},
            working_dir="/mnt",
            mounts={str(tmp_path): "/mnt"},
            user="1000:1000",
            cores=1,
            memory=64 * 2**20,
            pids=64,
            shm=2**20,
        )
    )
    engine.start(holding.container)
    yield holding
    engine.remove(holding.container)


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
