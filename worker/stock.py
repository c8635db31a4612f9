"""The images of an executor's machine, beside any Run: what its tiers name is fetched ahead, and all are told of."""

import asyncio
from collections.abc import Sequence

import structlog

from temporal_runs.activities.images import Provision
from temporal_runs.engine import EngineError
from temporal_runs.fleet import Fleet, ImageStatus
from temporal_runs.images import MachineImages
from temporal_runs.registries import PasswordUnreadable
from temporal_runs.store import StoreError

log = structlog.get_logger()


class Stock:
    """`ahead`: references of images that Runs are not to wait for."""

    def __init__(
        self,
        provision: Provision,
        images: MachineImages,
        fleet: Fleet,
        executor: str,
        ahead: Sequence[str],
        period: float,
    ) -> None:
        self._provision = provision
        self._images = images
        self._fleet = fleet
        self._executor = executor
        self._ahead = ahead
        self._period = period

    async def work(self) -> None:
        """Looks every period, until cancelled."""
        while True:
            for reference in self._ahead:
                await self._fetch(reference)
            try:
                held = [ImageStatus(**vars(one)) for one in await asyncio.to_thread(self._images.held)]
                await asyncio.to_thread(self._fleet.tell_images, self._executor, held)
            except (EngineError, StoreError) as error:
                log.warning("images not told", error=str(error))
            await asyncio.sleep(self._period)

    async def _fetch(self, reference: str) -> None:
        try:
            await asyncio.to_thread(self._provision.fetch_ahead, reference)
        except (EngineError, PasswordUnreadable) as error:
            log.warning("not fetched ahead", image=reference, error=str(error))
