"""How a Run ended, as its caller meets it: Temporal's ways to close a workflow, made into one `RunResult`.

No outcome but Succeeded passes as success: `succeeded` raises for every other one.
"""

from datetime import UTC, datetime

from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.exceptions import ApplicationError

from temporal_runs.status import Cause, RunFacts, RunResult, RunStatus, State, StateChange
from temporal_runs.workflows.causes import cause


class RunsError(Exception):
    """What can go wrong with Runs, seen from a client; the message says what to do."""


class RunDidNotSucceed(RunsError):
    """A Run that ended otherwise than Succeeded."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(explanation(result))
        self.result = result


class RunFailed(RunDidNotSucceed):
    """It ended because of the user's code."""


class RunError(RunDidNotSucceed):
    """It ended because of anything else."""


class RunStopped(RunDidNotSucceed):
    """It ended because somebody stopped it."""


def succeeded(result: RunResult) -> RunResult:
    """The result of a Run that Succeeded; raises RunFailed, RunError or RunStopped for any other."""
    match result.state:
        case State.SUCCEEDED:
            return result
        case State.FAILED:
            raise RunFailed(result)
        case State.STOPPED:
            raise RunStopped(result)
        case _:
            raise RunError(result)


def explanation(facts: RunFacts) -> str:
    """One line that says how a Run ended and why."""
    text = f"Run {facts.run_id} ended {facts.state}"
    if facts.cause:
        return f"{text} ({facts.cause.code}): {facts.cause.message}"
    if facts.stop and facts.stop.reason:
        return f"{text}: {facts.stop.reason}"
    return text


def as_result(status: RunFacts) -> RunResult:
    """A final status as the result it stands for."""
    return RunResult.model_validate(status.model_dump(exclude={"queue"}))


def as_status(result: RunFacts) -> RunStatus:
    """A result as the status it stands for."""
    return RunStatus.model_validate(result.model_dump())


def of_failure(error: ApplicationError, info: WorkflowExecutionInfo) -> RunResult:
    """The result that a failed workflow carries; one with the cause `internal` where it carries none."""
    details = list(error.details)
    if error.type in ("Failed", "Error") and details and isinstance(details[0], dict):
        return RunResult.model_validate(details[0])
    message = f"the workflow failed without a result: {error.message}"
    why = cause("internal", State.QUEUED, message, {"type": error.type})
    return closed_from_outside(info, None, State.ERROR, why)


def terminated(info: WorkflowExecutionInfo, facts: RunFacts | None, reason: str) -> RunResult:
    """The result of a Run whose workflow was terminated: it ran no code of ours, so this is said here."""
    message = f"the workflow was terminated: {reason}" if reason else "the workflow was terminated"
    why = cause("terminated", facts.state if facts else State.QUEUED, message, {"reason": reason})
    return closed_from_outside(info, facts, State.ERROR, why)


def closed_from_outside(
    info: WorkflowExecutionInfo, facts: RunFacts | None, state: State, why: Cause | None
) -> RunResult:
    """The final facts of a Run that could not write them itself: the last known ones, and its end."""
    if facts is not None and facts.state.is_final:
        return as_result(facts)
    closed = _time(info.close_time.ToDatetime()) if info.HasField("close_time") else datetime.now(UTC)
    if facts is None:
        begun = StateChange(state=State.QUEUED, at=_time(info.start_time.ToDatetime()))
        facts = RunStatus(
            run_id=info.execution.workflow_id,
            execution_id=info.execution.run_id,
            state=State.QUEUED,
            history=[begun],
        )
    end = StateChange(state=state, at=closed)
    return as_result(facts).model_copy(
        update={"state": state, "history": [*facts.history, end], "cause": why, "reason": None}
    )


def _time(naive: datetime) -> datetime:
    return naive.replace(tzinfo=UTC)
