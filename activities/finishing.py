"""Finishing: what the command changed becomes a commit of the project, and the executor's place is freed.

Results first, cleaning up second, and the ledger's record of both last: a finish that is killed anywhere and asked
again makes one commit and gives the same answer.
"""

from temporalio import activity

from temporal_runs import metrics
from temporal_runs.activities.attending import Attendance, Attendants
from temporal_runs.activities.capture import Capture
from temporal_runs.activities.leases import Holding, Leases
from temporal_runs.engine import Engine
from temporal_runs.images import MachineImages
from temporal_runs.project import ProjectSettings
from temporal_runs.status import Metric, Results
from temporal_runs.steps import Assignment, Completion, Finished
from temporal_runs.store import Landed, Store
from temporal_runs.workspaces import Workspaces

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
            if not completion.commit_results:
                holding = self._leases.update(holding.token, commit_results=False)
            spec = completion.assignment.inputs.spec
            ref = "main" if spec.results == "merge" else f"runs/{holding.request.attempt.run_id}"
            return await attendance.in_thread(self.complete, holding, ref, attendance)

    @activity.defn(name="release")
    async def release(self, assignment: Assignment) -> None:
        """Frees the place of a Run that ended before its results could be brought back the usual way.

        What a command had already changed is kept on the branch `recovered/<run_id>/<attempt>`.
        """
        async with self._attendants.attend(assignment) as attendance:
            await attendance.in_thread(self.recover, attendance.holding, attendance)

    def recover(self, holding: Holding, attendance: Attendance | None = None) -> Finished:
        """Like `complete`, for a Run that its workflow has given up; never onto main."""
        attempt = holding.request.attempt
        return self.complete(holding, f"recovered/{attempt.run_id}/{attempt.number}", attendance)

    def complete(self, holding: Holding, ref: str, attendance: Attendance | None = None) -> Finished:
        """Ends what still runs, keeps console and results, removes everything of the attempt from this machine."""
        if holding.finished:
            return holding.finished
        if self._engine.signal(holding.container, "KILL"):
            self._engine.wait(holding.container)
        finished = Finished()
        if holding.begun:
            Capture(self._engine, self._store, holding, [], self._console_cap).complete()
            if holding.commit_results:
                finished = self._land(holding, ref, attendance)
        self._engine.remove(holding.container)
        self._engine.remove_volume(holding.container)
        self._workspaces.discard(holding.request.attempt.key)
        self._images.leave(holding.request.attempt.key)
        self._leases.update(holding.token, finished=finished)
        return finished

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
        """What the command tells of itself, or why that is none."""
        text = self._workspaces.written(name, metrics.FILE, metrics.MOST_BYTES + 1)
        if text is None:
            return None, None
        try:
            return metrics.parsed(text), None
        except metrics.NoMetrics as problem:
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
