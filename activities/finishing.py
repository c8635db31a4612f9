"""Finishing: what the command changed becomes a commit of the project, and the executor's place is freed.

Results first, cleaning up second, and the ledger's record of both last: a finish that is killed anywhere and asked
again makes one commit and gives the same answer.
"""

import structlog
from temporalio import activity

from temporal_runs import metrics, reported
from temporal_runs.activities.attending import Attendance, Attendants
from temporal_runs.activities.capture import Capture
from temporal_runs.activities.leases import Holding, Leases
from temporal_runs.engine import Engine, EngineError
from temporal_runs.images import MachineImages
from temporal_runs.project import ProjectSettings
from temporal_runs.status import Metric, Results
from temporal_runs.steps import Assignment, Completion, Finished
from temporal_runs.store import Landed, Store
from temporal_runs.workspaces import Workspaces

log = structlog.get_logger()

SHOWN = 100
"""How many conflicts and skipped files a result names: it must stay small."""


class Finishing:
    def __init__(
        self,
        store: Store,
        workspaces: Workspaces,
        images: MachineImages,
        engine: Engine,
        leases: Leases,
        attendants: Attendants,
        console_cap: int,
    ) -> None:
        self._store = store
        self._workspaces = workspaces
        self._images = images
        self._engine = engine
        self._leases = leases
        self._attendants = attendants
        self._console_cap = console_cap

    @activity.defn(name="finish")
    async def finish(self, completion: Completion) -> Finished:
        """Commits the results, unless they are not wanted, and frees the place."""
        async with self._attendants.attend(completion.assignment) as attendance:
            holding = attendance.holding
            if holding.finished:
                return holding.finished
            # An engine that hangs would be waited for by each call, a minute a try.
            await attendance.in_thread(self._engine.ping)
            if not completion.commit_results:
                holding = self._leases.update(holding.token, commit_results=False)
            spec = completion.assignment.inputs.spec
            ref = "main" if spec.results == "merge" else f"runs/{holding.request.attempt.run_id}"
            finished = await attendance.in_thread(self._kept, holding, ref, attendance)
            try:
                await attendance.in_thread(self._free, holding, finished)
            except (EngineError, OSError) as error:
                # The Run has its outcome, which what is left behind does not change.
                log.warning("left to the janitor", container=holding.container, error=str(error))
            metrics.RETURNED.add(activity.metric_meter(), finished.results.bytes)
            return finished

    @activity.defn(name="release")
    async def release(self, assignment: Assignment) -> None:
        """Frees the place of a Run that ended before its results could be brought back the usual way.

        What a command had already changed is kept on the branch `recovered/<run_id>/<attempt>`.
        """
        async with self._attendants.attend(assignment) as attendance:
            await attendance.in_thread(self.recover, attendance.holding, attendance)

    def recover(self, holding: Holding, attendance: Attendance | None = None) -> None:
        """Ends, keeps and frees what a Run holds that its workflow has given up; its results never go onto main."""
        if not holding.finished:
            attempt = holding.request.attempt
            self._free(holding, self._kept(holding, f"recovered/{attempt.run_id}/{attempt.number}", attendance))

    def _kept(self, holding: Holding, ref: str, attendance: Attendance | None) -> Finished:
        """Ends what still runs, and keeps console and results."""
        if holding.kept:
            return holding.kept
        if self._engine.signal(holding.container, "KILL"):
            self._engine.wait(holding.container, attendance.interrupt if attendance else None)
        if not holding.begun:
            return Finished()
        Capture(self._engine, self._store, holding, [], self._console_cap).complete()
        kept = self._land(holding, ref, attendance) if holding.commit_results else Finished()
        # From here on there may be no workspace to look at again.
        self._leases.update(holding.token, kept=kept)
        return kept

    def _free(self, holding: Holding, finished: Finished) -> None:
        """Removes everything of the attempt from this machine."""
        self._engine.remove(holding.container)
        self._engine.remove_volume(holding.container)
        self._workspaces.discard(holding.request.attempt.key)
        self._images.leave(holding.request.attempt.key)
        self._leases.update(holding.token, finished=finished)

    def _land(self, holding: Holding, ref: str, attendance: Attendance | None) -> Finished:
        assert holding.assignment
        spec, attempt = holding.assignment.inputs.spec, holding.request.attempt

        def progress(files: int, size: int) -> None:
            if attendance:
                attendance.report(files=files, bytes=size)

        told, note = self._metrics(attempt.key)
        landed = self._store.land(
            spec.project,
            self._workspaces.take(attempt.key),
            base=holding.assignment.inputs.commit,
            origin=attempt.key,
            author=spec.owner,
            message=f"Run {attempt.run_id}: {spec.summary}",
            name=attempt.run_id,
            ref=ref,
            on_conflict=spec.on_conflict or ProjectSettings.load(self._store, spec.project).on_conflict,
            progress=progress,
        )
        return Finished(output_commit=landed.commit, results=_results(landed), metrics=told, metrics_note=note)

    def _metrics(self, name: str) -> tuple[dict[str, Metric] | None, str | None]:
        """What the command tells of itself, or why that is none: results never depend on it."""
        try:
            text = self._workspaces.written(name, reported.FILE, reported.MOST_BYTES + 1)
            return (None if text is None else reported.parsed(text)), None
        except (reported.NoMetrics, OSError) as problem:
            return None, str(problem)


def _results(landed: Landed) -> Results:
    changes = landed.changes
    return Results(
        added=changes.added,
        changed=changes.changed,
        deleted=changes.deleted,
        bytes=changes.bytes,
        branch=landed.ref,
        conflicts=landed.conflicts[:SHOWN],
        skipped=landed.skipped[:SHOWN],
    )
