"""A disk that is full for real while an image is pulled: what may go goes, and then it is an error."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from temporal_runs.engine import Engine, HostDiskFull, Progress
from temporal_runs.images import MachineImages
from tests.engines import EngineOfItsOwn
from tests.registries import Registry

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

MIB = 2**20


def nothing(_: Progress) -> None: ...


@pytest.fixture
def images(
    engine_on_small_disk: EngineOfItsOwn,
    registry_of_its_own: Registry,
    new_image: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[MachineImages, list[str]]:
    """Those of the small disk's engine, and the tags of two that fit on it and one that never does."""
    tags = [new_image(registry_of_its_own.address, size=size * MIB) for size in (32, 32, 80)]
    monkeypatch.setitem(os.environ, "DOCKER_HOST", engine_on_small_disk.address)
    return MachineImages(Engine.connect(), tmp_path / "records", 1000 * MIB, lambda: None), tags


def test_a_full_disk_is_emptied_of_images_once_and_then_is_an_error(images: tuple[MachineImages, list[str]]) -> None:
    machine, (first, second, too_big) = images
    machine.fetch("a run", machine.resolve(first), nothing)
    image = machine.fetch("a run", machine.resolve(second), nothing)
    assert [held.id for held in machine.held()] == [image.id]
    with pytest.raises(HostDiskFull):
        machine.fetch("a run", machine.resolve(too_big), nothing)
    assert machine.held() == []
    assert machine.fetch("a run", machine.resolve(first), nothing).id
