"""Reads the console of one attempt, also while it is being written, and proves it whole when read from its start."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from temporal_runs.store import Store, StoreCorrupt

from .segment import End, Segment, Segments, checksum
from .writer import MANY

POLL = 0.3
"""Seconds between two looks for new bytes."""

SEARCH = 5.0
"""Seconds between two searches for a segment that does not begin where the last one ended."""


class ConsoleReader:
    """One attempt's console."""

    def __init__(self, store: Store, run_id: str, execution_id: str, attempt: int | str) -> None:
        self._segments = Segments(store, run_id, execution_id, attempt)

    def read(self, offset: int = 0) -> Segment | None:
        """What is kept from there on, as much as one segment holds; None when there is nothing yet.

        It begins later where the bytes between are not kept.
        """
        return self._segments.get(offset) or self._search(offset)

    def end(self) -> End | None:
        """What proves it whole; None while the attempt is still writing."""
        return self._segments.end

    def backwards(self) -> Iterator[Segment]:
        """All segments, the last one first."""
        begin = None
        for start in reversed(self._segments.starts()):
            segment = self._segments.get(start)
            if segment:  # else it has just been joined to the one before
                yield segment.cut(start, segment.end if begin is None else begin)
                begin = start

    async def follow(
        self, offset: int = 0, *, is_over: Callable[[], Awaitable[bool]] | None = None
    ) -> AsyncIterator[Segment]:
        """What is kept from there on as it comes, until the end mark, or until no more can come (`is_over`).

        Raises StoreCorrupt where it is not what was printed, or where its end mark tells of more than there is.
        """
        searched = 0.0
        over = False
        end: End | None = None
        crc32 = 0 if offset == 0 else None
        while True:
            # Asked before the look, so that what was written until then is still seen.
            end = end or await asyncio.to_thread(self.end)
            over = over or end is not None or (is_over is not None and await is_over())
            segment = await asyncio.to_thread(self._segments.get, offset)
            if not segment and (over or time.monotonic() - searched >= SEARCH):
                searched = time.monotonic()
                segment = await asyncio.to_thread(self._search, offset)
            if segment:
                crc32 = _proven(segment, offset, crc32)
                offset = segment.end
                yield segment
            elif over:
                if end:
                    _require_whole(end, offset, crc32)
                return
            else:
                await asyncio.sleep(POLL)

    def _search(self, offset: int) -> Segment | None:
        """What lies at `offset` inside a segment that begins before it, else the next one that there is."""
        starts = self._segments.starts()
        for start in reversed([start for start in starts if start <= offset][-MANY:]):
            segment = self._segments.get(start)
            if segment and segment.end > offset:
                return segment.cut(offset, segment.end)
            if segment and segment.end == offset:
                break
        later = [start for start in starts if start > offset]
        return self._segments.get(later[0]) if later else None


def _proven(segment: Segment, offset: int, crc32: int | None) -> int | None:
    """The checksum of all that was read, None where something is missing; raises StoreCorrupt."""
    if crc32 is None or segment.start > offset:
        return None
    crc32 = checksum(segment.data, crc32)
    if crc32 != segment.crc32:
        raise StoreCorrupt(f"the console is not what was printed: its bytes {offset} to {segment.end} differ")
    return crc32


def _require_whole(end: End, offset: int, crc32: int | None) -> None:
    """Raises StoreCorrupt unless what was read up to there is all that the end mark tells of."""
    if offset < end.bytes:
        raise StoreCorrupt(
            f"the console is not whole: its last {end.bytes - offset:,} bytes are not in the store any more, of "
            f"{end.bytes:,} that were printed"
        )
    if crc32 is not None and (offset, crc32) != (end.bytes, end.crc32):
        raise StoreCorrupt(f"the console is not what was printed: {offset:,} bytes with another checksum")
