"""What is removed when images are too many, and what never is."""

import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from temporal_runs.engine import BuildFailed, Engine, EngineError, HostDiskFull, ImageInfo
from temporal_runs.images import MachineImages
from tests.builds import built_on
from tests.integration.images.conftest import nothing
from tests.registries import Registry

Machine = Callable[..., MachineImages]


@pytest.fixture
def fetched(registry_of_its_own: Registry, new_image: Callable[..., str]) -> Callable[[MachineImages], str]:
    """Fetches an image of 1 MiB, and gives its tag."""

    def fetch(images: MachineImages) -> str:
        reference = new_image(registry_of_its_own.address)
        images.fetch("a run", images.resolve(reference), nothing)
        return reference

    return fetch


@pytest.fixture
def keep(engine: Engine) -> Callable[[str], None]:
    """Makes a container of an image, which is never started."""
    made: list[str] = []
    api = engine._connection.api
    yield lambda reference: made.append(api.create_container(reference)["Id"])
    for container in made:
        api.remove_container(container)


def test_the_least_recently_used_goes_first_until_the_rest_fits(
    machine: Machine, engine: Engine, fetched: Callable[..., str]
) -> None:
    images = machine(limit=2 * 2**20 + 2**19)
    first, second, third = (fetched(images) for _ in range(3))
    images.resolve(first)
    images.tidy()
    assert [engine.find_image(tag) is not None for tag in (first, second, third)] == [True, False, True]
    images.tidy()
    assert engine.find_image(third)
    assert images.fetch("a run", images.resolve(second), nothing).id


def test_what_others_brought_to_the_machine_is_never_removed(
    machine: Machine, engine: Engine, registry_of_its_own: Registry, new_image: Callable[..., str], fetched
) -> None:
    pulled_by_hand = new_image(registry_of_its_own.address)
    engine.pull(pulled_by_hand, nothing)
    images = machine(limit=0)
    images.fetch("a run", images.resolve(pulled_by_hand), nothing)
    tagged_by_hand = fetched(images)
    name = f"{tagged_by_hand.removesuffix(':1')}-mine:1"
    engine.tag_image(tagged_by_hand, name)
    images.tidy()
    assert images.make_room() is False
    assert all(engine.find_image(tag) for tag in (pulled_by_hand, tagged_by_hand, name))
    engine.remove_image(name)


def test_what_a_container_uses_or_was_built_on_is_never_removed(
    machine: Machine, engine: Engine, fetched: Callable[..., str], keep: Callable[[str], None]
) -> None:
    images = machine(limit=0)
    base, used = fetched(images), fetched(images)
    keep(used)
    tag = f"{base.removesuffix(':1')}-built:1"
    engine.build(built_on(engine, base, "ENV A=1"), tag, nothing)
    images.tidy()
    assert engine.find_image(base)
    assert engine.find_image(used)
    assert engine.discard_image(engine.find_image(used).id) is False
    engine.remove_image(tag)
    images.tidy()
    assert engine.find_image(base) is None
    assert engine.find_image(used)


def test_what_a_lease_may_be_about_to_use_stays(machine: Machine, engine: Engine, fetched: Callable[..., str]) -> None:
    since: list[datetime] = []
    images = machine(limit=0, in_use_since=lambda: since[0] if since else None)
    old, new = fetched(images), fetched(images)
    since.append(datetime.now(UTC))
    images.resolve(new)
    images.tidy()
    assert images.make_room() is False
    assert [engine.find_image(tag) is not None for tag in (old, new)] == [False, True]
    since.clear()
    assert images.make_room() is True
    assert engine.find_image(new) is None


def test_what_was_built_is_removed_like_what_was_pulled(
    machine: Machine, engine: Engine, fetched: Callable[..., str]
) -> None:
    images = machine(limit=0)
    base = fetched(images)
    tag = f"{base.removesuffix(':1')}-built:1"
    base_id = engine.find_image(base).id
    built = engine.build(built_on(engine, base, "ENV A=1", "ENV B=1"), tag, nothing)
    images.built(built, tag, [base_id])
    images.tidy()
    images.tidy()
    assert engine.find_image(built.id) is None
    assert engine.find_image(base_id) is None


def test_what_a_failed_build_has_made_may_go_until_another_is_built_on_it(
    machine: Machine, engine: Engine, fetched: Callable[..., str]
) -> None:
    images = machine(limit=0)
    base = fetched(images)
    base_id = engine.find_image(base).id
    tag = f"{base.removesuffix(':1')}-built:1"
    made: list[ImageInfo] = []

    def note(step: ImageInfo) -> None:
        made.append(step)
        images.made(step, [base_id])

    instructions = [f"ENV NEW={uuid.uuid4().hex}", "ENV B=1"]
    with pytest.raises(BuildFailed):
        engine.build(built_on(engine, base, *instructions, 'RUN ["/none"]'), tag, nothing, made=note)
    assert len(made) == 2
    built = engine.build(built_on(engine, base, *instructions, "ENV C=1"), tag, nothing, made=note)
    assert [step.id for step in made[2:]] == [built.id]  # the rest came from the engine's cache
    images.tidy()
    assert all(engine.find_image(step.id) for step in made)
    engine.remove_image(built.id)
    assert not any(engine.find_image(step.id) for step in made)
    with pytest.raises(BuildFailed):
        engine.build(built_on(engine, base, *instructions, 'RUN ["/none"]'), tag, nothing, made=note)
    images.tidy()
    assert not any(engine.find_image(step.id) for step in made)
    images.tidy()
    assert engine.find_image(base) is None


def test_images_removed_by_others_are_forgotten_and_can_come_again(
    machine: Machine, engine: Engine, fetched: Callable[..., str]
) -> None:
    images = machine()
    reference = fetched(images)
    held = {image.names: image for image in images.held()}[(reference,)]
    assert held.source == ""
    assert held.size >= 2**20
    engine.discard_image(held.id)
    images.tidy()
    again = images.fetch("a run", images.resolve(reference), nothing)
    assert again.id == held.id
    engine.remove_image(reference)
    with suppress(EngineError):
        engine.pull(reference, nothing)


def test_a_full_disk_is_only_an_error_when_nothing_may_go(
    machine: Machine, engine: Engine, fetched: Callable[..., str]
) -> None:
    """A disk that is full for real is in tests/faults, since it needs an engine of its own."""
    images = machine()
    reference = fetched(images)
    tries: list[bool] = []

    def work() -> str:
        tries.append(engine.find_image(reference) is not None)
        if tries[-1]:
            raise HostDiskFull("as if")
        return "done"

    assert images.with_room(work) == "done"
    assert tries == [True, False]

    def hopeless() -> None:
        raise HostDiskFull("as if")

    with pytest.raises(HostDiskFull):
        images.with_room(hopeless)
