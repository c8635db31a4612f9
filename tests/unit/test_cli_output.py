"""What a person is told a Run does, on one line; and what is printed is never taken for markup."""

from datetime import UTC, datetime
from typing import Any

import pytest

from temporal_runs.cli import output
from temporal_runs.status import Queue, RunStatus, State, StateChange


def status(state: State = State.QUEUED, **more: Any) -> RunStatus:
    history = [StateChange(state=state, at=datetime.now(UTC))]
    facts = {"run_id": "r1", "execution_id": "e1", "state": state, "history": history, "attempt": 1}
    return RunStatus(**{**facts, "reason": "waits", **more})


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (status(), "waits"),
        (status(reason=None), "Queued"),
        (status(queue=Queue(position=3)), "waits: place 3"),
        (
            status(queue=Queue(position=3, executors=2, held=7, left=1)),
            "waits: place 3; 2 executors serve it, 7 of 8 places taken",
        ),
        (status(queue=Queue(position=1, executors=0), spec={"tier": "big"}), "no executor serves tier big: place 1"),
        (status(State.PREPARING, progress={"files": 1, "bytes": 2048}), "waits: 1 file, 2.0 KiB"),
        (status(State.PULLING, progress={"text": "1 of 2 layers", "total": 2}), "waits: 1 of 2 layers"),
        (status(State.BUILDING, progress={"text": "made", "instruction": "RUN make"}), "waits: RUN make: made"),
        (status(State.RUNNING, progress={"last_lines": "one\ntwo", "cpu_seconds": 1.0}), "waits: two"),
        (status(State.RUNNING, progress={"last_lines": ""}), "waits"),
    ],
)
def test_what_a_run_does_now(facts: RunStatus, said: str):
    assert output.now(facts) == said


def test_peoples_own_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]):
    output.on_stdout().print("skipped: [red]a:smile:[/b] 1 2")
    assert capsys.readouterr().out == "skipped: [red]a:smile:[/b] 1 2\n"
