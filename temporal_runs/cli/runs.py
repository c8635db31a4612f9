"""Commands on Runs that are there, and `start` for a spec as it is."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from temporal_runs.cli import exits

LAST_LINES = 20
"""Of what was printed before somebody began to watch."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunId = Annotated[str, typer.Argument(metavar="ID", help="The Run's id.", show_default=False)]


def start(
    spec: Annotated[str, typer.Argument(metavar="SPEC.json|-", help="A RunSpec; - reads it from stdin.")],
    id: Annotated[str | None, typer.Option(help="The Run's id; one that exists gives that Run.")] = None,
    as_json: Json = False,
) -> int:
    """Start a Run from its spec, and print its id."""
    from temporal_runs import search_attributes
    from temporal_runs.cli import output, session
    from temporal_runs.environments import resolve
    from temporal_runs.settings import Settings
    from temporal_runs.spec import RunSpec

    wanted = RunSpec.parse(_read_json(spec))
    settings = Settings.load()
    session.require_tier(settings, wanted)
    store = session.open_store(settings)
    store.resolve(wanted.project, wanted.revision)
    resolve(wanted, store)

    async def work() -> int:
        runs = await session.open_runs(settings)
        await search_attributes.require(runs.client)
        handle = await runs.start(wanted, id=id)
        if as_json:
            output.print_json({"run_id": handle.id, "project": wanted.project})
        else:
            sys.stdout.write(f"{handle.id}\n")
        return exits.DONE

    return session.in_loop(work())


def status(id: RunId, as_json: Json = False) -> int:
    """Show all that is known of a Run."""
    from temporal_runs.cli import output, session
    from temporal_runs.settings import Settings

    async def work() -> int:
        settings = Settings.load()
        runs = await session.open_runs(settings)
        facts = await runs.get(id).status()
        if as_json:
            output.print_json(facts)
            return exits.DONE
        page = output.on_stdout()
        page.print(output.facts_table(facts))
        for number in range(1, len(facts.history) + 1):
            past = facts.model_copy(update={"history": facts.history[:number], "reason": None})
            page.print(output.state_line(past))
        for line in output.ending(facts, console_shown=False):
            page.print(line)
        if address := session.web_address(settings, id, runs.client.namespace):
            page.print(address)
        return exits.DONE

    return session.in_loop(work())


def watch(id: RunId, as_json: Json = False) -> int:
    """Follow a Run until it is over; the exit code says how it ended.

    On a terminal one live view: its states, progress and usage beneath its console. Elsewhere, and as JSON, a line for
    each state.
    """
    from temporal_runs.cli import follow, live, output, session
    from temporal_runs.console import Selection
    from temporal_runs.settings import Settings

    async def work() -> int:
        handle = (await session.open_runs(Settings.load())).get(id)
        page = output.on_stdout()
        if as_json:
            facts = await follow.follow_states(handle, output.on_stderr(), output.print_json_line)
        elif live.suits(page):
            facts = await follow.follow(handle, page, follow.stdout_bytes(), Selection(tail=LAST_LINES))
        else:
            facts = await follow.follow_states(handle, page, lambda facts: page.print(output.state_line(facts)))
        if not as_json:
            for line in output.ending(facts):
                page.print(line)
        return exits.exit_code(facts.state)

    try:
        return session.in_loop(work())
    except KeyboardInterrupt:
        follow.say_that_it_goes_on(id)
        return exits.FOLLOWER_LEFT


def stop(
    id: RunId,
    discard: Annotated[bool, typer.Option("--discard", help="Keep none of its results.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; shown with the Run.")] = None,
    as_json: Json = False,
) -> int:
    """Stop a Run. Its results are kept; returns when the stop is accepted."""
    from temporal_runs.cli import output, session
    from temporal_runs.settings import Settings

    async def work() -> int:
        handle = (await session.open_runs(Settings.load())).get(id)
        accepted = await handle.stop(commit_results=not discard, reason=reason)
        if as_json:
            output.print_json({"run_id": id, "accepted": accepted})
        else:
            said = "stop requested" if accepted else "had already ended; nothing to stop"
            output.on_stdout().print(f"{id}: {said}")
        return exits.DONE

    return session.in_loop(work())


def _read_json(name: str) -> Any:
    """The JSON of a file, or of stdin; raises UsageProblem."""
    from temporal_runs.cli import session

    if name == "-":
        text = sys.stdin.buffer.read().decode(errors="replace")
    else:
        text = session.readable_text(Path(name), "the spec")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise exits.UsageProblem(
            f"the spec {name} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
