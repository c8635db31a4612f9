"""What is known of a lost executor's command is what its last heartbeat told."""

from typing import Any

import pytest
from temporalio.exceptions import ActivityError, RetryState, TimeoutError, TimeoutType

from temporal_runs.status import State
from temporal_runs.workflows.executors import ExecutorLost, asked_twice, meaning


def silence(kind: TimeoutType, *details: Any) -> ExecutorLost:
    error = ActivityError(
        "activity error",
        scheduled_event_id=1,
        started_event_id=2,
        identity="",
        activity_type="run",
        activity_id="run",
        retry_state=RetryState.TIMEOUT,
    )
    error.__cause__ = TimeoutError("silent", type=kind, last_heartbeat_details=details)
    lost = meaning(error, State.RUNNING)
    assert isinstance(lost, ExecutorLost)
    return lost


@pytest.mark.parametrize("kind", [TimeoutType.HEARTBEAT, TimeoutType.SCHEDULE_TO_START])
def test_its_last_lines_are_known(kind: TimeoutType):
    lost = silence(kind, {"last_lines": "epoch 7", "cpu_seconds": 3.0})
    assert (lost.began, lost.last_lines) == (True, "epoch 7")


@pytest.mark.parametrize("details", [(), ({"files": 3},), ("?",)])
def test_a_heartbeat_that_tells_of_none_is_fine(details: tuple[Any, ...]):
    assert silence(TimeoutType.HEARTBEAT, *details).last_lines is None


async def test_they_are_kept_when_it_is_asked_again_and_never_answers():
    answers = iter([silence(TimeoutType.HEARTBEAT, {"last_lines": "epoch 7"}), silence(TimeoutType.SCHEDULE_TO_START)])

    async def ask() -> None:
        raise next(answers)

    with pytest.raises(ExecutorLost) as lost:
        await asked_twice(ask)
    assert (lost.value.began, lost.value.last_lines) == (True, "epoch 7")
