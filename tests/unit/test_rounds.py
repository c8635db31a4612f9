"""Whatever goes wrong in a round of an executor's, the next one comes."""

import asyncio

import pytest

from temporal_runs.worker.rounds import tried_again


@pytest.mark.parametrize("error", [OSError("the disk is away"), ZeroDivisionError("a bug")])
def test_an_error_is_told_and_goes_no_further(error: Exception, capsys: pytest.CaptureFixture[str]):
    with tried_again("not freed yet", run_id="r1"):
        raise error
    told = capsys.readouterr().out
    assert "not freed yet" in told and "r1" in told and str(error) in told


def test_a_cancellation_is_none():
    with pytest.raises(asyncio.CancelledError), tried_again("not freed yet"):
        raise asyncio.CancelledError
