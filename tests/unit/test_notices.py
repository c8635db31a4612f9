"""Who is told is checked before a Run starts, and what is said gives nothing away."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from temporal_runs.activities.notifying import letter, recipients, told
from temporal_runs.fields import InvalidSpec
from temporal_runs.notices import Notice
from temporal_runs.project import ProjectSettings
from temporal_runs.spec import RunSpec
from temporal_runs.status import RunResult, State, StateChange
from temporal_runs.store import Store
from temporal_runs.workflows.causes import cause

SPEC = {"project": "p", "command": ["train", "--fast"]}
AT = datetime(2026, 1, 1, tzinfo=UTC)


def ended(state: State, **spec: object) -> RunResult:
    states = [State.QUEUED, State.RUNNING, State.FINISHING, state]
    history = [StateChange(state=one, at=AT + timedelta(seconds=10 * at)) for at, one in enumerate(states)]
    why = cause("exit_code", State.RUNNING, "the command ended with 3", {"last_lines": "in the console"})
    return RunResult(
        run_id="r1",
        execution_id="e1",
        state=state,
        history=history,
        cause=why if state is State.FAILED else None,
        spec={**SPEC, **spec},
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path))


@pytest.mark.parametrize(
    ("notice", "field", "problem"),
    [
        ({}, "notify.0", "either"),
        ({"url": "https://h/x", "email": "a@b"}, "notify.0", "either"),
        ({"url": "ftp://h/x"}, "notify.0.url", "should be a URL"),
        ({"url": "https://me:mine@h/x"}, "notify.0.url", "user or password"),
        ({"url": "https://h/x\r\nX: y"}, "notify.0.url", "should be a URL"),
        ({"email": "ada@example.org\nBcc: eve@example.org"}, "notify.0.email", "match"),
        ({"email": "ada@example.org", "on": ["Lost"]}, "notify.0.on.0", "Failed"),
        ({"email": "ada@example.org", "on": []}, "notify.0.on", "at least 1"),
    ],
)
def test_a_notice_that_cannot_be_meant_is_refused(notice: dict, field: str, problem: str):
    with pytest.raises(InvalidSpec, match=problem) as refused:
        RunSpec.parse({**SPEC, "notify": [notice]})
    assert refused.value.field == field


def test_a_webhook_is_shown_without_what_may_be_a_secret_in_it():
    assert Notice(url="https://hooks.example.org:8443/T0/secret?token=1").shown == "https://hooks.example.org:8443"
    assert Notice(email="ada@example.org").shown == "ada@example.org"


def test_those_of_spec_and_project_are_told_of_their_outcomes_once(store: Store):
    ProjectSettings(
        notify=[Notice(url="https://h/x", on=["Failed"]), Notice(email="ada@example.org"), Notice(url="https://h/y")]
    ).save(store, "p")
    spec = {"notify": [{"url": "https://h/x"}, {"email": "bob@example.org", "on": ["Succeeded"]}]}
    assert [one.to for one in recipients(ended(State.FAILED, **spec), store)] == [
        "https://h/x",
        "ada@example.org",
        "https://h/y",
    ]
    assert [one.to for one in recipients(ended(State.STOPPED), store)] == ["ada@example.org", "https://h/y"]


def test_who_writes_a_wrong_spec_is_told_so(store: Store):
    spec = {"project": 3, "tier": "no such", "notify": [{"email": "ada@example.org"}]}
    assert [one.to for one in recipients(ended(State.FAILED, **spec), store)] == ["ada@example.org"]
    assert recipients(ended(State.FAILED, notify="nonsense", project="../x"), store) == []


def test_what_is_said_holds_neither_variables_nor_the_console():
    result = ended(State.FAILED, env={"TOKEN": "hidden"}, secrets={"KEY": "hidden"}, title="a title")
    said = told(result, "https://ui/1")
    assert json.loads(json.dumps(said))["seconds"] == {"Queued": 10, "Running": 10, "Finishing": 10}
    assert (said["state"], said["project"], said["cause"]["code"]) == ("Failed", "p", "exit_code")
    assert said["links"]["web_ui"] == "https://ui/1"
    for text in (json.dumps(said), letter(result, None)):
        assert "hidden" not in text
        assert "in the console" not in text
    assert "Read the end of the console." in letter(result, None)


@pytest.mark.parametrize(
    "text", ["ada@example.org", "ada@example.org=Failed,Error", "https://h/x?a=b", "https://h/x=Error"]
)
def test_a_notice_is_read_as_it_is_written(text: str):
    assert str(Notice.read(text)) == text
