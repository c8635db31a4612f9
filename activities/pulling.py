"""Pulling: the image is fetched from its registry."""

from temporalio import activity

from temporal_runs.activities.attending import Attendants
from temporal_runs.activities.images import Provision
from temporal_runs.steps import Assignment, Image


class Pulling:
    def __init__(self, provision: Provision, attendants: Attendants) -> None:
        self._provision = provision
        self._attendants = attendants

    @activity.defn(name="pull")
    async def pull(self, assignment: Assignment, reference: str | None = None) -> Image:
        """Gives the image of the Run's environment, or of a reference, once it is on the machine."""
        async with self._attendants.attend(assignment) as attendance:
            return await attendance.in_thread(self._provision.pull, assignment, reference, attendance.report_engine)
