"""The thin edge to docker-py, which is only partly typed: every exception of its world ends here."""

import http.client
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import IO, Any, cast

import docker
import docker.errors
import docker.utils
import requests
import requests.exceptions
import urllib3.exceptions

from ._watch import Watch
from .errors import (
    ContainerMissing,
    EngineError,
    EngineHangs,
    EngineUnavailable,
    HostDiskFull,
    ImageNotFound,
    Interrupted,
)
from .interrupt import Interrupt

TIMEOUT = 60
"""Seconds for a call that does not wait for something to happen."""

PING_TIMEOUT = 5

CONNECTIONS = 500
"""Connections kept for another call; more may be open, since a running command has two calls that wait."""

OLDEST_API = "1.41"
"""Of Docker 20.10: the first with one-shot statistics. Newer engines are spoken to in their own version."""

CHUNK = 64 * 2**10

TRANSPORT_ERRORS = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    docker.errors.DockerException,
    http.client.HTTPException,
    OSError,
)


class Refused(EngineError):
    """The engine answered, with an HTTP error that is none of the public ones. Private: callers name it better."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """One docker-py client, shared by all threads."""

    def __init__(self) -> None:
        self._address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        self._client: Any = None
        self._watch = Watch(self.ping)

    @property
    def api(self) -> Any:
        """docker-py's low-level client. Made when first needed, since its version is the engine's: it may be down."""
        if self._client is None:
            with self.translated():
                arguments = cast(dict[str, Any], docker.utils.kwargs_from_env())
                client: Any = docker.APIClient(
                    version=OLDEST_API, timeout=TIMEOUT, max_pool_size=CONNECTIONS, **arguments
                )
                if self._address.startswith("unix:"):
                    # Saves requests a look at the environment's proxies and at ~/.netrc with each call.
                    client.trust_env = False
                client._version = _ping(client).headers.get("Api-Version", OLDEST_API)
            self._client = client
        return self._client

    def ping(self) -> None:
        """Raises EngineUnavailable when the engine does not answer."""
        api = self.api
        with self.translated():
            _ping(api)
        self._watch.heard()

    def stream(
        self,
        method: str,
        path: str,
        *arguments: str,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: IO[bytes] | None = None,
        timeout: float | None = None,
        interrupt: Interrupt | None = None,
    ) -> requests.Response:
        """An answer that comes in pieces, on a connection of its own; the caller closes it. No timeout by default:
        it is broken off where the engine hangs."""
        api = self.api
        with self.translated(interrupt):
            request = requests.Request(
                method,
                api._url(path, *arguments),
                params=params,
                headers=headers,
                data=body,
            )
            response = self._sent(api.prepare_request(request), timeout, interrupt)
            try:
                api._raise_for_status(response)
            except docker.errors.APIError:
                response.raw.close()
                raise
            return response

    def messages(self, response: requests.Response, interrupt: Interrupt | None = None) -> Generator[dict[str, Any]]:
        """The JSON messages of an answer, one a line; EngineUnavailable when it breaks off. Closes it at the end."""
        rest = b""
        with closing(response):
            chunks: Iterator[bytes] = response.raw.stream(CHUNK)
            while True:
                with self.translated(interrupt):
                    chunk = next(chunks, b"")
                if not chunk:
                    break
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield json.loads(line)
            if rest.strip():
                yield json.loads(rest)

    @contextmanager
    def translated(self, interrupt: Interrupt | None = None) -> Generator[None]:
        """Turns docker-py's, requests' and the socket's exceptions into EngineErrors. Only around their own calls."""
        try:
            yield
        except docker.errors.APIError as error:
            raise _refusal(error) from error
        except TRANSPORT_ERRORS as error:
            if interrupt and interrupt.is_set:
                raise Interrupted("interrupted by whoever wanted it") from None
            raise self.unavailable(error) from error

    def unavailable(self, error: BaseException) -> EngineUnavailable:
        """What to say when the engine does not answer, or stops to."""
        kind = EngineHangs if self._watch.engine_hangs else EngineUnavailable
        return kind(f"the Docker engine at {self._address} does not answer ({_reason(error)}): {_advice(error)}")

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """What one of docker-py's methods answers, such as `lambda api: api.info()`."""
        api = self.api
        with self.translated():
            return question(api)

    def _sent(self, request: Any, timeout: float | None, interrupt: Interrupt | None) -> requests.Response:
        """The answer to a request, on a new connection: requests keeps its sockets to itself until an answer has begun.

        The connection is closed with the answer, and never told so before: an engine that has read "Connection: close"
        does not notice that its client is gone, and builds on (tried with 20.10).
        """
        api = self.api
        adapter = api.get_adapter(request.url)
        pool = adapter.get_connection_with_tls_context(request, api.verify, cert=api.cert)
        adapter.cert_verify(pool, request.url, api.verify, api.cert)
        connection = pool._new_conn()
        connection.timeout = timeout
        connection.connect()
        try:
            self._watch.over(connection.sock)
            if interrupt:
                interrupt.guard(connection.sock)
            # An engine may refuse a request before it has read the whole: its answer is there all the same.
            with suppress(BrokenPipeError):
                connection.request(
                    request.method,
                    adapter.request_url(request, None),
                    body=request.body,
                    headers=request.headers,
                    preload_content=False,
                    decode_content=False,
                )
            raw = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        raw._connection = connection
        return adapter.build_response(request, raw)


def explanation(error: Any) -> str:
    """What the engine said, on one line."""
    return " ".join(str(error.explanation or error).split())


def says_disk_full(text: str) -> bool:
    return "no space left on device" in text.lower()


def _ping(client: Any) -> Any:
    response = client.get(client._url("/_ping", versioned_api=False), timeout=PING_TIMEOUT)
    # Not docker-py's own: an engine that cannot even do this is away.
    response.raise_for_status()
    return response


def _refusal(error: Any) -> EngineError:
    text, status = explanation(error), error.status_code or 500
    if says_disk_full(text):
        return HostDiskFull(text)
    if status == 404 and "no such container" in text.lower():
        return ContainerMissing(text)
    if status == 404 and "no such image" in text.lower():
        return ImageNotFound(text)
    return Refused(text, status)


def _innermost(error: BaseException) -> BaseException:
    """The reason at the bottom: requests wraps a refused connection four times."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error


def _reason(error: BaseException) -> str:
    inner = _innermost(error)
    return str(inner) or type(inner).__name__


def _advice(error: BaseException) -> str:
    if isinstance(_innermost(error), PermissionError):
        return "may this user use its socket (group docker)?"
    return "is dockerd running there, and is DOCKER_HOST right?"
