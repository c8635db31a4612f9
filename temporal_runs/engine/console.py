"""Console: the bytes a container has printed, out of the frames that the engine wraps them in."""

import socket
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any

import requests

from ._connection import CHUNK, TRANSPORT_ERRORS, Connection
from .errors import EngineError

_HEADER = 8
_ENGINE_ERROR = 3
"""The stream, after stdout and stderr, on which an engine says that it cannot read a log."""


class Console(Iterator[bytes]):
    """Stdout and stderr in the order the engine kept them. An end that is not the log's raises EngineUnavailable.

    One thread reads; any thread may `close`, which ends a read that waits.
    """

    def __init__(self, connection: Connection, response: requests.Response) -> None:
        self._connection = connection
        self._response = response
        self._socket = _socket(response)
        self._closed = False
        self._chunks = self._read()

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Ends the reading, also one that waits in another thread."""
        self._closed = True
        with suppress(OSError):
            if self._socket:
                self._socket.shutdown(socket.SHUT_RDWR)
        # A thread that reads closes the response itself, once the shutdown has woken it.
        with suppress(ValueError):
            self._chunks.close()
            self._response.close()

    def _read(self) -> Generator[bytes, None, None]:
        rest = b""
        try:
            pieces: Iterator[bytes] = self._response.raw.stream(CHUNK)
            while True:
                try:
                    piece = next(pieces, b"")
                except (*TRANSPORT_ERRORS, ValueError, AttributeError) as error:
                    # ValueError, AttributeError: http.client, of a response that another thread closes.
                    if self._closed:
                        return
                    raise self._connection.unavailable(error) from error
                if not piece:
                    break
                payload, rest = _payload(rest + piece)
                if payload:
                    yield payload
            if rest and not self._closed:
                raise self._connection.unavailable(EOFError("its console broke off"))
        finally:
            self._response.close()


def _payload(data: bytes) -> tuple[bytes, bytes]:
    """What whole frames hold, and the bytes of one that is not whole."""
    parts: list[bytes] = []
    at = 0
    while len(data) - at >= _HEADER:
        end = at + _HEADER + int.from_bytes(data[at + 4 : at + _HEADER], "big")
        if end > len(data):
            break
        payload = data[at + _HEADER : end]
        if data[at] == _ENGINE_ERROR:
            raise EngineError(f"the engine cannot read its log: {payload.decode(errors='replace').strip()}")
        parts.append(payload)
        at = end
    return b"".join(parts), data[at:]


def _socket(response: requests.Response) -> socket.socket | None:
    """The socket under a response; None where it has been read to its end already."""
    raw: Any = response.raw
    return getattr(getattr(getattr(getattr(raw, "_fp", None), "fp", None), "raw", None), "_sock", None)
