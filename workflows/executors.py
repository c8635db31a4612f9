"""How an executor is asked, and what it means when it does not answer or does not succeed.

Whatever goes wrong comes out as `Fault` or `ExecutorLost`.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypedDict, TypeVar

from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType

from temporal_runs.status import Cause, State
from temporal_runs.steps import Lease
from temporal_runs.workflows.causes import cause

Result = TypeVar("Result")

HEARTBEAT = timedelta(seconds=10)
A_LONG_TIME = timedelta(days=366)

PATIENT = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(seconds=10),
    maximum_attempts=9,
)
"""A platform fault is retried for about a minute (design, section 4)."""


class Fault(Exception):
    """The phase failed for good."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message)
        self.cause = cause


class ExecutorLost(Exception):
    """The executor was silent for as long as its lease, or says itself that the lease is lost.

    `began`: it may have taken the phase before. `last_lines`: what it last said that was printed there.
    """

    def __init__(self, began: bool, message: str = "did not answer in time", last_lines: str | None = None) -> None:
        super().__init__(message)
        self.began = began
        self.message = message
        self.last_lines = last_lines


class Options(TypedDict, total=False):
    task_queue: str
    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    priority: Priority


def patience(lease: Lease, retry_policy: RetryPolicy) -> Options:
    """How long the executor of a lease is waited for, when it is `asked_twice`."""
    return Options(
        task_queue=lease.task_queue,
        # Half the lease, asked twice: a server that was down itself lets its timers run out as it comes back,
        # before any executor can have asked it for work.
        schedule_to_start_timeout=timedelta(seconds=lease.seconds / 2),
        start_to_close_timeout=A_LONG_TIME,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=retry_policy,
    )


async def asked_twice(ask: Callable[[], Awaitable[Result]]) -> Result:
    """Asks an executor again where it did not answer; raises ExecutorLost after the second time."""
    try:
        return await ask()
    except ExecutorLost as silent:
        first = silent
    try:
        return await ask()
    except ExecutorLost as lost:
        raise ExecutorLost(first.began or lost.began, lost.message, lost.last_lines or first.last_lines) from None


def meaning(error: ActivityError, stage: State) -> Fault | ExecutorLost:
    """What the failure of an activity says of the Run, in a state of its."""
    match error.cause:
        case TimeoutError() if error.activity_type == "acknowledge":
            return Fault(cause("queue_limit", stage, "no machine of its tier came free within its queue_limit"))
        case TimeoutError(type=TimeoutType.SCHEDULE_TO_START) as timeout:
            taken_before = timeout.cause is not None or bool(timeout.last_heartbeat_details)
            return ExecutorLost(began=taken_before, last_lines=_last_lines(timeout))
        case TimeoutError() as timeout:
            return ExecutorLost(began=True, last_lines=_last_lines(timeout))
        case ApplicationError() as failure:
            evidence: dict[str, Any] = failure.details[0] if failure.details else {}
            if failure.type == "executor_lost":
                return ExecutorLost(began=evidence.get("began", True), message=failure.message)
            return Fault(cause(failure.type or "internal", stage, failure.message, evidence))
        case unknown:
            return Fault(cause("internal", stage, f"{error.activity_type}: {unknown}"))


def _last_lines(timeout: TimeoutError) -> str | None:
    """The last ones that a heartbeat told of."""
    match timeout.last_heartbeat_details:
        case [{"last_lines": str(lines)}, *_]:
            return lines
        case _:
            return None
