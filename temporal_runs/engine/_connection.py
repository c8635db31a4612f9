"""The thin edge to docker-py, which is only partly typed: every exception of its world ends here."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import docker
import docker.errors
import docker.utils
import requests.exceptions
import urllib3.exceptions

from .errors import ContainerMissing, EngineError, EngineUnavailable, HostDiskFull, ImageNotFound, InvalidContainer

TIMEOUT = 60
"""Seconds for a call that does not wait for something to happen."""

CONNECTIONS = 200
"""Calls at a time: a running command has two that wait, for its end and for its console."""


def connect() -> Any:
    """docker-py's low-level client for the engine of DOCKER_HOST; nothing is asked of it yet."""
    arguments = cast(dict[str, Any], docker.utils.kwargs_from_env())
    # A fixed API version, since asking for the engine's own would fail here when the engine is down.
    return docker.APIClient(version="1.41", timeout=TIMEOUT, max_pool_size=CONNECTIONS, **arguments)


@contextmanager
def translated() -> Iterator[None]:
    """Turns docker-py's, requests' and the socket's exceptions into EngineErrors."""
    try:
        yield
    except docker.errors.ImageNotFound as error:
        raise ImageNotFound(explanation(error)) from error
    except docker.errors.NotFound as error:
        if "no such container" in explanation(error).lower():
            raise ContainerMissing(explanation(error)) from error
        raise InvalidContainer(explanation(error)) from error
    except docker.errors.APIError as error:
        raise _refusal(error) from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, docker.errors.DockerException) as error:
        raise EngineUnavailable(f"the Docker engine does not answer ({_short(error)}): is dockerd running?") from error
    except OSError as error:
        raise EngineUnavailable(f"the connection to the Docker engine broke: {error}") from error


def explanation(error: Any) -> str:
    """What the engine said, on one line."""
    return " ".join(str(error.explanation or error).split())


def says_disk_full(text: str) -> bool:
    return "no space left on device" in text.lower() or f"errno {errno.ENOSPC}" in text.lower()


def _refusal(error: Any) -> EngineError:
    text = explanation(error)
    if says_disk_full(text):
        return HostDiskFull(text)
    return InvalidContainer(text)


def _short(error: Exception) -> str:
    """The innermost reason: requests wraps a refused connection four times."""
    reason: BaseException = error
    while inner := reason.__cause__ or reason.__context__:
        reason = inner
    return str(reason) or type(reason).__name__
