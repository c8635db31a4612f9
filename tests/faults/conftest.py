"""A new fleet for each test, see `tests.fleets`, and an engine whose disk is small."""

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import docker
import pytest
import pytest_asyncio

from temporal_runs.settings import Settings
from temporal_runs.store import Store
from temporal_runs.worker.ledger import recorded
from tests.disks import disk
from tests.engines import EngineOfItsOwn
from tests.fleets import Fleet, fleet_of, require_nothing_left

SMALL_DISK = 96 * 2**20
"""Bytes: room for an image of 32 MiB twice, since it comes in one piece and is then unpacked, but not three times."""


@pytest.fixture(scope="session", autouse=True)
def nothing_left_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """In the end no test has left a container, a volume, a mount, a lease or a draft, whatever was killed.

    What its workflow has not been told to have ended is a record without anything, and no lease.
    """
    yield
    place = tmp_path_factory.getbasetemp()
    engine = docker.from_env()
    ours = {"label": "temporal-runs.executor"}
    labelled = [
        *((one.name, one.labels) for one in engine.containers.list(all=True, filters=ours, ignore_removed=True)),
        *((one.name, one.attrs["Labels"] or {}) for one in engine.volumes.list(filters=ours)),
    ]
    # Other sessions may be at work on this engine.
    left = [name for name, labels in labelled if labels["temporal-runs.executor"].startswith(f"{place}/")]
    left += [line for line in Path("/proc/mounts").read_text().splitlines() if f"{place}/" in line]
    left += map(str, place.glob("home*/executors/*/probe-*"))
    for folder in place.glob("home*/executors/*"):
        left += [f"{folder}: {one.container}" for one in recorded(folder) if one.finished is None]
    for store in place.glob("home*/store"):
        Store.open(str(store)).tidy()
        left += map(str, (store / "tmp").iterdir())
    assert not left, f"left behind: {left}"


@pytest_asyncio.fixture
async def fleet(image: str, make_settings: Callable[..., Settings]) -> AsyncIterator[Fleet]:
    """A new one; afterwards asserts that the executors leave nothing behind."""
    async with fleet_of(make_settings(lease=6), image) as fleet:
        yield fleet
        await require_nothing_left(fleet)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for an engine, whose sockets need a short path."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


@pytest.fixture
def small_disk(short_path: Path) -> Iterator[Path]:
    with disk(short_path, SMALL_DISK, "mkfs.ext4", "-q") as folder:
        yield folder


@pytest_asyncio.fixture
async def engine_on_small_disk(small_disk: Path) -> AsyncIterator[EngineOfItsOwn]:
    engine = EngineOfItsOwn(small_disk)
    try:
        await engine.start()
        yield engine
    finally:
        engine.remove()
