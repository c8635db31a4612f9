"""Pulling: the image is fetched from its registry."""

from temporalio import activity

from temporal_runs.activities.attending import Attendants
from temporal_runs.activities.images import Provision
from temporal_runs.activities.phase_console import PhaseConsole
from temporal_runs.steps import Assignment, Image
from temporal_runs.store import Store


class Pulling:
    def __init__(self, store: Store, provision: Provision, attendants: Attendants) -> None:
        self._store = store
        self._provision = provision
        self._attendants = attendants

    @activity.defn(name="pull")
    async def pull(self, assignment: Assignment, reference: str | None = None) -> Image:
        """Gives the image of the Run's environment, or of a reference, once it is on the machine."""
        attempt, lease = assignment.attempt, assignment.lease
        wanted = reference or assignment.inputs.runs_in.starts_from
        async with (
            self._attendants.attend(assignment) as attendance,
            PhaseConsole(
                self._store,
                attempt.run_id,
                attempt.execution_id,
                f"{attempt.number}.pull",
                f"{wanted} is fetched to executor {lease.executor} on {lease.host}",
            ) as console,
        ):
            report = console.listening(attendance.report_engine)
            image = await attendance.in_thread(self._provision.pull, assignment, reference, report)
            console.print(f"done: {image.name}, here {image.id}")
            return image
