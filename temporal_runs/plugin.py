"""`RunsPlugin`: takes Runs into another team's client, worker or replayer with `plugins=[RunsPlugin()]`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultPayloadConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker import Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from temporal_runs import search_attributes
from temporal_runs.delivery import Delivery
from temporal_runs.steps import Tier
from temporal_runs.store import Store

SIDE_EFFECT_FREE = (
    "temporal_runs.environment",
    "temporal_runs.fields",
    "temporal_runs.metrics",
    "temporal_runs.notices",
    "temporal_runs.spec",
    "temporal_runs.status",
    "temporal_runs.steps",
    "temporal_runs.search_attributes",
    "temporal_runs.words",
    "temporal_runs.workflows.causes",
    "temporal_runs.workflows.details",
    "temporal_runs.workflows.states",
)
"""Modules of ours that a workflow may share: records and tables. Loading them anew would cost every Run 13 ms."""


class RunsPlugin(SimplePlugin):
    """What a dispatcher is made of: `Run` and `Build`, queueing activities, data converter, sandbox settings.

    On a client it sets the data converter. On a worker it adds the workflow; with a `store` it adds the queueing
    activities too, so that the worker takes Runs in by itself (`tiers`: those a spec may name; `delivery`: how
    notifications leave). On a replayer it makes histories of Runs replayable. Executors are started with
    `temporal-runs executor`.
    """

    def __init__(
        self,
        store: Store | None = None,
        tiers: Mapping[str, Tier] | None = None,
        delivery: Delivery | None = None,
    ) -> None:
        from temporal_runs.activities.limiting import gone, join
        from temporal_runs.activities.notifying import Notifying
        from temporal_runs.activities.queueing import Queueing
        from temporal_runs.settings import DEFAULT_TIERS
        from temporal_runs.workflows.build import Build
        from temporal_runs.workflows.limit import Limit
        from temporal_runs.workflows.notify import Notify
        from temporal_runs.workflows.run import Run

        activities: list[Callable[..., Any]] = []
        if store:
            queueing = Queueing(store, tiers or {tier.name: tier for tier in DEFAULT_TIERS})
            notifying = Notifying(store, delivery or Delivery())
            activities = [queueing.queue, queueing.join_build, queueing.record, join, gone]
            activities += [notifying.recipients, notifying.deliver]
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - the SDK's own signature is loose
            "temporal-runs.RunsPlugin",
            data_converter=_with_pydantic,
            workflows=_once(Run, Build, Limit, Notify),
            activities=_once(*activities) if activities else None,
            workflow_runner=_with_shared_modules,
        )

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Raises SearchAttributeProblem where the server lacks one: every Run's first task would fail, for ever."""
        await search_attributes.require(worker.client)
        await super().run_worker(worker, next)


def _once(*ours: Any) -> Callable[[Sequence[Any] | None], Sequence[Any]]:
    """Adds ours to what a worker has: a plugin of its client reaches it too, and may be given to both."""
    return lambda theirs: [*(theirs or ()), *(one for one in ours if one not in (theirs or ()))]


def _with_pydantic(converter: DataConverter | None) -> DataConverter:
    """Pydantic's converter, unless the team has chosen one of its own."""
    if converter is None or converter.payload_converter_class is DefaultPayloadConverter:
        return pydantic_data_converter
    return converter


def _with_shared_modules(runner: WorkflowRunner | None) -> WorkflowRunner:
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner or SandboxedWorkflowRunner()
    restrictions = runner.restrictions.with_passthrough_modules(*SIDE_EFFECT_FREE)
    return SandboxedWorkflowRunner(restrictions=restrictions)
