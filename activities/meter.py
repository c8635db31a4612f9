"""What a command uses of its machine, sampled while it runs, and kept beside its console."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import structlog

from temporal_runs.activities.leases import Holding
from temporal_runs.engine import Engine, EngineError, gpus
from temporal_runs.status import Usage
from temporal_runs.store import Store, StoreError
from temporal_runs.usage import Reading, Series

log = structlog.get_logger()

STORE_SECONDS = 5
"""Between two writes of the series: who watches the usage sees it that late."""

DiskFull = Literal["limit", "machine"]


class Meter:
    """The resource usage of one container, as far as it has been read."""

    def __init__(
        self, engine: Engine, store: Store, holding: Holding, disk_full: Callable[[], DiskFull | None]
    ) -> None:
        attempt, tier = holding.request.attempt, holding.request.tier
        self._engine = engine
        self._store = store
        self._container = holding.container
        self._gpus = holding.gpus
        self._place = attempt.run_id, attempt.execution_id, attempt.number
        self._series = Series(cores=tier.cores, memory_limit_bytes=tier.memory)
        self._is_taken_up = False
        self._stored_at = 0.0
        self._look_at_disk = disk_full
        self.disk_full: DiskFull | None = None
        """which disk had no room left at any time"""

    @property
    def usage(self) -> Usage:
        """What has been used so far."""
        return self._series.usage

    @property
    def now(self) -> dict[str, Any]:
        """The same, with the memory in use at this moment, for a heartbeat."""
        readings = self._series.readings
        memory = {"memory_bytes": readings[-1].memory_bytes} if readings else {}
        return memory | self.usage.model_dump(exclude_none=True)

    async def read(self) -> None:
        """Takes one more sample; a container that has just ended, or an engine that is away, gives none."""
        await self.read_disk()
        with suppress(EngineError):
            await asyncio.to_thread(self._read)
        if time.monotonic() - self._stored_at >= STORE_SECONDS:
            await self.store()

    async def read_disk(self) -> None:
        """Looks at the disk of the working directory."""
        with suppress(OSError):
            self.disk_full = self.disk_full or await asyncio.to_thread(self._look_at_disk)

    async def store(self) -> None:
        """Keeps the series as it is now. A store that is away gets it later, or never: no Run ends for that."""
        self._stored_at = time.monotonic()
        try:
            await asyncio.to_thread(self._store_series)
        except StoreError as error:
            log.warning("usage is not stored", container=self._container, error=str(error))

    def _read(self) -> None:
        sample = self._engine.sample(self._container)
        if sample is None:
            return
        gpu = gpus.sample(self._gpus)
        self._series.add(
            Reading(
                at=time.time(),
                cpu_seconds=sample.cpu_seconds,
                memory_bytes=sample.memory_bytes,
                read_bytes=sample.read_bytes,
                written_bytes=sample.written_bytes,
                received_bytes=sample.received_bytes,
                sent_bytes=sample.sent_bytes,
                gpu_percent=gpu and gpu.percent,
                gpu_memory_bytes=gpu and gpu.memory_bytes,
            )
        )

    def _store_series(self) -> None:
        if not self._is_taken_up:
            # What an executor that was restarted meanwhile has measured.
            earlier = Series.load(self._store, *self._place)
            self._is_taken_up = True
            if earlier:
                for reading in self._series.readings:
                    earlier.add(reading)
                self._series = earlier
        if self._series.readings:
            self._series.store(self._store, *self._place)
