"""What an image's build and pull printed: shown by `logs`, marked, and never in the way of the command's own bytes."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from temporal_runs.client import RunFailed, RunHandle
from temporal_runs.console import Printed
from temporal_runs.status import State
from tests.conftest import System, eventually
from tests.integration.test_cli import Terminal
from tests.registries import Sick, forget_environments, push_new_image


@pytest.fixture
def terminal(system: System) -> Terminal:
    return Terminal(system)


@pytest.fixture
def new(system: System) -> Iterator[str]:
    """A variable that no image has yet; the images that have it go in the end."""
    name = f"NEW={uuid.uuid4().hex}"
    yield name
    forget_environments(name)


def built(system: System, new: str, *instructions: str) -> dict[str, Any]:
    return {"base": system.image, "instructions": [f"ENV {new}", *instructions]}


async def lines(handle: RunHandle) -> list[tuple[str, str]]:
    """Phase and text of each line."""
    found: list[tuple[str, str]] = []
    async for phase, piece in handle.phase_console():
        assert isinstance(piece, Printed)
        found.append((phase, piece.data.decode().removesuffix("\n")))
    return found


async def test_logs_shows_what_the_build_printed_marked_and_the_commands_bytes_as_they_are(
    system: System, terminal: Terminal, new: str
):
    environment = built(system, new, "RUN echo first && echo second")
    handle = await system.start("printf 'its own\\nbytes'", environment=environment)
    result = await handle.result()
    shown = await terminal.types("logs", handle.id)
    assert shown.stdout == "its own\nbytes"
    marked = shown.stderr.splitlines()
    assert all(line.startswith("build | ") for line in marked)
    assert marked.index("build | first") < marked.index("build | second")
    assert "is built by executor" in marked[0]
    assert f"build | done: {result.image}" in marked[-1]
    assert any("RUN echo first && echo second" in line for line in marked)
    # Of one phase, there are its lines as they are.
    alone = await terminal.types("logs", "--phase", "build", handle.id)
    assert [f"build | {line}" for line in alone.stdout.splitlines()] == marked
    assert alone.stderr == ""
    for selection in (["--phase", "run"], ["--tail", "9"], ["--stdout"]):
        chosen = await terminal.types("logs", *selection, handle.id)
        assert (chosen.stdout, chosen.stderr) == ("its own\nbytes", "")
    document = json.loads((await terminal.types("logs", "--json", handle.id)).stdout)
    assert (document["console"], document["bytes"]) == ("its own\nbytes", 13)
    assert document["build"] == alone.stdout
    assert "pull" not in document


async def test_a_failed_build_shows_its_last_lines_and_how_it_ended(system: System, terminal: Terminal, new: str):
    handle = await system.start("true", environment=built(system, new, "RUN echo about to fail; exit 7"))
    with pytest.raises(RunFailed) as failure:
        await handle.result()
    assert failure.value.result.build_console
    shown = await terminal.types("logs", handle.id)
    assert shown.stdout == ""
    assert "build | about to fail" in shown.stderr.splitlines()
    assert "failed: line 3 failed: RUN echo about to fail; exit 7" in shown.stderr.splitlines()[-1]


async def test_runs_that_share_a_build_show_it_both_and_one_that_found_it_built_shows_none(system: System, new: str):
    environment = built(system, new, "RUN echo shared; sleep 2")
    handles = [await system.start("true", environment=environment) for _ in range(2)]
    first, second = [await handle.result() for handle in handles]
    assert first.build_console == second.build_console
    assert first.build is None
    told = await lines(handles[0])
    assert ("build", "shared") in told
    assert await lines(handles[1]) == told
    later = await system.start("true", environment=environment)
    assert (await later.result()).build_console is None
    assert await lines(later) == []


async def test_a_build_is_followed_while_it_is_under_way(system: System, terminal: Terminal, new: str):
    instruction = "RUN echo begun; sleep 3; echo ended"
    handle = await system.start("echo its own", environment=built(system, new, instruction))
    follower = terminal.begins("logs", "-f", handle.id)
    assert follower.stderr
    while line := await asyncio.to_thread(follower.stderr.readline):
        if line == b"build | begun\n":
            break
    assert (await handle.status()).state is State.BUILDING
    stdout, stderr = await asyncio.to_thread(follower.communicate)
    assert stdout == b"its own\n"
    assert b"build | ended\n" in stderr
    assert b"build | done: " in stderr


async def test_a_pull_shows_its_layers_once_each_state(system: System, terminal: Terminal, sick: Sick):
    reference = push_new_image(sick.address, layers=3, base=system.image)
    handle = await system.start("echo its own", environment={"image": reference})
    result = await handle.result()
    told = await lines(handle)
    assert {phase for phase, _ in told} == {"pull"}
    texts = [text for _, text in told]
    assert len([text for text in texts if text.endswith(": pull complete")]) == 3
    assert len(texts) == len(set(texts))
    assert texts[-1].startswith(f"done: {result.image}")
    shown = await terminal.types("logs", handle.id)
    assert shown.stdout == "its own\n"
    assert [line.removeprefix("pull  | ") for line in shown.stderr.splitlines()] == texts
    assert await system.console(handle) == b"its own\n"


async def test_a_pull_that_fails_says_why(system: System, sick: Sick):
    handle = await system.start("true", environment={"image": f"{sick.address}/there-is-none:1"})
    with pytest.raises(RunFailed):
        await handle.result()
    assert (await lines(handle))[-1][1].startswith("failed: ")


async def test_a_store_that_is_away_while_a_build_prints_loses_no_line(system: System, new: str):
    handle = await system.start(
        "true", environment=built(system, new, "RUN echo begun; sleep 3; echo middle; sleep 6; echo ended")
    )
    await eventually(lambda: _says(handle, "begun"))
    with system.store_away():
        await eventually(lambda: _says(handle, "middle"))
    assert (await handle.result()).state is State.SUCCEEDED
    texts = [text for _, text in await lines(handle)]
    assert [text for text in texts if text in ("begun", "middle", "ended")] == ["begun", "middle", "ended"]


async def test_a_store_that_is_away_as_a_build_ends_fails_nothing(system: System, new: str):
    handle = await system.start("true", environment=built(system, new, "RUN echo begun; sleep 4; echo ended"))
    await eventually(lambda: _says(handle, "begun"))
    with system.store_away():
        await eventually(lambda: _has_left_its_build(handle))
    assert (await handle.result()).state is State.SUCCEEDED


async def _says(handle: RunHandle, text: str) -> bool:
    return ((await handle.status()).progress or {}).get("text") == text


async def _has_left_its_build(handle: RunHandle) -> bool:
    return (await handle.status()).state is not State.BUILDING
