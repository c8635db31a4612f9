"""Which image a name means, and who may have it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from temporal_runs.engine import CredentialsRefused, Engine, ImageNotFound, RegistryUnavailable
from temporal_runs.images import ANYBODY, Login, MachineImages
from tests.builds import built_on
from tests.dying import killed_everywhere
from tests.integration.images.conftest import ADA, BOB, STRANGER, nothing
from tests.registries import Registry, Sick, forget_image

Machine = Callable[..., MachineImages]
NewImage = Callable[..., str]


def fetched(images: MachineImages, reference: str, login: Login = ANYBODY) -> str:
    return images.fetch("a run", images.resolve(reference, login), nothing, login).id


def test_a_tag_is_pinned_to_the_digest_it_has_now(
    machine: Machine, engine: Engine, registry_of_its_own: Registry, new_image: NewImage
) -> None:
    reference = new_image(registry_of_its_own.address)
    images = machine()
    resolved = images.resolve(reference)
    assert resolved.name == f"{reference.removesuffix(':1')}@{engine.digest(reference)}"
    assert resolved.id == ""
    image = fetched(images, reference)
    assert images.resolve(reference).id == image
    assert images.resolve(resolved.name).id == image


def test_a_tag_that_has_moved_means_the_new_image(
    machine: Machine, engine: Engine, registry_of_its_own: Registry, new_image: NewImage
) -> None:
    old = new_image(registry_of_its_own.address)
    new = new_image(registry_of_its_own.address, name=old.partition("/")[2].removesuffix(":1") + "-new")
    before = fetched(machine(), old)
    after = fetched(machine(), new)
    engine.tag_image(after, old)
    engine.push(old, nothing)
    # As if somebody else had pushed it.
    engine.tag_image(before, old)
    engine.remove_image(f"{old.removesuffix(':1')}@{engine.digest(old)}")
    assert machine().resolve(old).id == ""
    assert fetched(machine(), old) == after != before
    registry_of_its_own.stop()
    assert machine().resolve(old).id == after


def test_an_image_on_the_machine_needs_no_registry(
    machine: Machine, registry_of_its_own: Registry, new_image: NewImage
) -> None:
    reference = new_image(registry_of_its_own.address)
    image = fetched(machine(), reference)
    registry_of_its_own.stop()
    resolved = machine().resolve(reference)
    assert resolved.id == image
    assert resolved.name.startswith(f"{reference.removesuffix(':1')}@sha256:")


def test_a_registry_that_hangs_delays_an_image_of_the_machine_once(
    machine: Machine, engine: Engine, registry_of_its_own: Registry, sick: Sick, new_image: NewImage
) -> None:
    reference = new_image(registry_of_its_own.address).replace(registry_of_its_own.address, sick.address)
    image = fetched(machine(), reference)
    sick.hang()
    images = machine()
    assert images.resolve(reference).id == image
    asked = len(sick.requests)
    for _ in range(20):
        assert images.resolve(reference).id == image
    assert len(sick.requests) == asked


def test_an_answer_is_remembered_for_each_login(
    machine: Machine, registry_of_its_own: Registry, sick: Sick, new_image: NewImage
) -> None:
    reference = new_image(registry_of_its_own.address).replace(registry_of_its_own.address, sick.address)
    images = machine()
    for _ in range(3):
        images.resolve(reference)
    once = sick.count("HEAD", "manifests") + sick.count("GET", "manifests")
    images.resolve(reference, BOB)
    assert sick.count("HEAD", "manifests") + sick.count("GET", "manifests") == 2 * once


def test_what_only_the_machine_has_is_pinned_to_its_id(
    machine: Machine, engine: Engine, registry: str, registry_of_its_own: Registry, new_image: NewImage
) -> None:
    reference = new_image(registry_of_its_own.address)
    own = reference.replace(registry_of_its_own.address, registry)
    image = engine.pull(reference, nothing)
    engine.tag_image(image.id, own)
    images = machine()
    resolved = images.resolve(own)
    assert (resolved.id, resolved.name) == (image.id, f"{own.removesuffix(':1')}@{image.id}")
    for again in (resolved.name, image.id):
        assert images.resolve(again, STRANGER).id == image.id


def test_an_image_that_was_made_on_the_machine_is_not_mistaken_for_somebody_s_of_that_name(
    machine: Machine, engine: Engine, image: str, sick: Sick
) -> None:
    own = f"{sick.address}/{image}"
    engine.tag_image(image, own)
    try:
        assert machine().resolve(own).id == engine.find_image(image).id
        assert sick.requests == []
    finally:
        engine.remove_image(own)


@pytest.mark.parametrize("reference", ["{}/none:1", "{}/none@sha256:" + 64 * "0", "sha256:" + 64 * "0"])
def test_what_nobody_has_is_not_found(machine: Machine, registry: str, reference: str) -> None:
    images = machine()
    with pytest.raises(ImageNotFound):
        fetched(images, reference.format(registry))


def test_what_is_nowhere_and_cannot_be_asked_for_is_not_called_missing(machine: Machine) -> None:
    with pytest.raises(RegistryUnavailable):
        machine().resolve("127.0.0.1:1/none:1")


def test_an_image_that_came_with_credentials_is_handed_to_those_who_may_pull_it(
    machine: Machine, private_image: str
) -> None:
    image = fetched(machine(), private_image, ADA)
    digest = machine().resolve(private_image, ADA).name
    assert machine().resolve(private_image, BOB).id == image
    for reference in (private_image, digest, image):
        for login in (STRANGER, ANYBODY):
            with pytest.raises(CredentialsRefused) as caught:
                machine().resolve(reference, login)
            assert private_image.partition("/")[0] in str(caught.value)
            assert (login.credentials.username if login.credentials else "anonymous") in str(caught.value)
    assert machine().resolve(image, BOB).id == image


def test_without_its_registry_an_image_goes_only_to_those_who_have_shown_that_they_may_have_it(
    machine: Machine, tmp_path: Path, new_image: NewImage
) -> None:
    registry = Registry(tmp_path / "private", {"ada": "secret", "bob": "also secret"})
    registry.start()
    reference = new_image(registry.address, login={"username": "ada", "password": "secret"})
    image = fetched(machine(), reference, ADA)
    registry.stop()
    with pytest.raises(RegistryUnavailable, match="came here with other credentials"):
        machine().resolve(reference, BOB)
    with pytest.raises(RegistryUnavailable):
        machine().resolve(image, ANYBODY)
    registry.start()
    assert machine().resolve(reference, BOB).id == image
    registry.stop()
    for login in (ADA, BOB):
        assert machine().resolve(reference, login).id == image


def test_credentials_that_are_refused_now_are_not_let_in_by_the_past(
    machine: Machine, private_image: str, registry_of_its_own: Registry
) -> None:
    fetched(machine(), private_image, ADA)
    refused = Login(ADA.name, STRANGER.credentials)
    with pytest.raises(CredentialsRefused):
        machine().resolve(private_image, refused)
    digest = machine().resolve(private_image, BOB).name
    with pytest.raises(CredentialsRefused):
        machine().resolve(digest, refused)


def test_an_image_built_on_one_that_came_with_credentials_is_as_private(
    machine: Machine, engine: Engine, private_image: str, new_image: NewImage
) -> None:
    images = machine()
    base = fetched(images, private_image, ADA)
    tag = f"{private_image.removesuffix(':1')}-built:1"
    images.built(engine.build(built_on(engine, base, "ENV A=1"), tag, nothing), tag, [base])
    built = engine.find_image(tag)
    assert built
    assert images.resolve(built.id, ADA).id == built.id
    assert machine().resolve(built.id, BOB).id == built.id
    with pytest.raises(CredentialsRefused):
        machine().resolve(built.id, STRANGER)
    engine.remove_image(tag)


def test_no_kill_makes_a_private_image_the_machine_s_own(machine: Machine, engine: Engine, private_image: str) -> None:
    name = machine().resolve(private_image, ADA).name
    here = 0
    for _ in killed_everywhere(lambda: fetched(machine(), private_image, ADA)):
        here += engine.find_image(name) is not None
        for reference in (name, private_image):
            with pytest.raises(CredentialsRefused):
                fetched(machine(), reference, STRANGER)
        machine().tidy()
        with pytest.raises(CredentialsRefused):
            fetched(machine(), name, STRANGER)
        forget_image(private_image)
        machine().tidy()
    assert here > 0
    assert machine().resolve(name, ADA).id
