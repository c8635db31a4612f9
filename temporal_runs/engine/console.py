"""Console: what a container has printed, out of the frames that the engine wraps it in.

An engine may end a follow before the last bytes (Docker 20.10 does, in one of a hundred: measured), so the end of a
stream is not taken for the end of the log: it is read again from shortly before, once the container has ended.
"""

import socket
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import requests

from ._connection import CHUNK, TRANSPORT_ERRORS, Connection
from .errors import EngineError

_HEADER = 8
_STAMP = len("2006-01-02T15:04:05.000000000Z")
_SECOND = len("2006-01-02T15:04:05")
_MILLISECOND = len("2006-01-02T15:04:05.000")
_ENGINE_ERROR = 3
"""The stream, after stdout and stderr, on which an engine says that it cannot read a log."""

_STREAMS: tuple[Literal["stdout", "stderr"], ...] = ("stdout", "stdout", "stderr")
"""By their numbers in the engine's frames; 0 is stdin, which nobody reads."""

_NEWLINE = ord("\n")

_OVERLAP = 5
"""Seconds read again: stdout and stderr are stamped before they are put in order, and clocks are set back."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What was printed on one stream within one millisecond, or less of it."""

    stream: Literal["stdout", "stderr"]
    at: int
    """milliseconds since 1970"""
    data: bytes
    mark: str
    """names the place behind it in the engine's log: a console that is read `after` it goes on there"""
    after_loss: bool = False
    """what lay between it and what was read before is gone: the engine has given up that part of its log"""


class _Mark(NamedTuple):
    """An entry of the log: the nth of a stream's that have one stamp, as the parts of a very long line have."""

    stream: int
    stamp: bytes
    number: int

    @property
    def second(self) -> datetime:
        return datetime.fromisoformat(self.stamp[:_SECOND].decode()).replace(tzinfo=UTC)

    def __str__(self) -> str:
        return f"{self.stream} {self.stamp.decode()} {self.number}"

    @classmethod
    def parsed(cls, text: str) -> "_Mark":
        stream, stamp, number = text.split(" ")
        return cls(int(stream), stamp.encode(), int(number))


class Console(Iterator[Piece]):
    """Stdout and stderr in the order the engine kept them. An end that is not the log's raises EngineUnavailable.

    One thread reads; any thread may `close`, which ends a read that waits.
    """

    def __init__(self, connection: Connection, name: str, *, follow: bool, after: str = "") -> None:
        self._connection = connection
        self._name = name
        self._closed = False
        self._mark = _Mark.parsed(after) if after else None
        self._lost = False
        self._response = self._open(follow)
        self._pieces = self._read(follow)

    def __next__(self) -> Piece:
        return next(self._pieces)

    def bytes(self) -> Iterator[bytes]:
        """What was printed on both, and nothing else."""
        return (piece.data for piece in self)

    def close(self) -> None:
        """Ends the reading, also one that waits in another thread."""
        self._closed = True
        _wake(self._response)
        # A thread that reads closes the response itself, once it has been woken.
        with suppress(ValueError):
            self._pieces.close()
            self._response.close()

    def _read(self, follow: bool) -> Generator[Piece]:
        while True:
            frames = yield from self._stream()
            if self._closed:
                return
            if not frames.may_be_found or not (follow or frames.is_found):
                # All that is left of the log came after what was read before, and nothing says how much is gone.
                self._mark, self._lost = None, True
            elif not follow:
                return
            elif follow := self._runs():
                # Its log ends a moment before it does.
                time.sleep(0.02)
            self._response = self._open(follow)
            if self._closed:
                self._response.close()
                return

    def _runs(self) -> bool:
        state = self._connection.ask(lambda api: api.inspect_container(self._name))["State"]
        return state["Running"]

    def _open(self, follow: bool) -> requests.Response:
        params = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)}
        if self._mark:
            params["since"] = int(self._mark.second.timestamp()) - _OVERLAP
        return self._connection.stream("GET", "/containers/{0}/logs", self._name, params=params)

    def _stream(self) -> Generator[Piece, None, "_Frames"]:
        """One answer of the engine, behind the mark."""
        rest = b""
        response = self._response
        frames = _Frames(self._mark)
        try:
            chunks = _chunks(response)
            while frames.may_be_found:
                try:
                    chunk = next(chunks, b"")
                except (*TRANSPORT_ERRORS, EOFError, ValueError, AttributeError) as error:
                    # ValueError, AttributeError: http.client, of a response that another thread closes.
                    if self._closed:
                        return frames
                    raise self._connection.unavailable(error) from error
                if not chunk:
                    break
                pieces, rest = frames.pieces(rest + chunk, after_loss=self._lost)
                for piece in pieces:
                    self._mark, self._lost = frames.mark, False
                    yield piece
            if rest and frames.may_be_found and not self._closed:
                raise self._connection.unavailable(EOFError("its console broke off"))
        finally:
            response.close()
        return frames


class _Frames:
    """Reads the frames of one answer, and leaves out what comes before a mark, and the mark itself.

    A line longer than 16 KiB has several entries, all with its stamp; Docker 20.10 forgets the newline of the last one
    (tried). So an entry with another stamp has had one before it.
    """

    def __init__(self, after: _Mark | None) -> None:
        self._sought = after
        # An answer holds all of its entries, in order, that are this late: without the mark among them it is gone.
        self._too_late = (after.second + timedelta(seconds=2 * _OVERLAP)).isoformat().encode() if after else b""
        self.may_be_found = True
        self._stamps = [b"", b"", b""]
        self._numbers = [0, 0, 0]
        self._in_line = [False, False, False]
        self.mark = after

    @property
    def is_found(self) -> bool:
        return self._sought is None

    def pieces(self, data: bytes, *, after_loss: bool) -> tuple[list[Piece], bytes]:
        """What whole frames hold, and the bytes of one that is not whole."""
        # A command may print a million lines a second: this loop is what following it costs.
        stamps, numbers, in_line = self._stamps, self._numbers, self._in_line
        pieces: list[Piece] = []
        printed: list[bytes] = []
        stream, millisecond = 0, b""

        def finish() -> None:
            if printed:
                self.mark = _Mark(stream, stamps[stream], numbers[stream])
                text, lost = b"".join(printed), after_loss and not pieces
                pieces.append(Piece(_STREAMS[stream], _since_1970(millisecond), text, str(self.mark), lost))
                printed.clear()

        at, size = 0, len(data)
        while size - at >= _HEADER:
            begin = at + _HEADER
            end = begin + int.from_bytes(data[at + 4 : begin], "big")
            if end > size:
                break
            number = data[at]
            if number == _ENGINE_ERROR:
                message = data[begin + _STAMP + 1 : end].decode(errors="replace").strip()
                raise EngineError(f"the engine cannot read its log: {message}")
            at = end
            stamp = data[begin : begin + _STAMP]
            if number != stream or not stamp.startswith(millisecond) or not millisecond:
                finish()
                stream, millisecond = number, stamp[:_MILLISECOND]
            if stamp == stamps[number]:
                numbers[number] += 1
            else:
                stamps[number], numbers[number] = stamp, 1
                if in_line[number] and self._sought is None:
                    printed.append(b"\n")
            in_line[number] = data[end - 1] != _NEWLINE
            if self._sought is None:
                printed.append(data[begin + _STAMP + 1 : end])
            elif self._sought == (number, stamp, numbers[number]):
                self._sought = None
            elif stamp > self._too_late:
                self.may_be_found = False
                break
        finish()
        return pieces, data[at:]


def _since_1970(stamp: bytes) -> int:
    return _seconds_since_1970(stamp[:_SECOND]) * 1000 + int(stamp[_SECOND + 1 :])


@lru_cache(maxsize=4)
def _seconds_since_1970(stamp: bytes) -> int:
    return int(datetime.fromisoformat(stamp.decode()).replace(tzinfo=UTC).timestamp())


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """What an answer holds, as much at once as has come. Engines send each line as an HTTP chunk of its own, and
    urllib3 gives them one by one: that took half of the time, and lines of one millisecond were pieces of their own."""
    answer: Any = response.raw._fp
    if not answer.chunked:
        yield from response.raw.stream(CHUNK)
        return
    rest = b""
    while received := answer.fp.read1(CHUNK):
        data = rest + received
        found: list[bytes] = []
        at = 0
        while (line_end := data.find(b"\r\n", at)) >= 0:
            begin = line_end + 2
            end = begin + int(data[at:line_end].split(b";")[0], 16)
            if begin == end:
                yield b"".join(found)
                return
            if end + 2 > len(data):
                break
            found.append(data[begin:end])
            at = end + 2
        rest = data[at:]
        if found:
            yield b"".join(found)
    raise EOFError("its console broke off")


def _wake(response: requests.Response) -> None:
    """Ends a read in another thread. A response that has been read to its end has no socket any more."""
    raw: Any = response.raw
    sock = getattr(getattr(getattr(getattr(raw, "_fp", None), "fp", None), "raw", None), "_sock", None)
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
