"""Runs that were: found by what they were, compared, and started again."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError

from temporal_runs.client import RunFailed, RunHandle, RunsError, Wanted
from temporal_runs.comparing import differences
from temporal_runs.console import ConsoleWriter
from temporal_runs.status import State
from tests.conftest import System, eventually
from tests.integration.test_cli import Terminal, terminal

__all__ = ["terminal"]


async def test_runs_are_found_by_what_they_are_and_how_they_ended(system: System):
    owner = f"O'Hara {uuid.uuid4().hex[:8]}"
    good = await system.start("true", owner=owner, tags=["nightly", "it's"])
    bad = await system.start("exit 3", owner=owner)
    await good.result()
    with pytest.raises(RunFailed):
        await bad.result()
    begun = (await good.status()).history[0].at

    async def found(**wanted: object) -> set[str]:
        return {run.run_id for run in await system.runs.list(Wanted(owner=owner, **wanted))}

    await eventually(lambda: found(cause="exit_code"))
    assert await found() == {good.id, bad.id}
    assert await found(state=State.SUCCEEDED) == {good.id}
    assert await found(cause="exit_code") == {bad.id}
    assert await found(tags=("nightly", "it's")) == {good.id}
    assert await found(tier="small") == set()
    assert await found(since=datetime.now(UTC) + timedelta(hours=1)) == set()
    assert await found(until=begun) == set()
    assert await found(since=begun - timedelta(seconds=1)) == {good.id, bad.id}
    first = await system.runs.page(Wanted(owner=owner), 1)
    second = await system.runs.page(Wanted(owner=owner), 1, first.next)
    assert {run.run_id for run in (*first.runs, *second.runs)} == {good.id, bad.id}
    with pytest.raises(RunsError, match="earlier page"):
        await system.runs.page(Wanted(), 1, "?")
    with pytest.raises(RunsError, match="is not a state"):
        await found(state="Sleeping")


async def test_a_run_is_started_again_on_what_there_is_now_or_on_the_very_same(system: System):
    first = await system.start("cat data.txt; echo 4 >> data.txt", env={"A": "1"})
    result = await first.result()
    again = await system.runs.rerun(first.id)
    assert (await again.result()).input_commit == result.output_commit
    assert await system.console(again) == b"1\n2\n3\n4\n"
    same = await system.runs.rerun(first.id, same_inputs=True)
    repeated = await same.result()
    assert (repeated.input_commit, repeated.image) == (result.input_commit, result.image)
    assert await system.console(same) == b"1\n2\n3\n"
    names = {name for name, _, _ in differences(result, repeated)}
    assert "input_commit" not in names
    assert "spec.revision" in names


async def test_the_very_same_is_read_of_other_projects_too(terminal: Terminal, system: System):
    other = system.project()
    first = await system.start(f"cat imports/{other}/data.txt; echo more > more.txt", inputs=[{"project": other}])
    result = await first.result()
    assert [(one.project, one.commit) for one in result.inputs] == [(other, system.store.head(other))]
    await (await system.start("echo 4 >> data.txt", project=other)).result()
    same = await system.runs.rerun(first.id, same_inputs=True)
    assert (await same.result()).inputs == result.inputs
    assert await system.console(same) == b"1\n2\n3\n"
    newest = await system.runs.rerun(first.id)
    await newest.result()
    assert await system.console(newest) == b"1\n2\n3\n4\n"
    compared = await terminal.types("compare", first.id, newest.id)
    hint = compared.stderr.strip().partition("Their files: temporal-runs ")[2]
    assert "--project" in hint
    assert "more.txt" in (await terminal.types(*hint.split())).stdout


async def test_a_terminated_run_is_known_after_temporal_has_forgotten_it(terminal: Terminal, system: System):
    handle = await system.begun("true")
    execution = (await handle.status()).execution_id
    record = f"runs/{handle.id}/{execution}.json"
    await system.client.get_workflow_handle(handle.id).terminate("by hand")
    await eventually(lambda: system.store.get(record))
    await _forgotten(system, handle)
    told = await handle.status()
    assert told.cause
    assert (told.state, told.cause.code, told.execution_id) == (State.ERROR, "terminated", execution)
    assert (await terminal.types("logs", handle.id)).stdout == "begun\n"
    system.store.delete(record)
    assert (await terminal.types("logs", handle.id)).stdout == "begun\n"
    refused = await terminal.types("status", handle.id)
    assert f"temporal-runs logs {handle.id}" in refused.stderr


async def test_what_is_missing_in_a_console_is_told_wherever_it_is_shown(terminal: Terminal, system: System):
    handle = await system.start("echo whatever")
    execution = (await handle.result()).execution_id
    for key in system.store.list(f"console/{handle.id}/"):
        system.store.delete(key)
    # Only an engine that has thrown its log away loses any: the same console, as it is written then.
    writing = ConsoleWriter(system.store, handle.id, execution, 1)
    writing.write("stdout", 0, b"one\n")
    writing.write("stdout", 0, b"three\n", after_loss=True)
    writing.close()
    shown = await terminal.types("logs", handle.id)
    assert (shown.returncode, shown.stdout) == (0, "one\nthree\n")
    assert "unknown number of bytes lost" in shown.stderr
    code, screen = await terminal.types_on_a_screen("watch", handle.id)
    assert code == 0
    assert screen.index("one\r\n") < screen.index("unknown number of bytes lost") < screen.index("three\r\n")
    counted = json.loads((await terminal.types("logs", handle.id, "--json")).stdout)
    assert (counted["bytes"], counted["losses"], counted["not_kept"]) == (10, 1, 0)
    system.store.delete(system.store.list(f"console/{handle.id}/")[0])
    refused = await terminal.types("logs", handle.id)
    assert refused.returncode
    assert "its last 10 bytes are not in the store" in refused.stderr
    assert "its last 10 bytes" in (await terminal.types_on_a_screen("watch", handle.id))[1]


async def _forgotten(system: System, handle: RunHandle) -> None:
    """What Temporal does by itself when its retention is over."""
    service = system.client.workflow_service
    execution = WorkflowExecution(workflow_id=handle.id)
    await service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(namespace=system.client.namespace, workflow_execution=execution)
    )

    async def is_gone() -> bool:
        try:
            await system.client.get_workflow_handle(handle.id).describe()
        except RPCError:
            return True
        return False

    await eventually(is_gone)


async def test_the_terminal_tells_lists_compares_and_repeats(terminal: Terminal, system: System):
    tag = f"t-{uuid.uuid4().hex[:8]}"
    one = await system.start("true", tags=[tag])
    other = await system.start("exit 3", tags=[tag])
    await one.result()
    with pytest.raises(RunFailed):
        await other.result()
    await eventually(lambda: _closed(system, tag))
    listed = await terminal.types("list", "--tag", tag, "--since", "1h", "--limit", "1")
    (page,) = [line.partition("--page ")[2] for line in listed.stderr.splitlines() if line.startswith("More: ")]
    following = await terminal.types("list", "--tag", tag, "--since", "1h", "--limit", "1", "--page", page)
    assert {one.id in listed.stdout, one.id in following.stdout} == {True, False}
    assert {other.id in listed.stdout, other.id in following.stdout} == {True, False}
    told = await terminal.types("history", other.id)
    assert [line.split()[0] for line in told.stdout.splitlines()[1:]][-2:] == ["Finishing", "Failed"]
    compared = json.loads((await terminal.types("compare", one.id, other.id, "--json")).stdout)
    assert compared["exit_code"] == {"a": 0, "b": 3}
    assert compared["cause.code"] == {"a": None, "b": "exit_code"}
    assert "exit_code" in (await terminal.types("compare", one.id, other.id)).stdout
    again = await terminal.types("rerun", one.id, "--same-inputs")
    assert (await system.runs.get(again.stdout.strip()).result()).state is State.SUCCEEDED
    refused = await terminal.types("list", "--since", "yesterday")
    assert refused.returncode == 2
    assert "--since yesterday" in refused.stderr


async def _closed(system: System, tag: str) -> bool:
    return all(run.ended_at for run in await system.runs.list(Wanted(tags=(tag,))))
