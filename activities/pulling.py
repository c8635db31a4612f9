"""Pulling: the image is fetched from its registry, once on a machine."""

import asyncio
from collections import defaultdict

from temporalio import activity

from temporal_runs.activities.attending import Attendance, Attendants
from temporal_runs.activities.images import built_reference, on_machine, pinned
from temporal_runs.engine import Engine, Progress
from temporal_runs.environment import Environment
from temporal_runs.steps import Assignment, Image


class Pulling:
    def __init__(self, engine: Engine, attendants: Attendants, registry: str | None) -> None:
        self._engine = engine
        self._attendants = attendants
        self._registry = registry
        self._pulling: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @activity.defn(name="pull")
    async def pull(self, assignment: Assignment) -> Image:
        """Pulls the image; Runs that need the same one at once wait for one pull."""
        environment = assignment.inputs.runs_in
        async with self._attendants.attend(assignment) as attendance:
            attendance.report(text="waits for another Run's pull of the same image")
            async with self._pulling[environment.model_dump_json()]:
                return await attendance.in_thread(self._pull, environment, attendance)

    def _pull(self, environment: Environment, attendance: Attendance) -> Image:
        def progress(layer: Progress) -> None:
            attendance.report(text=layer.text, current=layer.current, total=layer.total)

        if image := on_machine(self._engine, environment, self._registry):
            return image
        reference = environment.image
        if reference is None:
            assert environment.base
            base = self._engine.find_image(environment.base) or self._engine.pull(environment.base, progress)
            reference = built_reference(environment, base, self._registry)
        return pinned(reference, self._engine.pull(reference, progress))
