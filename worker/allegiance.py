"""A worker works for one server, which it knows by the id of its cluster.

While the server of a HOME is away, that of another may come to have its port: who waits there for the first must not
take the other's Runs.
"""

import asyncio
import contextlib
import time

import structlog
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from temporal_runs.connection import ConnectionProblem, Embedded, cluster_of, configured
from temporal_runs.settings import Settings

log = structlog.get_logger()

LOOK_SECONDS = 5.0
"""Between two looks of a worker that has nothing to do."""

NOT_NOW = "not_now"

SAME_SECONDS = 1.0
"""For so long nobody is asked again: no server goes and another comes up in less."""


class Allegiance(Interceptor):
    """Of one process. No activity begins for another server than its HOME's; one that was configured is not asked."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._is_configured = configured().address is not None
        self._asked_at = -SAME_SECONDS
        self._foreign = asyncio.Event()

    async def keep(self) -> None:
        """Until cancelled; raises ConnectionProblem as soon as another server is there."""
        while True:
            try:
                await self.require()
            except RPCError as error:
                log.info("the server does not say who it is", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._foreign.wait()

    async def require(self) -> None:
        """Raises ConnectionProblem where another server answers, RPCError where none does."""
        if self._is_configured or time.monotonic() - self._asked_at < SAME_SECONDS:
            return
        cluster = await cluster_of(self._client)
        own = Embedded.read(self._settings)
        if own and own.cluster != cluster:
            self._foreign.set()
            home, address = self._settings.home, self._client.service_client.config.target_host
            raise ConnectionProblem(
                f"the server at {address} is not the one of {home} any more: start this again "
                "when `temporal-runs up` works there"
            )
        self._asked_at = time.monotonic()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Asked(next, self)


class _Asked(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, allegiance: Allegiance) -> None:
        super().__init__(next)
        self._allegiance = allegiance

    async def execute_activity(self, input: ExecuteActivityInput) -> object:
        try:
            await self._allegiance.require()
        except (ConnectionProblem, RPCError) as problem:
            # No fault of the table, which would end a Run whose command goes on: it is tried again, when its server
            # answers, or by a worker of that one.
            raise ApplicationError(str(problem), type=NOT_NOW) from None
        return await super().execute_activity(input)
