"""How an ending is judged."""

import pytest

from temporal_runs.status import State
from temporal_runs.steps import Exit
from temporal_runs.workflows.causes import CAUSES, cause, judge

USERS = {
    "exit_code",
    "signal",
    "out_of_memory",
    "time_limit",
    "command_not_found",
    "disk_limit",
    "build_failed",
    "image_not_found",
    "invalid_spec",
}


def test_the_table_is_the_designs():
    assert {code for code, row in CAUSES.items() if row.blame == "user"} == USERS
    assert len(CAUSES) == 20


@pytest.mark.parametrize(
    ("exit", "code"),
    [
        (Exit(exit_code=0), None),
        (Exit(exit_code=3), "exit_code"),
        (Exit(exit_code=139), "signal"),
        (Exit(exit_code=137, out_of_memory=True), "out_of_memory"),
        (Exit(exit_code=1, out_of_memory=True), "out_of_memory"),
        (Exit(exit_code=0, out_of_memory=True), None),
        (Exit(exit_code=137), "container_killed"),
        (Exit(exit_code=143, killed_by_engine="15"), "container_killed"),
        (Exit(exit_code=127, last_lines="sh: nope: not found"), "command_not_found"),
        (Exit(exit_code=127), "exit_code"),
        (Exit(exit_code=137, ended_by="time_limit"), "time_limit"),
        (Exit(exit_code=0, ended_by="time_limit"), "time_limit"),
        (Exit(exit_code=137, ended_by="stop"), None),
        (Exit(exit_code=None), "container_killed"),
        (Exit(exit_code=255, engine_lost=True), "docker_unavailable"),
    ],
)
def test_an_exit_is_judged_by_its_evidence(exit: Exit, code: str | None):
    judged = judge(exit, time_limit=5)
    assert (judged and judged.code) == code


def test_what_cannot_be_told_is_internal_and_never_the_users():
    unknown = cause("RuntimeError", State.PREPARING, "boom")
    assert unknown.code == "internal"
    assert unknown.blame == "platform"
    assert unknown.evidence["code"] == "RuntimeError"
