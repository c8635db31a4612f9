"""Registries of images that the settings name: which login an environment's image is fetched with, and who may use it.

A password is read from its file whenever it is needed, so that it can be replaced, and is never kept or shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from temporal_runs.fields import InvalidSpec

DOCKER_HUB = "docker.io"


class PasswordUnreadable(Exception):
    """The file with a registry's password cannot be read."""


@dataclass(frozen=True)
class Login:
    """What a registry is shown."""

    name: str
    """of the registry in the settings"""
    host: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Registry:
    """An entry of the settings."""

    name: str
    host: str
    """host[:port], as references of images begin"""
    username: str
    password_file: Path
    owners: tuple[str, ...] | None = None
    """owners of Runs that may use it; None: all"""

    def is_open_to(self, owner: str) -> bool:
        return self.owners is None or owner in self.owners

    def login(self) -> Login:
        """With the password as it is in its file now; raises PasswordUnreadable."""
        try:
            password = self.password_file.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise PasswordUnreadable(
                f"the password of registry {self.name} ({self.username} at {self.host}) cannot be read: "
                f"{self.password_file}: {error.strerror if isinstance(error, OSError) else 'not UTF-8 text'}"
            ) from None
        return Login(self.name, self.host, self.username, password)


def registry_login(table: Mapping[str, Registry], name: str | None, host: str, owner: str) -> Login | None:
    """What to show the registry at `host` for a Run of `owner`, whose environment's `credentials` are `name`.

    Without a name it is an entry for that host which the owner may use; None: docker's own config is asked. Raises
    InvalidSpec for a name that there is not, that the owner may not use, or that is for another host, since a password
    goes nowhere else; PasswordUnreadable.
    """
    if name is not None:
        return _named(table, name, host, owner).login()
    usable = [entry for entry in table.values() if entry.host == host and entry.is_open_to(owner)]
    # One that names the owner before one for everybody.
    usable.sort(key=lambda entry: entry.owners is None)
    return usable[0].login() if usable else None


def registry_host(reference: str) -> str:
    """The host[:port] that an image's reference means, by docker's own rule."""
    first, slash, _ = reference.partition("/")
    return first if slash and (first == "localhost" or "." in first or ":" in first) else DOCKER_HUB


def _named(table: Mapping[str, Registry], name: str, host: str, owner: str) -> Registry:
    entry = table.get(name)
    if entry is None or not entry.is_open_to(owner):
        known = ", ".join(one.name for one in table.values() if one.is_open_to(owner)) or "none"
        raise _refused(f"this executor has no registry {name!r} for {owner}; there are {known}")
    if entry.host != host:
        raise _refused(f"registry {name} is {entry.host}, and the image is at {host}")
    return entry


def _refused(problem: str) -> InvalidSpec:
    return InvalidSpec("environment.credentials", problem)
