"""The judgement: what Temporal, the store and the console say of a Run, held against what its command told."""

import json
from collections import Counter
from dataclasses import dataclass

from temporal_runs.client import RunHandle
from temporal_runs.console import Gap
from temporal_runs.status import RunResult, State
from tests.chaos.runs import FILES, Planned
from tests.chaos.stand import Execution, Stand
from tests.fleets import Fleet


@dataclass(frozen=True)
class Case:
    """A Run that is over."""

    planned: Planned
    handle: RunHandle
    project: str
    result: RunResult


async def judge(fleet: Fleet, stand: Stand, case: Case) -> None:
    """Raises AssertionError unless the Run is told as it was, and all of it is there."""
    executions = stand.executions(case.planned.id)
    _judge_outcome(case, executions)
    assert (await case.handle.status()).state is case.result.state, "its status is not its result's"
    await _judge_console(fleet, case, executions)
    _judge_results(fleet, case, executions)


def _judge_outcome(case: Case, executions: list[Execution]) -> None:
    ending, result = case.planned.ending, case.result
    told = (result.state, result.cause and result.cause.code, result.exit_code)
    is_stopped = ending.stop is not None and result.state is State.STOPPED
    if not (is_stopped or _was_lost_after_its_end(case)):
        assert told[:2] == (ending.state, ending.code), result.cause or told
        assert not ending.to_the_end or result.exit_code == ending.exit_code, told
    may_restart = "on_executor_lost" in ending.spec
    most = result.attempt if may_restart else 1
    assert len(executions) <= most, f"executed {len(executions)} times in {result.attempt} attempts: {executions}"
    if ending.to_the_end and not is_stopped:
        assert executions and executions[-1].ended, f"{told}, but it never came to its end: {executions}"


def _was_lost_after_its_end(case: Case) -> bool:
    """Only a command that has not ended is executed anew: results of one that has come back with its executor."""
    cause = case.result.cause
    return "on_executor_lost" in case.planned.ending.spec and (
        cause is not None and cause.code == "executor_lost" and case.result.exit_code == 0
    )


async def _judge_console(fleet: Fleet, case: Case, executions: list[Execution]) -> None:
    printed = {"stdout": b"", "stderr": b""}
    async for piece in case.handle.console():
        assert not isinstance(piece, Gap), "its console has a gap"
        printed[piece.stream] += piece.data
    folder = f"console/{case.planned.id}/{case.result.execution_id}/"
    ends = [json.loads(fleet.store.get(key) or b"") for key in fleet.store.list(folder) if key.endswith("/end")]
    assert sum(end["bytes"] for end in ends) == sum(map(len, printed.values())), f"not all is shown of {ends}"
    if case.planned.ending.name == "no such command":
        return  # what is printed is the init's
    for stream, word in (("stdout", "out"), ("stderr", "err")):
        rest = printed[stream].decode().splitlines()
        for execution in executions:
            most = [f"{word} {n}" for n in range(1, execution.said + 1)]
            if case.planned.ending.suffers == "remove":
                # What its executor had not read yet went with the container.
                most = most[: len(rest)]
            # What ended between a number's telling and its printing has one line less.
            least = most if execution.ended else most[:-1]
            there = most if rest[: len(most)] == most else least
            assert rest[: len(there)] == there, f"{stream} lost, doubled or out of order: {rest} for {execution}"
            rest = rest[len(there) :]
        assert not [line for line in rest if line.startswith(word)], f"{stream} has more than was told: {rest}"


def _judge_results(fleet: Fleet, case: Case, executions: list[Execution]) -> None:
    ending, result = case.planned.ending, case.result
    everything = _own_files(fleet, case, "latest")
    # One that landed on what others had landed meanwhile is in there with its own version and their merge.
    landed = Counter((one.origin, len(one.parents)) for one in fleet.store.log(case.project))
    doubled = {one: number for one, number in landed.items() if f"{case.planned.id}." in one[0] and number > 1}
    assert not doubled, f"landed more than once: {doubled}"
    *lost, last = executions or [None]
    heads = [fleet.store.head(case.project, f"recovered/{case.planned.id}/{n}") for n in range(1, result.attempt + 1)]
    recovered = [files for head in heads if head and (files := _own_files(fleet, case, head))]
    if ending.suffers == "terminate":
        # Its workflow tells of no results: its executor keeps them.
        assert last is None or not last.said or recovered, "what it wrote before it was terminated is not kept"
        return
    if _was_lost_after_its_end(case) and result.output_commit is None and not everything:
        assert last in (None, *executions) and recovered, "its results came back nowhere"
        return
    assert len(recovered) >= len([one for one in lost if one and one.said]), f"{lost} of a lost executor are not kept"
    if result.state is State.STOPPED and ending.stop is False:
        assert result.output_commit is None and not everything, f"not discarded: {everything}"
        return
    if last is None or not last.said:
        return  # nothing has surely been written
    assert result.output_commit, "its results have not come back"
    wanted = {"starts": b"started\n"}
    if last.ended:
        wanted |= {str(i): f"file {i} of {case.planned.id}\n".encode() for i in range(FILES)}
    for there in (_own_files(fleet, case, result.output_commit), everything):
        # One that was ended between its last file and its telling has them, too.
        assert {**there, **wanted} == there and there["starts"] == b"started\n", f"{there} instead of {wanted}"


def _own_files(fleet: Fleet, case: Case, revision: str) -> dict[str, bytes]:
    """What a Run has written, as it is in a version of its project."""
    folder = f"runs/{case.planned.id}/"
    commit = fleet.store.resolve(case.project, revision)
    return {
        path.removeprefix(folder): b"".join(fleet.store.read(case.project, commit, path))
        for entry in fleet.store.entries(case.project, commit)
        if entry.kind == "file" and (path := entry.path.decode()).startswith(folder)
    }
