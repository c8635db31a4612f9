"""The console of an attempt, kept in the store while it is written: segments of raw bytes.

`console/<run_id>/<execution_id>/<attempt>/<offset, 20 digits>` holds the bytes that begin there, `.../end`
says how many there are in all. There is one writer at a time. Segments leave no gap, and bytes written again
at the same place change nothing: a writer that died is taken up by the next one, byte for byte.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

from temporal_runs.store import Store

SEGMENT = 2**20
"""Bytes that are written at once, without waiting for the next `flush`."""

POLL = 0.3
"""Seconds between two looks for new bytes."""

SEARCH = 5.0
"""Seconds between two searches for a segment that does not begin where the last one ended."""


def console_folder(run_id: str, execution_id: str, attempt: int) -> str:
    """Where the console of an attempt is kept."""
    return f"console/{run_id}/{execution_id}/{attempt}"


class ConsoleWriter:
    """Writes the console of one attempt. Thread-safe; the caller calls `flush` every second."""

    def __init__(self, store: Store, run_id: str, execution_id: str, attempt: int) -> None:
        self._store = store
        self._folder = console_folder(run_id, execution_id, attempt)
        self._lock = threading.Lock()
        self._stored = 0
        self._buffer = bytearray()

    @property
    def position(self) -> int:
        """The offset of the next byte."""
        with self._lock:
            return self._stored + len(self._buffer)

    def resume(self) -> int:
        """Takes up what an earlier writer left; gives the number of bytes that are stored."""
        with self._lock:
            self._buffer.clear()
            self._stored = _contiguous_end(self._store, self._folder)
            return self._stored

    def write(self, text: bytes, *, offset: int | None = None) -> None:
        """Appends bytes. With `offset`, where they begin: what is there is left out, a gap is an error.

        A full buffer is flushed; the StoreError of that comes after the bytes were taken: flush again.
        """
        with self._lock:
            position = self._stored + len(self._buffer)
            known = 0 if offset is None else position - offset
            if known < 0:
                raise ValueError(f"bytes at {offset} would leave a gap: the console ends at {position}")
            self._buffer += text[known:]
            if len(self._buffer) >= SEGMENT:
                self._flush()

    def flush(self) -> None:
        """Stores what was written. After a StoreError nothing is lost: the next flush tries again."""
        with self._lock:
            self._flush()

    def close(self) -> int:
        """Flushes and marks the end; gives the number of bytes in all."""
        with self._lock:
            self._flush()
            self._store.put(f"{self._folder}/end", json.dumps({"bytes": self._stored}).encode())
            return self._stored

    def _flush(self) -> None:
        if not self._buffer:
            return
        segment = bytes(self._buffer)
        self._store.put(_segment_key(self._folder, self._stored), segment)
        self._stored += len(segment)
        self._buffer.clear()


class ConsoleReader:
    """Reads the console of one attempt, also while it is being written."""

    def __init__(self, store: Store, run_id: str, execution_id: str, attempt: int) -> None:
        self._store = store
        self._folder = console_folder(run_id, execution_id, attempt)

    def read(self, offset: int = 0) -> bytes:
        """Bytes from `offset` on, as many as one segment holds; b"" when there are none yet."""
        return self._store.get(_segment_key(self._folder, offset)) or self._search(offset)

    def end(self) -> int | None:
        """The number of bytes in all; None while the attempt is still writing."""
        mark = self._store.get(f"{self._folder}/end")
        return None if mark is None else int(cast("dict[str, int]", json.loads(mark))["bytes"])

    async def follow(
        self, offset: int = 0, *, is_over: Callable[[], Awaitable[bool]] | None = None
    ) -> AsyncIterator[bytes]:
        """Bytes from `offset` on as they come, until the end mark, or until no more can come (`is_over`)."""
        searched = 0.0
        while True:
            # Asked before the look, so that what was written until then is still seen.
            end = await asyncio.to_thread(self.end)
            over = end is not None or (is_over is not None and await is_over())
            segment = await asyncio.to_thread(self._store.get, _segment_key(self._folder, offset))
            if not segment and (over or time.monotonic() - searched >= SEARCH):
                searched = time.monotonic()
                segment = await asyncio.to_thread(self._search, offset)
            if segment:
                offset += len(segment)
                yield segment
                continue
            if over:
                return
            await asyncio.sleep(POLL)

    def _search(self, offset: int) -> bytes:
        """What lies at `offset` inside a segment that begins before it."""
        for start in reversed([start for start in _segments(self._store, self._folder) if start <= offset]):
            segment = self._store.get(_segment_key(self._folder, start)) or b""
            if len(segment) > offset - start:
                return segment[offset - start :]
        return b""


def _segment_key(folder: str, offset: int) -> str:
    return f"{folder}/{offset:020d}"


def _segments(store: Store, folder: str) -> list[int]:
    names = [key.rsplit("/", 1)[-1] for key in store.list(f"{folder}/")]
    return sorted(int(name) for name in names if name.isdigit())


def _contiguous_end(store: Store, folder: str) -> int:
    starts = _segments(store, folder)
    if not starts:
        return 0
    # A writer leaves no gap, so the last segment ends the console.
    last = store.get(_segment_key(folder, starts[-1])) or b""
    return starts[-1] + len(last)
