"""What a command uses of its machine, as a series in the store beside its console. It never grows beyond a bound."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import zstandard

from temporal_runs.status import Usage
from temporal_runs.store import Store, StoreCorrupt

LENGTH = 1000
"""Readings that a series has at most: of more, every second one is left out, and fewer are taken from then on."""


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """What was used until then, and the memory in use at that moment."""

    at: float
    """seconds since 1970"""
    cpu_seconds: float
    memory_bytes: int
    read_bytes: int | None = None
    """from disks; None where the engine does not tell, as with the other three"""
    written_bytes: int | None = None
    received_bytes: int | None = None
    """from the network"""
    sent_bytes: int | None = None
    gpu_percent: float | None = None
    """of the time in which its GPUs are at work at that moment, their mean; None where there are none that tell"""
    gpu_memory_bytes: int | None = None
    """in use on them at that moment, their sum"""


@dataclass(frozen=True)
class Rates:
    """What was used in the time between two readings: cores, bytes in use, and bytes a second."""

    at: datetime
    cores: float
    memory: int
    read: float | None
    written: float | None
    received: float | None
    sent: float | None
    gpu: float | None
    gpu_memory: int | None


class Series(msgspec.Struct):
    """The readings of one attempt, oldest first."""

    cores: float
    """what its tier allows"""
    memory_limit_bytes: int
    peak_memory_bytes: int = 0
    """of all readings, those that were left out too"""
    peak_gpu_memory_bytes: int = 0
    """the same"""
    readings: list[Reading] = []
    spacing: float = 0
    """seconds that there are between two readings, at least"""

    @classmethod
    def load(cls, store: Store, run_id: str, execution_id: str, attempt: int) -> "Series | None":
        """None where nothing has been measured; raises StoreError."""
        key = series_key(run_id, execution_id, attempt)
        packed = store.get(key)
        if packed is None:
            return None
        try:
            return msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(packed), type=cls)
        except (zstandard.ZstdError, msgspec.MsgspecError) as error:
            raise StoreCorrupt(f"{key} in the store is damaged: {error}") from None

    def store(self, store: Store, run_id: str, execution_id: str, attempt: int) -> None:
        """Keeps it as it is now."""
        packed = zstandard.ZstdCompressor(write_checksum=True).compress(msgspec.msgpack.encode(self))
        store.put(series_key(run_id, execution_id, attempt), packed)

    def add(self, reading: Reading) -> None:
        """Takes one more; the last one always stays."""
        self.peak_memory_bytes = max(self.peak_memory_bytes, reading.memory_bytes)
        self.peak_gpu_memory_bytes = max(self.peak_gpu_memory_bytes, reading.gpu_memory_bytes or 0)
        if len(self.readings) > 1 and reading.at - self.readings[-2].at < self.spacing:
            self.readings[-1] = reading
        else:
            self.readings.append(reading)
        if len(self.readings) > LENGTH:
            self.spacing = 2 * max(self.spacing, (reading.at - self.readings[0].at) / LENGTH)
            self.readings = [*self.readings[:-1:2], reading]

    @property
    def usage(self) -> Usage:
        """Its summary."""
        if not self.readings:
            return Usage()
        last = self.readings[-1]
        spans = [(after.at - before.at, after.memory_bytes) for before, after in pairwise(self.readings)]
        time = sum(seconds for seconds, _ in spans)
        mean = sum(seconds * memory for seconds, memory in spans) / time if time > 0 else last.memory_bytes
        gpu = [reading.gpu_percent for reading in self.readings if reading.gpu_percent is not None]
        return Usage(
            cpu_seconds=round(last.cpu_seconds, 3),
            peak_memory_bytes=self.peak_memory_bytes,
            mean_memory_bytes=round(mean),
            memory_limit_bytes=self.memory_limit_bytes,
            read_bytes=last.read_bytes,
            written_bytes=last.written_bytes,
            received_bytes=last.received_bytes,
            sent_bytes=last.sent_bytes,
            mean_gpu_percent=round(sum(gpu) / len(gpu), 1) if gpu else None,
            peak_gpu_memory_bytes=self.peak_gpu_memory_bytes if gpu else None,
        )

    @property
    def rates(self) -> list[Rates]:
        """What was used from each reading to the next."""
        return [_rates(before, after) for before, after in pairwise(self.readings) if after.at > before.at]


def series_key(run_id: str, execution_id: str, attempt: int) -> str:
    """Where the series of an attempt is kept."""
    return f"usage/{run_id}/{execution_id}/{attempt}"


def _rates(before: Reading, after: Reading) -> Rates:
    seconds = after.at - before.at

    def rate(earlier: int | None, later: int | None) -> float | None:
        return None if earlier is None or later is None else max(0, later - earlier) / seconds

    return Rates(
        at=datetime.fromtimestamp(after.at, UTC),
        cores=max(0.0, after.cpu_seconds - before.cpu_seconds) / seconds,
        memory=after.memory_bytes,
        read=rate(before.read_bytes, after.read_bytes),
        written=rate(before.written_bytes, after.written_bytes),
        received=rate(before.received_bytes, after.received_bytes),
        sent=rate(before.sent_bytes, after.sent_bytes),
        gpu=after.gpu_percent,
        gpu_memory=after.gpu_memory_bytes,
    )
