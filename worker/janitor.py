"""The janitor: nothing stays behind on an executor. What a Run that is over still holds is saved, then freed.

A Run is over for an executor when its workflow has closed, or names another lease than the one that is held here.
As long as Temporal cannot be asked, everything stays as it is: silence is not death.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from temporal_runs.activities.finishing import Finishing
from temporal_runs.activities.leases import Holding
from temporal_runs.asking import ANSWER_WITHIN, OPEN, answer_of, described
from temporal_runs.client import Runs, RunsError
from temporal_runs.engine import Engine
from temporal_runs.images import MachineImages
from temporal_runs.steps import Attempt
from temporal_runs.store import Store, StoreError
from temporal_runs.worker.ledger import Ledger
from temporal_runs.worker.rounds import tried_again
from temporal_runs.workspaces import Workspaces

log = structlog.get_logger()

UNCONFIRMED = timedelta(seconds=15)
"""A lease that its workflow does not know after that time is one whose acknowledgement was lost."""


class Janitor:
    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        engine: Engine,
        workspaces: Workspaces,
        images: MachineImages,
        store: Store,
        finishing: Finishing,
        labels: dict[str, str],
        period: float,
        look: asyncio.Event,
    ) -> None:
        """`look`: set when a Run may be over, so that it is not left to the next time."""
        self._client = client
        self._runs = Runs(client, store=store)
        self._ledger = ledger
        self._engine = engine
        self._workspaces = workspaces
        self._images = images
        self._store = store
        self._finishing = finishing
        self._labels = labels
        self._period = period
        self._look = look
        self._sweeping = asyncio.Lock()

    async def work(self) -> None:
        """Sweeps now and then, until cancelled."""
        while True:
            self._look.clear()
            await self.sweep()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._period):
                    await self._look.wait()

    async def sweep(self) -> None:
        """Looks once at everything this executor holds; what cannot be freed now is tried again at the next sweep."""
        async with self._sweeping:
            await self._sweep()

    async def _sweep(self) -> None:
        for holding in self._ledger.holdings():
            attempt = holding.request.attempt
            with tried_again("not freed yet", run_id=attempt.run_id):
                if await self._is_over(holding):
                    await asyncio.to_thread(self._finishing.recover, holding)
                    await self._remember(holding.request.attempt)
                    self._ledger.forget(holding.token)
                    log.info("freed", run_id=attempt.run_id, attempt=attempt.number)
        for sweep in (
            self._remove_what_nobody_holds,
            self._workspaces.tidy,
            self._images.tidy,
            self._store.tidy,
            self._ledger.look_again,
        ):
            with tried_again("not swept"):
                await asyncio.to_thread(sweep)

    async def _is_over(self, holding: Holding) -> bool:
        attempt = holding.request.attempt
        try:
            description = await described(self._client, attempt.run_id, attempt.execution_id)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return True
            raise
        if description.workflow_execution_info.status not in OPEN:
            return True
        if datetime.now(UTC) - holding.granted_at < UNCONFIRMED:
            return False
        workflow = self._client.get_workflow_handle(attempt.run_id, run_id=attempt.execution_id)
        current: str | None = await answer_of(workflow, "lease", None, ANSWER_WITHIN)
        return current != holding.token

    async def _remember(self, attempt: Attempt) -> None:
        """Notes how a Run ended whose workflow was terminated; its place does not wait for that."""
        try:
            await self._runs.get(attempt.run_id).remember(attempt.execution_id)
        except (RunsError, StoreError) as error:
            log.warning("its end is not noted", run_id=attempt.run_id, error=str(error))

    def _remove_what_nobody_holds(self) -> None:
        containers = {name for name, _ in self._engine.containers(self._labels)}
        volumes = self._engine.volumes(self._labels)
        workspaces = self._workspaces.names()
        # Read last: what was granted meanwhile is held.
        holdings = self._ledger.holdings()
        held = {holding.container for holding in holdings}
        for name in containers - held:
            log.info("container of nobody removed", container=name)
            self._engine.remove(name)
        for name in set(volumes) - held:
            self._engine.remove_volume(name)
        for name in set(workspaces) - {holding.request.attempt.key for holding in holdings}:
            self._workspaces.discard(name)
