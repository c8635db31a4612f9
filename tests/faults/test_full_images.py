"""A disk that is full for real while an image is pulled: what may go goes, and then it is an error."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from temporal_runs.engine import Engine, HostDiskFull, Progress, RegistryUnavailable
from temporal_runs.images import MachineImages
from tests.disks import disk
from tests.faults.test_platform import EngineOfItsOwn
from tests.registries import Registry

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

MIB = 2**20
DISK = 96 * MIB
"""Room for an image of 32 MiB twice, since it comes in one piece and is then unpacked, but not three times."""


def nothing(_: Progress) -> None: ...


@pytest.fixture
def small_disk() -> Iterator[Path]:
    # An engine's sockets need a short path.
    with tempfile.TemporaryDirectory() as place, disk(Path(place), DISK, "mkfs.ext4", "-q") as folder:
        yield folder


@pytest_asyncio.fixture
async def engine_on_small_disk(small_disk: Path) -> AsyncIterator[EngineOfItsOwn]:
    engine = EngineOfItsOwn(small_disk)
    try:
        await engine.start()
        yield engine
    finally:
        engine.end(signal.SIGTERM)
        engine.unmount()


@pytest.fixture
def images(
    engine_on_small_disk: EngineOfItsOwn,
    registry_of_its_own: Registry,
    new_image: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[MachineImages, list[str]]]:
    """Those of the small disk's engine, and the tags of two that fit on it and one that never does."""
    tags = [new_image(registry_of_its_own.address, size=size * MIB) for size in (32, 32, 80)]
    registry_of_its_own.stop()
    # The engine has a network of its own, so its registry has to be there: on the same address and storage.
    there = ["nsenter", f"--net=/proc/{engine_on_small_disk._process.pid}/ns/net"]
    subprocess.run([*there, "ip", "link", "set", "lo", "up"], check=True)
    serve = [*there, registry_of_its_own._program, "serve", registry_of_its_own._config]
    process = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    monkeypatch.setitem(os.environ, "DOCKER_HOST", engine_on_small_disk.address)
    engine = Engine.connect()
    try:
        while not answers(engine, tags[0]):
            time.sleep(0.1)
        yield MachineImages(engine, tmp_path / "records", 1000 * MIB, lambda: None), tags
    finally:
        process.kill()
        process.wait()


def test_a_full_disk_is_emptied_of_images_once_and_then_is_an_error(images: tuple[MachineImages, list[str]]) -> None:
    machine, (first, second, too_big) = images
    machine.fetch("a run", machine.resolve(first), nothing)
    image = machine.fetch("a run", machine.resolve(second), nothing)
    assert [held.id for held in machine.held()] == [image.id]
    with pytest.raises(HostDiskFull):
        machine.fetch("a run", machine.resolve(too_big), nothing)
    assert machine.held() == []
    assert machine.fetch("a run", machine.resolve(first), nothing).id


def answers(engine: Engine, tag: str) -> bool:
    try:
        return engine.in_registry(tag)
    except RegistryUnavailable:
        return False
