"""Preparing: the project's files, at the Run's commit, are brought into the attempt's own workspace."""

import shutil
from pathlib import Path

from temporalio import activity

from temporal_runs.activities.attending import Attendance, Attendants
from temporal_runs.activities.images import search
from temporal_runs.activities.leases import Leases
from temporal_runs.engine import Engine
from temporal_runs.steps import Assignment, Prepared, Workspace
from temporal_runs.store import Store

FILES, WHOLE = "files", "whole"
"""Below an attempt's folder: what the container sees, and the mark that all of it is there."""


class Preparing:
    def __init__(
        self,
        store: Store,
        engine: Engine,
        leases: Leases,
        attendants: Attendants,
        owner: tuple[int, int],
        registry: str | None,
    ) -> None:
        self._store = store
        self._engine = engine
        self._leases = leases
        self._attendants = attendants
        self._owner = owner
        self._registry = registry

    @activity.defn(name="prepare")
    async def prepare(self, assignment: Assignment) -> Prepared:
        """Gives the workspace, owned by the user that containers run as; one that is already there is kept.

        Looks for the image too: the Run goes on with what the machine lacks.
        """
        async with self._attendants.attend(assignment) as attendance:
            workspace = await attendance.in_thread(self._fill, assignment, attendance)
            environment = assignment.inputs.spec.environment
            return Prepared(
                workspace=workspace,
                image=await attendance.in_thread(search, self._engine, environment, self._registry),
            )

    def _fill(self, assignment: Assignment, attendance: Attendance) -> Workspace:
        folder = self._leases.workspace(attendance.holding)
        files, whole = folder / FILES, folder / WHOLE
        done = [0, 0]

        def progress(count: int, size: int) -> None:
            done[:] = count, size
            attendance.report(files=count, bytes=size)

        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            Path(folder).mkdir(parents=True, mode=0o700)
            inputs = assignment.inputs
            self._store.checkout(inputs.spec.project, inputs.commit, files, owner=self._owner, progress=progress)
            whole.touch()
        return Workspace(folder=str(files), files=done[0], bytes=done[1])
