"""A fault of the platform that an activity meets is tried again within it, for a while; then it is final."""

import errno

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from temporal_runs.activities import attending
from temporal_runs.activities.attending import Attendance
from temporal_runs.activities.command import EngineStaysAway
from temporal_runs.workflows.causes import CAUSES
from temporal_runs.workflows.phases import UNTIL_THE_END


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attending, "AGAIN_AFTER", (0, 0, 0))


class Work:
    """Goes wrong so many times."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.left, self.tries = error, times, 0

    async def __call__(self) -> str:
        self.tries += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "done"


async def persistently(work: Work) -> str:
    return await ActivityEnvironment().run(Attendance("machine").persistently, work)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyError("a bug")])
async def test_a_fault_that_heals_fails_nothing(error: Exception):
    work = Work(error, times=3)
    assert await persistently(work) == "done"


async def test_a_fault_that_stays_is_raised():
    work = Work(OSError(errno.ENOSPC, "full"), times=100)
    with pytest.raises(OSError, match="full"):
        await persistently(work)
    assert work.tries == 4


async def test_an_engine_that_was_waited_for_is_not_waited_for_again():
    work = Work(EngineStaysAway("gone"), times=100)
    with pytest.raises(ApplicationError) as fault:
        await persistently(work)
    assert fault.value.type == "docker_unavailable"
    assert work.tries == 1


def test_every_cause_that_the_command_s_activities_come_out_with_is_final_and_silence_never_is():
    assert set(UNTIL_THE_END.non_retryable_error_types or ()) == set(CAUSES)
    assert UNTIL_THE_END.maximum_attempts == 0
