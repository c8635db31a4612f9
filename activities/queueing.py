"""Queueing: the spec is checked against what there is, and everything in it that could move is pinned."""

import asyncio
import platform
from collections.abc import Mapping

from temporalio import activity

from temporal_runs.activities.faults import fault, faults
from temporal_runs.activities.notifying import begin_to_tell, recipients
from temporal_runs.environments import resolve
from temporal_runs.project import ProjectSettings
from temporal_runs.spec import RunSpec
from temporal_runs.status import PinnedInput, RunResult
from temporal_runs.steps import BuildTicket, Inputs, Submission, Tier
from temporal_runs.store import Store, StoreError


class Queueing:
    """The dispatcher's activities: how a Run begins and what is kept of it when it is over."""

    def __init__(self, store: Store, tiers: Mapping[str, Tier]) -> None:
        self._store = store
        self._tiers = tiers

    @activity.defn(name="queue")
    async def queue(self, submission: Submission) -> Inputs:
        """Pins the project's revision and the tier's limits; a fault `invalid_spec` names what there is not."""
        spec = submission.spec
        tier = self._tiers.get(spec.tier)
        if tier is None:
            known = ", ".join(self._tiers)
            raise fault("invalid_spec", f"tier: there is no tier {spec.tier!r}; there are {known}", field="tier")
        if tier.max_time_limit and (spec.time_limit or 0) > tier.max_time_limit:
            problem = f"tier {tier.name} allows {tier.max_time_limit:g} seconds at most, not {spec.time_limit:g}"
            raise fault("invalid_spec", f"time_limit: {problem}", field="time_limit")
        for name in spec.mounts:
            if name not in tier.mounts:
                known = ", ".join(tier.mounts) or "none"
                raise fault("invalid_spec", f"mounts: tier {tier.name} has no {name!r}; it has {known}", field="mounts")
        with faults(platform.node()):
            return await asyncio.to_thread(self._pinned, spec, tier)

    def _pinned(self, spec: RunSpec, tier: Tier) -> Inputs:
        imports = [
            PinnedInput(project=one.project, commit=self._store.resolve(one.project, one.revision), path=one.path)
            for one in spec.inputs
        ]
        for one in imports:
            self._store.require_folder(one.project, one.commit, one.path)
        revision = resolve(spec, self._store)
        spec = spec.model_copy(update={"time_limit": tier.time_limit(spec.time_limit)})
        return Inputs(
            spec=spec,
            commit=self._store.resolve(spec.project, spec.revision),
            tier=tier,
            imports=imports,
            environment=revision and revision.environment,
            environment_revision=revision and revision.label,
            max_running=ProjectSettings.load(self._store, spec.project).max_running,
        )

    @activity.defn(name="join_build")
    async def join_build(self, ticket: BuildTicket) -> str:
        """Has a Run wait for the one build of its environment, which begins where there is none yet.

        Gives whose console has what it prints, as "workflow id/execution id".
        """
        build = await activity.client().start_workflow(
            "Build",
            ticket.plan,
            id=ticket.plan.workflow_id,
            task_queue=activity.info().task_queue,
            start_signal="join",
            start_signal_args=[ticket.assignment],
            static_summary=f"image {ticket.plan.reference}",
        )
        return f"{build.id}/{build.result_run_id}"

    @activity.defn(name="record")
    async def record(self, result: RunResult) -> None:
        """Keeps the final status where it outlives Temporal's retention, and has those told who want to be."""
        key = f"runs/{result.run_id}/{result.execution_id}.json"
        try:
            _, wanted_by = await asyncio.gather(
                asyncio.to_thread(self._store.put, key, result.model_dump_json().encode()),
                asyncio.to_thread(recipients, result, self._store),
            )
        except StoreError:
            # Whether anybody wants to hear of it, `Notify` finds out when the store is back.
            await begin_to_tell(result)
            raise
        if wanted_by:
            await begin_to_tell(result)
