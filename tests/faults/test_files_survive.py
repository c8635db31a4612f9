"""An executor that goes down while it brings files loses none, and shows a command no others than its own."""

import uuid

from temporal_runs.client import RunHandle
from temporal_runs.status import State
from tests.conftest import eventually
from tests.fleets import Fleet

MANY = 20_000
"""Files: what is killed is at work on them for a second and more."""


async def until(handle: RunHandle, state: State) -> None:
    async def reached() -> bool:
        return (await handle.status()).state is state

    await eventually(reached)


async def test_files_are_brought_anew_after_the_machine_went_down_before_the_command_had_begun(fleet: Fleet):
    project = fleet.project()
    instructions = [f"RUN sleep 5; echo {uuid.uuid4()}"]
    handle = await fleet.start(
        "cat data.txt", project=project, environment={"base": fleet.image, "instructions": instructions}
    )
    await until(handle, State.BUILDING)
    fleet.executor.kill()
    # What an executor does itself after a power cut, to what it finds was not on disk.
    for record in (fleet.folder(fleet.executor_id) / "cache" / "layers").glob("*.json"):
        record.unlink()
    fleet.executor.start()
    result = await handle.result()
    assert (result.state, result.attempt) == (State.SUCCEEDED, 2)
    assert await fleet.console(handle) == b"1\n2\n3\n"


async def test_an_executor_is_killed_while_it_brings_files(fleet: Fleet):
    project = fleet.project({f"{n % 100}/{n}": f"{n}" for n in range(MANY)})
    workspaces = fleet.folder(fleet.executor_id) / "workspaces"
    handle = await fleet.start("cat 99/*99 | wc -c; find . -type f | wc -l", project=project)
    (place,) = await eventually(lambda: list(workspaces.glob("[!.]*")))
    fleet.executor.kill()
    assert not (place / "record.json").exists(), "it was not done yet"
    fleet.executor.start()
    assert (await handle.result()).attempt == 1
    size = sum(len(str(n)) for n in range(99, MANY, 100))
    assert await fleet.console(handle) == b"%d\n%d\n" % (size, MANY)


async def test_an_executor_is_killed_while_it_takes_results(fleet: Fleet):
    project = fleet.project()
    handle = await fleet.start(f"mkdir d; cd d; for n in $(seq {MANY}); do echo $n > $n; done", project=project)
    await until(handle, State.FINISHING)
    fleet.executor.kill()
    assert len(fleet.store.log(project)) == 1, "it was not done yet"
    fleet.executor.start()
    result = await handle.result()
    assert (result.state, result.results.added) == (State.SUCCEEDED, MANY)
    assert [commit.parents for commit in fleet.store.log(project)] == [(result.input_commit,), ()]
    assert b"".join(fleet.store.read(project, result.output_commit, f"d/{MANY}")) == b"%d\n" % MANY
