"""One pull for all who want an image, for as long as one of them does."""

import threading
from collections.abc import Callable

import pytest

from temporal_runs.engine import (
    CredentialsRefused,
    Engine,
    ImageInfo,
    Interrupt,
    Interrupted,
    Progress,
    RegistryUnavailable,
    Report,
)
from temporal_runs.images import ANYBODY, Fetches, MachineImages, Wanted
from tests.integration.images.conftest import ADA, STRANGER, Waiting, eventually, nothing
from tests.registries import Registry, Sick

Machine = Callable[..., MachineImages]


class GaveUp(Exception): ...


@pytest.fixture
def image(registry_of_its_own: Registry, sick: Sick, new_image: Callable[..., str]) -> str:
    """By the address of its sick registry."""
    return new_image(registry_of_its_own.address).replace(registry_of_its_own.address, sick.address)


def test_two_who_want_an_image_wait_for_one_pull_and_see_the_same_progress(
    machine: Machine, sick: Sick, image: str
) -> None:
    images = machine()
    resolved = images.resolve(image)
    sick.requests.clear()
    sick.hang_in_layers()
    seen: dict[str, list[Progress]] = {"first": [], "second": []}
    both = [Waiting(images.fetch, key, resolved, seen[key].append) for key in seen]
    eventually(lambda: all(steps and steps[-1].current for steps in seen.values()))
    assert seen["first"][-1].layers == seen["second"][-1].layers
    sick.heal()
    first, second = (one.outcome() for one in both)
    assert first == second
    assert first.id
    assert sick.count("GET", "manifests") == 1
    assert sick.count("GET", "blobs") == 2  # its config and its layer


def test_a_fetch_begun_in_the_background_is_joined_later(
    machine: Machine, engine: Engine, sick: Sick, image: str
) -> None:
    images = machine()
    resolved = images.resolve(image)
    images.begin_fetch("a run", resolved)
    found = eventually(lambda: engine.find_image(resolved.name)).id
    sick.answer(500)
    assert images.fetch("a run", resolved, nothing).id == found


def test_a_failure_is_kept_until_it_is_collected_and_then_tried_again(machine: Machine, sick: Sick, image: str) -> None:
    images = machine()
    resolved = images.resolve(image)
    sick.answer(500)
    images.begin_fetch("a run", resolved)
    eventually(lambda: sick.count("GET", "manifests"))
    eventually(lambda: not threading_of(resolved.name))
    sick.heal()
    with pytest.raises(RegistryUnavailable):
        images.fetch("a run", resolved, nothing)
    assert images.fetch("a run", resolved, nothing).id


def test_a_pull_goes_on_for_those_who_stay_and_ends_with_the_last(
    machine: Machine, engine: Engine, sick: Sick, image: str
) -> None:
    images = machine()
    resolved = images.resolve(image)
    sick.hang_in_layers()
    for key in ("first", "second"):
        images.begin_fetch(key, resolved)
    assert sick.hangs.wait(30)
    images.leave("first")
    assert threading_of(resolved.name)
    images.leave("second")
    eventually(lambda: not threading_of(resolved.name))
    images.leave("nobody")
    assert engine.find_image(resolved.name) is None
    sick.heal()
    assert images.fetch("first", resolved, nothing).id


def test_who_gives_up_while_waiting_leaves(machine: Machine, sick: Sick, image: str) -> None:
    images = machine()
    resolved = images.resolve(image)
    sick.hang_in_layers()
    staying = Waiting(images.fetch, "stays", resolved, nothing)
    assert sick.hangs.wait(30)

    def give_up(_: Progress) -> None:
        raise GaveUp

    with pytest.raises(GaveUp):
        images.fetch("goes", resolved, give_up)
    assert threading_of(resolved.name)
    sick.heal()
    assert staying.outcome().id


def test_an_interrupted_fetch_is_not_joined(machine: Machine, sick: Sick, image: str) -> None:
    images = machine()
    resolved = images.resolve(image)
    sick.hang_in_layers()
    images.begin_fetch("first", resolved)
    assert sick.hangs.wait(30)
    images.leave("first")
    second = Waiting(images.fetch, "second", resolved, nothing)
    sick.heal()
    assert second.outcome().id


def test_who_is_refused_does_not_spoil_it_for_others(machine: Machine, private_image: str) -> None:
    images = machine()
    resolved = images.resolve(private_image, ADA)
    images.begin_fetch("eve", resolved, STRANGER)
    ada = Waiting(images.fetch, "ada", resolved, nothing, ADA)
    with pytest.raises(CredentialsRefused):
        images.fetch("eve", resolved, nothing, STRANGER)
    assert ada.outcome().id


def test_who_joins_a_pull_with_other_credentials_is_asked_for_their_own(machine: Machine, private_image: str) -> None:
    images = machine()
    resolved = images.resolve(private_image, ADA)
    images.begin_fetch("ada", resolved, ADA)
    with pytest.raises(CredentialsRefused):
        images.fetch("eve", resolved, nothing, STRANGER)
    assert images.fetch("ada", resolved, nothing, ADA).id


def test_another_image_wanted_by_the_same_key_takes_the_place_of_the_first() -> None:
    ended: list[str] = []

    def pull(wanted: Wanted, report: Report, interrupt: Interrupt) -> ImageInfo:
        if wanted.name == "first":
            eventually(lambda: interrupt.is_set)
            ended.append(wanted.name)
            raise Interrupted
        return ImageInfo(wanted.name, ())

    fetches = Fetches(pull)
    fetches.begin("a run", Wanted("first", ANYBODY))
    assert fetches.join("a run", Wanted("second", ANYBODY), nothing).id == "second"
    eventually(lambda: ended)


def threading_of(name: str) -> bool:
    """Whether a pull of that name is under way."""
    return any(thread.name == f"pull {name}" for thread in threading.enumerate())
