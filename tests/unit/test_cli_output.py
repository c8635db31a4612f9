"""What a person is told a Run does, on one line; and what is printed is never taken for markup."""

from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from temporal_runs.cli import output
from temporal_runs.status import Cause, Queue, RunStatus, State, StateChange


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
        (
            status(queue=Queue(position=1, executors=0, idle={"a": "silent", "b": "unwritable"}), spec={"tier": "big"}),
            "no executor serves tier big (a is silent, b is unwritable): place 1",
        ),
        (status(State.PREPARING, progress={"files": 1, "bytes": 2048}), "waits: 1 file, 2.0 KiB"),
        (status(State.PULLING, progress={"text": "1 of 2 layers", "total": 2}), "waits: 1 of 2 layers"),
        (status(State.BUILDING, progress={"text": "made", "instruction": "RUN make"}), "waits: RUN make: made"),
        (status(State.RUNNING, progress={"last_lines": "one\ntwo", "cpu_seconds": 1.0}), "waits: two"),
        (status(State.RUNNING, progress={"last_lines": ""}), "waits"),
    ],
)
def test_what_a_run_does_now(facts: RunStatus, said: str):
    assert output.now(facts) == said


def bad(code: str, stage: State, blame: Literal["user", "platform"]) -> Cause:
    evidence = {"last_lines": "\n".join(f"line {number}" for number in range(20))}
    return Cause(code=code, stage=stage, blame=blame, message="it went wrong", advice="do it", evidence=evidence)


@pytest.mark.parametrize(
    ("state", "cause", "whose"),
    [
        (State.FAILED, bad("exit_code", State.RUNNING, "user"), "the Run's own"),
        (State.ERROR, bad("executor_lost", State.RUNNING, "platform"), "the platform's"),
    ],
)
def test_a_bad_end_says_what_happened_whose_it_is_the_last_lines_and_what_to_do(state: State, cause: Cause, whose: str):
    said = [str(line) for line in output.ending(status(state, cause=cause), console_shown=False)]
    assert said[0] == f"{state}: it went wrong ({cause.code})"
    assert said[1].startswith(f"Whose it is: {whose}")
    assert said[2:] == [*(f"  | line {number}" for number in range(10, 20)), "What to do: do it"]


def test_what_was_just_seen_is_not_said_again_but_a_build_has_no_console():
    seen = status(State.FAILED, cause=bad("exit_code", State.RUNNING, "user"))
    assert not any("line 19" in str(line) for line in output.ending(seen))
    built = status(State.FAILED, cause=bad("build_failed", State.BUILDING, "user"))
    assert any("line 19" in str(line) for line in output.ending(built))


def test_peoples_own_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]):
    output.on_stdout().print("skipped: [red]a:smile:[/b] 1 2")
    assert capsys.readouterr().out == "skipped: [red]a:smile:[/b] 1 2\n"
