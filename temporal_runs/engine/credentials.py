"""Who a registry is asked as: given credentials, or what docker's own config and credential helpers hold for it."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any, cast

import docker.auth
import docker.errors

from ._connection import Connection
from ._registry import split_reference
from .errors import ImageNotFound, RegistryUnavailable

ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Credentials:
    """A user of a registry, and their password or token, which is never printed."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Identity:
    """How an engine is told whom to be: a user's name for messages, and the header of its API."""

    user: str
    headers: dict[str, str] = field(repr=False)


def identity(connection: Connection, reference: str, credentials: Credentials | None) -> Identity:
    """The identity at the reference's registry; raises ImageNotFound where it is none, RegistryUnavailable."""
    api = connection.api
    auth = cast(Any, docker.auth)  # not typed
    found: dict[str, Any]
    try:
        registry, _ = auth.resolve_repository_name(split_reference(reference)[0])
        if credentials:
            found = {
                "username": credentials.username,
                "password": credentials.password,
                "serveraddress": registry,
            }
        else:
            api.reload_config()  # somebody may have logged in since
            found = auth.resolve_authconfig(api._auth_configs, registry, credstore_env=api.credstore_env) or {}
    except docker.errors.InvalidRepository:
        raise ImageNotFound(f"{reference!r} is no reference of an image", reference) from None
    except docker.errors.DockerException as error:
        raise RegistryUnavailable(f"no credentials for {reference} from docker's helper: {error}") from error
    user = found.get("username") or found.get("Username") or ("a token" if found else ANONYMOUS)
    return Identity(user, {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(found).encode()).decode()})
