"""Commands in containers, without a Run: for tests of what an executor does with one."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from temporal_runs.activities.leases import Holding
from temporal_runs.engine import ContainerSpec, Engine
from temporal_runs.steps import Attempt, Request, Tier

Started = Callable[..., Holding]
"""Starts a command, with variables."""


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine.connect()


@pytest.fixture
def started(engine: Engine, image: str, tmp_path: Path) -> Iterator[Started]:
    """Starts a command in a container that sees the test's folder, and gives what an executor would hold of it."""
    found = engine.find_image(image)
    assert found
    tmp_path.chmod(0o777)
    names: list[str] = []

    def start(command: str, **env: str) -> Holding:
        attempt = Attempt(run_id=f"c-{uuid4().hex[:8]}", execution_id="execution")
        request = Request(attempt=attempt, tier=Tier(name="tiny", cores=1, memory=64 * 2**20))
        holding = Holding(token="t", request=request, granted_at=datetime.now(UTC))
        spec = ContainerSpec(
            name=holding.container,
            image=found.id,
            argv=["sh", "-c", command],
            env=env,
            working_dir="/mnt",
            mounts={str(tmp_path): "/mnt"},
            user="1000:1000",
            cores=1,
            memory=64 * 2**20,
            pids=64,
            shm=2**20,
        )
        names.append(spec.name)
        engine.create(spec)
        engine.start(spec.name)
        return holding

    yield start
    for name in names:
        engine.remove(name)
