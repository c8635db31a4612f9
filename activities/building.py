"""Building: an environment's image is made of its recipe, and brought into the registry, for all Runs that wait for it.

It belongs to no Run: the lease of the one that it was begun for may end meanwhile.
"""

import asyncio

from temporalio import activity

from temporal_runs.activities.attending import Attendants
from temporal_runs.activities.audience import until_nobody_waits
from temporal_runs.activities.faults import fault
from temporal_runs.activities.images import Provision
from temporal_runs.activities.phase_console import PhaseConsole
from temporal_runs.steps import Assignment, BuildPlan, Image
from temporal_runs.store import Store


class Building:
    def __init__(self, store: Store, provision: Provision, attendants: Attendants) -> None:
        self._store = store
        self._provision = provision
        self._attendants = attendants

    @activity.defn(name="build")
    async def build(self, assignment: Assignment, plan: BuildPlan | None = None) -> Image:
        """Builds the image, or finds it built; ends when nobody waits for it any more, or at its `build_limit`."""
        environment = assignment.inputs.runs_in
        on = plan.workflow_id if plan else assignment.lease.token
        async with self._attendants.at_work(on) as attendance, self._console(assignment, plan, "is built") as console:
            building = asyncio.create_task(
                attendance.in_thread(
                    self._provision.build,
                    assignment.inputs,
                    plan,
                    console.listening(attendance.report_engine),
                    attendance.interrupt,
                )
            )
            abandoned = asyncio.create_task(until_nobody_waits(activity.client(), activity.info().workflow_id))
            try:
                done, _ = await asyncio.wait(
                    {building, abandoned}, timeout=environment.build_limit, return_when=asyncio.FIRST_COMPLETED
                )
                if building in done:
                    image = building.result()
                    console.print(f"done: {image.name}, here {image.id}")
                    return image
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
        async with (
            self._attendants.at_work(plan.workflow_id) as attendance,
            self._console(assignment, plan, "is brought into the registry") as console,
        ):
            report = console.listening(attendance.report_engine)
            await attendance.in_thread(self._provision.push, assignment.inputs, plan, report, attendance.interrupt)
            console.print("done")

    def _console(self, assignment: Assignment, plan: BuildPlan | None, what: str) -> PhaseConsole:
        info, lease = activity.info(), assignment.lease
        assert info.workflow_id and info.workflow_run_id
        # One without a plan is of the Run's own workflow, where 1 is the console of its command.
        name = 1 if plan else f"{assignment.attempt.number}.build"
        image = plan.reference if plan else "the image"
        beginning = f"{image} {what} by executor {lease.executor} on {lease.host}"
        return PhaseConsole(self._store, info.workflow_id, info.workflow_run_id, name, beginning)
