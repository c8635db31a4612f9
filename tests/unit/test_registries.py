"""Which login an image is fetched with: named ones only for those who may, and no password where it does not belong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from temporal_runs.fields import InvalidSpec
from temporal_runs.registries import Login, PasswordUnreadable, registry_host, registry_login
from temporal_runs.settings import Settings, SettingsError

REGISTRIES = """
[team]
host = "registry.example.com:5000"
username = "ci"
password_file = "{folder}/team"

[adas]
host = "registry.example.com:5000"
username = "ada"
password_file = "{folder}/adas"
owners = ["ada"]

[lost]
host = "docker.io"
username = "nobody"
password_file = "{folder}/nowhere"
"""
HOST = "registry.example.com:5000"


@pytest.fixture
def login(tmp_path: Path) -> Callable[..., Login | None]:
    (tmp_path / "team").write_text("team's secret\n")
    (tmp_path / "adas").write_text("ada's secret\n")
    (tmp_path / "registries.toml").write_text(REGISTRIES.format(folder=tmp_path))
    settings = Settings(home=tmp_path, registries=tmp_path / "registries.toml")
    return lambda name, host, owner: registry_login(settings.registry_table, name, host, owner)


@pytest.mark.parametrize(
    ("name", "host", "owner", "username"),
    [
        ("team", HOST, "bob", "ci"),
        ("adas", HOST, "ada", "ada"),
        ("team", HOST, "ada", "ci"),
        (None, HOST, "bob", "ci"),
        (None, HOST, "ada", "ada"),
        (None, "ghcr.io", "ada", None),
    ],
)
def test_a_login_is_the_named_one_else_one_for_the_host(login, name, host, owner, username):
    found = login(name, host, owner)
    assert (found and found.username) == username


@pytest.mark.parametrize(
    ("name", "host", "owner", "said"),
    [
        ("other", HOST, "bob", "no registry 'other' for bob; there are team, lost"),
        ("adas", HOST, "bob", "no registry 'adas' for bob"),
        ("team", "evil.example.com", "bob", "registry team is registry.example.com:5000, and the image is at evil"),
    ],
)
def test_a_login_that_one_may_not_have_is_refused(login, name, host, owner, said):
    with pytest.raises(InvalidSpec, match=said) as refused:
        login(name, host, owner)
    assert refused.value.field == "environment.credentials"


def test_a_password_is_read_when_it_is_used_and_never_shown(login, tmp_path: Path):
    assert login("team", HOST, "bob").password == "team's secret"
    (tmp_path / "team").write_text("another")
    found = login("team", HOST, "bob")
    assert found.password == "another"
    assert "another" not in repr(found)


def test_a_password_that_cannot_be_read_is_said_with_its_registry(login):
    with pytest.raises(PasswordUnreadable, match=r"registry lost \(nobody at docker.io\).*nowhere"):
        login(None, "docker.io", "bob")


@pytest.mark.parametrize(
    ("reference", "host"),
    [
        ("python:3.12", "docker.io"),
        ("library/python", "docker.io"),
        ("ghcr.io/a/b:c", "ghcr.io"),
        ("localhost/a", "localhost"),
        ("team:5000/a@sha256:" + "0" * 64, "team:5000"),
    ],
)
def test_the_host_that_a_reference_means(reference: str, host: str):
    assert registry_host(reference) == host


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[team", "cannot be read"),
        ("[team]\nhost = 'h'", "team.username: Field required"),
        ("[team]\nhost = 'https://h'\nusername = 'a'\npassword_file = '/p'", "team.host"),
        ("[team]\nhost = 'h'\nusername = 'a'\npassword = 'p'", "team"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, said: str):
    file = tmp_path / "registries.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match="TEMPORAL_RUNS_REGISTRIES") as problem:
        _ = Settings(home=tmp_path, registries=file).registry_table
    assert said in str(problem.value)
