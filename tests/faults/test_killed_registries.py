"""Registries that fail for so long that the engine gives up by itself: it tries five times, in about a minute."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from temporal_runs.engine import Engine, HostDiskFull, Progress, RegistryUnavailable
from tests.registries import Registry, Sick

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
NewImage = Callable[..., str]


def nothing(_: Progress) -> None: ...


@pytest.fixture
def engine() -> Engine:
    return Engine.connect()


@pytest.fixture
def full_registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry on a disk of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    registry = Registry(folder)
    registry.start()
    yield registry
    registry.stop()
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_registry_is_not_a_full_machine(
    engine: Engine, registry_of_its_own: Registry, full_registry: Registry, new_image: NewImage
) -> None:
    reference = new_image(registry_of_its_own.address, size=4 * 2**20)
    there = reference.replace(registry_of_its_own.address, full_registry.address)
    engine.tag_image(engine.pull(reference, nothing).id, there)
    with pytest.raises(RegistryUnavailable) as caught:
        engine.push(there, nothing)
    assert not isinstance(caught.value, HostDiskFull)


def test_a_registry_that_dies_in_a_push(
    engine: Engine, registry_of_its_own: Registry, sick: Sick, new_image: NewImage
) -> None:
    reference = new_image(registry_of_its_own.address, size=8 * 2**20)
    there = reference.replace(registry_of_its_own.address, sick.address).removesuffix(":1") + "-copy:1"
    engine.tag_image(engine.pull(reference, nothing).id, there)
    killed = threading.Event()

    def kill(progress: Progress) -> None:
        if progress.current and not killed.is_set():
            killed.set()
            registry_of_its_own.kill()

    with pytest.raises(RegistryUnavailable):
        engine.push(there, kill)
    registry_of_its_own.start()
    engine.push(there, nothing)
    assert engine.in_registry(there)
    engine.remove_image(there)
