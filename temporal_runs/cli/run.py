"""`temporal-runs run`: the current folder's files, a command, and everything until its end."""

import json
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from temporal_runs.cli import exits

if TYPE_CHECKING:
    from temporal_runs.cli import folders
    from temporal_runs.client import RunHandle
    from temporal_runs.settings import Settings
    from temporal_runs.spec import RunSpec
    from temporal_runs.status import RunStatus
    from temporal_runs.store import Pushed, Store


def run(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, with its options.")],
    project: Annotated[str | None, typer.Option(help="The project. [default: the folder's name]")] = None,
    tier: Annotated[str | None, typer.Option(help="The hardware tier. [default: small]")] = None,
    image: Annotated[str | None, typer.Option(help="The Docker image to run in.")] = None,
    environment: Annotated[
        Path | None, typer.Option(help="JSON or TOML file: image, or base and instructions.")
    ] = None,
    env: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A variable; may be repeated.")] = None,
    title: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    owner: Annotated[str | None, typer.Option(help="Whose it is. [default: your login name]")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds the command may take.")] = None,
    id: Annotated[str | None, typer.Option(help="The Run's id; one that exists gives that Run.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the id and return at once.")] = False,
    pull: Annotated[bool, typer.Option("--pull", help="Bring the results into the folder afterwards.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; all else to stderr.")] = False,
) -> int:
    """Push the current folder, run a command on it, follow it to its end. The exit code says how it ended."""
    from temporal_runs import search_attributes
    from temporal_runs.cli import files, output, session
    from temporal_runs.settings import Settings
    from temporal_runs.spec import RunSpec

    if detach and pull:
        raise exits.UsageProblem("--pull waits for the results, --detach does not wait: leave one of them out")
    settings = Settings.load()
    folder = session.readable_folder(Path())
    if project is None:
        session.require_modest(folder)
    given = {
        "project": session.project_name(project, folder),
        "command": command,
        "tier": tier,
        "environment": _environment(image, environment),
        "env": _variables(env or []),
        "title": title,
        "owner": owner or files.login_name(),
        "time_limit": time_limit,
    }
    spec = RunSpec.parse({name: value for name, value in given.items() if value is not None})
    session.require_tier(settings, spec)
    store = session.open_store(settings)
    talk = output.on_stderr()
    run_id: str | None = None

    async def work() -> int:
        nonlocal run_id
        runs = await session.open_runs(settings)
        await search_attributes.require(runs.client)
        pushed = await _push(store, settings, spec.project, folder)
        for line in files.pushed_lines(spec.project, pushed):
            talk.print(line, markup=False)
        pinned = RunSpec.parse({**spec.model_dump(exclude_unset=True), "revision": _revision(pushed)})
        handle = await runs.start(pinned, id=id)
        run_id = handle.id
        address = session.web_address(settings, handle.id, runs.client.namespace)
        if detach:
            _say_started(handle, address, as_json=as_json)
            return exits.DONE
        talk.print(f"Run {handle.id}" + (f" · {address}" if address else ""), markup=False)
        final = await _follow(handle, as_json=as_json)
        if pull and final.output_commit:
            talk.print(files.pulled_line(await _pull(store, settings, spec, folder, final), folder), markup=False)
        if address:
            talk.print(f"Web UI: {address}")
        return exits.exit_code(final.state)

    try:
        return session.in_loop(work())
    except KeyboardInterrupt:
        if run_id is not None:
            from temporal_runs.cli.follow import say_that_it_goes_on

            say_that_it_goes_on(run_id)
        return exits.FOLLOWER_LEFT


async def _push(store: "Store", settings: "Settings", project: str, folder: Path) -> "Pushed":
    import asyncio

    from temporal_runs.cli import files

    return await asyncio.to_thread(files.push_folder, store, settings, project, folder, "pushed by run")


def _revision(pushed: "Pushed") -> str:
    """The version to run: the project's latest, but never without what is in the folder."""
    return pushed.version if pushed.landed.conflicts else pushed.landed.commit


async def _follow(handle: "RunHandle", *, as_json: bool) -> "RunStatus":
    from temporal_runs.cli import output
    from temporal_runs.cli.follow import follow, stdout_bytes
    from temporal_runs.outcome import as_result

    final = await follow(handle, sys.stderr.buffer if as_json else stdout_bytes())
    for line in output.ending(final):
        output.on_stderr().print(line)
    if as_json:
        output.print_json(as_result(final))
    return final


async def _pull(
    store: "Store", settings: "Settings", spec: "RunSpec", folder: Path, final: "RunStatus"
) -> "folders.Pulled":
    import asyncio

    from temporal_runs.cli import folders

    assert final.output_commit
    return await asyncio.to_thread(folders.pull, store, settings, spec.project, folder, final.output_commit)


def _say_started(handle: "RunHandle", address: str | None, *, as_json: bool) -> None:
    from temporal_runs.cli import output

    if as_json:
        output.print_json({"run_id": handle.id, "web_ui": address})
        return
    sys.stdout.write(f"{handle.id}\n")
    output.on_stderr().print(f"Follow it: temporal-runs watch {handle.id}" + (f" · {address}" if address else ""))


def _variables(pairs: list[str]) -> dict[str, str] | None:
    variables: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise exits.UsageProblem(f"--env {pair}: write NAME=value")
        variables[name] = value
    return variables or None


def _environment(image: str | None, file: Path | None) -> Any:
    """The spec's environment object; its keys are checked with the spec."""
    if image is not None and file is not None:
        raise exits.UsageProblem("--image and --environment exclude each other: leave one of them out")
    if file is None:
        return None if image is None else {"image": image}
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise exits.UsageProblem(f"--environment {file} cannot be read: {error}") from None
    try:
        return tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise exits.UsageProblem(f"--environment {file} is not TOML: {error}") from None
    except json.JSONDecodeError as error:
        raise exits.UsageProblem(
            f"--environment {file} is not JSON: {error.msg} at line {error.lineno} (a TOML file's name ends in .toml)"
        ) from None
