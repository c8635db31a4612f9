"""The images of an executor's machine, beside any Run: what its tiers name is fetched ahead, and all are told of."""

import asyncio
from collections.abc import Sequence

from temporal_runs.activities.images import Provision
from temporal_runs.fleet import Fleet, ImageStatus
from temporal_runs.images import MachineImages
from temporal_runs.worker.rounds import tried_again


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
                with tried_again("not fetched ahead", image=reference):
                    await asyncio.to_thread(self._provision.fetch_ahead, reference)
            with tried_again("images not told"):
                held = [ImageStatus(**vars(one)) for one in await asyncio.to_thread(self._images.held)]
                await asyncio.to_thread(self._fleet.tell_images, self._executor, held)
            await asyncio.sleep(self._period)
