"""Console: the bytes a container has printed, out of the frames that the engine wraps them in.

An engine may end a follow before the last bytes (Docker 20.10 does, in one of a hundred: measured), so the end of a
stream is not taken for the end of the log: it is read again from shortly before, once the container has ended.
"""

import socket
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import requests

from ._connection import CHUNK, TRANSPORT_ERRORS, Connection
from .errors import EngineError

_HEADER = 8
_STAMP = len("2006-01-02T15:04:05.000000000Z ")
_SECOND = len("2006-01-02T15:04:05")
_ENGINE_ERROR = 3
"""The stream, after stdout and stderr, on which an engine says that it cannot read a log."""

_OVERLAP = 1
"""Seconds read again: stdout and stderr are stamped before they are put in order."""


class Console(Iterator[bytes]):
    """Stdout and stderr in the order the engine kept them. An end that is not the log's raises EngineUnavailable.

    One thread reads; any thread may `close`, which ends a read that waits.
    """

    def __init__(self, connection: Connection, name: str, *, follow: bool) -> None:
        self._connection = connection
        self._name = name
        self._closed = False
        self._seen = Counter[int]()
        self._last_second = b"", 0
        self._response = self._open(follow)
        self._bytes = self._read(follow)

    def __next__(self) -> bytes:
        return next(self._bytes)

    def close(self) -> None:
        """Ends the reading, also one that waits in another thread."""
        self._closed = True
        _wake(self._response)
        # A thread that reads closes the response itself, once it has been woken.
        with suppress(ValueError):
            self._bytes.close()
            self._response.close()

    def _read(self, follow: bool) -> Generator[bytes]:
        yield from self._stream(skip=0)
        while follow and not self._closed:
            follow = self._runs()
            if follow:
                # Its log ends a moment before it does.
                time.sleep(0.02)
            since = max(self._seen, default=0) - _OVERLAP
            skip = sum(count for second, count in self._seen.items() if second >= since)
            self._seen.clear()
            self._response = self._open(follow, since)
            if self._closed:
                self._response.close()
                return
            yield from self._stream(skip)

    def _runs(self) -> bool:
        state = self._connection.ask(lambda api: api.inspect_container(self._name))["State"]
        return state["Running"]

    def _open(self, follow: bool, since: int = 0) -> requests.Response:
        params = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)}
        if since > 0:
            params["since"] = since
        return self._connection.stream("GET", "/containers/{0}/logs", self._name, params=params)

    def _stream(self, skip: int) -> Generator[bytes]:
        """One answer of the engine, without its first `skip` entries."""
        rest = b""
        response = self._response
        try:
            pieces: Iterator[bytes] = response.raw.stream(CHUNK)
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
                entries, rest = _entries(rest + piece)
                for entry in entries:
                    self._count(entry[:_SECOND])
                if payload := b"".join(entry[_STAMP:] for entry in entries[skip:]):
                    yield payload
                skip = max(0, skip - len(entries))
            if rest and not self._closed:
                raise self._connection.unavailable(EOFError("its console broke off"))
        finally:
            response.close()

    def _count(self, stamp: bytes) -> None:
        if stamp != self._last_second[0]:
            self._last_second = stamp, int(datetime.fromisoformat(stamp.decode()).replace(tzinfo=UTC).timestamp())
            for second in [second for second in self._seen if second < self._last_second[1] - 2 * _OVERLAP]:
                del self._seen[second]
        self._seen[self._last_second[1]] += 1


def _entries(data: bytes) -> tuple[list[bytes], bytes]:
    """What whole frames hold, and the bytes of one that is not whole."""
    entries: list[bytes] = []
    at = 0
    while len(data) - at >= _HEADER:
        end = at + _HEADER + int.from_bytes(data[at + 4 : at + _HEADER], "big")
        if end > len(data):
            break
        entry = data[at + _HEADER : end]
        if data[at] == _ENGINE_ERROR:
            raise EngineError(f"the engine cannot read its log: {entry.decode(errors='replace').strip()}")
        entries.append(entry)
        at = end
    return entries, data[at:]


def _wake(response: requests.Response) -> None:
    """Ends a read in another thread. A response that has been read to its end has no socket any more."""
    raw: Any = response.raw
    sock = getattr(getattr(getattr(getattr(raw, "_fp", None), "fp", None), "raw", None), "_sock", None)
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
