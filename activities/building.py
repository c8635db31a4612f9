"""Building: an environment's image is made of its recipe, and brought into the registry, for all Runs that wait for it.

It belongs to no Run: the lease of the one that it was begun for may end meanwhile.
"""

import asyncio

from temporalio import activity

from temporal_runs.activities.attending import Attendants
from temporal_runs.activities.audience import until_nobody_waits
from temporal_runs.activities.faults import fault
from temporal_runs.activities.images import Provision
from temporal_runs.steps import Assignment, BuildPlan, Image


class Building:
    def __init__(self, provision: Provision, attendants: Attendants) -> None:
        self._provision = provision
        self._attendants = attendants

    @activity.defn(name="build")
    async def build(self, assignment: Assignment, plan: BuildPlan | None = None) -> Image:
        """Builds the image, or finds it built; ends when nobody waits for it any more, or at its `build_limit`."""
        environment = assignment.inputs.runs_in
        async with self._attendants.at_work(plan.workflow_id if plan else assignment.lease.token) as attendance:
            building = asyncio.create_task(
                attendance.in_thread(
                    self._provision.build,
                    assignment.inputs,
                    plan,
                    attendance.report_engine,
                    attendance.interrupt,
                )
            )
            abandoned = asyncio.create_task(until_nobody_waits(activity.client(), activity.info().workflow_id))
            try:
                done, _ = await asyncio.wait(
                    {building, abandoned}, timeout=environment.build_limit, return_when=asyncio.FIRST_COMPLETED
                )
                if building in done:
                    return building.result()
            finally:
                for task in (building, abandoned):
                    task.cancel()
                await asyncio.wait({building, abandoned})
        if abandoned in done:
            raise fault("internal", "nobody waits for this build any more", final=True)
        instruction = attendance.progress.get("instruction") or "its beginning"
        message = f"the environment's build took longer than its build_limit of {environment.build_limit:g} seconds"
        raise fault("build_failed", f"{message}, and was at {instruction}", instruction=instruction)

    @activity.defn(name="push")
    async def push(self, assignment: Assignment, plan: BuildPlan) -> None:
        """Brings a built image into the registry."""
        async with self._attendants.at_work(plan.workflow_id) as attendance:
            await attendance.in_thread(
                self._provision.push, assignment.inputs, plan, attendance.report_engine, attendance.interrupt
            )
