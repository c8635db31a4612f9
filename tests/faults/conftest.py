"""A new fleet for each test, see `tests.fleets`, and an engine whose disk is small."""

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from temporal_runs.settings import Settings
from tests.disks import disk
from tests.engines import EngineOfItsOwn
from tests.fleets import Fleet, fleet_of, require_nothing_left

SMALL_DISK = 96 * 2**20
"""Bytes: room for an image of 32 MiB twice, since it comes in one piece and is then unpacked, but not three times."""


@pytest_asyncio.fixture
async def fleet(image: str, make_settings: Callable[..., Settings]) -> AsyncIterator[Fleet]:
    """A new one; afterwards asserts that the executors leave nothing behind."""
    async with fleet_of(make_settings(lease=6), image) as fleet:
        yield fleet
        await require_nothing_left(fleet)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    # An engine's sockets need a short path.
    with tempfile.TemporaryDirectory() as place, disk(Path(place), SMALL_DISK, "mkfs.ext4", "-q") as folder:
        yield folder


@pytest_asyncio.fixture
async def engine_on_small_disk(small_disk: Path) -> AsyncIterator[EngineOfItsOwn]:
    engine = EngineOfItsOwn(small_disk)
    try:
        await engine.start()
        yield engine
    finally:
        engine.remove()
