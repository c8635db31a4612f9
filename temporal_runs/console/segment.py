"""A segment of a console: bytes that follow each other, beside them a table of their streams and times.

`console/<run_id>/<execution_id>/<attempt>/<offset, 20 digits>.zst` holds the segment whose first byte is the
offset-th that was printed, `.../end` says how many there were. So the names alone tell what is not kept.
What an image's build and pull print has the same form: `<attempt>.pull` beside the command's, and the attempt 1 of the
build's own workflow.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import msgspec
import zstandard

from temporal_runs.store import Store, StoreCorrupt

Stream = Literal["stdout", "stderr"]

LEVEL = 1
"""Of zstd: 1 GB of a training's lines takes 2 s of a core and becomes a fifth; zlib, which Python has itself, takes 9 s
for a quarter at its quickest (measured)."""

KINDS: dict[str, Stream] = {"o": "stdout", "e": "stderr", "O": "stdout", "E": "stderr"}
"""The letters in a segment's table. A capital: something was lost before the piece."""


@dataclass(frozen=True, slots=True)
class Printed:
    """What was printed on one stream within one millisecond, or less of it."""

    stream: Stream
    at: datetime
    data: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """A place where bytes are missing: more than the cap were printed, or they were lost (`bytes` None: unknown)."""

    bytes: int | None


class End(msgspec.Struct, frozen=True):
    """What proves a console whole."""

    bytes: int
    """how many were printed, kept or not"""
    crc32: int
    """of all of them"""
    losses: int = 0
    """at how many places some were lost, which are in neither"""


class Segment(msgspec.Struct, frozen=True):
    """Pieces of a console that follow each other."""

    start: int
    """the offset of its first byte among all that were printed"""
    data: bytes
    kinds: str
    """a letter of KINDS for each piece"""
    lengths: list[int]
    times: list[int]
    """milliseconds since 1970 of each piece"""
    mark: str
    """the place behind it in the engine's log"""
    crc32: int
    """of everything printed up to its end"""
    losses: int
    """number of places where something was lost, up to its end"""

    @property
    def end(self) -> int:
        return self.start + len(self.data)

    def printed(self) -> Iterator[Printed | Gap]:
        """Its pieces, in order."""
        at = 0
        for kind, length, time in zip(self.kinds, self.lengths, self.times, strict=True):
            if kind.isupper():
                yield Gap(None)
            yield Printed(KINDS[kind], datetime.fromtimestamp(time / 1000, UTC), self.data[at : at + length])
            at += length

    def cut(self, start: int, end: int) -> "Segment":
        """The part of it between two offsets; what it says of everything up to its end stays as it is."""
        if start <= self.start and end >= self.end:
            return self
        kinds, lengths, times, at = "", list[int](), list[int](), self.start
        for kind, length, time in zip(self.kinds, self.lengths, self.times, strict=True):
            left = min(at + length, end) - max(at, start)
            if left > 0:
                kinds += kind if at >= start else kind.lower()
                lengths.append(left)
                times.append(time)
            at += length
        begin = max(start, self.start)
        data = self.data[begin - self.start : max(begin, end) - self.start]
        return Segment(begin, data, kinds, lengths, times, self.mark, self.crc32, self.losses)


def joined(segments: Sequence[Segment]) -> Segment:
    """One segment of several that follow each other without a gap."""
    last = segments[-1]
    return Segment(
        start=segments[0].start,
        data=b"".join(segment.data for segment in segments),
        kinds="".join(segment.kinds for segment in segments),
        lengths=[length for segment in segments for length in segment.lengths],
        times=[time for segment in segments for time in segment.times],
        mark=last.mark,
        crc32=last.crc32,
        losses=last.losses,
    )


class Segments:
    """The segments of one attempt's console in the store, or of a phase's (`<attempt>.pull`)."""

    def __init__(self, store: Store, run_id: str, execution_id: str, attempt: int | str) -> None:
        self._store = store
        self._folder = f"console/{run_id}/{execution_id}/{attempt}"

    def put(self, segment: Segment) -> None:
        """Stores one, in the place of another that begins there."""
        packed = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(msgspec.msgpack.encode(segment))
        self._store.put(self._key(segment.start), packed)

    def get(self, start: int) -> Segment | None:
        """The one that begins there; raises StoreCorrupt for one that is damaged."""
        key = self._key(start)
        packed = self._store.get(key)
        if packed is None:
            return None
        try:
            return msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(packed), type=Segment)
        except (zstandard.ZstdError, msgspec.MsgspecError) as error:
            raise StoreCorrupt(f"{key} in the store is damaged: {error}") from None

    def delete(self, start: int) -> None:
        self._store.delete(self._key(start))

    def starts(self) -> list[int]:
        """Where segments begin, sorted."""
        names = [key.rsplit("/", 1)[-1] for key in self._store.list(f"{self._folder}/")]
        return sorted(int(name.removesuffix(".zst")) for name in names if name.endswith(".zst"))

    @property
    def end(self) -> End | None:
        """None while the attempt may print more."""
        mark = self._store.get(f"{self._folder}/end")
        return None if mark is None else msgspec.json.decode(mark, type=End)

    def put_end(self, end: End) -> None:
        self._store.put(f"{self._folder}/end", msgspec.json.encode(end))

    def _key(self, start: int) -> str:
        return f"{self._folder}/{start:020d}.zst"


def checksum(data: bytes, before: int) -> int:
    """The checksum of everything printed up to here, from that of what came before: the same that gzip writes."""
    return zlib.crc32(data, before)
