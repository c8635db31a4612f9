"""A Run lives its whole life: real server, real engine, real store."""

import asyncio

import pytest

from temporal_runs.client import RunFailed, RunStopped
from temporal_runs.status import State
from tests.conftest import System, eventually


def states(facts) -> list[State]:
    return [change.state for change in facts.history]


async def test_a_run_goes_through_its_states_and_brings_its_results_back(system: System):
    project = system.project({"data.txt": "1\n2\n3\n", "old.txt": "x", "keep/deep.txt": "y"})
    handle = await system.start(
        "echo hello; cat data.txt > copy.txt; echo 4 >> data.txt; rm old.txt", project=project, title="a first Run"
    )
    result = await handle.result()
    assert states(result) == [
        State.QUEUED,
        State.SCHEDULED,
        State.PREPARING,
        State.RUNNING,
        State.FINISHING,
        State.SUCCEEDED,
    ]
    assert (result.results.added, result.results.changed, result.results.deleted) == (1, 1, 1)
    assert result.exit_code == 0
    assert result.executor == system.executor_id
    assert system.files(project) == {
        "data.txt": b"1\n2\n3\n4\n",
        "copy.txt": b"1\n2\n3\n",
        "keep/deep.txt": b"y",
    }
    assert result.output_commit == system.store.head(project)
    assert await system.console(handle) == b"hello\n"


async def test_watch_tells_every_state_once(system: System):
    handle = await system.start("true")
    told = [status.state async for status in handle.watch()]
    assert told == states(await handle.result())


async def test_the_console_is_the_commands_own_bytes(system: System):
    handle = await system.start(r"printf 'a\377\000b\r\n'; seq 1 20000")
    result = await handle.result()
    console = await system.console(handle)
    assert console.startswith(b"a\xff\x00b\r\n")
    assert console.endswith(b"19999\n20000\n")
    assert result.state is State.SUCCEEDED


async def test_logs_follow_a_command_while_it_runs(system: System):
    handle = await system.start("echo ready; while [ ! -e go ]; do sleep 0.05; done; echo done")
    lines = handle.logs(follow=True)
    assert await anext(lines) == b"ready\n"
    assert (await handle.status()).state is State.RUNNING
    await handle.stop()
    with pytest.raises(RunStopped):
        await handle.result()


async def test_results_come_back_after_a_users_failure(system: System):
    project = system.project()
    handle = await system.start("echo partial > out.txt; exit 3", project=project)
    with pytest.raises(RunFailed) as failure:
        await handle.result()
    assert failure.value.result.cause.code == "exit_code"
    assert failure.value.result.exit_code == 3
    assert system.files(project)["out.txt"] == b"partial\n"


async def test_two_runs_that_end_at_once_both_land(system: System):
    project = system.project({"base.txt": "base"})
    handles = [await system.start(f"echo {name} > {name}.txt", project=project) for name in "abcd"]
    await asyncio.gather(*(handle.result() for handle in handles))
    assert set(system.files(project)) == {"base.txt", "a.txt", "b.txt", "c.txt", "d.txt"}


async def test_a_conflict_keeps_both_and_is_reported(system: System):
    project = system.project({"shared.txt": "base"})
    base = system.store.head(project)
    first = await (await system.start("echo first > shared.txt", project=project, revision=base)).result()
    second = await (await system.start("echo second > shared.txt", project=project, revision=base)).result()
    files = system.files(project)
    assert first.results.conflicts == []
    assert files["shared.txt"] == b"first\n"
    assert files[f"shared.txt.conflict-{second.run_id}"] == b"second\n"
    assert second.results.conflicts


async def test_links_stay_links_and_odd_files_are_skipped_and_named(system: System):
    project = system.project({".runignore": "*.tmp\n", "a.txt": "a"})
    handle = await system.start("ln -s /etc/shadow secret; mkfifo pipe; touch x.tmp", project=project)
    result = await handle.result()
    entries = {e.path: e for e in system.store.entries(project, result.output_commit)}
    assert entries[b"secret"].kind == "link"
    assert b"x.tmp" not in entries
    assert b"pipe" not in entries
    assert any("pipe" in note for note in result.results.skipped)


async def test_the_container_knows_its_run_and_holds_no_privilege(system: System):
    handle = await system.start("env; id -u; cat /proc/self/status", owner="ada", title="who am I")
    await handle.result()
    console = (await system.console(handle)).decode()
    status = await handle.status()
    for line in (
        f"RUN_ID={handle.id}",
        "RUN_OWNER=ada",
        "RUN_TIER=tiny",
        "RUN_WORKING_DIR=/mnt",
        f"DOMINO_RUN_ID={handle.id}",
        f"DOMINO_PROJECT_NAME={status.spec['project']}",
        "DOMINO_STARTING_USERNAME=ada",
        "NoNewPrivs:\t1",
        "CapEff:\t0000000000000000",
    ):
        assert line in console
    assert "\n1000\n" in console


async def test_secrets_reach_the_command_and_nothing_else(system: System):
    folder = system.settings.secrets_folder
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text("hunter2-very-secret\n")
    handle = await system.start("echo $TOKEN; exit 1", secrets={"TOKEN": "token"})
    with pytest.raises(RunFailed):
        await handle.result()
    assert await system.console(handle) == b"hunter2-very-secret\n"
    history = await system.client.get_workflow_handle(handle.id).fetch_history()
    assert "hunter2" not in history.to_json()


async def test_an_id_that_exists_gives_that_run(system: System):
    spec = system.spec("true")
    first = await system.runs.start(spec, id="same-id")
    second = await system.runs.start(spec, id="same-id")
    assert (await first.result()).execution_id == (await second.result()).execution_id
    third = await system.runs.start(spec, id="same-id")
    assert (await third.result()).execution_id == (await first.result()).execution_id


async def test_a_built_environment_is_built_once(system: System):
    environment = {"base": system.image, "instructions": [f"ENV BUILT={system.executor_id}", "RUN echo x > /built"]}
    command = "echo $BUILT; cat /built"
    first = await system.start(command, environment=environment)
    result = await first.result()
    assert State.BUILDING in states(result)
    assert (await system.console(first)).decode() == f"{system.executor_id}\nx\n"
    again = await (await system.start(command, environment=environment)).result()
    assert State.BUILDING not in states(again)
    assert again.image == result.image


async def test_the_final_status_is_kept_in_the_store(system: System):
    handle = await system.start("true")
    result = await handle.result()
    record = system.store.get(f"runs/{handle.id}/{result.execution_id}.json")
    assert type(result).model_validate_json(record) == result


async def test_a_waiting_run_knows_its_place(system: System):
    first = await system.start("true", tier="huge")
    second = await system.start("true", tier="huge")
    urgent = await system.start("true", tier="huge", priority=1)

    async def all_know_theirs() -> bool:
        queues = [(await handle.status()).queue for handle in (first, second, urgent)]
        return [queue and queue.position for queue in queues] == [2, 3, 1]

    # Temporal's visibility follows its Runs by a moment.
    await eventually(all_know_theirs)
    assert (await first.status()).queue.executors == 0
    for handle in (first, second, urgent):
        await handle.stop()


async def test_status_shows_what_a_running_command_last_printed(system: System):
    handle = await system.start("echo ready; while true; do sleep 0.05; done", stop_grace=0)

    async def last_lines() -> bool:
        return ((await handle.status()).progress or {}).get("last_lines") == "ready"

    await eventually(last_lines)
    await handle.stop()


async def test_runs_wait_for_room_and_all_get_it(system: System):
    handles = [await system.start("true") for _ in range(12)]
    for handle in handles:
        assert (await handle.result()).state is State.SUCCEEDED


async def test_the_web_ui_is_told_what_a_run_is_and_how_it_went(system: System):
    handle = await system.start("echo hello; exit 3", title="a try")
    with pytest.raises(RunFailed):
        await handle.result()
    workflow = system.client.get_workflow_handle(handle.id)
    page = (await workflow.query("__temporal_workflow_metadata")).current_details
    assert page.startswith("## Failed")
    for part in ("**exit_code** (user)", "hello", "- **Running**", f"temporal-runs logs {handle.id}"):
        assert part in page
    history = await workflow.fetch_history()
    summaries = [
        event.user_metadata.summary.data.decode() for event in history.events if event.user_metadata.summary.data
    ]
    assert '"a try"' in summaries
    assert any("waits for tier tiny since" in one for one in summaries)
