"""Writes the console of one attempt: a segment a second while little is printed, big ones in the end.

There is one writer at a time. What it has stored says where the engine's log goes on, so that a writer that died is
taken up by the next one, byte for byte. Of more than the cap, the beginning and the end are kept.
"""

import threading

from temporal_runs.store import Store, StoreCorrupt

from .segment import End, Segment, Segments, Stream, checksum, joined

SEGMENT = 4 * 2**20
"""Bytes that are written at once, without waiting for the next `flush`."""

PIECES = 2**16
"""Pieces for which the same holds."""

MANY = 64
"""Segments after which they are joined to bigger ones: a Run that prints for days would have one for each second."""

NEWEST = 8
"""Segments that are left as they are meanwhile: who follows the console is about to read them."""

CAP = 2**30


class ConsoleWriter:
    """Thread-safe; the caller calls `flush` every second. `cap` is how many bytes are kept."""

    def __init__(self, store: Store, run_id: str, execution_id: str, attempt: int | str, *, cap: int = CAP) -> None:
        self._segments = Segments(store, run_id, execution_id, attempt)
        self._head = cap // 2
        self._tail = cap - self._head
        self._lock = threading.Lock()
        self._left = False
        self._kept: list[tuple[int, int]] = []
        """start and end of the segments that are stored"""
        self._settled = 0
        """where the segments begin that may still be joined"""
        self._begin(0, "", 0, 0)

    @property
    def position(self) -> int:
        """How many bytes were printed before the next one."""
        with self._lock:
            return self._stored + len(self._data)

    def resume(self) -> str:
        """Takes up what is stored, and forgets what is not; gives the place in the engine's log where that ends."""
        with self._lock:
            starts = self._segments.starts()
            last = self._segments.get(starts[-1]) if starts else None
            if last is None:
                self._kept, self._settled = [], 0
                self._begin(0, "", 0, 0)
            else:
                self._kept = list(zip(starts, [*starts[1:], last.end], strict=True))
                self._settled = last.end
                self._begin(last.end, last.mark, last.crc32, last.losses)
            return self._mark

    def write(self, stream: Stream, at: int, data: bytes, mark: str = "", *, after_loss: bool = False) -> None:
        """Appends what was printed at a time (milliseconds since 1970), before that mark in the engine's log.

        A full buffer is flushed. After the StoreError of that, flush or resume before more is written.
        """
        with self._lock:
            if self._left:
                return
            kind = stream[3]
            self._kinds.append(kind.upper() if after_loss else kind)
            self._losses += after_loss
            self._lengths.append(len(data))
            self._times.append(at)
            self._data += data
            self._mark = mark
            if len(self._data) >= SEGMENT or len(self._times) >= PIECES:
                self._flush()

    def flush(self) -> None:
        """Stores what was written. After a StoreError nothing is lost: the next flush tries again."""
        with self._lock:
            self._flush()

    def close(self) -> int:
        """Flushes and marks the end; gives the number of bytes that were printed."""
        with self._lock:
            self._flush()
            self._join(self._stored)
            self._segments.put_end(End(self._stored, self._crc32, self._losses))
            return self._stored

    def leave(self) -> None:
        """Writes nothing any more: another writer takes it up."""
        with self._lock:
            self._left = True

    def _begin(self, at: int, mark: str, crc32: int, losses: int) -> None:
        self._stored, self._mark, self._crc32, self._losses = at, mark, crc32, losses
        self._data = bytearray()
        self._kinds = list[str]()
        self._lengths = list[int]()
        self._times = list[int]()

    def _flush(self) -> None:
        if not self._data or self._left:
            return
        data = bytes(self._data)
        crc32 = checksum(data, self._crc32)
        segment = Segment(
            self._stored, data, "".join(self._kinds), self._lengths, self._times, self._mark, crc32, self._losses
        )
        self._segments.put(segment)
        self._kept.append((segment.start, segment.end))
        self._begin(segment.end, self._mark, crc32, self._losses)
        self._drop()
        if sum(start >= self._settled for start, _ in self._kept) >= MANY:
            self._join(self._kept[-NEWEST][0])

    def _drop(self) -> None:
        """Deletes what is neither of the first bytes nor of the last ones."""
        while middle := [one for one in self._kept if one[0] >= self._head and one[1] <= self._stored - self._tail]:
            self._segments.delete(middle[0][0])
            self._kept.remove(middle[0])

    def _join(self, end: int) -> None:
        """Makes big segments of the small ones up to there."""
        groups: list[list[tuple[int, int]]] = []
        for one in self._kept:
            if one[0] < self._settled or one[1] > end:
                continue
            if groups and groups[-1][-1][1] == one[0] and one[1] - groups[-1][0][0] <= SEGMENT:
                groups[-1].append(one)
            else:
                groups.append([one])
        for group in groups:
            self._join_group(group)
        if groups:
            self._settled = groups[-1][0][0]

    def _join_group(self, group: list[tuple[int, int]]) -> None:
        parts: list[Segment] = []
        for start, _ in group:
            # An earlier joining may have come half way: then the first has it all.
            if not parts or start >= parts[-1].end:
                part = self._segments.get(start)
                if part is None:
                    raise StoreCorrupt(f"the console has lost its segment at byte {start}")
                parts.append(part)
        if len(parts) > 1:
            self._segments.put(joined(parts))
        for start, _ in group[1:]:
            self._segments.delete(start)
        place = self._kept.index(group[0])
        self._kept[place : place + len(group)] = [(group[0][0], group[-1][1])]
