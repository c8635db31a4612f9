"""Registries that are down, slow, full, busy, or lie; and who one is to them."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from temporal_runs.engine import (
    Credentials,
    CredentialsRefused,
    Engine,
    ImageNotFound,
    Progress,
    RegistryUnavailable,
)
from tests.conftest import PASSWORDS
from tests.registries import Registry, Sick

ADA = Credentials("ada", "secret")
STRANGER = Credentials("ada", "not her password")
BUSY = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"you have reached your pull rate limit"}]}'
NewImage = Callable[..., str]


def nothing(_: Progress) -> None: ...


def through(sick: Sick, registry: Registry, reference: str) -> str:
    """The same image by its sick registry's address."""
    return reference.replace(registry.address, sick.address)


@pytest.fixture
def private_image(private_registry: str, new_image: NewImage) -> str:
    return new_image(private_registry, login={"username": "ada", "password": PASSWORDS["ada"]})


def test_a_private_image_is_for_those_who_are_let_in(engine: Engine, private_image: str) -> None:
    digest = engine.digest(private_image, ADA)
    pulled = engine.pull(private_image, nothing, ADA)
    assert pulled.digests == (f"{private_image.removesuffix(':1')}@{digest}",)
    assert engine.in_registry(private_image, ADA)
    engine.push(private_image, nothing, ADA)


@pytest.mark.parametrize(("credentials", "user"), [(None, "anonymous"), (STRANGER, "ada")])
def test_who_is_refused_is_named_with_the_registry_and_never_with_a_password(
    engine: Engine, private_registry: str, private_image: str, credentials: Credentials | None, user: str
) -> None:
    def push() -> None:
        engine.tag_image(engine.pull(private_image, nothing, ADA).id, private_image)
        engine.push(private_image, nothing, credentials)

    for ask in (
        lambda: engine.pull(private_image, nothing, credentials),
        lambda: engine.digest(private_image, credentials),
        push,
    ):
        with pytest.raises(CredentialsRefused) as caught:
            ask()
        assert f"registry {private_registry} refused" in str(caught.value)
        assert f" to {user}: " in str(caught.value)
        assert STRANGER.password not in f"{caught.value} {credentials!r}"


def test_docker_s_own_config_is_asked_where_no_credentials_are_given(
    engine: Engine, private_registry: str, private_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "YWRhOnNlY3JldA=="  # ada:secret
    (tmp_path / "config.json").write_text(f'{{"auths": {{"{private_registry}": {{"auth": "{token}"}}}}}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert engine.in_registry(private_image)


def test_a_registry_that_does_not_answer_is_not_waited_for(
    engine: Engine, registry_of_its_own: Registry, sick: Sick, new_image: NewImage
) -> None:
    reference = through(sick, registry_of_its_own, new_image(registry_of_its_own.address))
    sick.hang()
    with pytest.raises(RegistryUnavailable, match=r"did not answer within 0\.5 s"):
        engine.digest(reference, within=0.5)
    assert sick.hangs.is_set()


@pytest.mark.parametrize(
    ("status", "headers", "body", "seconds"),
    [
        (429, {"Retry-After": "7"}, b"", 7),
        (429, {"Retry-After": "7", "Content-Type": "application/json"}, BUSY, 7),
        (429, {"Retry-After": "86400"}, b"", 60),
        (429, {}, b"", None),
        (429, {"Retry-After": "soon"}, b"", None),
        (503, {"Retry-After": "3"}, b"", 3),
        (500, {}, b"", None),
    ],
)
def test_a_busy_registry_says_when_it_wants_to_be_asked_again(
    engine: Engine,
    registry_of_its_own: Registry,
    sick: Sick,
    new_image: NewImage,
    status: int,
    headers: dict[str, str],
    body: bytes,
    seconds: float | None,
) -> None:
    reference = through(sick, registry_of_its_own, new_image(registry_of_its_own.address))
    for only in ("", "manifests"):
        sick.answer(status, headers, body, only)
        for ask in (lambda: engine.pull(reference, nothing), lambda: engine.digest(reference)):
            with pytest.raises(RegistryUnavailable) as caught:
                ask()
            assert not isinstance(caught.value, CredentialsRefused)
            assert caught.value.retry_after == seconds
    sick.heal()
    assert engine.pull(reference, nothing)


def test_a_busy_registry_may_name_a_time(engine: Engine, sick: Sick) -> None:
    later = datetime.now(UTC) + timedelta(seconds=30)
    sick.answer(429, {"Retry-After": format_datetime(later, usegmt=True)})
    with pytest.raises(RegistryUnavailable) as caught:
        engine.digest(f"{sick.address}/x:1")
    assert caught.value.retry_after
    assert 0 < caught.value.retry_after <= 30


def test_a_layer_that_does_not_match_its_digest_is_the_registry_s(
    engine: Engine, registry_of_its_own: Registry, sick: Sick, new_image: NewImage
) -> None:
    reference = through(sick, registry_of_its_own, new_image(registry_of_its_own.address))
    sick.corrupt_layers()
    with pytest.raises(RegistryUnavailable, match=f"{sick.address} sent something else .*sha256:"):
        engine.pull(reference, nothing)
    sick.heal()
    assert engine.pull(reference, nothing)


def test_a_connection_that_breaks_in_a_layer_is_taken_up_by_the_engine(
    engine: Engine, registry_of_its_own: Registry, sick: Sick, new_image: NewImage
) -> None:
    reference = through(sick, registry_of_its_own, new_image(registry_of_its_own.address))
    sick.drop_in_layers()
    texts: list[str] = []
    assert engine.pull(reference, lambda progress: texts.append(progress.text))
    assert any("retrying in" in text for text in texts)


def test_a_registry_that_dies_in_a_layer_and_is_back_for_the_next_pull(
    engine: Engine, registry_of_its_own: Registry, sick: Sick, new_image: NewImage
) -> None:
    reference = through(sick, registry_of_its_own, new_image(registry_of_its_own.address, size=2 * 2**20))
    sick.drop_in_layers()
    killed = threading.Event()

    def kill(progress: Progress) -> None:
        if progress.layers and not killed.is_set():
            killed.set()
            registry_of_its_own.kill()

    with pytest.raises(RegistryUnavailable):
        engine.pull(reference, kill)
    registry_of_its_own.start()
    sick.heal()
    assert engine.pull(reference, nothing)


def test_a_slow_registry_shows_each_layer_and_all_of_them(
    engine: Engine, registry_of_its_own: Registry, sick: Sick, new_image: NewImage
) -> None:
    reference = new_image(registry_of_its_own.address, layers=3, size=2**20)
    sick.slow(2 * 2**20)
    seen: list[Progress] = []
    engine.pull(through(sick, registry_of_its_own, reference), seen.append)
    under_way = [progress for progress in seen if 0 < progress.current < progress.total]
    assert under_way
    assert all(progress.current == sum(layer.current for layer in progress.layers) for progress in seen)
    assert all(progress.total == sum(layer.total for layer in progress.layers) for progress in seen)
    assert [progress.current for progress in seen] == sorted(progress.current for progress in seen)
    assert any(progress.text.startswith("0 of 3 layers, ") for progress in seen)
    assert [layer.state for layer in seen[-1].layers] == ["pull complete"] * 3


def test_a_registry_that_is_down_before_a_push_and_back_for_the_next(
    engine: Engine, registry_of_its_own: Registry, new_image: NewImage
) -> None:
    reference = new_image(registry_of_its_own.address)
    engine.pull(reference, nothing)
    registry_of_its_own.kill()
    for ask in (lambda: engine.push(reference, nothing), lambda: engine.digest(reference)):
        with pytest.raises(RegistryUnavailable):
            ask()
    registry_of_its_own.start()
    engine.push(reference, nothing)
    assert engine.digest(reference)


def test_an_image_that_its_registry_does_not_have_is_told_from_one_that_is_away(
    engine: Engine, registry_of_its_own: Registry
) -> None:
    with pytest.raises(ImageNotFound):
        engine.digest(f"{registry_of_its_own.address}/none:1")
    registry_of_its_own.stop()
    with pytest.raises(RegistryUnavailable):
        engine.digest(f"{registry_of_its_own.address}/none:1")
