"""A worker at the port of another HOME's server begins nothing there, and ends no Run by that."""

import json
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from temporal_runs.connection import Embedded
from temporal_runs.settings import Settings
from temporal_runs.worker.allegiance import Allegiance
from temporal_runs.workflows.phases import UNTIL_THE_END


class Nothing(ActivityInboundInterceptor):
    """What an activity would be, if it came to that."""

    def __init__(self) -> None: ...


async def test_another_server_is_refused_until_its_own_answers(
    server: WorkflowEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TEMPORAL_ADDRESS", raising=False)
    settings = Settings(home=tmp_path)
    address = server.client.service_client.config.target_host
    Embedded.path(settings).write_text(json.dumps({"address": address, "ui": "", "cluster": "another"}))
    asked = Allegiance(server.client, settings).intercept_activity(Nothing())
    with pytest.raises(ApplicationError, match="is not the one of") as refused:
        await asked.execute_activity(ExecuteActivityInput(fn=print, args=[], executor=None, headers={}))
    assert not refused.value.non_retryable
    assert refused.value.type not in (UNTIL_THE_END.non_retryable_error_types or ())
