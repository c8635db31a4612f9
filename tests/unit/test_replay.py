"""Recorded histories of every outcome replay: a Run that began under an older version goes on under this one."""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from temporal_runs import RunsPlugin

HISTORIES = sorted((Path(__file__).parent.parent / "histories").glob("*.json"))


def test_every_outcome_is_recorded():
    assert {"succeeded", "failed", "error", "stopped", "cancelled"} <= {path.stem for path in HISTORIES}


@pytest.fixture(params=HISTORIES, ids=lambda path: path.stem)
def history(request: pytest.FixtureRequest) -> WorkflowHistory:
    return WorkflowHistory.from_json("recorded", request.param.read_text())


async def test_a_recorded_history_replays(history: WorkflowHistory):
    await Replayer(workflows=[], plugins=[RunsPlugin()]).replay_workflow(history)
