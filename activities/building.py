"""Building: an environment's image is made from its base and instructions, once on a machine."""

import asyncio
from collections import defaultdict

import structlog
from temporalio import activity

from temporal_runs.activities.attending import Attendance, Attendants
from temporal_runs.activities.images import built_reference, on_machine, pinned
from temporal_runs.engine import Engine, Progress, RegistryUnavailable
from temporal_runs.environment import Environment
from temporal_runs.steps import Assignment, Image

log = structlog.get_logger()


class Building:
    def __init__(self, engine: Engine, attendants: Attendants, registry: str | None) -> None:
        self._engine = engine
        self._attendants = attendants
        self._registry = registry
        self._building: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @activity.defn(name="build")
    async def build(self, assignment: Assignment) -> Image:
        """Builds the image; Runs that need the same one at once wait for one build."""
        environment = assignment.inputs.runs_in
        async with self._attendants.attend(assignment) as attendance:
            attendance.report(text="waits for another Run's build of the same environment")
            async with self._building[environment.model_dump_json()]:
                return await attendance.in_thread(self._build, environment, attendance)

    def _build(self, environment: Environment, attendance: Attendance) -> Image:
        def progress(step: Progress) -> None:
            attendance.report(text=step.text, current=step.current, total=step.total)

        if image := on_machine(self._engine, environment, self._registry):
            return image
        assert environment.base
        base = self._engine.find_image(environment.base) or self._engine.pull(environment.base, progress)
        reference = built_reference(environment, base, self._registry)
        built = self._engine.build(environment.base, environment.instructions, reference, progress)
        if self._registry:
            try:
                self._engine.push(reference, progress)
            except RegistryUnavailable as error:
                # The Run has its image; the next executor builds its own.
                log.warning("built environment not pushed", reference=reference, error=str(error))
        return pinned(reference, self._engine.find_image(reference) or built)
