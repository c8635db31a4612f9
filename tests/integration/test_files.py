"""What a command is given to read and write beside its project's own files, and what becomes of what it wrote."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import docker
import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_runs.client import RunFailed, RunHandle
from temporal_runs.project import ProjectSettings
from temporal_runs.settings import Settings
from temporal_runs.status import RunResult, State
from tests.conftest import System, eventually, running


async def failed(handle: RunHandle) -> RunResult:
    with pytest.raises(RunFailed) as failure:
        await handle.result()
    return failure.value.result


async def done(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0


async def test_inputs_of_other_projects_can_be_read_and_leave_no_trace(system: System):
    data = system.project({"raw/a.csv": "1\n", "raw/deep/b.csv": "2\n", "other": "3\n"})
    first = system.store.resolve(data, "latest")
    model = system.project({"weights": "w\n"})
    project = system.project()
    command = (
        f"cat imports/{data}/raw/a.csv imports/{data}/raw/deep/b.csv imports/{model}/weights; ls imports/{data}; "
        f"touch imports/{model}/x 2>&1; echo made > made"
    )
    inputs = [{"project": data, "revision": first, "path": "raw"}, {"project": model}]
    handle = await system.start(command, project=project, inputs=inputs)
    result = await handle.result()
    console = await system.console(handle)
    assert console.startswith(b"1\n2\nw\nraw\n")
    assert console.endswith(b"Read-only file system\n")
    assert (result.results.added, result.results.deleted) == (1, 0)
    assert {entry.path for entry in system.store.entries(project, result.output_commit)} == {b"data.txt", b"made"}


async def test_an_input_that_there_is_not_is_named(system: System):
    data = system.project()
    for one, said in (
        ({"project": "nowhere"}, "no project nowhere"),
        ({"project": data, "revision": "f" * 64}, "no commit"),
        ({"project": data, "path": "gone"}, "gone is not in"),
        ({"project": data, "path": "data.txt"}, "is a file, not a folder"),
    ):
        result = await failed(await system.start("true", inputs=[one]))
        assert result.cause.code == "invalid_spec"
        assert said in result.cause.message


async def test_a_command_runs_as_the_user_that_its_spec_names_and_owns_its_files(system: System):
    project = system.project({"a": "1", "d/b": "2"})
    handle = await system.start("id -u; echo 2 >> a; touch d/c; ls -ln a", project=project, user=4711)
    result = await handle.result()
    assert (await system.console(handle)).split()[:4] == [b"4711", b"-rw-r--r--", b"1", b"4711"]
    assert (result.results.added, result.results.changed) == (1, 1)
    handle = await system.start("id -u; cat a; echo 3 >> a", project=project)
    await handle.result()
    assert await system.console(handle) == b"1000\n12\n"


async def test_a_link_of_the_project_where_an_input_is_to_be_mounted_leads_nowhere(system: System):
    data = system.project({"a": "1\n"})
    project = f"{data}-linked"
    folder = system.settings.home / project
    folder.mkdir()
    (folder / "imports").symlink_to("/etc")
    system.store.push(project, folder, base=None, author="tester", message="first")
    handle = await system.start(f"cat imports/{data}/a", project=project, inputs=[{"project": data}])
    await handle.result()
    assert await system.console(handle) == b"1\n"
    [entry] = system.store.entries(project, system.store.resolve(project, "latest"))
    assert (entry.path, entry.link) == (b"imports", b"/etc")


async def test_a_folder_of_the_machine_is_mounted_where_the_tier_has_it(system: System):
    handle = await system.start(
        "cat /datasets/genomes/human; touch /datasets/genomes/x", tier="boxed", mounts=["genomes"]
    )
    assert (await failed(handle)).cause.code == "exit_code"
    assert b"ACGT\n" in await system.console(handle)
    result = await failed(await system.start("true", tier="tiny", mounts=["genomes"]))
    assert (result.cause.code, "it has none" in result.cause.message) == ("invalid_spec", True)


async def test_a_command_that_fills_its_disk_is_told_so_and_keeps_what_it_wrote(system: System):
    project = system.project()
    command = "echo kept > kept; dd if=/dev/zero of=big bs=1M count=20; exit 1"
    handle = await system.start(command, tier="boxed", project=project)
    result = await failed(handle)
    assert result.cause.code == "disk_limit"
    assert b"No space left on device" in await system.console(handle)
    assert system.files(project)["kept"] == b"kept\n"
    # Within its limit all is well, on a disk that is new.
    assert (await (await system.start("head -c 5000000 /dev/zero > big", tier="boxed")).result()).exit_code == 0


async def test_two_that_change_the_same_file_keep_both(system: System):
    project = system.project({"model": "old\n", "log": "old\n"})
    one, two = await asyncio.gather(
        *(system.begun(f"echo {n} > model; echo {n} > only-{n}", project=project) for n in ("one", "two"))
    )
    for handle in (one, two):
        system.let_go(handle)
        await handle.result()
    result = await two.result()
    assert result.results.conflicts == ["model"]
    files = system.files(project)
    assert files["model"] == b"one\n"
    assert files[f"model.conflict-{two.id}"] == b"two\n"
    assert (files["only-one"], files["only-two"]) == (b"one\n", b"two\n")


@pytest.mark.parametrize(
    "policy, said", [("branch", "by the spec"), ("last_wins", "by the spec"), ("last_wins", "by the project")]
)
async def test_a_conflict_is_settled_as_the_spec_says_or_else_the_project(system: System, policy: str, said: str):
    project = system.project({"model": "old\n"})
    if said == "by the project":
        ProjectSettings(on_conflict=policy).save(system.store, project)
    given = {"on_conflict": policy} if said == "by the spec" else {}
    one, two = await asyncio.gather(
        *(system.begun(f"echo {n} > model", project=project, **given) for n in ("one", "two"))
    )
    for handle in (one, two):
        system.let_go(handle)
        await handle.result()
    results = (await two.result()).results
    assert results.conflicts == ["model"]
    assert results.branch == ("main" if policy == "last_wins" else f"runs/{two.id}")
    assert system.files(project)["model"] == (b"two\n" if policy == "last_wins" else b"one\n")
    assert system.files(project, system.store.resolve(project, results.branch))["model"] == b"two\n"


async def test_results_on_a_branch_leave_main_alone(system: System):
    project = system.project()
    handle = await system.start("echo made > made", project=project, results="branch")
    result = await handle.result()
    assert result.results.branch == f"runs/{handle.id}"
    assert "made" not in system.files(project)
    assert system.files(project, result.output_commit)["made"] == b"made\n"
    following = await system.start("cat made", project=project, revision=f"runs/{handle.id}")
    assert (await following.result()).input_commit == result.output_commit
    assert await system.console(following) == b"made\n"
    unknown = await failed(await system.start("true", project=project, revision="runs/another"))
    assert unknown.cause.code == "invalid_spec"


async def test_the_next_run_on_the_executor_sees_what_the_last_one_left(system: System):
    project = system.project({"a": "1\n", "b": "1\n"})
    await (await system.start("echo 2 > a; rm b; mkdir d; echo 3 > d/c", project=project)).result()
    handle = await system.start("cat a d/c; ls", project=project)
    assert (await handle.result()).state is State.SUCCEEDED
    assert await system.console(handle) == b"2\n3\na\nd\n"


async def test_where_no_overlay_can_be_mounted_files_are_copied(
    server: WorkflowEnvironment, image: str, make_settings: Callable[..., Settings]
):
    settings = make_settings(lease=20, task_queue="copies")
    executors = settings.home / "executors"
    executors.mkdir()
    # It takes no attributes, which an overlay's changes would need.
    await done("mount", "-t", "ramfs", "none", str(executors))
    try:
        async with running(server.client, settings, image, {"alone": 1}) as system:
            project = system.project({"a": "1", "d/b": "2"})
            first = await system.start("cat a d/b; echo 3 > d/c; rm a", project=project, tier="alone")
            assert (await first.result()).results.deleted == 1
            handle = await system.start("cat d/b d/c; ls; mount", project=project, tier="alone")
            await handle.result()
            console = await system.console(handle)
            assert console.startswith(b"23\nd\n")
            assert b" /mnt ramfs " in console.replace(b" on /mnt type ramfs", b" /mnt ramfs")
            data = system.project({"a": "1\n"})
            taken = system.project({"imports": "a file\n"})
            given = {"tier": "alone", "inputs": [{"project": data}]}
            handle = await system.start(f"cat imports/{data}/a", project=project, **given)
            assert (await handle.result()).results.added == 0
            assert await system.console(handle) == b"1\n"
            cause = (await failed(await system.start("true", project=taken, **given))).cause
            assert (cause.code, cause.stage) == ("invalid_spec", State.PREPARING)
            assert f"inputs: imports/{data} is to be mounted, and imports is not a folder" in cause.message
    finally:
        await done("umount", "-l", str(executors))


async def test_nothing_of_a_run_stays_mounted_or_held(system: System):
    await (await system.start("true", tier="boxed")).result()
    folder = system.settings.home / "executors" / system.executor_id / "workspaces"
    await eventually(lambda: not [path for path in folder.iterdir() if path.name != ".trash"])
    assert docker.from_env().api.volumes(filters={"label": f"temporal-runs.executor={folder.parent}"})["Volumes"] in (
        None,
        [],
    )
    assert str(folder) not in await asyncio.to_thread(Path("/proc/mounts").read_text)
