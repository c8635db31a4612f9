"""What engines of several ages say of a registry, and how far they say a pull is."""

import pytest

from temporal_runs.engine import (
    Credentials,
    CredentialsRefused,
    EngineError,
    HostDiskFull,
    ImageNotFound,
    RegistryUnavailable,
)
from temporal_runs.engine._registry import registry_error
from temporal_runs.engine.progress import Layers

IMAGE = "127.0.0.1:1/team/x:1"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("manifest unknown: manifest unknown", ImageNotFound),
        ("pull access denied for x, repository does not exist or may require 'docker login': denied", ImageNotFound),
        ('Head "http://127.0.0.1:1/v2/x/manifests/1": no basic auth credentials', CredentialsRefused),
        ("unauthorized: authentication required", CredentialsRefused),
        ("denied: requested access to the resource is denied", CredentialsRefused),
        ('error parsing HTTP 403 response body: unexpected end of JSON input: ""', CredentialsRefused),
        ("unexpected status from HEAD request to https://r/v2/x/manifests/1: 401 Unauthorized", CredentialsRefused),
        ("unexpected status from GET request to https://r/v2/x/manifests/1: 500 Oh", RegistryUnavailable),
        ("toomanyrequests: You have reached your pull rate limit", RegistryUnavailable),
        ("received unexpected HTTP status: 503 Service Unavailable", RegistryUnavailable),
        ("received unexpected HTTP status: 507 no space left on device", RegistryUnavailable),
        ("filesystem layer verification failed for digest sha256:1", RegistryUnavailable),
        ("write /var/lib/docker/tmp/GetImageBlob1: no space left on device", HostDiskFull),
        ("dial tcp 127.0.0.1:1: connect: connection refused", RegistryUnavailable),
    ],
)
def test_what_an_engine_says_of_a_registry(said: str, error: type[EngineError]) -> None:
    found = registry_error(IMAGE, "pulled", said)
    assert type(found) is error


def test_who_logged_in_and_is_told_that_there_may_be_no_such_image_was_refused() -> None:
    said = "pull access denied for x, repository does not exist or may require 'docker login': denied"
    assert isinstance(registry_error("team/x", "pulled", said, "ada"), CredentialsRefused)


def test_a_password_is_never_printed() -> None:
    assert "secret" not in repr(Credentials("ada", "secret"))


def test_layers_are_added_up_and_what_is_extracted_is_not_counted_again() -> None:
    layers = Layers()
    one, two = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
    messages = [
        {"status": "Pulling from team/x", "id": "abcdefabcdef"},  # the tag, which looks like a layer
        {"status": "Pulling fs layer", "id": one},
        {"status": "Already exists", "id": two},
        {"status": "Downloading", "id": one, "progressDetail": {"current": 2**20, "total": 4 * 2**20}},
        {"status": "Retrying in 3 seconds", "id": one, "progressDetail": {}},
        {"status": "Download complete", "id": one, "progressDetail": {}},
        {"status": "Extracting", "id": one, "progressDetail": {"current": 5, "total": 4 * 2**20}},
        {"status": "Pull complete", "id": one, "progressDetail": {}},
        {"status": "Digest: sha256:1"},
    ]
    seen = [layers.read(message) for message in messages]
    assert [progress.text for progress in seen] == [
        "Pulling from team/x",
        "0 of 1 layers",
        "1 of 2 layers",
        "1 of 2 layers, 1.0 of 4.0 MiB",
        "1 of 2 layers, 1.0 of 4.0 MiB, aaaaaaaaaaaa retrying in 3 seconds",
        "1 of 2 layers, 4.0 of 4.0 MiB",
        "1 of 2 layers, 4.0 of 4.0 MiB",
        "2 of 2 layers, 4.0 of 4.0 MiB",
        "Digest: sha256:1",
    ]
    assert [layer.state for layer in seen[-1].layers] == ["pull complete", "already exists"]
    assert seen[-1].current == seen[-1].total == 4 * 2**20
