"""The dispatcher: takes Runs in and decides what happens next. Holds nothing; any number may run."""

import asyncio
from dataclasses import replace

import structlog
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from temporal_runs.connection import Embedded, configured
from temporal_runs.delivery import Delivery
from temporal_runs.plugin import RunsPlugin
from temporal_runs.settings import Settings
from temporal_runs.store import Store
from temporal_runs.worker import traces
from temporal_runs.worker.allegiance import Allegiance
from temporal_runs.worker.logs import Named

log = structlog.get_logger()


async def run_dispatcher(client: Client, settings: Settings) -> None:
    """Works until cancelled. Raises StoreError, and ConnectionProblem where another's server answers."""
    store = await asyncio.to_thread(Store.open, settings.store_url)
    allegiance = Allegiance(client, settings)
    worker = Worker(
        client,
        task_queue=settings.task_queue,
        plugins=[RunsPlugin(store, settings.tier_table, _delivery(settings)), *traces.plugins(settings)],
        # Our workflows are held to determinism in the sandbox by their tests; in here it would take half this process's
        # time.
        workflow_runner=UnsandboxedWorkflowRunner(),
        interceptors=[allegiance, Named()],
        identity="dispatcher",
    )
    log.info("dispatcher works", task_queue=settings.task_queue)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        group.create_task(allegiance.keep())


def _delivery(settings: Settings) -> Delivery:
    """As the settings say; links lead to the embedded server, where that is the one in use."""
    embedded = None if configured().address else Embedded.read(settings)
    web_ui = settings.delivery.web_ui or (embedded and embedded.ui)
    return replace(settings.delivery, web_ui=web_ui)
