"""What a command uses of its machine, sampled while it runs."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from temporal_runs.engine import Engine, EngineError
from temporal_runs.status import Usage

DiskFull = Literal["limit", "machine"]


class Meter:
    """The resource usage of one container, as far as it has been read."""

    def __init__(self, engine: Engine, container: str, disk_full: Callable[[], DiskFull | None]) -> None:
        self._engine = engine
        self._container = container
        self._look_at_disk = disk_full
        self.disk_full: DiskFull | None = None
        """which disk had no room left at any time"""
        self.usage = Usage()

    async def read(self) -> None:
        """Takes one more sample; a container that has just ended, or an engine that is away, gives none."""
        await self.read_disk()
        try:
            sample = await asyncio.to_thread(self._engine.sample, self._container)
        except EngineError:
            return
        if sample:
            peak = max(sample.memory_bytes, sample.peak_memory_bytes or 0, self.usage.peak_memory_bytes or 0)
            self.usage = Usage(cpu_seconds=round(sample.cpu_seconds, 3), peak_memory_bytes=peak)

    async def read_disk(self) -> None:
        """Looks at the disk of the working directory."""
        with suppress(OSError):
            self.disk_full = self.disk_full or await asyncio.to_thread(self._look_at_disk)
