"""Preparing: the project's files, at the Run's commit, are brought into the attempt's own workspace."""

import asyncio

from temporalio import activity

from temporal_runs import metrics
from temporal_runs.activities.attending import Attendance, Attendants
from temporal_runs.activities.images import Provision
from temporal_runs.activities.users import user_of
from temporal_runs.engine import Engine
from temporal_runs.steps import Assignment, Prepared, Workspace
from temporal_runs.workspaces import Import, Workspaces


class Preparing:
    def __init__(
        self,
        workspaces: Workspaces,
        engine: Engine,
        attendants: Attendants,
        labels: dict[str, str],
        provision: Provision,
    ) -> None:
        self._workspaces = workspaces
        self._engine = engine
        self._attendants = attendants
        self._labels = labels
        self._provision = provision

    @activity.defn(name="prepare")
    async def prepare(self, assignment: Assignment) -> Prepared:
        """Gives the workspace, owned by the user that containers run as; one that is already there is kept.

        Meanwhile the image is looked for, and begins to be fetched: the Run goes on to wait for what is not there yet.
        """
        async with self._attendants.attend(assignment) as attendance:
            # An engine that hangs would be waited for by each call, a minute a try.
            await attendance.in_thread(self._engine.ping)
            files = asyncio.create_task(attendance.in_thread(self._workspace, assignment, attendance))
            image = asyncio.create_task(attendance.in_thread(self._provision.search, assignment))
            try:
                await asyncio.gather(files, image)
            finally:
                files.cancel()
                image.cancel()
                await asyncio.wait({files, image})
            prepared = Prepared(workspace=files.result(), image=image.result())
            _count(prepared)
            return prepared

    def _workspace(self, assignment: Assignment, attendance: Attendance) -> Workspace:
        inputs = assignment.inputs
        done = (0, 0)

        def progress(files: int, size: int) -> None:
            nonlocal done
            done = files, size
            attendance.report(files=files, bytes=size)

        made = self._workspaces.make(
            assignment.attempt.key,
            inputs.spec.project,
            inputs.commit,
            user_of(inputs),
            progress,
            imports=[Import(one.project, one.commit, one.path) for one in inputs.imports],
            disk=inputs.tier.disk,
        )
        volume = attendance.holding.container if made.overlay else None
        if made.overlay and volume:
            self._engine.create_overlay(volume, made.overlay.options, self._labels)
        imports = {at: str(folder) for at, folder in made.imports.items()}
        return Workspace(folder=str(made.folder), files=done[0], bytes=done[1], volume=volume, imports=imports)


def _count(prepared: Prepared) -> None:
    meter, workspace, image = activity.metric_meter(), prepared.workspace, prepared.image
    metrics.WORKSPACES.add(meter, 1, cache="miss" if workspace.files else "hit")
    metrics.STAGED.add(meter, workspace.bytes)
    metrics.IMAGES.add(meter, 1, found=image.missing or "machine")
