"""`temporal-runs run`: the current folder's files, a command, and everything until its end."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from temporal_runs.cli import exits

if TYPE_CHECKING:
    from temporal_runs.client import RunHandle
    from temporal_runs.status import RunStatus

NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,62})(?:#([1-9][0-9]{0,8}))?")
"""A named environment, as one writes it: its name, or `name#revision`."""


def run(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, with its options.")],
    project: Annotated[str | None, typer.Option(help="The project. [default: the folder's name]")] = None,
    tier: Annotated[str | None, typer.Option(help="The hardware tier. [default: small]")] = None,
    image: Annotated[str | None, typer.Option(help="The Docker image to run in.")] = None,
    environment: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="JSON or TOML file, or a named environment: NAME, NAME#3.")
    ] = None,
    env: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A variable; may be repeated.")] = None,
    title: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    owner: Annotated[str | None, typer.Option(help="Whose it is. [default: your login name]")] = None,
    notify: Annotated[
        list[str] | None,
        typer.Option(metavar="URL|EMAIL", help="Told when it ends; =Failed,Error for some ends only. May be repeated."),
    ] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds the command may take.")] = None,
    id: Annotated[str | None, typer.Option(help="The Run's id; one that exists gives that Run.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the id and return at once.")] = False,
    pull: Annotated[bool, typer.Option("--pull", help="Bring the results into the folder afterwards.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; all else to stderr.")] = False,
) -> int:
    """Push the current folder, run a command on it, follow it to its end. The exit code says how it ended."""
    import asyncio

    from temporal_runs import search_attributes
    from temporal_runs.cli import output, session, transfers
    from temporal_runs.environments import UnknownEnvironment, resolve
    from temporal_runs.files import Files, login_name
    from temporal_runs.settings import Settings
    from temporal_runs.spec import RunSpec, check_id

    if detach and pull:
        raise exits.UsageProblem("--pull waits for the results, --detach does not wait: leave one of them out")
    if id is not None:
        check_id(id)
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
        "owner": owner or login_name(),
        "notify": [one.model_dump(exclude_none=True) for one in session.notices(notify or [])] or None,
        "time_limit": time_limit,
    }
    spec = RunSpec.parse({name: value for name, value in given.items() if value is not None})
    session.require_tier(settings, spec)
    files = Files(settings)
    try:
        resolve(spec, files.store)  # before anything is pushed for a Run that could not start
    except UnknownEnvironment as unknown:
        raise exits.UsageProblem(
            f"{unknown}. Nor is there a file of that name." if environment else str(unknown)
        ) from None
    talk = output.on_stderr()
    run_id: str | None = None

    async def work() -> int:
        nonlocal run_id
        runs = await session.open_runs(settings)
        await search_attributes.require(runs.client)
        pushed = await asyncio.to_thread(transfers.push, files, spec.project, folder, "pushed by run")
        for line in transfers.pushed_lines(spec.project, pushed):
            talk.print(line)
        # The project's latest, but never without what is in the folder.
        revision = pushed.version if pushed.landed.conflicts else pushed.landed.commit
        handle = await runs.start({**spec.model_dump(exclude_unset=True), "revision": revision}, id=id)
        run_id = handle.id
        address = session.web_address(settings, handle.id, runs.client.namespace)
        if detach:
            _say_started(handle, address, as_json=as_json)
            return exits.DONE
        talk.print(f"Run {handle.id}" + (f" · {address}" if address else ""))
        final = await _follow(handle, as_json=as_json)
        if pull and final.output_commit:
            pulled = await asyncio.to_thread(transfers.pull, files, spec.project, folder, final.output_commit)
            talk.print(transfers.pulled_line(pulled, folder, f"commit {final.output_commit[:12]}"))
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


async def _follow(handle: "RunHandle", *, as_json: bool) -> "RunStatus":
    from temporal_runs.cli import output
    from temporal_runs.cli.follow import follow, say_that_it_goes_on, stdout_bytes
    from temporal_runs.outcome import RunsError, as_result

    try:
        final = await follow(handle, output.on_stderr(), sys.stderr.buffer if as_json else stdout_bytes())
    except RunsError:
        say_that_it_goes_on(handle.id)
        raise
    for line in output.ending(final):
        output.on_stderr().print(line)
    if as_json:
        output.print_json(as_result(final))
    return final


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


def _environment(image: str | None, given: str | None) -> Any:
    """The spec's environment object; its keys are checked with the spec."""
    from temporal_runs.cli.environment import read_environment

    if image is not None and given is not None:
        raise exits.UsageProblem("--image and --environment exclude each other: leave one of them out")
    if given is None:
        return None if image is None else {"image": image}
    named = NAMED.fullmatch(given)
    if named is None or Path(given).exists():
        return read_environment(Path(given), "--environment")
    name, number = named.groups()
    return {"name": name, "revision": int(number)} if number else {"name": name}
